"""The tests of one feature against scipy and formulas, and their limits, on counts made by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from flytekitplugins.wbmon.monitor.drift.compare_feature import compare_feature
from flytekitplugins.wbmon.monitor.drift.comparison import Comparison
from flytekitplugins.wbmon.monitor.drift.distances import ExactDistances
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.feature import (
    UNSEEN_LIMIT,
    FeatureProfile,
    WeightSums,
    name_hash,
)
from flytekitplugins.wbmon.stats.unseen import unseen_category_test

ALPHA = 0.02
RULE = DriftRule(alpha=ALPHA, min_rows=100)
NO_NAMES: dict[str, int] = {}


def numbers(
    values: Sequence[float], edges: Sequence[float] = (0, 1, 2, 3), **fields: Any
) -> FeatureProfile:
    """A profile of numbers: each is in the cell of as many edges as are below and up to it."""
    counts = [0] * (2 * len(edges) + 1)
    for value in values:
        counts[sum(value > edge for edge in edges) + sum(value >= edge for edge in edges)] += 1
    n_rows = len(values) + fields.get("n_missing", 0) + fields.get("n_infinite", 0)
    given = {
        "name": "x",
        "kind": "float",
        "n_rows": n_rows,
        "minimum": min(values, default=math.nan),
        "maximum": max(values, default=math.nan),
        "mean": float(np.mean(values)) if values else math.nan,
        "squared": float(np.var(values) * len(values)) if values else 0.0,
        "edges": np.array(edges, dtype=float),
        "counts": np.array(counts),
    }
    return FeatureProfile(**given | fields)


def names(
    table: Mapping[str, int], unseen: Mapping[str, int] = NO_NAMES, **fields: Any
) -> FeatureProfile:
    """A profile of categories: those of the table, and others by name."""
    counts = np.array([*table.values(), sum(unseen.values())])
    given = {
        "name": "c",
        "kind": "category",
        "n_rows": int(counts.sum()) + fields.get("n_missing", 0),
        "categories": tuple(table),
        "counts": counts,
        "unseen": dict(unseen),
    }
    return FeatureProfile(**given | fields)


def vectors(*cells: Sequence[int]) -> FeatureProfile:
    """A profile of vectors with the counts of each of 32 slices; the last is repeated.

    Of the 129 cells of a slice the first are given; the others are empty.
    """
    rows = [*cells, *[cells[-1]] * (32 - len(cells))]
    counts = np.array([[*row, *[0] * (129 - len(row))] for row in rows]).ravel()
    return FeatureProfile(
        name="v",
        kind="vector",
        n_rows=sum(cells[0]),
        dimension=4,
        edges=np.tile(np.arange(64, dtype=float), 32),
        counts=counts,
    )


def times(n_rows: int, n_missing: int = 0) -> FeatureProfile:
    return FeatureProfile(name="t", kind="other", n_rows=n_rows, n_missing=n_missing)


def doubled(feature: FeatureProfile) -> FeatureProfile:
    """The same rows, each with a weight of 2."""
    sums = WeightSums(
        rows=2.0 * feature.n_rows,
        rows_squared=4.0 * feature.n_rows,
        missing=2.0 * feature.n_missing,
        infinite=2.0 * feature.n_infinite,
        values_squared=4.0 * feature.n_values,
    )
    assert feature.counts is not None
    return replace(
        feature,
        counts=2.0 * feature.counts,
        squared=2.0 * feature.squared,
        unseen={name: 2.0 * n for name, n in feature.unseen.items()},
        weights=sums,
    )


def check_of(found: Comparison, name: str) -> Check:
    (check,) = (check for check in found.checks if check.name == name)
    return check


def status(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule = RULE) -> str:
    return compare_feature(reference, current, rule).status


A = [0] * 40 + [1] * 60 + [2] * 70 + [3] * 30
B = [0] * 60 + [1] * 20 + [2] * 30 + [3] * 40


def test_numbers_are_tested_as_scipy_does():
    found = compare_feature(numbers(A), numbers(B), RULE)

    check = check_of(found, "distribution")
    expected = stats.ks_2samp(A, B).statistic
    scale = 1 / len(A) + 1 / len(B)
    assert (check.test, found.bound) == ("ks", 0.0)
    assert check.statistic == pytest.approx(expected)
    # rows dealt out anew to the windows, many times
    rng, together = np.random.default_rng(0), np.bincount(A) + np.bincount(B)
    dealt = rng.multivariate_hypergeometric(together, len(A), size=400_000)
    shares = dealt / len(A) - (together - dealt) / len(B)
    distances = np.abs(np.cumsum(shares, axis=1)).max(axis=1)
    assert check.p_value == pytest.approx(np.mean(distances >= expected - 1e-9), rel=0.3)
    by_chance = distances.mean()
    effect = math.sqrt(expected**2 - by_chance**2 * (1 - expected**2))
    assert check.effect_size == pytest.approx(effect, rel=0.01)
    # Massart (1990): the distance is not farther from the statistic with probability 1 - alpha
    margin = math.sqrt(math.log(2 / ALPHA) / 2 * scale)
    assert check.effect_low == pytest.approx(max(0.0, expected - margin))


def test_the_lower_bound_of_an_effect_is_positive_if_the_effect_is_large_and_never_negative():
    far = check_of(compare_feature(numbers([0] * 300), numbers([3] * 200), RULE), "distribution")
    margin = math.sqrt(math.log(2 / ALPHA) / 2 * (1 / 300 + 1 / 200))
    assert far.effect_low == pytest.approx(1 - margin)
    near = check_of(compare_feature(numbers(A), numbers(A), RULE), "distribution")
    assert near.effect_low == 0.0


def test_the_exact_distance_is_used_where_it_is_known():
    # between edges the grid knows nothing
    a, b = numbers([0.5] * 100 + A), numbers([0.25] * 100 + B)
    grid = compare_feature(a, b, RULE)
    assert grid.bound > 0
    exact = ExactDistances(ks=0.45, wasserstein=7.0)
    found = compare_feature(a, b, RULE, exact)
    assert (found.bound, check_of(found, "distribution").statistic) == (0.0, 0.45)
    assert found.distances["wasserstein"] == 7.0


def test_the_mean_and_the_spread_are_compared_with_intervals():
    found = compare_feature(numbers(A), numbers(B), RULE)

    z = stats.norm.ppf(1 - ALPHA / 2)
    shift = np.mean(B) - np.mean(A)
    half = z * math.sqrt(np.var(A) / len(A) + np.var(B) / len(B))
    assert found.mean_shift is not None
    assert (found.mean_shift.value, found.mean_shift.low, found.mean_shift.high) == pytest.approx(
        (shift, shift - half, shift + half)
    )
    # Bonett (2006): the variance of the log of a standard deviation is (kurtosis - 1) / (4 n)
    ratio = np.std(B) / np.std(A)
    kurtosis = [stats.kurtosis(sample, fisher=False) for sample in (A, B)]
    error = math.sqrt((kurtosis[0] - 1) / 4 / len(A) + (kurtosis[1] - 1) / 4 / len(B))
    assert found.spread_ratio is not None
    spread = found.spread_ratio
    assert (spread.value, spread.low, spread.high) == pytest.approx(
        (ratio, ratio * math.exp(-z * error), ratio * math.exp(z * error))
    )


@pytest.mark.parametrize(("before", "now"), [(20, 90), (90, 20), (40, 45)])
@pytest.mark.parametrize("name", ["missing_rate", "infinite_rate"])
def test_rates_are_tested_as_scipy_does(name, before, now):
    n, m = 400, 500
    key = {"missing_rate": "n_missing", "infinite_rate": "n_infinite"}[name]
    a = numbers([1] * (n - before), **{key: before})
    b = numbers([1, 2] * ((m - now) // 2) + [1] * ((m - now) % 2), **{key: now})

    check = check_of(compare_feature(a, b, RULE), name)

    table = [[before, n - before], [now, m - now]]
    squared, p_value, *_ = stats.chi2_contingency(table, correction=False)
    p, q = before / n, now / m
    assert check.test == "two_proportion"
    assert check.statistic == pytest.approx(math.copysign(math.sqrt(squared), q - p))
    assert check.p_value == pytest.approx(p_value)
    assert check.effect_size == pytest.approx(abs(q - p))
    # Newcombe (1998), method 10, from scipy's Wilson intervals
    low_p, high_p = stats.binomtest(before, n).proportion_ci(1 - ALPHA, method="wilson")
    low_q, high_q = stats.binomtest(now, m).proportion_ci(1 - ALPHA, method="wilson")
    low = q - p - math.hypot(q - low_q, high_p - p)
    high = q - p + math.hypot(high_q - q, p - low_p)
    assert check.effect_low == pytest.approx(max(low, -high) if low * high > 0 else 0.0)


def test_a_rate_that_is_0_or_1_in_both_windows_is_not_tested():
    found = compare_feature(numbers(A), numbers(B, n_missing=10), RULE)
    assert [check.name for check in found.checks] == ["distribution", "missing_rate"]
    gone = compare_feature(times(200, 200), times(200, 200), RULE)
    assert (gone.status, gone.checks) == ("all_missing", ())


def test_rates_need_rows_and_the_distribution_needs_values():
    # 99 values in 100 rows
    few = numbers([0, 1, 2] * 33, n_missing=1)
    found = compare_feature(numbers(A), few, RULE)
    assert (found.status, [check.name for check in found.checks]) == (
        "insufficient",
        ["missing_rate"],
    )
    enough = compare_feature(numbers(A), numbers([0, 1, 2, 3] * 25, n_missing=1), RULE)
    assert [check.name for check in enough.checks] == ["distribution", "missing_rate"]
    # 99 rows
    short = compare_feature(numbers(A), numbers([0] * 98, n_missing=1), RULE)
    assert (short.status, short.checks) == ("insufficient", ())


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        (times(100), times(100), "untested"),
        (times(99), times(100), "insufficient"),
        (times(100), times(99), "insufficient"),
        (times(0), times(100), "insufficient"),
        (times(100), times(0), "insufficient"),
        (times(1, 1), times(100), "all_missing"),
        (times(100), times(1, 1), "all_missing"),
        (numbers(A[:100]), numbers(B[:100]), "ok"),
        (numbers(A[:99]), numbers(B[:100]), "insufficient"),
        (numbers(A[:100]), numbers(B[:99]), "insufficient"),
        (numbers([5] * 100), numbers([5] * 100), "constant"),
        (numbers([5] * 100), numbers([5] * 99 + [6]), "ok"),
        (numbers([5] * 99 + [4]), numbers([5] * 100), "ok"),
        (numbers([5] * 99 + [6]), numbers([5] * 100), "ok"),
        (numbers([5] * 100), numbers([4] + [5] * 99), "ok"),
        (numbers([5] * 100), numbers([6] * 100), "ok"),
        (vectors([50, 0, 50]), vectors([50, 0, 50]), "ok"),
        (numbers([], (), n_missing=100), numbers(A), "all_missing"),
        (numbers([], (), n_infinite=100), numbers(A), "untested"),
        (numbers(A), numbers([], n_rows=100, n_unreadable=100), "unreadable"),
    ],
)
def test_a_feature_is_tested_if_both_windows_allow_it(reference, current, expected):
    assert status(reference, current) == expected


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        ({"a": 100, "b": 0, "c": 0}, {"a": 100, "b": 0, "c": 0}, "constant"),
        ({"a": 0, "b": 100, "c": 0}, {"a": 0, "b": 100, "c": 0}, "constant"),
        ({"a": 0, "b": 0, "c": 100}, {"a": 0, "b": 0, "c": 100}, "constant"),
        ({"a": 100, "b": 0, "c": 0}, {"a": 0, "b": 100, "c": 0}, "ok"),
        ({"a": 100, "b": 0, "c": 0}, {"a": 99, "b": 1, "c": 0}, "ok"),
    ],
)
def test_categories_are_constant_if_one_of_the_table_has_every_row(reference, current, expected):
    assert status(names(reference), names(current)) == expected


def test_rows_outside_the_table_may_be_of_different_categories():
    # `x` and `y` share the last cell
    assert status(names({"a": 0}, {"x": 100}), names({"a": 0}, {"y": 100})) == "ok"
    assert status(names({"a": 100}, {"x": 100}), names({"a": 200})) == "ok"


def test_a_feature_without_counts_is_tested_for_its_rates_alone():
    bare = FeatureProfile(name="c", kind="category", n_rows=100, n_missing=50)
    counted = names({"a": 60, "b": 40}, n_missing=20)
    for reference, current in ((bare, counted), (counted, bare)):
        found = compare_feature(reference, current, RULE)
        assert found.status == "untested"
        assert [check.name for check in found.checks] == ["missing_rate"]


@pytest.mark.parametrize("changed", ["missing_column", "new_column", "type_changed"])
def test_a_change_of_the_schema_is_not_tested(changed):
    found = compare_feature(numbers(A), numbers(B, status=changed, n_missing=50), RULE)
    assert (found.status, found.checks) == (changed, ())


def test_categories_are_tested_as_scipy_does():
    table, other = {"a": 300, "b": 200, "c": 100}, {"a": 120, "b": 200, "c": 80}
    found = compare_feature(names(table), names(other), RULE)

    check = check_of(found, "distribution")
    a, b = np.array([*table.values()]), np.array([*other.values()])
    statistic, p_value, *_ = stats.chi2_contingency([a, b], correction=False)
    n, m = a.sum(), b.sum()
    pooled = (a + b) / (n + m)
    scale = 1 / n + 1 / m
    # the mean of |x| for a normal x with mean 0 is sqrt(2 / pi) of its standard deviation
    noise = sum(stats.halfnorm.mean() * math.sqrt(s * (1 - s) * scale) for s in pooled) / 2
    moved = np.abs(a / n - b / m).sum() / 2
    # a and b differ by more than 3 standard errors, c does not
    of_c = math.sqrt(pooled[2] * (1 - pooled[2]) * scale)
    gaps = np.abs(a / n - b / m) / 2
    rest = max(0.0, gaps[2] ** 2 - (stats.halfnorm.mean() * of_c / 2) ** 2)
    effect = gaps[0] + gaps[1] + math.sqrt(rest)
    assert (check.test, len(found.checks)) == ("chi_squared", 1)
    assert (check.statistic, check.p_value) == pytest.approx((statistic, p_value))
    assert check.effect_size == pytest.approx(effect)
    # the bound of McDiarmid (1989)
    margin = math.sqrt(math.log(1 / ALPHA) / 2 * scale)
    assert check.effect_low == pytest.approx(moved - noise - margin)
    assert 0 < check.effect_low < check.effect_size
    assert found.distances["total_variation"] == pytest.approx(np.abs(a / n - b / m).sum() / 2)


def test_categories_of_equal_shares_have_no_effect():
    check = check_of(
        compare_feature(names({"a": 200, "b": 100}), names({"a": 400, "b": 200}), RULE),
        "distribution",
    )
    assert (check.statistic, check.effect_size, check.effect_low) == (0.0, 0.0, 0.0)


def test_a_single_category_with_one_stray_row_has_no_distribution_to_test():
    found = compare_feature(names({"a": 200}), names({"a": 199}, {"x": 1}), RULE)
    # pooled with the large cell, or alone and too small for the chi-squared test
    assert {check.name for check in found.checks} == {"distribution", "new_categories"}
    only = compare_feature(names({"a": 200, "b": 0}), names({"a": 200, "b": 0}), RULE)
    assert (only.status, only.checks) == ("constant", ())


def test_new_categories_are_counted_and_named_the_most_frequent_first():
    reference = names({"a": 299, "b": 100, "once": 1, "never": 0})
    current = names({"a": 250, "b": 0, "once": 0, "never": 0}, {"rare": 10, "x": 60, "y": 80})

    found = compare_feature(reference, current, RULE)

    check = check_of(found, "new_categories")
    n, m = 400, 400
    # a category of t rows is new by chance with probability (m / (n + m)) ** t
    expected = sum(t * (m / (n + m)) ** t for t in (549, 100, 1, 10, 60, 80))
    effect = (150 - expected) / m
    assert (check.test, check.statistic) == ("unseen", 150)
    assert check.effect_size == pytest.approx(effect)
    # the one-sided bound of Hoeffding (1963)
    assert check.effect_low == pytest.approx(effect - math.sqrt(math.log(1 / ALPHA) / 2 / m))
    assert check.p_value < 1e-6
    assert found.new_categories == ("y", "x", "rare")
    assert found.vanished_categories == ("b", "once")
    assert found.bound == 0.0


def test_the_lower_bound_of_new_categories_is_not_negative():
    reference = names({"a": 400})
    check = check_of(
        compare_feature(reference, names({"a": 390}, {"x": 10}), RULE), "new_categories"
    )
    assert check.effect_low == 0.0


def test_no_new_rows_are_no_check_and_names_outside_the_table_need_not_be_new():
    table = {"a": 300, "b": 100}
    assert [c.name for c in compare_feature(names(table), names(table), RULE).checks] == [
        "distribution"
    ]
    known = names(table, {"x": 20})
    found = compare_feature(known, names(table, {"x": 10, "y": 90}), RULE)
    assert check_of(found, "new_categories").statistic == 90
    assert found.new_categories == ("y",)


def chi_squared(found: Comparison) -> float:
    return check_of(found, "distribution").statistic


def test_categories_outside_the_table_are_compared_by_name():
    reference = names({"a": 300}, {"x": 60, "y": 40})
    current = names({"a": 300}, {"x": 40, "z": 60})

    expected, *_ = stats.chi2_contingency([[300, 60, 40, 0], [300, 40, 0, 60]], correction=False)

    assert chi_squared(compare_feature(reference, current, RULE)) == pytest.approx(expected)


def test_rare_names_are_pooled_and_frequent_ones_are_not_wherever_they_stand():
    reference = names({"a": 300}, {"rare": 3, "x": 60})
    current = names({"a": 300}, {"rare": 4, "x": 30, "z": 60})

    # three and four rows are too few for a cell, and are in one with the rarest of the others
    cells = [[300, 60, 3], [300, 30, 64]]
    expected, *_ = stats.chi2_contingency(cells, correction=False)

    assert chi_squared(compare_feature(reference, current, RULE)) == pytest.approx(expected)


def test_names_beyond_those_that_are_remembered_are_one_cell_with_the_rare_ones():
    reference = names({"a": 400, "rare": 3, "b": 200}, {f"k{i}": 1 for i in range(300)})
    current = names({"a": 300, "rare": 4, "b": 250}, {f"m{i}": 1 for i in range(280)})

    cells = [[400, 200, 3 + 300], [300, 250, 4 + 280]]
    expected, *_ = stats.chi2_contingency(cells, correction=False)

    assert chi_squared(compare_feature(reference, current, RULE)) == pytest.approx(expected)


@pytest.mark.parametrize("full", ["reference", "current", "both"])
@pytest.mark.parametrize(("n_names", "by_name"), [(UNSEEN_LIMIT - 1, True), (UNSEEN_LIMIT, False)])
def test_names_that_a_full_list_may_lack_are_compared_as_one_category(full, n_names, by_name):
    long = {f"k{i}": 20 for i in range(n_names)}
    total = 20 * n_names
    short = {"k0": total}
    before = names({"a": 1000}, short if full == "current" else long)
    now = names({"a": 1000}, short if full == "reference" else dict.fromkeys(long, 20))
    if full == "both":
        now = names({"a": 1000}, {f"m{i}": 20 for i in range(n_names)})

    found = chi_squared(compare_feature(before, now, RULE))

    every = {*before.unseen, *now.unseen}
    if not by_name:
        # a full list has the names with the lowest hashes, and its last may be followed by any
        lists = [w.unseen for w in (before, now) if len(w.unseen) == UNSEEN_LIMIT]
        last = min(max(map(name_hash, names)) for names in lists)
        every = {name for name in every if name_hash(name) < last}
    rows = [[1000, *[w.unseen.get(name, 0) for name in every]] for w in (before, now)]
    for row in rows:
        row.append(1000 + total - sum(row))
    cells = np.array(rows)
    expected, *_ = stats.chi2_contingency(cells[:, cells.any(axis=0)], correction=False)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        (numbers(A, n_missing=20, n_infinite=10), numbers(B, n_missing=50, n_infinite=30)),
        (
            names({"a": 300, "b": 100}, n_missing=30),
            names({"a": 200, "b": 50}, {"x": 70, "y": 30}, n_missing=90),
        ),
        (names({"a": 300}, {"x": 60, "y": 40}), names({"a": 300}, {"x": 40, "z": 60})),
    ],
)
def test_equal_weights_of_all_rows_change_nothing(reference, current):
    plain = compare_feature(reference, current, RULE)
    weighted = compare_feature(doubled(reference), doubled(current), RULE)

    assert [check.name for check in weighted.checks] == [check.name for check in plain.checks]
    for one, other in zip(plain.checks, weighted.checks, strict=True):
        for field in ("statistic", "p_value", "effect_size", "effect_low"):
            assert getattr(other, field) == pytest.approx(getattr(one, field), rel=1e-9)
    assert weighted.distances == pytest.approx(plain.distances)
    assert weighted.new_categories == plain.new_categories
    if plain.mean_shift and weighted.mean_shift:
        assert weighted.mean_shift.low == pytest.approx(plain.mean_shift.low)
    if plain.spread_ratio and weighted.spread_ratio:
        assert weighted.spread_ratio.low == pytest.approx(plain.spread_ratio.low)


def test_vectors_are_tested_by_the_direction_that_differs_most():
    n, m = 400, 500
    same, moved = [0, n // 2, 0, n // 2, 0], [0, 150, 0, 350, 0]
    reference = vectors(same)
    current = vectors([0, 250, 0, 250, 0], moved, [0, 250, 0, 250, 0])

    found = compare_feature(reference, current, RULE)

    (check,) = found.checks
    distance = 0.5 - 150 / m
    scale = 1 / n + 1 / m
    assert (found.status, check.name, check.test) == ("ok", "distribution", "sliced_ks")
    assert check.statistic == pytest.approx(distance)
    assert check.effect_low < check.effect_size < distance
    # Bonferroni: 32 slices, each tested
    assert check.p_value == pytest.approx(32 * stats.kstwobign.sf(distance / math.sqrt(scale)))
    margin = math.sqrt(math.log(2 * 32 / ALPHA) / 2 * scale)
    assert check.effect_low == pytest.approx(distance - margin)
    assert found.bound == 0.0


def test_vectors_of_one_distribution_have_no_effect_and_a_p_value_of_at_most_one():
    found = compare_feature(vectors([100, 0, 0, 0, 100]), vectors([100, 0, 0, 0, 100]), RULE)
    (check,) = found.checks
    assert (check.p_value, check.effect_size, check.effect_low) == (1.0, 0.0, 0.0)
    # all that lies within an open cell can differ there
    assert found.bound == pytest.approx(0.5)


# --- whole numbers that may be codes

CODES = (0, 2, 4)


def names_of_checks(found: Comparison) -> list[str]:
    return [check.name for check in found.checks]


def test_whole_numbers_may_be_codes_if_the_reference_has_ten_rows_for_each():
    rule = DriftRule(min_rows=10)
    current = numbers([0, 3, 4] * 10, CODES)

    def tested(reference: FeatureProfile) -> bool:
        return "new_values" in names_of_checks(compare_feature(reference, current, rule))

    assert tested(numbers([0, 2, 4] * 10, CODES))
    assert not tested(numbers([0, 2, 4] * 9 + [0, 2], CODES))
    # a fraction among them is measured
    assert not tested(numbers([0, 2.5, 4] * 100, (0, 2.5, 4)))
    # the grid comes from a sample: the reference has a value that is none of its edges
    assert not tested(numbers([0, 2, 4] * 100 + [1], CODES))


@pytest.mark.parametrize("n_new", [1, 100])
def test_each_row_with_a_new_whole_number_counts_as_a_value_of_its_own(n_new):
    reference = numbers([0, 2, 4] * 200, CODES)
    current = numbers([0] * 200 + [3] * n_new + [4] * 200, CODES)

    check = check_of(compare_feature(reference, current, RULE), "new_values")

    m = 400 + n_new
    _, p_value, _ = unseen_category_test([200, 200, 200, *[0] * n_new], [200, 0, 200, *[1] * n_new])
    assert (check.test, check.statistic) == ("unseen", n_new)
    assert check.p_value == pytest.approx(p_value)
    # no row of the reference is the only one of its value, so nothing new is expected
    assert check.effect_size == pytest.approx(n_new / m)


@pytest.mark.parametrize(("n", "m"), [(5000, 5000), (20_000, 1000), (1000, 20_000)])
@pytest.mark.parametrize("share", [0.15, 1.0])
def test_the_share_of_new_whole_numbers_does_not_hang_on_the_sizes_of_the_windows(n, m, share):
    new = round(share * m)
    current = numbers([3] * new + [4] * (m - new), CODES)

    found = compare_feature(numbers([0, 2, 4] * n, CODES), current, RULE)

    check = check_of(found, "new_values")
    assert check.effect_size == pytest.approx(share)
    assert check.p_value < 1e-6


@pytest.mark.parametrize("weights", [[0.3], [1.2, 1.2]])
def test_weighted_rows_with_new_whole_numbers_count_as_the_rows_that_they_stand_for(weights):
    new, squared = sum(weights), sum(weight**2 for weight in weights)
    current = replace(
        numbers([0, 2, 4] * 100 + [3] * len(weights), CODES),
        counts=np.array([0, 100, 0, 100, new, 100, 0]),
        weights=WeightSums(
            rows=300 + new, rows_squared=300 + squared, values_squared=300 + squared
        ),
    )

    found = compare_feature(numbers([0, 2, 4] * 100, CODES), current, RULE)

    # Kish (1965): so many rows of equal weight tell as much
    kish = (300 + new) / (300 + squared)
    assert check_of(found, "new_values").statistic == pytest.approx(new * kish)


def test_an_ordinal_that_the_reference_declares_and_does_not_have_is_no_new_number():
    before = numbers([0, 1] * 100, (0, 1, 2), kind="ordinal")
    now = numbers([0, 2] * 100, (0, 1, 2), kind="ordinal")

    assert names_of_checks(compare_feature(before, now, RULE)) == ["distribution"]


# --- times and identifiers


def test_times_before_the_first_that_the_reference_was_sampled_for_are_tested_as_scipy_does():
    def moments(before: int, n: int) -> FeatureProfile:
        counts = np.array([before, 1, n - before - 2, 1, 0])
        edges = np.array([10.0, 20.0])
        return FeatureProfile(name="t", kind="time", n_rows=n, edges=edges, counts=counts)

    check = check_of(compare_feature(moments(20, 400), moments(90, 500), RULE), "earlier")

    squared, p_value, *_ = stats.chi2_contingency([[20, 380], [90, 410]], correction=False)
    assert (check.statistic, check.p_value) == pytest.approx((math.sqrt(squared), p_value))
    assert check.effect_size == pytest.approx(90 / 500 - 20 / 400)


def identifiers(n_rows: int, rows_of_each: int) -> FeatureProfile:
    """Names of a few rows each, in windows so small that the sketch has all of them."""
    rng = np.random.default_rng(n_rows)
    n_names = n_rows // rows_of_each
    return FeatureProfile(
        name="i",
        kind="identifier",
        n_rows=n_rows,
        hashes=np.sort(rng.integers(0, 2**64, n_names, dtype=np.uint64)),
        hash_counts=np.full(n_names, rows_of_each),
    )


def test_rows_that_share_a_name_come_with_a_lower_bound_at_the_level_of_the_rule():
    def lower(alpha: float) -> float:
        rule = DriftRule(alpha=alpha, min_rows=100)
        check = check_of(compare_feature(identifiers(600, 1), identifiers(400, 2), rule), "repeats")
        # the second row of each name
        assert check.effect_size == pytest.approx(0.5)
        return check.effect_low

    assert 0.3 < lower(1e-4) < lower(0.01) < lower(0.1) < 0.5


def test_rows_that_share_a_name_as_often_as_before_are_no_effect_in_a_shorter_window():
    found = compare_feature(identifiers(1000, 2), identifiers(200, 2), RULE)

    check = check_of(found, "repeats")
    # by chance the second row of a name is among one in five rows of the reference in one of five
    assert check.statistic == pytest.approx(0.5 - 0.5 * 0.2, abs=0.01)
    assert (check.effect_size, check.effect_low) == (0.0, 0.0)


def test_names_that_one_of_the_profiles_did_not_count_are_not_tested():
    uncounted = replace(identifiers(500, 1), hashes=None, hash_counts=None)
    for windows in ((uncounted, identifiers(500, 1)), (identifiers(500, 1), uncounted)):
        found = compare_feature(*windows, RULE)
        assert (found.status, found.checks) == ("untested", ())
