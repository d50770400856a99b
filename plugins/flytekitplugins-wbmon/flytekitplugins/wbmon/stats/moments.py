"""Mean and spread of a feature, in a form that merges."""

from __future__ import annotations

import math
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


def standard_deviation(of: Moments) -> float:
    """Square root of the mean squared deviation; `nan` for no weight."""
    return math.sqrt(of.squared / of.weight) if of.weight > 0 else math.nan
