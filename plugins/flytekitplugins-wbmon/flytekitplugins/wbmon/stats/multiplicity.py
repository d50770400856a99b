"""Correction of p-values for multiple testing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini-Hochberg adjusted p-values (q-values).

    `q_(i) = min over j >= i of m * p_(j) / j`, with the p-values in ascending order. Rejecting all
    hypotheses with `q <= alpha` keeps the false discovery rate at or below `alpha`, for independent
    or positively dependent tests.

    Args:
        p_values: In [0, 1]; shape `(m,)`. A `nan` entry stays `nan` and is not counted in `m`.

    Returns:
        q-values in the order of `p_values`, in [0, 1]; shape `(m,)`.

    References:
        Benjamini & Hochberg (1995), Controlling the false discovery rate.
    """
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested])]
    m = len(order)
    if m:
        scaled = p[order] * m / np.arange(1, m + 1)
        # the minimum from the largest p-value downwards keeps q-values in the order of the p-values
        q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return q
