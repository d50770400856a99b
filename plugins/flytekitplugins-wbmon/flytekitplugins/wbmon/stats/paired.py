"""Comparison of two treatments of the same items: mean difference, interval and p-value.

All methods work on the differences within pairs, which removes the variation between easy and
difficult items.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.stats.interval import newcombe_paired_interval, p_value_of_interval
from flytekitplugins.wbmon.stats.resampled_tail import (
    upper_tail_probability,
    upper_tail_quantile,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

N_RESAMPLES = 2000
_CHUNK = 2_000_000  # resampled values in memory at a time: 16 MB for each array of them
_POWER = 0.8
_MIN_PAIRS = 2


class PairedDifference(NamedTuple):
    """Mean difference of pairs, second minus first; `nan` where undefined.

    Attributes:
        value: The mean of `b - a`.
        low: Lower end of the interval.
        high: Upper end of the interval.
        p_value: Two-sided p-value of the hypothesis of no difference.
        deviation: Standard deviation of the differences within pairs.
        n: Number of pairs.
        method: `mcnemar`, `bootstrap` or `sign`.
    """

    value: float
    low: float
    high: float
    p_value: float
    deviation: float
    n: int
    method: str


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    alpha: float = 0.05,
    n_resamples: int = N_RESAMPLES,
    rng: np.random.Generator | None = None,
) -> PairedDifference:
    """Mean difference `b - a` over pairs, with its interval and p-value.

    Scores that are all 0 or 1 are compared by McNemar's exact test and Newcombe's interval. The
    p-value is the larger one of the two, and the interval is extended to 0 where the test does not
    reject, so they never contradict each other. Other scores are compared by the bootstrap-t: each
    end of the interval is the farther one of the symmetric and of the equal-tailed interval, since
    a decision is about one side, and frequent gains with rare losses are skewed. If all pairs
    differ by the same amount, there is nothing to resample and the p-value is that of the sign
    test.

    Args:
        a: Scores of the first treatment; shape `(n,)`, finite.
        b: Scores of the second treatment, of the same items in the same order; shape `(n,)`.
        alpha: One minus the coverage; in (0, 1).
        n_resamples: Number of bootstrap samples.
        rng: Random generator; by default one with a fixed seed, so that reports are reproducible.

    Returns:
        The difference. With one pair only `value` and `n` are known; without a pair only `n`.

    Raises:
        DataError: If the shapes differ, or a score is no finite number.

    References:
        McNemar (1947); Newcombe (1998), Improved confidence intervals for the difference between
        binomial proportions based on paired data, method 10; Hall (1988), Theoretical comparison
        of bootstrap confidence intervals, for both kinds of the bootstrap-t.
    """
    try:
        first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"paired scores must be numbers: {error}") from error
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(
            "paired scores must be two arrays of one length, one entry an item; got shapes "
            f"{first.shape} and {second.shape}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError(
            "paired scores must be finite; leave out items that one side did not score, and say "
            "how many"
        )
    n = len(first)
    if n < _MIN_PAIRS:
        value = float((second - first).mean()) if n else math.nan
        return PairedDifference(value, math.nan, math.nan, math.nan, math.nan, n, "bootstrap")
    if _is_binary(first) and _is_binary(second):
        return _compare_binary(first, second, alpha)
    return _compare_scores(second - first, alpha, n_resamples, rng)


def pairs_needed(deviation: float, difference: float, *, alpha: float = 0.05) -> float:
    """Number of pairs needed to detect a mean difference with probability 0.8.

    `((z(1 - alpha/2) + z(0.8)) * deviation / difference) ** 2`, the normal approximation.

    Args:
        deviation: Standard deviation of the differences within pairs.
        difference: The mean difference to detect; its sign does not matter.
        alpha: Two-sided significance level; in (0, 1).

    Returns:
        At least 2; `inf` for a difference of 0, `nan` if an argument is `nan`.
    """
    if math.isnan(deviation) or math.isnan(difference):
        return math.nan
    if difference == 0:
        return math.inf
    normal = NormalDist()
    z = normal.inv_cdf(_POWER) - normal.inv_cdf(alpha / 2)
    return max(float(_MIN_PAIRS), math.ceil((z * deviation / difference) ** 2))


def mcnemar_p_value(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test.

    Under the hypothesis, discordant pairs are equally likely in both directions: the p-value is
    twice the smaller tail of the binomial distribution with probability 1/2, at most 1.

    Args:
        only_a: Number of pairs in which only the first treatment succeeded.
        only_b: Number of pairs in which only the second treatment succeeded.

    Returns:
        In (0, 1]; 1 if there is no discordant pair.
    """
    n, smaller = only_a + only_b, min(only_a, only_b)
    log_half = n * math.log(2)
    # in logarithms, because factorials beyond 170 overflow a float
    terms = (
        math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - log_half)
        for k in range(smaller + 1)
    )
    return min(1.0, 2 * math.fsum(terms))


