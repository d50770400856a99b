"""Whether a short series goes one way, and how steeply; no shape of distribution is assumed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from statistics import median


def mann_kendall_p_value(values: Sequence[float]) -> float:
    """One-sided p-value of a rising series being chance.

    The number of pairs that rise less those that fall, against all orders of as many values; exact
    for values that all differ, a little large with ties.

    Args:
        values: In the order of time, finite; a few to a few hundred.

    Returns:
        In (0, 1]; 1 for fewer than two values. Of the negated series for a falling one.

    References:
        Mann (1945), Nonparametric tests against trend; Kendall (1975), Rank correlation methods.
    """
    n = len(values)
    score = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    # an order with k falling pairs scores n (n - 1) / 2 - 2 k
    falling = (n * (n - 1) // 2 - score) // 2
    return float(sum(_orders_by_falling_pairs(n)[: falling + 1]) / math.factorial(n))


def theil_sen_slope(values: Sequence[float]) -> float:
    """Median of the slopes of all pairs, in units a step; `nan` for fewer than two values.

    References:
        Sen (1968), Estimates of the regression coefficient based on Kendall's tau.
    """
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2)]
    return median(slopes) if slopes else math.nan


@cache
def _orders_by_falling_pairs(n: int) -> list[int]:
    counts = [1]
    for size in range(2, n + 1):
        longer = [0] * (len(counts) + size - 1)
        for shift in range(size):
            for k, count in enumerate(counts):
                longer[k + shift] += count
        counts = longer
    return counts
