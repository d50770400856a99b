"""Weights of rows: numbers of which sums of squares can be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import quoted_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# the squares of such weights, their sums and their products with a square are numbers
_LEAST, _MOST = 1e-100, 1e100


def check_weights(weights: NDArray[np.float64], name: str) -> None:
    """Refuse weights that are too small or too large to compute with.

    Args:
        weights: Weights of the rows; shape `(n,)`.
        name: Their column, for the message of an error.

    Raises:
        DataError: If a weight is neither 0 nor in [1e-100, 1e100].
    """
    # a comparison with nan is false
    wrong = weights[~((weights == 0) | ((weights >= _LEAST) & (weights <= _MOST)))]
    if len(wrong):
        raise DataError(
            f"weights must be 0 or in [{_LEAST:g}, {_MOST:g}]; column {quoted_name(name)} has "
            f"{len(wrong)} rows that are not, such as {wrong[0]:g}; divide all by their mean, only "
            "their ratios count"
        )
