"""Comparison of one feature in two windows: tests and distances, without a verdict.

Both paths of the drift check use it. Profiles contain counts in a shared layout, from which every
statistic is computed, the Kolmogorov-Smirnov distance with an error bound. The exact path adds the
distances that need the sorted values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from flytekitplugins.wbmon.monitor.drift.distances import (
    ExactDistances,
    bin_distances,
    number_distances,
    ratio_of_spreads,
    sample_factor,
    scaled_counts,
    shift_of_mean,
)
from flytekitplugins.wbmon.monitor.drift.identifiers import looks_like_identifier
from flytekitplugins.wbmon.monitor.drift.report import Check, DriftRule, Shift, Status
from flytekitplugins.wbmon.monitor.profiles.feature import UNSEEN_LIMIT, FeatureProfile
from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.divergence import total_variation, total_variation_bias
from flytekitplugins.wbmon.stats.interval import (
    ks_margin,
    newcombe_interval,
    total_variation_margin,
)
from flytekitplugins.wbmon.stats.projections import N_DIRECTIONS, sliced_ks_statistic
from flytekitplugins.wbmon.stats.two_sample import (
    chi_squared_two_sample,
    grid_ks_statistic,
    ks_p_value,
    pool_small_cells,
    two_proportion_test,
    unseen_category_test,
)

_TESTED = ("float", "integer", "boolean", "categorical", "vector")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Results of the tests of one feature.

    Verdicts are made later, because the correction for multiple testing needs all features.

    Attributes:
        reference: The feature in the reference window.
        current: The feature in the current window.
        status: Whether the feature could be tested, and why not.
        checks: The tests that were done, still without q-value and level.
        bound: Largest error of the Kolmogorov-Smirnov distance due to the grid; 0 if it is exact.
        distances: Distances by name, for explanation only.
        mean_shift: Difference of the means; None for features without a mean.
        spread_ratio: Ratio of the standard deviations; None for features without one.
        new_categories: Names outside the table that the profile of the current window lists and
            that of the reference does not, most frequent first. The list of the reference is
            complete only below `UNSEEN_LIMIT` names.
        vanished_categories: Names of the table that have rows only in the reference.
    """

    reference: FeatureProfile
    current: FeatureProfile
    status: Status
    checks: tuple[Check, ...] = ()
    bound: float = 0.0
    distances: dict[str, float] = field(default_factory=dict)
    mean_shift: Shift | None = None
    spread_ratio: Shift | None = None
    new_categories: tuple[str, ...] = ()
    vanished_categories: tuple[str, ...] = ()


def compare_feature(
    reference: FeatureProfile,
    current: FeatureProfile,
    rule: DriftRule,
    exact: ExactDistances | None = None,
) -> Comparison:
    """Do every check that the data of the two windows allow.

    Args:
        reference: The feature in the reference window.
        current: The feature in the current window, counted into the layout of the reference.
        rule: Gives the number of rows that a check needs and the level of the confidence bounds.
        exact: Distances computed from the sorted values; None if only counts are available.
    """
    status = _status(reference, current, rule)
    if status in ("missing_column", "new_column", "type_changed"):
        return Comparison(reference=reference, current=current, status=status)
    checks = _rate_checks(reference, current, rule)
    if status != "ok":
        return Comparison(reference=reference, current=current, status=status, checks=tuple(checks))
    if reference.kind == "vector":
        return _compare_vectors(reference, current, rule, checks)
    if reference.edges is not None:
        check, bound = _number_check(reference, current, rule, exact)
        distances = number_distances(reference, current, exact)
        return Comparison(
            reference=reference,
            current=current,
            status=status,
            checks=(check, *checks),
            bound=bound,
            distances=distances,
            mean_shift=shift_of_mean(reference, current, rule),
            spread_ratio=ratio_of_spreads(reference, current, rule),
        )
    return _compare_categories(reference, current, rule, checks)


def _status(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule) -> Status:
    if current.status != "ok":
        return current.status
    if min(reference.n_rows, current.n_rows) < 1:
        return "insufficient"
    if reference.n_missing == reference.n_rows or current.n_missing == current.n_rows:
        return "all_missing"
    # kinds without cells (timestamps, identifiers): only their missing rate is tested
    if reference.counts is None or current.counts is None or reference.kind not in _TESTED:
        return "ok" if _enough_rows(reference, current, rule) else "insufficient"
    return _status_of_values(reference, current, rule)


