"""How far an observed share or distance may be from the truth."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(count: float, n: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Score interval of a proportion.

    Args:
        count: Successes, in [0, n].
        n: Trials; may be an effective sample size.
        alpha: One minus the coverage; in (0, 1).

    Returns:
        Lower and upper end, in [0, 1]; both `nan` for `n = 0`.

    References:
        Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    if n <= 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(1 - alpha / 2)
    share = count / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def newcombe_interval(
    count_a: float, n_a: float, count_b: float, n_b: float, *, alpha: float = 0.05
) -> tuple[float, float]:
    """Interval of the difference of two proportions, `b - a`.

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
    # no need to cut at -1 and 1: a hypotenuse is no longer than its two legs together
    low = (b - a) - math.hypot(b - low_b, high_a - a)
    high = (b - a) + math.hypot(high_b - b, a - low_a)
    return low, high


def ks_margin(n: float, m: float, *, alpha: float = 0.05) -> float:
    """How far the two-sample KS statistic may lie above the true distance of the distributions.

    `sqrt(log(2 / alpha) / 2 * (1/n + 1/m))`, the Dvoretzky-Kiefer-Wolfowitz margin.

    References:
        Massart (1990), The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality.
    """
    return math.sqrt(math.log(2 / alpha) / 2 * (1 / n + 1 / m))


def total_variation_margin(n: float, m: float, *, alpha: float = 0.05) -> float:
    """How far total variation may lie above its expectation, with probability `1 - alpha`.

    `sqrt(log(1 / alpha) / 2 * (1/n + 1/m))`: one row moves it by `1/n` or `1/m` at most.

    References:
        McDiarmid (1989), On the method of bounded differences.
    """
    return math.sqrt(math.log(1 / alpha) / 2 * (1 / n + 1 / m))
