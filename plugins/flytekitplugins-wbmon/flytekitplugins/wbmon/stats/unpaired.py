"""Comparison of the means of two independent samples, of which one may be small or skewed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.interval import newcombe_interval, p_value_of_interval
from flytekitplugins.wbmon.stats.resampled_tail import (
    upper_tail_probability,
    upper_tail_quantile,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Sums = NDArray[np.complex128]

N_PERMUTATIONS = 5000
_CHUNK = 2_000_000  # permuted values in memory at a time: 32 MB
_MOST_BLOCKS = 2000  # a larger sample is permuted in blocks, so that the time has a bound


class UnpairedDifference(NamedTuple):
    """Difference of two means, second minus first; `nan` where undefined.

    Attributes:
        value: Mean of `b` minus mean of `a`.
        low: Lower end of the interval.
        high: Upper end of the interval.
        p_value: Two-sided p-value of the hypothesis of no difference; at most `alpha` exactly if
            the interval excludes 0.
        method: `newcombe` or `permutation`; empty without an interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    method: str = ""


def unpaired_difference(
    a: Floats,
    b: Floats,
    *,
    alpha: float = 0.05,
    n_permutations: int = N_PERMUTATIONS,
    rng: np.random.Generator | None = None,
) -> UnpairedDifference:
    """Difference of the means of two independent samples, with its interval and p-value.

    Values of which there are only two, such as 0 and 1, are compared by Newcombe's interval, others
    by the studentised permutation test: the statistic is Welch's `t`, and its distribution that of
    `t` after random exchanges of values between the samples. The test is exact if both
    distributions are equal, whatever their shape and however unequal the samples are; for unequal
    distributions with equal means it is exact in the limit. Each tail has half of `alpha`.

    Args:
        a: Values of the first sample; shape `(n,)`, finite.
        b: Values of the second sample; shape `(m,)`, finite.
        alpha: One minus the coverage; in (0, 1).
        n_permutations: Number of permutations.
        rng: Random generator; by default one with a fixed seed, so that reports are reproducible.

    Returns:
        The difference. It has no interval if a sample has fewer than two values, and no p-value if
        all values are equal.

    References:
        Newcombe (1998), Interval estimation for the difference between independent proportions,
        method 10; Janssen (1997), Studentized permutation tests for non-i.i.d. hypotheses and the
        generalized Behrens-Fisher problem; Chung & Romano (2013), Exact and asymptotically robust
        permutation tests.
    """
    if not len(a) or not len(b):
        return UnpairedDifference(math.nan)
    value = float(b.mean() - a.mean())
    if min(len(a), len(b)) < 2:  # noqa: PLR2004 - one value has no spread
        return UnpairedDifference(value)
    known = np.unique(np.concatenate((a, b)))
    if len(known) == 1:
        return UnpairedDifference(value, 0.0, 0.0)
    if len(known) == 2:  # noqa: PLR2004 - success and failure
        return _compare_shares(a == known[1], b == known[1], alpha, float(known[1] - known[0]))
    rng = rng or np.random.default_rng(0)
    return _compare_means(a, b, alpha, permuted_ratios(a, b, n_permutations, rng))


def _compare_shares(
    a: NDArray[np.bool_], b: NDArray[np.bool_], alpha: float, step: float
) -> UnpairedDifference:
    count_a, count_b = int(a.sum()), int(b.sum())

    def interval(alpha: float) -> tuple[float, float]:
        return newcombe_interval(count_a, len(a), count_b, len(b), alpha=alpha)

    low, high = interval(alpha)
    value = float(b.mean() - a.mean())
    p_value = p_value_of_interval(interval)
    return UnpairedDifference(value * step, low * step, high * step, p_value, "newcombe")


def _compare_means(a: Floats, b: Floats, alpha: float, ratios: Floats) -> UnpairedDifference:
    value = float(b.mean() - a.mean())
    error = math.hypot(*(each.std(ddof=1) / math.sqrt(len(each)) for each in (a, b)))
    ratio = value / error if error > 0 else math.copysign(math.inf, value)
    degrees = min(len(a), len(b)) - 1
    tails = (np.sort(-ratios), np.sort(ratios))
    down, up = (upper_tail_quantile(each, alpha / 2, degrees=degrees) for each in tails)
    beyond = min(
        upper_tail_probability(each, side, degrees=degrees)
        for each, side in zip(tails, (-ratio, ratio), strict=True)
    )
    # samples without spread differ by exactly their difference
    low, high = (value - up * error, value + down * error) if error > 0 else (value, value)
    return UnpairedDifference(value, low, high, min(1.0, 2 * beyond), "permutation")


def permuted_ratios(a: Floats, b: Floats, n_permutations: int, rng: np.random.Generator) -> Floats:
    """Welch's `t` of `b` against `a` after random exchanges; at least `n_permutations` of them.

    One shuffle of all values gives as many small samples as fit into it. If the smaller sample has
    more than 2000 values, blocks of values are exchanged instead of single ones.

    Args:
        a: Values of the first sample; shape `(n,)`, `n >= 2`.
        b: Values of the second sample; shape `(m,)`, `m >= 2`.
        n_permutations: Number of permutations.
        rng: Random generator.
    """
    values = np.concatenate((a, b))
    # centred and scaled, so that the sum of squares neither cancels nor overflows
    values = values - values.mean()
    values /= np.abs(values).max()
    fewer = min(len(a), len(b))
    size = math.ceil(fewer / _MOST_BLOCKS)
    blocks = _blocks(values, size, rng)
    n_all, n_small = len(blocks), round(fewer / size)
    per_shuffle = n_all // n_small
    n_shuffles = math.ceil(n_permutations / per_shuffle)
    rows = max(1, _CHUNK // n_all)
    found = []
    for start in range(0, n_shuffles, rows):
        shuffled = [rng.permutation(blocks) for _ in range(min(rows, n_shuffles - start))]
        taken = np.array(shuffled)[:, : per_shuffle * n_small].reshape(-1, n_small)
        small = taken.sum(axis=1)
        large = blocks.sum() - small
        found.append(_ratios(small, large, n_small * size, (n_all - n_small) * size))
    ratios = np.concatenate(found)
    return ratios if len(b) <= len(a) else -ratios


def _blocks(values: Floats, size: int, rng: np.random.Generator) -> Sums:
    """Sums of random blocks of values, and of their squares as imaginary parts; shape `(k,)`."""
    if size > 1:
        values = rng.permutation(values)
    whole = values[: len(values) // size * size].reshape(-1, size)
    # one number, so that both are shuffled together
    sums: Sums = whole.sum(axis=1) + 1j * (whole * whole).sum(axis=1)
    return sums


def _ratios(first: Sums, second: Sums, n_first: int, n_second: int) -> Floats:
    """Welch's `t` of samples with these sums of values and of squares, first minus second."""
    variances = [
        np.maximum(part.imag - part.real**2 / n, 0.0) / (n - 1) / n
        for part, n in ((first, n_first), (second, n_second))
    ]
    away = first.real / n_first - second.real / n_second
    error = np.sqrt(variances[0] + variances[1])
    flat = error <= np.abs(away) * 1e-9
    beyond = np.copysign(np.inf, away)
    return np.divide(away, error, out=beyond, where=~flat)