def _status_of_values(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> Status:
    if min(reference.effective_values, current.effective_values) < rule.min_rows:
        return "insufficient"
    if _same_constant(reference, current):
        return "constant"
    if (
        # named in the rule: the user wants it tested, whatever it looks like
        reference.name not in rule.features
        and looks_like_identifier(reference)
        and looks_like_identifier(current)
    ):
        return "identifier"
    return "ok"


def _same_constant(reference: FeatureProfile, current: FeatureProfile) -> bool:
    if reference.kind == "vector":
        return False
    if reference.edges is not None:
        ends = (reference.minimum, reference.maximum, current.minimum, current.maximum)
        return len(set(ends)) == 1
    together = np.asarray(reference.counts) + np.asarray(current.counts)
    # the last cell is for all other categories, which may be different ones
    return int((together > 0).sum()) == 1 and together[-1] == 0


def _enough_rows(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule) -> bool:
    return min(reference.effective_rows, current.effective_rows) >= rule.min_rows


def _rate_checks(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> list[Check]:
    """Tests of the rates of missing and of infinite values."""
    if not _enough_rows(reference, current, rule):
        return []
    rates = (
        ("missing_rate", reference.missing_share, current.missing_share),
        ("infinite_rate", reference.infinite_share, current.infinite_share),
    )
    n, m = reference.effective_rows, current.effective_rows
    checks = [_rate_check(name, a, n, b, m, rule) for name, a, b in rates]
    return [check for check in checks if check is not None]


def _rate_check(
    name: str, reference: float, n: float, current: float, m: float, rule: DriftRule
) -> Check | None:
    """Test of one rate; None if no row, or every row, of both windows has the property.

    Such a pair cannot differ, and one check fewer in the family leaves more power to the others.
    """
    result = two_proportion_test(reference * n, n, current * m, m)
    if math.isnan(result.p_value):
        return None
    low, high = newcombe_interval(reference * n, n, current * m, m, alpha=rule.alpha)
    return Check(
        name=name,
        test="two_proportion",
        statistic=result.statistic,
        p_value=result.p_value,
        effect_size=abs(current - reference),
        # the end of the interval that is nearer to 0; 0 if the interval contains it
        effect_low=max(0.0, low, -high),
    )


def _number_check(
    reference: FeatureProfile,
    current: FeatureProfile,
    rule: DriftRule,
    exact: ExactDistances | None,
) -> tuple[Check, float]:
    n, m = reference.effective_values, current.effective_values
    grid = grid_ks_statistic(np.asarray(reference.counts), np.asarray(current.counts))
    # of a grid the lower bound of the distance is tested, so the p-value can only be too large
    statistic, bound = (grid.value, grid.bound) if exact is None else (exact.ks, 0.0)
    check = Check(
        name="distribution",
        test="ks",
        statistic=statistic,
        p_value=ks_p_value(statistic, n, m),
        effect_size=statistic,
        effect_low=max(0.0, statistic - ks_margin(n, m, alpha=rule.alpha)),
    )
    return check, bound


def _compare_vectors(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule, checks: list[Check]
) -> Comparison:
    """Compare vectors by the largest distance over all directions.

    Each direction is a test, and the Bonferroni correction makes the p-value and the lower bound
    valid for the largest of them.
    """
    n, m = reference.effective_values, current.effective_values
    distance = sliced_ks_statistic(np.asarray(reference.counts), np.asarray(current.counts))
    check = Check(
        name="distribution",
        test="sliced_ks",
        statistic=distance.value,
        p_value=min(1.0, N_DIRECTIONS * ks_p_value(distance.value, n, m)),
        effect_size=distance.value,
        effect_low=max(0.0, distance.value - ks_margin(n, m, alpha=rule.alpha / N_DIRECTIONS)),
    )
    return Comparison(
        reference=reference,
        current=current,
        status="ok",
        checks=(check, *checks),
        bound=distance.bound,
    )


def _compare_categories(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule, checks: list[Check]
) -> Comparison:
    if reference.counts is None or current.counts is None:
        return Comparison(reference=reference, current=current, status="ok", checks=tuple(checks))
    a, b = _category_counts(reference, current)
    distribution = _category_check(a, b, rule)
    # if the reference has rows outside its table, a category outside it need not be new
    unseen = None if reference.counts[-1] else _unseen_check(a, b, rule)
    asked = [check for check in (distribution, unseen) if check is not None]
    return Comparison(
        reference=reference,
        current=current,
        status="ok",
        checks=(*asked, *checks),
        distances=bin_distances(a, b),
        new_categories=tuple(
            sorted(set(current.unseen) - set(reference.unseen), key=lambda c: -current.unseen[c])
        ),
        vanished_categories=tuple(
            name
            for name, before, now in zip(
                reference.categories, reference.counts, current.counts, strict=False
            )
            if before > 0 and now == 0
        ),
    )


def _category_check(a: Floats, b: Floats, rule: DriftRule) -> Check | None:
    # the chi-squared distribution is a poor approximation for small expected counts
    cells = pool_small_cells(a, b)
    result = chi_squared_two_sample(*cells)
    if math.isnan(result.p_value):
        return None
    # effective sample sizes, because the counts are scaled to them
    n, m = float(a.sum()), float(b.sum())
    bias = total_variation_bias(*cells, n=n, m=m)
    # with many categories, sampling alone gives a large total variation
    effect = max(0.0, total_variation(*cells) - bias)
    return Check(
        name="distribution",
        test="chi_squared",
        statistic=result.statistic,
        p_value=result.p_value,
        effect_size=effect,
        effect_low=max(0.0, effect - total_variation_margin(n, m, alpha=rule.alpha)),
    )


def _unseen_check(a: Floats, b: Floats, rule: DriftRule) -> Check | None:
    n_new, p_value, effect = unseen_category_test(a, b)
    if not n_new:
        return None
    # Hoeffding's one-sided bound for a share of the current window
    margin = math.sqrt(math.log(1 / rule.alpha) / 2 / float(b.sum()))
    return Check(
        name="new_categories",
        test="unseen",
        statistic=n_new,
        p_value=p_value,
        effect_size=effect,
        effect_low=max(0.0, effect - margin),
    )


def _category_counts(reference: FeatureProfile, current: FeatureProfile) -> tuple[Floats, Floats]:
    """Counts of both windows over the same categories: the table, then the names outside it.

    If a window has reached the limit of remembered names outside the table, its list of them is
    incomplete, and all rows outside the table stay one category.
    """
    a, b = scaled_counts(reference), scaled_counts(current)
    if max(len(reference.unseen), len(current.unseen)) >= UNSEEN_LIMIT:
        return a, b
    outside = list(dict.fromkeys([*reference.unseen, *current.unseen]))
    more_a = sample_factor(reference) * np.array(
        [reference.unseen.get(name, 0.0) for name in outside]
    )
    more_b = sample_factor(current) * np.array([current.unseen.get(name, 0.0) for name in outside])
    return np.append(a[:-1], more_a), np.append(b[:-1], more_b)
