"""Mean and spread of a feature, in a form that merges."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Moments(NamedTuple):
    """Weight, mean and sum of squared deviations from the mean; `mean` is 0 for no weight."""

    weight: float = 0.0
    mean: float = 0.0
    squared: float = 0.0


def moments(values: NDArray[Any], weights: NDArray[np.float64] | None = None) -> Moments:
    """Moments of finite `values`, each counted once or by its weight; shape `(n,)`."""
    if len(values) == 0:
        return Moments()
    with np.errstate(over="ignore", invalid="ignore"):
        if weights is None:
            total = float(len(values))
            mean = float(values.sum(dtype=np.float64)) / total
        else:
            total = float(weights.sum())
            mean = float(np.einsum("i,i->", values, weights)) / total if total > 0 else 0.0
        deviation = np.subtract(values, mean, dtype=np.float64)
        # einsum, because numpy.dot wakes every BLAS thread for an array of this size
        if weights is None:
            squared = float(np.einsum("i,i->", deviation, deviation))
        else:
            squared = float(np.einsum("i,i,i->", deviation, deviation, weights))
    return Moments(total, mean, squared)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Moments of two disjoint sets of rows together.

    References:
        Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance.
    """
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
    """How far the mean moved, in the feature's unit, with its interval.

    `b - a ± z * sqrt(var_a / n + var_b / m)`, Welch's, with the normal quantile of large samples.

    Args:
        reference: Moments of the reference window.
        current: Moments of the current window.
        n: Rows of the reference, or its effective sample size.
        m: Rows of the current window, likewise.
        alpha: One minus the coverage.

    Returns:
        The shift, the lower and the upper end; `nan` if a window has no rows.

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
    """Standard deviation of the current window over that of the reference, with its interval.

    On the log scale, where the variance of `log s` is `(kurtosis - 1) / (4 n)`.

    Args:
        reference: Moments of the reference window.
        current: Moments of the current window.
        n: Rows of the reference, or its effective sample size.
        m: Rows of the current window, likewise.
        kurtosis: Of both windows; 3 is a normal distribution, heavy tails have more.
        alpha: One minus the coverage.

    Returns:
        The ratio, the lower and the upper end; `nan` if a window has no spread, or for the ends
        if a kurtosis is unknown.

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
    factor = math.exp(min(_quantile(alpha) * error, 700.0))
    return ratio, ratio / factor, ratio * factor


def grid_kurtosis(
    edges: NDArray[Any], counts: NDArray[Any], *, minimum: float, maximum: float
) -> float:
    """Fourth standardised moment of a window, from its counts in a grid.

    Every open cell is put at its middle, the outer ones between the last edge and the extreme
    value: an approximation that only widens an interval.

    Returns:
        At least 1; `nan` for no rows or no spread.
    """
    positions = np.empty(len(counts))
    positions[1::2] = edges
    ends = np.concatenate(([minimum], np.asarray(edges, dtype=np.float64), [maximum]))
    positions[0::2] = ends[:-1] / 2 + ends[1:] / 2
    total = counts.sum()
    if total <= 0:
        return math.nan
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        share = counts / total
        deviation = positions - (share * positions).sum()
        variance = (share * deviation**2).sum()
        return float((share * deviation**4).sum() / variance**2) if variance > 0 else math.nan


def _quantile(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)


def standard_deviation(of: Moments) -> float:
    """Square root of the mean squared deviation; `nan` for no weight."""
    return math.sqrt(of.squared / of.weight) if of.weight > 0 else math.nan
