"""Nonparametric test for a trend in a short series, and its slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from statistics import median


def mann_kendall_p_value(values: Sequence[float]) -> float:
    """One-sided p-value of the Mann-Kendall test for an increasing trend.

    The statistic is the number of increasing pairs minus the number of decreasing pairs. Its null
    distribution is that over all permutations of distinct values: the p-value is exact without
    ties, and an approximation with ties. To test for a decreasing trend, negate the values.

    Args:
        values: In time order, finite; a few to a few hundred.

    Returns:
        In (0, 1]; 1 for fewer than two values.

    References:
        Mann (1945), Nonparametric tests against trend; Kendall (1975), Rank correlation methods.
    """
    n = len(values)
    score = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    # a permutation with k decreasing pairs has the score n (n - 1) / 2 - 2 k
    # with ties the division can leave a remainder, which is rounded down
    falling = (n * (n - 1) // 2 - score) // 2
    return float(sum(_orders_by_falling_pairs(n)[: falling + 1]) / math.factorial(n))


def theil_sen_slope(values: Sequence[float]) -> float:
    """Median of the slopes of all pairs of values, per time step; `nan` for fewer than two values.

    References:
        Sen (1968), Estimates of the regression coefficient based on Kendall's tau.
    """
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2)]
    return median(slopes) if slopes else math.nan


@cache
def _orders_by_falling_pairs(n: int) -> list[int]:
    """Number of permutations of `n` values with 0, 1, 2, … decreasing pairs (inversions)."""
    counts = [1]
    for size in range(2, n + 1):
        longer = [0] * (len(counts) + size - 1)
        for shift in range(size):
            # a new largest value, placed `shift` places from the end, adds that many inversions
            for k, count in enumerate(counts):
                longer[k + shift] += count
        counts = longer
    return counts
