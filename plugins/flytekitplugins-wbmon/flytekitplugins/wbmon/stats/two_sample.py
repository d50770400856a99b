"""Could two windows be samples of one and the same distribution? One test a kind of data.

Both windows are samples, so both carry noise. Treating the reference as the truth, as a goodness of
fit test does, doubles the statistic for windows of equal size and alarms on nothing.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flytekitplugins.wbmon.stats.arrays import Counts
from flytekitplugins.wbmon.stats.binning import cumulative_shares
from flytekitplugins.wbmon.stats.tail_probabilities import chi_squared_sf, kolmogorov_sf, normal_sf

_N_PROBES = 2048
_FAN = 8
_MIN_EXPECTED = 5.0

_Indices = NDArray[np.int64]


class TestResult(NamedTuple):
    """A statistic and its two-sided p-value under no difference; `nan` where undefined."""

    statistic: float
    p_value: float


class GridDistance(NamedTuple):
    """The Kolmogorov-Smirnov distance as a grid knows it: between `value` and `value + bound`."""

    value: float
    bound: float


def ks_statistic(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """Greatest difference of the two empirical distribution functions, exactly.

    `sup |F - G|`, ties included, by branch and bound: between two probes no difference can exceed
    what the ranks at the probes allow, so most values are never looked at.

    Args:
        reference: Sorted ascending, without nan; shape `(n,)`.
        current: Sorted ascending, without nan; shape `(m,)`.

    Returns:
        In [0, 1]; 0 for equal samples; `nan` if either is empty.

    References:
        Smirnov (1939), On the estimation of the discrepancy between empirical curves.
    """
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
        nth = np.arange(len(cell)) - np.repeat(np.cumsum(n_probes) - n_probes, n_probes)
        probes = start[cell] + (nth * (stop - start)[cell]) // n_probes[cell]
        a_left, a_right, b_left, b_right = _ranks(a, b, probes)
        best = max(best, _largest_gap(a_left, a_right, b_left, b_right, n, m))
        is_first = np.diff(cell, prepend=-1) > 0
        is_last = np.append(is_first[1:], True)
        next_a = np.where(is_last, stop[cell], np.append(a_left[1:], 0))
        next_b = np.where(is_last, b_stop[cell], np.append(b_left[1:], 0))
        start, stop = np.concatenate((start, a_right)), np.concatenate((a_left[is_first], next_a))
        b_start = np.concatenate((b_start, b_right))
        b_stop = np.concatenate((b_left[is_first], next_b))


def grid_ks_statistic(reference_counts: Counts, current_counts: Counts) -> GridDistance:
    """Kolmogorov-Smirnov distance of two windows counted into the same grid.

    At every edge both distribution functions are known exactly; inside an open cell they can differ
    by no more than from the lower corner of one to the upper corner of the other.

    Args:
        reference_counts: As of `cell_counts`; shape `(2k + 1,)`.
        current_counts: The same cells; shape `(2k + 1,)`.

    Returns:
        A distance that the exact one is not below, and how far above it the exact one may be.
        `nan` if either window is empty.
    """
    if reference_counts.sum() <= 0 or current_counts.sum() <= 0:
        return GridDistance(math.nan, math.nan)
    if len(reference_counts) == 1:
        return GridDistance(0.0, 1.0)
    f_below, f_up_to = cumulative_shares(reference_counts)
    g_below, g_up_to = cumulative_shares(current_counts)
    value = float(max(np.abs(f_below - g_below).max(), np.abs(f_up_to - g_up_to).max()))
    f_low, g_low = np.append(0.0, f_up_to), np.append(0.0, g_up_to)
    f_high, g_high = np.append(f_below, 1.0), np.append(g_below, 1.0)
    # a cell that only one window reaches adds nothing beyond its corners
    shared = (f_high > f_low) & (g_high > g_low)
    limit = np.where(shared, np.maximum(f_high - g_low, g_high - f_low), 0.0)
    return GridDistance(value, max(0.0, float(limit.max()) - value))


def ks_p_value(statistic: float, n: float, m: float) -> float:
    """Asymptotic two-sided p-value of the two-sample KS statistic; conservative with ties.

    `P(K > D * sqrt(n m / (n + m)))`; `n` and `m` may be effective sample sizes.
    """
    return kolmogorov_sf(statistic * math.sqrt(n * m / (n + m)))


def cramer_von_mises_statistic(reference_counts: Counts, current_counts: Counts) -> float:
    """Mean squared difference of the two distribution functions, over the rows of both windows.

    `sum (F - G)^2 dH`, `H` the pooled distribution, with both functions taken at the upper end of
    each cell: exact where every value has a cell of its own. It weighs a moderate difference over a
    wide range more than the Kolmogorov-Smirnov distance does.

    Args:
        reference_counts: As of `cell_counts`; shape `(c,)`.
        current_counts: The same cells; shape `(c,)`.

    Returns:
        In [0, 1/3 + 1/(6 N)]; times `n m / (n + m)` it is the test statistic `T`; `nan` if a window
        is empty.

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
    reference_counts: ArrayLike, current_counts: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both windows with every cell of a small expected count put into one.

    A cell is small if, with the two windows alike, either would hold fewer than five rows, the
    usual rule of thumb. The choice looks at both windows together only, so it favours neither.

    Args:
        reference_counts: Rows per cell; shape `(k,)`.
        current_counts: The same cells; shape `(k,)`.

    Returns:
        Counts of the cells that are left, the pool last; cells empty in both windows are gone.
    """
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    together = reference + current
    total = together.sum()
    if total <= 0:
        return reference[:0], current[:0]
    smaller = min(reference.sum(), current.sum()) / total
    small = together * smaller < _MIN_EXPECTED
    pooled = np.array([reference[small].sum()]), np.array([current[small].sum()])
    if pooled[0][0] + pooled[1][0] <= 0:
        return reference[~small], current[~small]
    return (
        np.concatenate((reference[~small], pooled[0])),
        np.concatenate((current[~small], pooled[1])),
    )


def chi_squared_two_sample(reference_counts: ArrayLike, current_counts: ArrayLike) -> TestResult:
    """Chi-squared test of homogeneity of two windows over the same cells.

    `sum (O - E)^2 / E` over both windows, `E` from the pooled proportions; `k - 1` degrees of
    freedom. Pool small cells first.

    Args:
        reference_counts: Rows per cell; shape `(k,)`; may be scaled to an effective size.
        current_counts: The same cells; shape `(k,)`.

    Returns:
        `nan` for both numbers if fewer than two cells hold rows or a window is empty.
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
    return TestResult(statistic, chi_squared_sf(statistic, degrees=len(together) - 1))


