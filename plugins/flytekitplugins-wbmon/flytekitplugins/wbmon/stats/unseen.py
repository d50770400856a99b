"""Tests for categories that the reference does not have.

A window of a distribution with a long tail always has some: how many, the rare categories of the
reference say.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.tail_probabilities import normal_sf


class UnseenMass(NamedTuple):
    """How much of a window is new beyond what the reference lets expect; `nan` if undefined.

    Attributes:
        n_new: Rows of the current window in new categories.
        p_value: One-sided p-value.
        effect: Share of the current window that is new beyond the expectation, in [0, 1].
        error: Standard error of that share.
    """

    n_new: float
    p_value: float
    effect: float
    error: float


def unseen_category_test(
    reference_counts: ArrayLike, current_counts: ArrayLike
) -> tuple[float, float, float]:
    """Test whether the current window has more rows in new categories than chance explains.

    A category is new if the reference has no row of it. Rare categories can be missing from the
    reference by chance. If the rows were assigned to the windows at random, all `t` rows of a
    category would fall into the current window with probability about `(m / (n + m)) ^ t`. The
    p-value is Chernoff's upper bound for the probability of at least the observed number of rows in
    new categories, so the test is conservative.

    If several values of a row share its weight, as the elements of a list do, a category of the
    weight `w` has `t >= max(1, w)` rows, which other values share. By Finner's inequality the bound
    holds with the share `w / t` of a category that has `t` rows for itself, if all rows have as
    many values; it grows as `t` falls, so the least `t` is taken.

    Args:
        reference_counts: Rows per category, or weights of at most 1 a row; shape `(k,)`.
        current_counts: The same of the same categories; shape `(k,)`.

    Returns:
        The number of rows of the current window in new categories; the p-value; and the share of
        the current window that is new beyond the expectation, in [0, 1]. All `nan` if a window is
        empty.

    References:
        Chernoff (1952), A measure of asymptotic efficiency; Dubhashi & Ranjan (1998), Balls and
        bins: a study in negative dependence; Finner (1992), A generalization of Hölder's inequality
        and some probability inequalities.
    """
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    n, m = reference.sum(), current.sum()
    if n <= 0 or m <= 0:
        return math.nan, math.nan, math.nan
    n_new = float(current[reference == 0].sum())
    together = reference + current
    # rounded to hundredths, so that sums of thirds which are equal stay so
    rounded: Floats = np.round(np.maximum(together, 1.0), 2).astype(np.float64)
    sizes, of_size = np.unique(rounded, return_inverse=True)
    n_categories = np.bincount(of_size.reshape(-1), weights=np.minimum(together, 1.0)).astype(float)
    chance = (m / (n + m)) ** sizes
    expected = float((n_categories * chance * sizes).sum())
    if n_new <= expected:
        return n_new, 1.0, 0.0
    p_value = math.exp(_chernoff_exponent(n_new, sizes, chance, n_categories))
    return n_new, p_value, (n_new - expected) / float(m)


def unseen_mass_test(
    reference_counts: ArrayLike, current_counts: ArrayLike, reference_rows: ArrayLike | None = None
) -> UnseenMass:
    """Test as `unseen_category_test`, where rows of new categories are known and names are not.

    The share of all rows whose category the reference does not have is about `N1 / n` (Good and
    Turing), where `N1` rows of the reference are the only ones of their category. Its difference
    from the share of the current window that is new is approximately normal, with the variance
    `s (1 - s) (1 / n + 1 / m) + 2 N2 / n^2`: `s` is the pooled share, `N2` the number of categories
    with two rows.

    Args:
        reference_counts: Rows per category, or weights of at most 1 a row; shape `(k,)`. Categories
            of a weight up to 1 may be of one row, and count as if they were.
        current_counts: The same of the same categories, of which one may stand for several that the
            reference does not have; shape `(k,)`.
        reference_rows: Number of rows per category where the counts are of weighted rows, of which
            one can weigh more than 1; shape `(k,)`.

    Returns:
        The rows that are new, and what they say; all `nan` if a window is empty.

    References:
        Good (1953), The population frequencies of species and the estimation of population
        parameters; Esty (1983), A normal limit law for a nonparametric estimator of the coverage of
        a random sample.
    """
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    n, m = float(reference.sum()), float(current.sum())
    if n <= 0 or m <= 0:
        return UnseenMass(math.nan, math.nan, math.nan, math.nan)
    n_new = float(current[reference == 0].sum())
    rows = np.ceil(reference) if reference_rows is None else np.asarray(reference_rows)
    is_once = (rows <= 1) | (reference <= 1)
    once = float(reference[is_once].sum())
    twice = float(reference[~is_once & (rows <= 2)].sum())  # noqa: PLR2004 - two rows
    pooled = (once + n_new) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m) + twice / n**2)
    more = n_new / m - once / n
    p_value = normal_sf(more / error) if error > 0 else 1.0
    return UnseenMass(n_new, p_value, max(0.0, more), error)


def _chernoff_exponent(
    observed: float, sizes: NDArray[np.float64], chance: NDArray[np.float64], n: NDArray[np.float64]
) -> float:
    """Minimum over `s >= 0` of `log E exp(s X) - s x`, by ternary search, as it is convex in `s`.

    Any `s` gives a valid bound, so a search that ends early is conservative, not wrong.

    Args:
        observed: The observed value `x`.
        sizes: Rows per category, one entry for each distinct size; shape `(k,)`.
        chance: Probability that a category of this size is new; shape `(k,)`.
        n: Number of categories of each size, which need not be whole; shape `(k,)`.
    """

    def exponent(s: float) -> float:
        with np.errstate(divide="ignore"):
            # log of 1 - chance + chance * exp(s * size), without overflow for large sizes
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
