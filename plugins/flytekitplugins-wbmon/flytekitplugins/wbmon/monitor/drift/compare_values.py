"""Comparison of the values of one feature in two windows: a test for each kind of column.

Profiles contain counts in a shared layout, from which every statistic is computed, the
Kolmogorov-Smirnov distance with an error bound. The exact path of the drift check adds the
distances that need the sorted values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flytekitplugins.wbmon.monitor.drift.collapse import collapse_check
from flytekitplugins.wbmon.monitor.drift.comparison import Comparison
from flytekitplugins.wbmon.monitor.drift.distances import (
    ExactDistances,
    bin_distances,
    number_distances,
    ratio_of_spreads,
    scaled_counts,
    shift_of_mean,
)
from flytekitplugins.wbmon.monitor.drift.novelty import (
    are_all_named,
    category_counts,
    new_categories,
    new_categories_check,
    new_identifiers_check,
    unseen_mass_check,
)
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.shares import rate_check, shares_check
from flytekitplugins.wbmon.monitor.drift.tails import tails_check
from flytekitplugins.wbmon.monitor.drift.uncounted import uncounted_check
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.bridge import bridge_times
from flytekitplugins.wbmon.stats.distinct import repeated_share
from flytekitplugins.wbmon.stats.interval import ks_margin
from flytekitplugins.wbmon.stats.projections import SLICE_CELLS
from flytekitplugins.wbmon.stats.repeats import repeats_test
from flytekitplugins.wbmon.stats.sliced_ks import sliced_ks_test
from flytekitplugins.wbmon.stats.two_sample import (
    grid_ks_statistic,
    ks_effect,
    ks_p_value,
)
from flytekitplugins.wbmon.stats.unseen import unseen_category_test

_ROWS_A_VALUE = 10  # rows of the reference for each of its values, if they may be codes


def compare_values(found: Comparison, rule: DriftRule, exact: ExactDistances | None) -> Comparison:
    """The comparison with the checks that the values of a feature allow, facets aside.

    Args:
        found: The feature in both windows.
        rule: Gives the level of the confidence bounds.
        exact: Distances computed from the sorted values; None if only counts are available.
    """
    kind = found.reference.kind
    if found.reference.counts is None or found.current.counts is None:
        return _compare_distinct(found, rule)
    if kind == "vector":
        return _compare_vectors(found, rule)
    if kind == "time":
        return _compare_times(found, rule)
    if found.reference.edges is None:
        return _compare_categories(found, rule)
    return _compare_numbers(found, rule, exact)


def _compare_numbers(
    found: Comparison, rule: DriftRule, exact: ExactDistances | None
) -> Comparison:
    reference, current = found.reference, found.current
    n, m = reference.effective_values, current.effective_values
    grid = grid_ks_statistic(np.asarray(reference.counts), np.asarray(current.counts))
    # of a grid the lower bound of the distance is tested, so the p-value can only be too large
    statistic, bound = (grid.value, grid.bound) if exact is None else (exact.ks, 0.0)
    # ties are known from the grid, in which a value of many rows has a cell of its own
    times = bridge_times(scaled_counts(reference) + scaled_counts(current))
    check = Check(
        name="distribution",
        test="ks",
        statistic=statistic,
        p_value=ks_p_value(statistic, n, m, times=times),
        effect_size=ks_effect(statistic, n, m, times=times),
        effect_low=max(0.0, statistic - ks_margin(n, m, alpha=rule.alpha)),
    )
    others = (_new_values_check(reference, current, rule), tails_check(reference, current, rule))
    return replace(
        found,
        checks=(check, *(other for other in others if other is not None)),
        bound=bound,
        distances=number_distances(reference, current, exact),
        mean_shift=shift_of_mean(reference, current, rule),
        spread_ratio=ratio_of_spreads(reference, current, rule),
    )


def _new_values_check(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> Check | None:
    """Test for whole numbers that the reference does not have, where it has few different ones.

    They may be codes, whose order means nothing, and then replacing each by its neighbour is no
    small change. None if no row has a new one, or if the reference has many.
    """
    edges = np.asarray(reference.edges)
    if len(edges) * _ROWS_A_VALUE > reference.effective_values or (edges != np.floor(edges)).any():
        return None
    a, b = scaled_counts(reference), scaled_counts(current)
    # a grid that was learned from a sample lacks values that the reference has
    if a[0::2].any() or not b[0::2].any():
        return None
    new = b[0::2].sum()
    found = unseen_mass_check(np.append(a[1::2], 0), np.append(b[1::2], new), rule, "new_values")
    # which rows share a new value is not known; as if each had its own, the test is conservative
    n_new = max(1, round(new))
    of_each = np.zeros(n_new), np.full(n_new, new / n_new)
    counts = (
        np.append(known, more) for known, more in zip((a[1::2], b[1::2]), of_each, strict=True)
    )
    return replace(found, p_value=unseen_category_test(*counts)[1])


def _compare_times(found: Comparison, rule: DriftRule) -> Comparison:
    """Tests for times before the first of the reference, and for one time in many rows.

    Time goes on, so later ones are no finding; their distribution is not compared, only its facets.
    """
    a, b = scaled_counts(found.reference), scaled_counts(found.current)
    checks = (
        rate_check("earlier", a[0] / a.sum(), a.sum(), b[0] / b.sum(), b.sum(), rule),
        collapse_check(found.reference, found.current, rule),
    )
    return replace(found, checks=tuple(check for check in checks if check is not None))


def _compare_distinct(found: Comparison, rule: DriftRule) -> Comparison:
    """Test for values that more rows share than in the reference."""
    before, now = found.reference.sketch, found.current.sketch
    if before is None or now is None:
        return found
    result = repeats_test(before, now, alpha=rule.alpha)
    # order lines repeat an order within a few rows, and drawing fewer rows misses that: a share
    # that is no larger than the one of the reference is not more
    more = max(0.0, repeated_share(now) - repeated_share(before))
    check = Check(
        name="repeats",
        test="rarefaction",
        statistic=result.effect,
        p_value=result.p_value,
        effect_size=min(result.effect, more),
        effect_low=min(result.lower, more),
    )
    new = new_identifiers_check(found.reference, found.current, rule)
    # where identifiers come and go, the buckets that they are in say nothing
    other = uncounted_check(found.reference, found.current, rule) if new is None else new
    return replace(found, checks=(check,) if other is None else (check, other))


def _compare_vectors(found: Comparison, rule: DriftRule) -> Comparison:
    """Compare vectors by the slice that tells most: a direction, or the length.

    Each slice is a test, and the Bonferroni correction makes the p-value and the lower bound valid
    for the one that tells most.
    """
    a, b = map(_scaled_slices, (found.reference, found.current))
    test = sliced_ks_test(a, b, alpha=rule.alpha)
    check = Check(
        name="distribution",
        test="sliced_ks",
        statistic=test.value,
        p_value=test.p_value,
        effect_size=ks_effect(
            test.value, found.reference.effective_values, found.current.effective_values
        ),
        effect_low=test.low,
    )
    return replace(found, checks=(check,), bound=test.bound)


def _scaled_slices(feature: FeatureProfile) -> Floats:
    """Counts of slices, scaled so that the first, of all vectors, sums to their effective number.

    Cells count vectors, whatever their weights.
    """
    counts = np.asarray(feature.counts, dtype=np.float64)
    return np.asarray(counts * feature.effective_values / counts[:SLICE_CELLS].sum())


def _compare_categories(found: Comparison, rule: DriftRule) -> Comparison:
    reference, current = found.reference, found.current
    a, b = category_counts(reference, current)
    n_rest = 0 if are_all_named(reference, current) else 1
    replaced = new_identifiers_check(reference, current, rule)
    checks: tuple[Check | None, ...] = (replaced,)
    if replaced is None:
        checks = (
            shares_check("distribution", a, b, rule, n_rest=n_rest),
            new_categories_check(reference, current, rule),
            uncounted_check(reference, current, rule),
        )
    return replace(
        found,
        checks=tuple(check for check in checks if check is not None),
        distances=bin_distances(a, b),
        new_categories=new_categories(reference, current),
        vanished_categories=tuple(
            name
            for name, before, now in zip(
                reference.categories,
                np.asarray(reference.counts),
                np.asarray(current.counts),
                strict=False,
            )
            if before > 0 and now == 0
        ),
    )