def two_proportion_test(count_a: float, n_a: float, count_b: float, n_b: float) -> TestResult:
    """Do two samples have the same proportion? Fisher's exact test if small, else the score test.

    Args:
        count_a: Rows with the property in the first sample; in [0, n_a].
        n_a: Rows of the first sample, or its effective size.
        count_b: Rows with the property in the second sample; in [0, n_b].
        n_b: Rows of the second sample, likewise.

    Returns:
        The difference `b - a` in units of its standard error, and the p-value; `nan` for both if a
        sample is empty or no row, or every row, has the property.

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
    # in counts, which are exact: which of the two sides is counted must not choose the test
    rarer = min(count_a + count_b, n_a + n_b - (count_a + count_b))
    if min(n_a, n_b) * rarer >= _MIN_EXPECTED * (n_a + n_b):
        return TestResult(z, min(1.0, 2 * normal_sf(abs(z))))
    return TestResult(z, _fisher_exact(round(count_a), round(n_a), round(count_b), round(n_b)))


def unseen_category_test(
    reference_counts: ArrayLike, current_counts: ArrayLike
) -> tuple[float, float, float]:
    """Do more rows carry categories that the reference never showed than chance explains?

    Rare categories that a sample happened to miss are new in the next window without any drift. If
    rows were dealt to the windows at random, a category of `t` rows would land in the current
    window altogether with probability `(m / (n + m)) ^ t`. The p-value bounds the chance that at
    least the observed number of rows is new in this way (Chernoff's bound, so it never claims too
    much).

    Args:
        reference_counts: Rows per category; shape `(k,)`.
        current_counts: The same categories; shape `(k,)`.

    Returns:
        Rows of the current window in new categories; the p-value; and the share of the current
        window that is new beyond expectation, in [0, 1]. `nan` for all if a window is empty.

    References:
        Chernoff (1952), A measure of asymptotic efficiency; Dubhashi & Ranjan (1998), Balls and
        bins: a study in negative dependence.
    """
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    n, m = reference.sum(), current.sum()
    if n <= 0 or m <= 0:
        return math.nan, math.nan, math.nan
    n_new = float(current[reference == 0].sum())
    sizes, n_categories = np.unique(np.round(reference + current), return_counts=True)
    sizes, n_categories = sizes[sizes > 0], n_categories[sizes > 0]
    chance = (m / (n + m)) ** sizes
    expected = float((n_categories * chance * sizes).sum())
    if n_new <= expected:
        return n_new, 1.0, 0.0
    p_value = math.exp(_chernoff_exponent(n_new, sizes, chance, n_categories))
    return n_new, min(1.0, p_value), (n_new - expected) / float(m)


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
    """Two-sided: the probability of all tables that are no likelier than this one."""
    if n_b > n_a:
        count_a, n_a, count_b, n_b = count_b, n_b, count_a, n_a
    total = count_a + count_b
    if 2 * total > n_a + n_b:
        count_a, count_b, total = n_a - count_a, n_b - count_b, n_a + n_b - total
    low, high = max(0, total - n_a), min(total, n_b)
    k = np.arange(low, high, dtype=np.float64)
    ratios = (total - k) * (n_b - k) / ((k + 1) * (n_a - total + k + 1))
    log_pmf = np.concatenate(([0.0], np.cumsum(np.log(ratios))))
    pmf = np.exp(log_pmf - log_pmf.max())
    observed = pmf[count_b - low]
    return float(pmf[pmf <= observed * (1 + 1e-7)].sum() / pmf.sum())


def _chernoff_exponent(
    observed: float, sizes: NDArray[np.float64], chance: NDArray[np.float64], n: NDArray[np.int64]
) -> float:
    """Least over `s >= 0` of `log E exp(s X) - s x`, convex in `s`, by ternary search."""

    def exponent(s: float) -> float:
        with np.errstate(divide="ignore"):
            terms = np.logaddexp(np.log1p(-chance), np.log(chance) + s * sizes)
        return float((n * terms).sum()) - s * observed

    low, high = 0.0, 64.0
    for _ in range(80):
        third = (high - low) / 3
        if exponent(low + third) <= exponent(high - third):
            high -= third
        else:
            low += third
    return min(0.0, exponent((low + high) / 2))
