"""Two-sample tests: whether two windows can be samples from the same distribution.

Both windows are samples, so both have sampling error. A goodness-of-fit test would treat the
reference as the true distribution; for windows of equal size its statistic is about twice too
large, which gives many false alarms.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flytekitplugins.wbmon.stats.arrays import Counts, Floats
from flytekitplugins.wbmon.stats.binning import cumulative_shares
from flytekitplugins.wbmon.stats.bridge import (
    ALL_TIMES,
    BridgeTimes,
    largest_distance_mean,
    largest_distance_sf,
)
from flytekitplugins.wbmon.stats.tail_probabilities import chi_squared_sf, normal_sf

_N_PROBES = 2048
_FAN = 8  # probes per open cell in each later round
_MIN_EXPECTED = 5.0  # the usual rule of thumb for the chi-squared and normal approximations
_FEW_OTHERS = 30  # expected in the smaller window beside the most frequent value
_FEW_ROWS, _MIN_EXPECTED_OF_FEW = 500, 10.0

_Indices = NDArray[np.int64]


class TestResult(NamedTuple):
    """A test statistic and its p-value under no difference; both `nan` if undefined."""

    statistic: float
    p_value: float


class GridDistance(NamedTuple):
    """Bounds of a Kolmogorov-Smirnov distance from a grid: from `value` to `value + bound`."""

    value: float
    bound: float


def ks_statistic(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """Exact two-sample Kolmogorov-Smirnov statistic, `sup |F - G|`; correct with ties.

    Branch and bound: the ranks at two probed values limit the difference between them. Only the
    cells whose limit exceeds the largest difference found so far are divided further, so most
    values are never visited.

    Args:
        reference: Sorted ascending, without nan; shape `(n,)`.
        current: Sorted ascending, without nan; shape `(m,)`.

    Returns:
        In [0, 1]; 0 for equal samples; `nan` if either is empty.

    References:
        Smirnov (1939), On the estimation of the discrepancy between empirical curves.
    """
    # probes are taken from the shorter sample
    a, b = (reference, current) if len(reference) <= len(current) else (current, reference)
    n, m = len(a), len(b)
    if n == 0:
        return math.nan
    probes = np.unique(np.linspace(0, n - 1, min(_N_PROBES, n)).astype(np.int64))
    a_left, a_right, b_left, b_right = _ranks(a, b, probes)
    best = _largest_gap(a_left, a_right, b_left, b_right, n, m)
    # an open cell holds the ranks [start, stop) of a and [b_start, b_stop) of b
    start, stop, b_start, b_stop = a_right[:-1], a_left[1:], b_right[:-1], b_left[1:]
    while True:
        limit = np.maximum(stop / n - b_start / m, b_stop / m - start / n)
        open_ = (stop > start) & (limit > best)
        if not open_.any():
            return best
        start, stop, b_start, b_stop = start[open_], stop[open_], b_start[open_], b_stop[open_]
        n_probes = np.minimum(stop - start, _FAN)
        cell = np.repeat(np.arange(len(start)), n_probes)
        # position of each probe within its own cell
        nth = np.arange(len(cell)) - np.repeat(np.cumsum(n_probes) - n_probes, n_probes)
        probes = start[cell] + (nth * (stop - start)[cell]) // n_probes[cell]
        a_left, a_right, b_left, b_right = _ranks(a, b, probes)
        best = max(best, _largest_gap(a_left, a_right, b_left, b_right, n, m))
        is_first = np.diff(cell, prepend=-1) > 0
        is_last = np.append(is_first[1:], True)
        # a new cell ends where the next probe of the same old cell begins, or at the old end
        next_a = np.where(is_last, stop[cell], np.append(a_left[1:], 0))
        next_b = np.where(is_last, b_stop[cell], np.append(b_left[1:], 0))
        start, stop = np.concatenate((start, a_right)), np.concatenate((a_left[is_first], next_a))
        b_start = np.concatenate((b_start, b_right))
        b_stop = np.concatenate((b_left[is_first], next_b))


def grid_ks_statistic(reference_counts: Counts, current_counts: Counts) -> GridDistance:
    """Bounds of the Kolmogorov-Smirnov distance of two windows counted into the same grid.

    At each edge both distribution functions are known exactly. Inside an open cell their difference
    is at most that between the value of one at the lower end and of the other at the upper end.

    Args:
        reference_counts: Counts of the reference, as `cell_counts` returns them; shape `(2k + 1,)`.
        current_counts: Counts of the current window in the same cells; shape `(2k + 1,)`.

    Returns:
        A lower bound of the exact distance, and how much larger the exact distance can be; both
        `nan` if either window is empty.
    """
    if reference_counts.sum() <= 0 or current_counts.sum() <= 0:
        return GridDistance(math.nan, math.nan)
    # a grid without edges has one cell, in which the windows can lie anywhere
    if len(reference_counts) == 1:
        return GridDistance(0.0, 1.0)
    f_below, f_up_to = cumulative_shares(reference_counts)
    g_below, g_up_to = cumulative_shares(current_counts)
    value = float(max(np.abs(f_below - g_below).max(), np.abs(f_up_to - g_up_to).max()))
    f_low, g_low = np.append(0.0, f_up_to), np.append(0.0, g_up_to)
    f_high, g_high = np.append(f_below, 1.0), np.append(g_below, 1.0)
    limit = np.maximum(f_high - g_low, g_high - f_low)
    return GridDistance(value, max(0.0, float(limit.max()) - value))


def ks_p_value(statistic: float, n: float, m: float, *, times: BridgeTimes = ALL_TIMES) -> float:
    """Asymptotic p-value of the two-sample Kolmogorov-Smirnov statistic.

    `P(K >= D * sqrt(n m / (n + m)))`, where `K` is the largest distance of a Brownian bridge from
    0, at the times that the ties leave. Of a value that nearly all rows have, in a small window few
    rows have any other: with fewer than 30 expected, it is at least the probability of dealing them
    out so unevenly.

    Args:
        statistic: The statistic `D`, in [0, 1].
        n: Rows of the first sample, or its effective sample size.
        m: Rows of the second sample, or its effective sample size.
        times: What `bridge_times` says of both samples together. By default that of samples without
            ties, with which the p-value of samples that have ties is too large.

    References:
        Arnold & Emerson (2011), Nonparametric goodness-of-fit tests for discrete null
        distributions, for what ties do.
    """
    p_value = largest_distance_sf(statistic * math.sqrt(n * m / (n + m)), times)
    if times.rest * min(n, m) >= _FEW_OTHERS:
        return p_value
    return max(p_value, _as_uneven(statistic, n, m, times))


def _as_uneven(statistic: float, n: float, m: float, times: BridgeTimes) -> float:
    """Probability that few rows with another value are dealt out so unevenly to two samples.

    Of two values that are all, the distance is the difference of their shares. Of several rare ones
    it can be as large as one of the shares; of very few rows that bound is taken.
    """
    few, many = sorted((round(n), round(m)))
    total = round(times.rest * (n + m))
    if not few or not total:
        return 0.0
    counts, pmf = _deals(total, many, few)
    shares = counts / few, (total - counts) / many
    are_two = len(times.lengths) == 2 and times.is_jump.all()  # noqa: PLR2004
    if are_two or times.rest * few >= _MIN_EXPECTED:
        distance = abs(shares[0] - shares[1])
    else:
        distance = np.maximum(*shares)
    return float(pmf[distance >= statistic * (1 - 1e-9)].sum())


def ks_effect(statistic: float, n: float, m: float, *, times: BridgeTimes = ALL_TIMES) -> float:
    """Estimated distance of the distributions of two samples, without what sampling adds to it.

    `sqrt(max(0, D^2 - E^2 (1 - D^2)))`, where `E` is the expectation of the statistic `D` without a
    difference: sampling adds to the squares, as an independent error does, and nothing where the
    samples do not overlap.

    Args:
        statistic: The statistic `D`, in [0, 1].
        n: Rows of the first sample, or its effective sample size.
        m: Rows of the second sample, or its effective sample size.
        times: As in `ks_p_value`.
    """
    by_chance = largest_distance_mean(times) * math.sqrt((n + m) / (n * m))
    return math.sqrt(max(0.0, statistic**2 - by_chance**2 * (1 - statistic**2)))


def cramer_von_mises_statistic(reference_counts: Counts, current_counts: Counts) -> float:
    """Cramér-von Mises distance: mean squared difference of the two distribution functions.

    `integral (F - G)^2 dH`, where `H` is the pooled distribution and both functions are taken at
    the upper end of each cell; exact if each distinct value has its own cell. Compared with the
    Kolmogorov-Smirnov distance, it gives more weight to moderate differences over a wide range.

    Args:
        reference_counts: Counts of the reference, as `cell_counts` returns them; shape `(c,)`.
        current_counts: Counts of the current window in the same cells; shape `(c,)`.

    Returns:
        In [0, 1/3 + 1/(6 N)] with `N = n + m`; multiplied by `n m / (n + m)` it is the test
        statistic `T`. `nan` if a window is empty.

    References:
        Anderson (1962), On the distribution of the two-sample Cramér-von Mises criterion.
    """
    n, m = float(reference_counts.sum()), float(current_counts.sum())
    if n <= 0 or m <= 0:
        return math.nan
    gaps = np.cumsum(reference_counts) / n - np.cumsum(current_counts) / m
    pooled = (reference_counts + current_counts) / (n + m)
    return float((pooled * gaps * gaps).sum())


def pool_small_cells(
    reference_counts: ArrayLike, current_counts: ArrayLike, *, n_rest: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pool all cells with a small expected count into one cell, in both windows.

    A cell is small if its expected count under equal distributions is below 5, the usual rule of
    thumb, in the smaller window; below 10 if that has fewer than 500 rows, as a test of so few is
    too often significant otherwise. This depends only on the pooled counts, so the choice does not
    bias the test.

    Args:
        reference_counts: Rows per cell; shape `(k,)`.
        current_counts: Rows per cell, the same cells; shape `(k,)`.
        n_rest: Number of cells at the end that are pooled whatever they hold. A cell of all names
            that the reference does not have would be chosen by the counts of one window: rare names
            that both windows draw by chance would lie there for one of them alone.

    Returns:
        Counts of the remaining cells of both windows, with the pooled cell last. Cells that are
        empty in both windows are removed. A pooled cell that is small beside two others or more has
        the smallest of them, too.
    """
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    together = reference + current
    total = together.sum()
    if total <= 0:
        return reference[:0], current[:0]
    fewest = min(reference.sum(), current.sum())
    least = _MIN_EXPECTED_OF_FEW if fewest < _FEW_ROWS else _MIN_EXPECTED
    small = together * (fewest / total) < least
    small[len(small) - n_rest :] = True
    pooled = reference[small].sum(), current[small].sum()
    if sum(pooled) <= 0:
        return reference[~small], current[~small]
    cells = np.append(reference[~small], pooled[0]), np.append(current[~small], pooled[1])
    together = cells[0] + cells[1]
    if len(together) < 3 or together[-1] * (fewest / total) >= least:  # noqa: PLR2004
        return cells
    # a pooled cell that is small itself is pooled with the smallest of the others
    other = int(together[:-1].argmin())
    for each in cells:
        each[-1] += each[other]
    return np.delete(cells[0], other), np.delete(cells[1], other)


