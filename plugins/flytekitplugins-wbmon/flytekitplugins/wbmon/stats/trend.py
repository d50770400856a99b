"""Nonparametric test for a trend in a short series, and its slope."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from statistics import median


def mann_kendall_p_value(values: Sequence[float]) -> float:
    """One-sided p-value of the Mann-Kendall test for an increasing trend.

    The statistic is the number of increasing pairs minus the number of decreasing pairs. The
    p-value is exact, also with ties: the share of the different orders of the same values that
    have no more decreasing pairs. To test for a decreasing trend, negate the values.

    Args:
        values: In time order, finite; a few to a few hundred.

    Returns:
        In (0, 1]; 1 for fewer than two values.

    References:
        Mann (1945), Nonparametric tests against trend; Kendall (1975), Rank correlation methods;
        MacMahon (1916), Combinatory analysis, for the orders of a multiset by decreasing pairs.
    """
    falling = sum(b < a for a, b in combinations(values, 2))
    orders = _orders_by_falling_pairs(tuple(sorted(Counter(values).values())))
    return sum(orders[: falling + 1]) / sum(orders)


def theil_sen_slope(values: Sequence[float]) -> float:
    """Median of the slopes of all pairs of values, per time step; `nan` for fewer than two values.

    References:
        Sen (1968), Estimates of the regression coefficient based on Kendall's tau.
    """
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2)]
    return median(slopes) if slopes else math.nan


@cache
def _orders_by_falling_pairs(ties: tuple[int, ...]) -> list[int]:
    """Number of different orders of values with 0, 1, 2, … decreasing pairs (inversions).

    They are the coefficients of the product of `1 - q^i` for `i` up to `n`, over those up to the
    size of each group of equal values.

    Args:
        ties: Sizes of the groups of equal values.
    """
    n = sum(ties)
    n_pairs = (n * n - sum(size * size for size in ties)) // 2
    counts = [1, *[0] * n_pairs]
    above = Counter(range(1, n + 1))
    below = Counter(power for size in ties for power in range(1, size + 1))
    for power in (above - below).elements():
        counts = [
            count - (counts[k - power] if k >= power else 0) for k, count in enumerate(counts)
        ]
    for power in (below - above).elements():
        for k in range(power, len(counts)):
            counts[k] += counts[k - power]
    return counts
