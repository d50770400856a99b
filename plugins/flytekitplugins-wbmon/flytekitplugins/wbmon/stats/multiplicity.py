"""Many questions asked at once: how often may one of them be answered wrongly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Smallest false discovery rate at which each hypothesis is rejected.

    `q_(i) = min over j >= i of m * p_(j) / j`, with the p-values in ascending order.

    Args:
        p_values: In [0, 1]; shape `(m,)`. An entry that is `nan` is no hypothesis and stays `nan`.

    Returns:
        q-values in the order given, in [0, 1]; shape `(m,)`.

    References:
        Benjamini & Hochberg (1995), Controlling the false discovery rate.
    """
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    m = len(order)
    if m:
        scaled = p[order] * m / np.arange(1, m + 1)
        q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