def chi_squared_two_sample(reference_counts: ArrayLike, current_counts: ArrayLike) -> TestResult:
    """Chi-squared test of homogeneity of two windows over the same cells.

    `sum (O - E)^2 / E` over both windows, where `E` comes from the pooled proportions; `k - 1`
    degrees of freedom, of two cells as `two_proportion_test`. Small cells should be pooled first,
    see `pool_small_cells`.

    Args:
        reference_counts: Rows per cell; shape `(k,)`; may be scaled to an effective sample size.
        current_counts: Rows per cell, the same cells; shape `(k,)`; may be scaled likewise.

    Returns:
        The statistic and the p-value; both `nan` if fewer than two cells have rows or a window is
        empty.
    """
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    together = reference + current
    reference, current = reference[together > 0], current[together > 0]
    together = together[together > 0]
    n, m = reference.sum(), current.sum()
    if len(together) < 2 or n <= 0 or m <= 0:  # noqa: PLR2004 - a comparison needs two cells
        return TestResult(math.nan, math.nan)
    expected = together * (n / (n + m)), together * (m / (n + m))
    statistic = float(
        ((reference - expected[0]) ** 2 / expected[0]).sum()
        + ((current - expected[1]) ** 2 / expected[1]).sum()
    )
    if len(together) == 2:  # noqa: PLR2004 - the same test, exact where a cell is small
        return TestResult(
            statistic,
            two_proportion_test(float(reference[0]), float(n), float(current[0]), float(m)).p_value,
        )
    return TestResult(statistic, chi_squared_sf(statistic, degrees=len(together) - 1))


