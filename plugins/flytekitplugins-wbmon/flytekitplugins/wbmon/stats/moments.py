"""Mean and variance of a feature, in a form that can be merged."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Moments(NamedTuple):
    """First two moments of weighted values.

    Attributes:
        weight: Sum of the weights; the number of values if they are not weighted.
        mean: Weighted mean; 0 if `weight` is 0.
        squared: Weighted sum of squared deviations from the mean.
    """

    weight: float = 0.0
    mean: float = 0.0
    squared: float = 0.0


def moments(values: NDArray[Any], weights: NDArray[np.float64] | None = None) -> Moments:
    """Moments of a sample, in two passes: the mean first, then deviations from it.

    Args:
        values: Finite; shape `(n,)`.
        weights: Weight of each value, `>= 0`; None counts each value once.
    """
    if len(values) == 0:
        return Moments()
    # squares of values beyond 1e154 overflow to inf, which is the honest result
    with np.errstate(over="ignore", invalid="ignore"):
        if weights is None:
            total = float(len(values))
            mean = float(values.sum(dtype=np.float64)) / total
        else:
            total = float(weights.sum())
            mean = float(np.einsum("i,i->", values, weights)) / total if total > 0 else 0.0
        # two passes: sum(x^2) - n mean^2 would lose all digits of a small variance
        deviation = np.subtract(values, mean, dtype=np.float64)
        # einsum, because numpy.dot would start all BLAS threads for an array of this size
        if weights is None:
            squared = float(np.einsum("i,i->", deviation, deviation))
        else:
            squared = float(np.einsum("i,i,i->", deviation, deviation, weights))
    return Moments(total, mean, squared)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two disjoint sets of rows.

    References:
        Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance.
    """
    # the mean of no rows may be nan here, and nan * 0 would spoil the sum
    if a.weight == 0 or b.weight == 0:
        return b if a.weight == 0 else a
    weight = a.weight + b.weight
    difference = b.mean - a.mean
    return Moments(
        weight,
        a.mean + difference * (b.weight / weight),
        a.squared + b.squared + difference * difference * (a.weight * b.weight / weight),
    )


def mean_shift(
    reference: Moments, current: Moments, *, n: float, m: float, alpha: float = 0.05
) -> tuple[float, float, float]:
    """Difference of the means, current minus reference, in the feature's unit, with its interval.

    `b - a ± z * sqrt(var_a / n + var_b / m)`: Welch's interval with a normal quantile in place of
    Student's t, for large samples.

    Args:
        reference: Moments of the reference window.
        current: Moments of the current window.
        n: Rows of the reference, or its effective sample size.
        m: Rows of the current window, or its effective sample size.
        alpha: One minus the coverage; in (0, 1).

    Returns:
        The difference, the lower and the upper end; all `nan` if a window has no rows.

    References:
        Welch (1938), The significance of the difference between two means.
    """
    if n <= 0 or m <= 0:
        return math.nan, math.nan, math.nan
    variances = reference.squared / reference.weight, current.squared / current.weight
    shift = current.mean - reference.mean
    half = _quantile(alpha) * math.sqrt(variances[0] / n + variances[1] / m)
    return shift, shift - half, shift + half


def spread_ratio(
    reference: Moments,
    current: Moments,
    *,
    n: float,
    m: float,
    kurtosis: tuple[float, float] = (3.0, 3.0),
    alpha: float = 0.05,
) -> tuple[float, float, float]:
    """Ratio of the standard deviations, current over reference, with its interval.

    The interval is symmetric on the log scale, where the variance of `log s` is approximately
    `(kurtosis - 1) / (4 n)`.

    Args:
        reference: Moments of the reference window.
        current: Moments of the current window.
        n: Rows of the reference, or its effective sample size.
        m: Rows of the current window, or its effective sample size.
        kurtosis: Fourth standardised moment of the reference and of the current window; 3 for a
            normal distribution, larger for heavy tails.
        alpha: One minus the coverage; in (0, 1).

    Returns:
        The ratio, the lower and the upper end. All are `nan` if the standard deviation of a window
        is 0 or undefined; the ends are `nan` if a kurtosis is.

    References:
        Bonett (2006), Approximate confidence interval for standard deviation of nonnormal
        distributions.
    """
    spreads = standard_deviation(reference), standard_deviation(current)
    if not (spreads[0] > 0 and spreads[1] > 0):
        return math.nan, math.nan, math.nan
    ratio = spreads[1] / spreads[0]
    if math.isnan(kurtosis[0] + kurtosis[1]):
        return ratio, math.nan, math.nan
    error = math.sqrt(max(0.0, (kurtosis[0] - 1) / n + (kurtosis[1] - 1) / m) / 4)
    # math.exp overflows beyond 709
    factor = math.exp(min(_quantile(alpha) * error, 700.0))
    return ratio, ratio / factor, ratio * factor


def grid_kurtosis(
    edges: NDArray[Any], counts: NDArray[Any], *, minimum: float, maximum: float
) -> float:
    """Kurtosis (fourth standardised moment) of a window, approximated from its counts in a grid.

    All rows of an open cell are placed at its middle; the outer cells end at the smallest and the
    largest value.

    Args:
        edges: Edges of the grid, strictly increasing; shape `(k,)`.
        counts: Counts of its cells; shape `(2k + 1,)`.
        minimum: Smallest value of the window.
        maximum: Largest value of the window.

    Returns:
        At least 1; `nan` if the window has no rows or a variance of 0.
    """
    positions = np.empty(len(counts))
    positions[1::2] = edges
    ends = np.concatenate(([minimum], edges, [maximum]))
    # halved before adding: the sum of two large ends can overflow
    positions[0::2] = ends[:-1] / 2 + ends[1:] / 2
    # 0 / 0 is the nan of a window without rows or with a variance of 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        share = counts / counts.sum()
        deviation = positions - (share * positions).sum()
        variance = (share * deviation**2).sum()
        return float((share * deviation**4).sum() / variance**2)


def _quantile(alpha: float) -> float:
    return -NormalDist().inv_cdf(alpha / 2)


def standard_deviation(of: Moments) -> float:
    """Population standard deviation, `sqrt(squared / weight)`; `nan` if the weight is 0."""
    return math.sqrt(of.squared / of.weight) if of.weight > 0 else math.nan
