"""Distances and divergences between two distributions, on counts or on sorted values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.stats.arrays import Floats

_TRIM = 0.001  # share of the reference that is left out at each end
_MEAN_ABSOLUTE = math.sqrt(2 / math.pi)  # of a normal variable, in standard deviations
_CLEAR = 3.0  # standard errors
_BLOCK = 1 << 16  # the temporary arrays of so many values fit into a core's cache


def population_stability_index(
    reference_counts: ArrayLike, current_counts: ArrayLike, *, pseudocount: float = 0.5
) -> float:
    """Population stability index of `current_counts` against `reference_counts`.

    The sum over bins of `(q - p) * log(q / p)`, where `p` and `q` are the proportions of the
    reference and the current window in the bin; in nats.

    Args:
        reference_counts: Observations per bin; shape `(k,)`, finite, `>= 0`.
        current_counts: The same bins, same order; shape `(k,)`.
        pseudocount: Added to the count of every bin. Without it, one row in a bin that is empty in
            the reference would make the index infinite.

    Returns:
        Non-negative float; 0 for equal proportions. `nan` if either window is empty.

    Raises:
        DataError: If the shapes differ or a count is negative or not finite.

    References:
        Yurdakul & Naranjo (2020), Statistical properties of the population stability index.
    """
    reference, current = _pair(reference_counts, current_counts)
    if reference.sum() <= 0 or current.sum() <= 0:
        return math.nan
    p = (reference + pseudocount) / (reference.sum() + pseudocount * len(reference))
    q = (current + pseudocount) / (current.sum() + pseudocount * len(current))
    # only without a pseudocount: a bin empty in both windows adds 0, in one window infinity
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p == q, 0.0, (q - p) * np.log(q / p))
    return float(terms.sum())


def stability_index_bias(n_bins: int, n_reference: float, n_current: float) -> float:
    """Expected population stability index of two samples from the same distribution.

    `(n_bins - 1) * (1 / n_reference + 1 / n_current)`, in nats; an approximation for large counts.

    References:
        Yurdakul & Naranjo (2020), Statistical properties of the population stability index.
    """
    return (n_bins - 1) * (1 / n_reference + 1 / n_current)


def jensen_shannon_distance(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    """Square root of the Jensen-Shannon divergence in bits; in [0, 1], symmetric.

    Returns:
        0 for equal proportions, 1 if no bin is occupied in both windows; `nan` if either window is
        empty.

    Raises:
        DataError: If the shapes differ or a count is negative or not finite.

    References:
        Endres & Schindelin (2003), A new metric for probability distributions.
    """
    p, q = _proportions(reference_counts, current_counts)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    # rounding can leave nearly equal windows just below 0
    return math.sqrt(max(divergence, 0.0)) if not math.isnan(divergence) else math.nan


def hellinger_distance(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    """Hellinger distance `sqrt(sum (sqrt(p) - sqrt(q))^2 / 2)`; in [0, 1], symmetric.

    Returns:
        0 for equal proportions, 1 if no bin is occupied in both windows; `nan` if either window is
        empty.

    Raises:
        DataError: If the shapes differ or a count is negative or not finite.
    """
    p, q = _proportions(reference_counts, current_counts)
    return math.sqrt(float(np.square(np.sqrt(p) - np.sqrt(q)).sum()) / 2)


def total_variation(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    """Total variation distance, `sum |p - q| / 2`; in [0, 1], symmetric.

    It is the smallest share of rows that must change their bin to make the windows' proportions
    equal. `nan` if either window is empty.

    Raises:
        DataError: If the shapes differ or a count is negative or not finite.
    """
    p, q = _proportions(reference_counts, current_counts)
    return float(np.abs(p - q).sum()) / 2


def total_variation_bias(
    reference_counts: ArrayLike, current_counts: ArrayLike, *, n: float, m: float
) -> float:
    """Expected total variation of two samples from the same distribution.

    `sqrt(2 / pi) / 2 * sum sqrt(s (1 - s) (1/n + 1/m))`, where `s` are the pooled proportions:
    `p - q` of each bin is approximately normal with mean 0, and the mean absolute value of such a
    variable is `sqrt(2 / pi)` standard deviations.

    Args:
        reference_counts: Observations per bin; shape `(k,)`.
        current_counts: The same bins; shape `(k,)`.
        n: Rows of the reference, or its effective sample size.
        m: Rows of the current window, or its effective sample size.

    Returns:
        Non-negative float; `nan` if either window is empty.
    """
    p, q = _proportions(reference_counts, current_counts)
    return float(_noise(p, q, n, m).sum()) * _MEAN_ABSOLUTE / 2


def share_moved(
    reference_counts: ArrayLike, current_counts: ArrayLike, *, n: float, m: float
) -> float:
    """Estimated total variation of two distributions, without what sampling adds to it.

    Bins whose proportions differ by more than 3 standard errors count as they are. Of the others,
    whose differences are mostly noise, it is `sqrt(max(0, T^2 - E^2))`, where `T` is their total
    variation and `E` its expectation without a difference: noise adds to the squares. For all bins
    together that would be too much if few bins have the whole difference, and `T - E` too little
    if it is spread over many.

    Args:
        reference_counts: Observations per bin; shape `(k,)`.
        current_counts: The same bins; shape `(k,)`.
        n: Rows of the reference, or its effective sample size.
        m: Rows of the current window, or its effective sample size.

    Returns:
        In [0, 1]; `nan` if either window is empty.
    """
    p, q = _proportions(reference_counts, current_counts)
    distance, noise = np.abs(p - q) / 2, _noise(p, q, n, m)
    is_clear = distance > _CLEAR * noise / 2
    total = float(distance[~is_clear].sum())
    by_chance = float(noise[~is_clear].sum()) * _MEAN_ABSOLUTE / 2
    return float(distance[is_clear].sum()) + math.sqrt(max(0.0, total**2 - by_chance**2))


def wasserstein_distance(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """Wasserstein-1 distance: the integral of `|F - G|`, in the unit of the values.

    It is the smallest mean distance by which values must move to turn one sample into the other,
    computed by matching equal quantiles.

    Args:
        reference: Sorted ascending, finite; shape `(n,)`.
        current: Sorted ascending, finite; shape `(m,)`.

    Returns:
        Non-negative float; `nan` if either window is empty.
    """
    few, many = sorted((reference, current), key=len)
    n, m = len(few), len(many)
    if n == 0:
        return math.nan
    if n == m:
        # in float64, because a difference of small or unsigned integers can overflow
        moved = np.subtract(few, many, dtype=np.float64)
        return float(np.abs(moved, out=moved).mean())
    starts = range(0, m, _BLOCK)
    return math.fsum(_moved(few, many[start : start + _BLOCK], start, m) for start in starts) / m


def _moved(few: NDArray[Any], block: NDArray[Any], start: int, m: int) -> float:
    """Sum, over a block of the longer sample, of the distances to the matched values of `few`.

    Each of the `m` values covers `1 / m` of the quantile range, which overlaps the range of one or
    two neighbouring values of `few`. Quantile levels are integers in units of `1 / (n m)`, so that
    rounding neither loses nor doubles a part of the range.

    Args:
        few: The shorter sample, sorted; shape `(n,)`.
        block: Consecutive values of the longer sample, sorted.
        start: Position of the first of them in the longer sample.
        m: Length of the longer sample.
    """
    n = len(few)
    level = np.arange(start, start + len(block), dtype=np.int64) * n
    at = level // m
    # n < m, so a value of `many` meets at most two values of `few`
    distance = np.abs(np.subtract(few[at], block, dtype=np.float64))
    share = np.minimum((at + 1) * m - level, n) / n
    beyond = np.abs(np.subtract(few[np.minimum(at + 1, n - 1)], block, dtype=np.float64))
    beyond[share == 1] = 0  # it can be infinite, and 0 * inf would be nan
    return float((share * distance + (1 - share) * beyond).sum())


def grid_wasserstein(
    edges: NDArray[Any], reference: tuple[Floats, Floats], current: tuple[Floats, Floats]
) -> float:
    """Wasserstein-1 distance from a grid, restricted to the central part of the reference.

    The integral of `|F - G|` over the cells of the central 99.8 % of the reference, with both
    distribution functions linear inside a cell. The tails are left out because the outer cells of
    heavy-tailed features are so wide that linear interpolation is far off.

    Args:
        edges: Strictly increasing; shape `(k,)`.
        reference: Shares of rows below and up to each edge, as `cumulative_shares` returns them.
        current: The same for the current window.

    Returns:
        Non-negative float in the unit of the feature; 0 with fewer than two edges.
    """
    below = reference[0] - current[0]
    up_to = reference[1] - current[1]
    inside = (reference[1][:-1] > _TRIM) & (reference[0][1:] < 1 - _TRIM)
    left, right = up_to[:-1], below[1:]
    mean = np.where(
        left * right >= 0,
        (np.abs(left) + np.abs(right)) / 2,
        # the two lines cross inside the cell: two triangles instead of one trapezoid; `where`
        # computes this branch for every cell, so the divisor must not be 0
        (left**2 + right**2) / (2 * np.maximum(np.abs(left) + np.abs(right), 1e-300)),
    )
    widths = np.diff(np.asarray(edges, dtype=np.float64))
    # einsum, because numpy.dot would start the threads of BLAS
    return float(np.einsum("i,i->", mean[inside], widths[inside]))


def _pair(reference_counts: ArrayLike, current_counts: ArrayLike) -> tuple[Floats, Floats]:
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    if reference.shape != current.shape or reference.ndim != 1:
        raise DataError(
            "both windows must be counted into the same bins, got shapes "
            f"{reference.shape} and {current.shape}"
        )
    for counts in (reference, current):
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise DataError("counts must be finite and not negative")
    return reference, current


def _proportions(reference_counts: ArrayLike, current_counts: ArrayLike) -> tuple[Floats, Floats]:
    reference, current = _pair(reference_counts, current_counts)
    empty = np.full(reference.shape, np.nan)
    return (
        reference / reference.sum() if reference.sum() > 0 else empty,
        current / current.sum() if current.sum() > 0 else empty,
    )


def _noise(p: Floats, q: Floats, n: float, m: float) -> Floats:
    """Standard error of the difference of each bin's proportions, if they are equal."""
    pooled = (n * p + m * q) / (n + m)
    return np.sqrt(np.maximum(pooled * (1 - pooled), 0.0) * (1 / n + 1 / m))


def _relative_entropy(p: Floats, q: Floats) -> float:
    """Kullback-Leibler divergence in bits, with `0 log 0 = 0`; nan if any proportion is."""
    present = p != 0
    return float((p[present] * np.log2(p[present] / q[present])).sum())