def two_proportion_test(count_a: float, n_a: float, count_b: float, n_b: float) -> TestResult:
    """Test for equal proportions in two samples: Fisher's exact test if small, else the score test.

    Args:
        count_a: Rows with the property in the first sample; in [0, n_a].
        n_a: Rows of the first sample, or its effective sample size.
        count_b: Rows with the property in the second sample; in [0, n_b].
        n_b: Rows of the second sample, or its effective sample size.

    Returns:
        The difference `b - a` divided by its standard error, and the two-sided p-value; both `nan`
        if a sample is empty or if no row, or every row, has the property.

    References:
        Fisher (1934), Statistical methods for research workers, section 21.02.
    """
    if n_a <= 0 or n_b <= 0:
        return TestResult(math.nan, math.nan)
    pooled = (count_a + count_b) / (n_a + n_b)
    if not 0 < pooled < 1:
        return TestResult(math.nan, math.nan)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    z = (count_b / n_b - count_a / n_a) / error
    # compared as counts, without division: counting rows with or without the property must lead to
    # the same test, also after rounding
    rarer = min(count_a + count_b, n_a + n_b - (count_a + count_b))
    if min(n_a, n_b) * rarer >= _MIN_EXPECTED * (n_a + n_b):
        return TestResult(z, 2 * normal_sf(abs(z)))
    return TestResult(z, _fisher_exact(round(count_a), round(n_a), round(count_b), round(n_b)))