def _is_binary(scores: Floats) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())


def _compare_binary(a: Floats, b: Floats, alpha: float) -> PairedDifference:
    n = len(a)
    both = int(np.sum((a == 1) & (b == 1)))
    only_a = int(np.sum((a == 1) & (b == 0)))
    only_b = int(np.sum((a == 0) & (b == 1)))

    def interval(alpha: float) -> tuple[float, float]:
        return newcombe_paired_interval(
            both, only_a, only_b, n - both - only_a - only_b, alpha=alpha
        )

    # one thing decides: the difference is beyond chance if the test and the interval both say so
    p_value = max(mcnemar_p_value(only_a, only_b), p_value_of_interval(interval))
    low, high = interval(alpha)
    if p_value > alpha:
        low, high = min(low, 0.0), max(high, 0.0)
    return PairedDifference(
        value=(only_b - only_a) / n,
        low=low,
        high=high,
        p_value=p_value,
        deviation=float((b - a).std(ddof=1)),
        n=n,
        method="mcnemar",
    )


def _compare_scores(
    differences: Floats, alpha: float, n_resamples: int, rng: np.random.Generator | None
) -> PairedDifference:
    n = len(differences)
    value, deviation = float(differences.mean()), float(differences.std(ddof=1))
    scale = float(np.abs(differences).max())
    # equal up to rounding: differences of floats such as 0.3 - 0.2 and 0.8 - 0.7 are not identical
    if deviation <= scale * 1e-12:
        p_value = mcnemar_p_value(0, n) if value else 1.0
        return PairedDifference(value, value, value, p_value, 0.0, n, "sign")
    ratios = _bootstrap_ratios(differences, n_resamples, rng or np.random.default_rng(0))
    error = deviation / math.sqrt(n)
    both, tails = np.sort(np.abs(ratios)), (np.sort(ratios), np.sort(-ratios))
    # resamples of a single value have an infinite ratio; if these reach the quantile, the interval
    # is limited by the largest observed difference
    down, up = (
        min(
            max(
                upper_tail_quantile(both, alpha, degrees=n - 1),
                upper_tail_quantile(tail, alpha / 2, degrees=n - 1),
            )
            * error,
            2 * scale,
        )
        for tail in tails
    )
    beyond = abs(value) / error
    p_value = max(
        upper_tail_probability(both, beyond, degrees=n - 1),
        2 * upper_tail_probability(tails[0 if value > 0 else 1], beyond, degrees=n - 1),
    )
    return PairedDifference(
        value, value - down, value + up, min(1.0, p_value), deviation, n, "bootstrap"
    )


def _bootstrap_ratios(differences: Floats, n_resamples: int, rng: np.random.Generator) -> Floats:
    """The t-ratios of resampled means against the observed mean; shape `(n_resamples,)`.

    That of a resample without variance is infinite, or 0 if its mean equals the observed one.
    """
    n, value = len(differences), float(differences.mean())
    rows = max(1, _CHUNK // n)
    ratios = []
    for start in range(0, n_resamples, rows):
        shape = (min(rows, n_resamples - start), n)
        sample = differences[rng.integers(0, n, size=shape)]
        error = sample.std(axis=1, ddof=1) / math.sqrt(n)
        away = sample.mean(axis=1) - value
        flat = error <= np.abs(away) * 1e-12
        ratio = np.divide(away, error, out=np.copysign(np.inf, away), where=~flat)
        ratios.append(np.where(flat & (away == 0), 0.0, ratio))
    return np.concatenate(ratios)
