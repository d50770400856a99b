"""Confidence intervals and margins of error of proportions and of distances."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from flytekitplugins.wbmon.stats.tail_probabilities import normal_sf

_FURTHEST = 37.0  # normal quantile whose tail probability is just above the smallest float
_HALVINGS = 45


_NO_TRIALS = 1e-100  # of so few anything may be, and their square is no float


def wilson_interval(count: float, n: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Args:
        count: Number of successes, in [0, n]; need not be an integer.
        n: Number of trials, or an effective sample size.
        alpha: One minus the coverage; in (0, 1).

    Returns:
        Lower and upper end, in [0, 1]; both `nan` if `n <= 0`.

    References:
        Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    if n <= 0:
        return math.nan, math.nan
    if n < _NO_TRIALS:
        return 0.0, 1.0
    z = -NormalDist().inv_cdf(alpha / 2)
    share = count / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # the share is in the interval, but for rounding at 0 or n successes
    return min(share, max(0.0, (centre - half) / scale)), max(
        share, min(1.0, (centre + half) / scale)
    )


def newcombe_interval(
    count_a: float, n_a: float, count_b: float, n_b: float, *, alpha: float = 0.05
) -> tuple[float, float]:
    """Newcombe's interval of the difference of two independent proportions, `b - a`.

    Args:
        count_a: Successes of the first sample, in [0, n_a].
        n_a: Trials of the first sample, or its effective sample size.
        count_b: Successes of the second sample, in [0, n_b].
        n_b: Trials of the second sample, or its effective sample size.
        alpha: One minus the coverage; in (0, 1).

    Returns:
        Lower and upper end, in [-1, 1]; both `nan` if a sample is empty.

    References:
        Newcombe (1998), Interval estimation for the difference between independent proportions,
        method 10.
    """
    if n_a <= 0 or n_b <= 0:
        return math.nan, math.nan
    a, b = count_a / n_a, count_b / n_b
    low_a, high_a = wilson_interval(count_a, n_a, alpha=alpha)
    low_b, high_b = wilson_interval(count_b, n_b, alpha=alpha)
    # the difference is smallest where b is low and a is high; squared errors add up
    low = (b - a) - math.hypot(b - low_b, high_a - a)
    high = (b - a) + math.hypot(high_b - b, a - low_a)
    # rounding alone can pass the ends
    return max(-1.0, low), min(1.0, high)


def newcombe_paired_interval(
    both: int, only_a: int, only_b: int, neither: int, *, alpha: float = 0.05
) -> tuple[float, float]:
    """Newcombe's interval of the difference of two proportions of the same items, `b - a`.

    Args:
        both: Items that succeeded in both samples.
        only_a: Items that succeeded in the first sample only.
        only_b: Items that succeeded in the second sample only.
        neither: Items that failed in both samples; there must be at least one item in all.
        alpha: One minus the coverage; in (0, 1).

    Returns:
        Lower and upper end, in [-1, 1].

    References:
        Newcombe (1998), Improved confidence intervals for the difference between binomial
        proportions based on paired data, method 10.
    """
    n = both + only_a + only_b + neither
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson_interval(both + only_a, n, alpha=alpha)
    low_b, high_b = wilson_interval(both + only_b, n, alpha=alpha)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    together = float(both * neither - only_a * only_b)
    if together > 0:
        # continuity correction: a correlation makes the interval shorter
        together = max(0.0, together - n / 2)
    # without variation in one treatment the correlation is undefined: 0 gives the wider interval
    phi = together / math.sqrt(margins) if margins else 0.0
    below = (share_b - low_b, high_a - share_a)
    above = (high_b - share_b, share_a - low_a)
    difference = share_b - share_a
    return (
        max(-1.0, difference - _correlated_norm(*below, phi)),
        min(1.0, difference + _correlated_norm(*above, phi)),
    )


def p_value_of_interval(interval: Callable[[float], tuple[float, float]]) -> float:
    """The least `alpha` with which an interval of a difference excludes 0, by bisection.

    Args:
        interval: Lower and upper end for a given `alpha`; must widen as `alpha` falls.

    Returns:
        In (0, 1]; 1 if no interval excludes 0.
    """

    def excludes_zero(z: float) -> bool:
        low, high = interval(2 * normal_sf(z))
        return low > 0 or high < 0

    low, high = 0.0, _FURTHEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if excludes_zero(middle) else (low, middle)
    # the end at which the interval still excludes 0
    return 2 * normal_sf(low)


def ks_margin(n: float, m: float, *, alpha: float = 0.05) -> float:
    """Margin of error of the two-sample Kolmogorov-Smirnov statistic.

    `sqrt(log(2 / alpha) / 2 * (1/n + 1/m))`: the Dvoretzky-Kiefer-Wolfowitz margin of one sample of
    effective size `n m / (n + m)`. The statistic minus this margin is a lower bound for the
    distance of the distributions.

    Args:
        n: Rows of the first sample, or its effective sample size.
        m: Rows of the second sample, or its effective sample size.
        alpha: One minus the coverage; in (0, 1).

    References:
        Massart (1990), The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality.
    """
    return math.sqrt(math.log(2 / alpha) / 2 * (1 / n + 1 / m))


def total_variation_margin(n: float, m: float, *, alpha: float = 0.05) -> float:
    """Amount by which total variation exceeds its expectation with probability at most `alpha`.

    `sqrt(log(1 / alpha) / 2 * (1/n + 1/m))`, by the bounded differences inequality: replacing one
    row changes total variation by at most `1/n` or `1/m`.

    Args:
        n: Rows of the first sample, or its effective sample size.
        m: Rows of the second sample, or its effective sample size.
        alpha: Probability of a larger excess; in (0, 1).

    References:
        McDiarmid (1989), On the method of bounded differences.
    """
    return math.sqrt(math.log(1 / alpha) / 2 * (1 / n + 1 / m))


def _correlated_norm(x: float, y: float, phi: float) -> float:
    """Length of the difference of two error terms with correlation `phi`."""
    return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))
