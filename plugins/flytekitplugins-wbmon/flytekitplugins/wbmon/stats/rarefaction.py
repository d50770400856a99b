"""Rarefaction: what fewer rows of a column would have looked like.

Windows of different length cannot be compared by their distinct values, as the thousandth row of a
user is new to no window. They can be compared at the number of rows of the smaller one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.stats.arrays import Floats

_SERIES_FROM = 16
_LOG_FACTORIALS = np.array([math.lgamma(x + 1) for x in range(_SERIES_FROM)])


def chance_drawn(counts: NDArray[np.int64], n: int, m: int) -> Floats:
    """Chance that a value is among `m` rows drawn from `n` without replacement.

    `1 - C(n - c, m) / C(n, m)` for a value with `c` rows. The sum over all values is the expected
    number of distinct values.

    Args:
        counts: Rows of each value, in [0, n]; shape `(k,)`.
        n: All rows.
        m: Rows drawn, in [0, n].

    Returns:
        Shape `(k,)`, in [0, 1].

    References:
        Hurlbert (1971), The nonconcept of species diversity, formula 6.
    """
    others = n - counts
    # where fewer than `m` rows have other values, the value is drawn for certain
    spared = np.maximum(others - m, 0)
    ends = log_factorial(np.array([n - m, n]))
    log_missed = log_factorial(others) - log_factorial(spared) + (ends[0] - ends[1])
    chance: Floats = np.where(others < m, 1.0, np.abs(np.expm1(np.minimum(log_missed, 0.0))))
    return chance


def chance_drawn_once(counts: NDArray[np.int64], n: int, m: int) -> Floats:
    """Chance that exactly one row of a value is among `m` rows drawn from `n`.

    `c C(n - c, m - 1) / C(n, m)` for a value with `c` rows.

    Args:
        counts: Rows of each value, in [0, n]; shape `(k,)`.
        n: All rows; at least 1.
        m: Rows drawn, in [1, n].

    Returns:
        Shape `(k,)`, in [0, 1].
    """
    # a given row is drawn, and of the others `m - 1` without the value
    others = np.maximum(counts - 1, 0)
    return counts * (m / n) * (1 - chance_drawn(others, n - 1, m - 1))


def log_factorial(x: NDArray[Any]) -> Floats:
    """Natural logarithm of `x!`, for whole numbers `>= 0`; Stirling's series from 16 on."""
    small = np.minimum(x, _SERIES_FROM - 1)
    y = np.maximum(x, _SERIES_FROM).astype(np.float64)
    inverse = 1 / y
    squared = inverse * inverse
    series = inverse * (1 / 12 - squared * (1 / 360 - squared * (1 / 1260 - squared / 1680)))
    large = (y + 0.5) * np.log(y) - y + 0.5 * math.log(2 * math.pi) + series
    factorials: Floats = np.where(x < _SERIES_FROM, _LOG_FACTORIALS[small], large)
    return factorials