def _ranks(
    a: NDArray[Any], b: NDArray[Any], probes: _Indices
) -> tuple[_Indices, _Indices, _Indices, _Indices]:
    values = a[probes]
    return (
        np.searchsorted(a, values, "left"),
        np.searchsorted(a, values, "right"),
        np.searchsorted(b, values, "left"),
        np.searchsorted(b, values, "right"),
    )


def _largest_gap(
    a_left: _Indices, a_right: _Indices, b_left: _Indices, b_right: _Indices, n: int, m: int
) -> float:
    return float(
        max(np.abs(a_left / n - b_left / m).max(), np.abs(a_right / n - b_right / m).max())
    )


def _fisher_exact(count_a: int, n_a: int, count_b: int, n_b: int) -> float:
    """Two-sided p-value: total probability of all tables at most as likely as the observed one."""
    counts, pmf = _deals(count_a + count_b, n_a, n_b)
    observed = pmf[count_b - int(counts[0])]
    # equally likely tables can differ by rounding
    return float(pmf[pmf <= observed * (1 + 1e-7)].sum())


def _deals(total: int, n_a: int, n_b: int) -> tuple[Floats, Floats]:
    """How many of some rows a sample gets that are dealt out to two, and how likely it is."""
    low, high = max(0, total - n_a), min(total, n_b)
    k = np.arange(low, high, dtype=np.float64)
    ratios = (total - k) * (n_b - k) / ((k + 1) * (n_a - total + k + 1))
    # from ratios of neighbouring tables; the common factor cancels in the quotient at the end
    log_pmf = np.concatenate(([0.0], np.cumsum(np.log(ratios))))
    pmf = np.exp(log_pmf - log_pmf.max())
    return np.append(k, high), pmf / pmf.sum()
