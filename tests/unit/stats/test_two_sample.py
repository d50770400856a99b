from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from flytekitplugins.wbmon.stats import two_sample
from flytekitplugins.wbmon.stats.binning import cell_counts, grid_edges
from flytekitplugins.wbmon.stats.two_sample import (
    chi_squared_two_sample,
    cramer_von_mises_statistic,
    grid_ks_statistic,
    ks_p_value,
    ks_statistic,
    pool_small_cells,
    two_proportion_test,
)

samples = arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.one_of(st.floats(-1e6, 1e6), st.integers(0, 5).map(float)),
).map(np.sort)
counts = arrays(np.int64, 8, elements=st.integers(0, 200))


@given(samples, samples)
def test_ks_is_symmetric_and_a_share(a, b):
    distance = ks_statistic(a, b)

    assert 0 <= distance <= 1
    assert ks_statistic(b, a) == distance


@given(samples)
def test_ks_of_a_sample_with_itself_is_zero(a):
    assert ks_statistic(a, a) == 0


@given(samples, samples)
def test_ks_does_not_change_under_a_monotone_rescaling(a, b):
    assert ks_statistic(8 * a, 8 * b) == ks_statistic(a, b)
    # the signs turn the order round
    assert ks_statistic(-a[::-1], -b[::-1]) == pytest.approx(ks_statistic(a, b))


@given(samples, samples)
def test_ks_of_repeated_rows_is_that_of_the_rows(a, b):
    assert ks_statistic(np.repeat(a, 3), b) == pytest.approx(ks_statistic(a, b))


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6000), st.integers(1, 6000), st.integers(1, 5))
def test_branch_and_bound_finds_what_looking_everywhere_finds(seed, n, m, shape):
    rng = np.random.default_rng(seed)
    a = np.sort(np.round(rng.normal(0, 1, n), shape))
    b = np.sort(np.round(rng.normal(rng.normal() / 5, 1, m), shape))
    both = np.concatenate((a, b))
    gaps = np.searchsorted(a, both, "right") / n - np.searchsorted(b, both, "right") / m

    assert ks_statistic(a, b) == pytest.approx(np.abs(gaps).max(), abs=1e-12)


@pytest.mark.parametrize(
    ("lacking", "distance"),
    # 2 of 10,000 values at the beginning, and 30 of a million shortly before the end
    [(slice(0, 2), 2 / 10_000), (slice(999_940, 999_970), 30 / 1_000_000)],
)
def test_a_gap_between_two_probes_is_found_wherever_it_is(lacking, distance):
    n = 10_000 if lacking.start == 0 else 1_000_000
    whole = np.arange(float(n))
    part = np.delete(whole, lacking)
    away = np.abs((np.arange(n) + 1) / n - np.searchsorted(part, whole, "right") / len(part))
    assert away.max() == pytest.approx(distance, rel=1e-3)
    assert ks_statistic(whole, part) == ks_statistic(part, whole) == pytest.approx(away.max())


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_that_many_rows_of_the_shorter_window_share_is_found(sign):
    # forty rows between two probes, which lie about 240 apart
    b = np.arange(1_000_000.0)
    a = np.sort(np.append(b[::2], np.full(40, 700_123.5)))
    both = np.unique(np.concatenate((a, b)))
    away = np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)
    assert ks_statistic(np.sort(sign * a), np.sort(sign * b)) == pytest.approx(np.abs(away).max())


@pytest.mark.parametrize(("shift", "share"), [(0.5, 0.0155), (0.05, 0.0155), (-0.5, 0.0155)])
def test_most_values_are_never_looked_at(shift, share, monkeypatch):
    looked_at = []

    def counted(a, b, probes):
        looked_at.append(len(probes))
        return ranks(a, b, probes)

    ranks = two_sample._ranks
    monkeypatch.setattr(two_sample, "_ranks", counted)
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.normal(size=200_000)), np.sort(rng.normal(shift, 1, 300_000))
    both = np.concatenate((a, b))
    gaps = np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)
    assert ks_statistic(a, b) == pytest.approx(np.abs(gaps).max(), rel=1e-12)
    assert sum(looked_at) < share * len(a)


def test_the_largest_value_counts():
    a = np.arange(5000.0)
    b = np.where(a < 4995, a, a + 1000)
    assert ks_statistic(a, b) == pytest.approx(0.001)


def test_ks_of_an_empty_window_is_undefined():
    assert math.isnan(ks_statistic(np.empty(0), np.array([1.0])))


@given(samples, samples, st.integers(2, 9))
def test_the_exact_distance_lies_within_the_bound_of_the_grid(a, b, size):
    edges = grid_edges(a, size=size)

    found = grid_ks_statistic(cell_counts(a, edges), cell_counts(b, edges))

    exact = ks_statistic(a, b)
    assert found.value <= exact + 1e-12
    assert exact <= found.value + found.bound + 1e-12


@given(samples, samples)
def test_a_grid_of_all_values_has_no_error(a, b):
    edges = grid_edges(np.sort(np.concatenate((a, b))))

    found = grid_ks_statistic(cell_counts(a, edges), cell_counts(b, edges))

    assert found.bound == pytest.approx(0, abs=1e-12)
    assert found.value == pytest.approx(ks_statistic(a, b), abs=1e-12)


def test_the_grid_knows_nothing_of_an_empty_window_or_an_empty_grid():
    assert math.isnan(grid_ks_statistic(np.zeros(3), np.array([1, 0, 0])).value)
    assert math.isnan(grid_ks_statistic(np.array([1, 0, 0]), np.zeros(3)).bound)
    assert grid_ks_statistic(np.array([5]), np.array([9])) == (0.0, 1.0)


def test_the_p_value_falls_with_the_statistic_and_the_rows():
    assert ks_p_value(0, 100, 100) == 1
    assert ks_p_value(0.1, 100, 100) > ks_p_value(0.2, 100, 100)
    assert ks_p_value(0.1, 100, 100) > ks_p_value(0.1, 1000, 1000)


def test_the_published_critical_value_has_its_level():
    # Smirnov (1948): for large samples D of 1.36 sqrt(1/n + 1/m) is exceeded in 5 % of cases
    assert ks_p_value(1.3581 * math.sqrt(2 / 10_000), 10_000, 10_000) == pytest.approx(
        0.05, abs=1e-4
    )


@given(counts, counts)
def test_chi_squared_is_symmetric_and_does_not_care_for_order(a, b):
    found = chi_squared_two_sample(a, b)

    np.testing.assert_allclose(found, chi_squared_two_sample(b, a), rtol=1e-9)
    np.testing.assert_allclose(found, chi_squared_two_sample(a[::-1], b[::-1]), rtol=1e-9)


@given(counts)
def test_chi_squared_of_equal_proportions_is_zero(a):
    found = chi_squared_two_sample(a, 3 * a)

    if (a > 0).sum() >= 2:
        assert found.statistic == pytest.approx(0, abs=1e-9)
        assert found.p_value == pytest.approx(1)
    else:
        assert math.isnan(found.statistic)


def test_chi_squared_of_one_cell_or_an_empty_window_is_undefined():
    assert math.isnan(chi_squared_two_sample([5, 0], [3, 0]).p_value)
    assert math.isnan(chi_squared_two_sample([5, 3], [0, 0]).p_value)


@given(counts, counts)
def test_pooling_keeps_every_row(a, b):
    pooled_a, pooled_b = pool_small_cells(a, b)

    assert pooled_a.sum() == a.sum()
    assert pooled_b.sum() == b.sum()
    assert len(pooled_a) <= len(a)


def test_small_cells_are_put_together():
    a, b = pool_small_cells([100, 3, 1, 0], [100, 2, 2, 0])

    assert a.tolist() == [100, 4]
    assert b.tolist() == [100, 4]


def test_small_cells_that_stay_small_together_join_the_smallest_of_the_others():
    a, b = pool_small_cells([600, 300, 2, 0], [500, 400, 1, 1])
    assert (a.tolist(), b.tolist()) == ([600, 302], [500, 402])
    # beside a single other cell there is nothing to join
    a, b = pool_small_cells([600, 2], [500, 1])
    assert (a.tolist(), b.tolist()) == ([600, 2], [500, 1])


@given(st.integers(0, 30), st.integers(31, 900), st.integers(0, 30), st.integers(31, 900))
def test_of_two_cells_chi_squared_is_the_test_of_two_proportions(a, n, b, m):
    assume(0 < a + b < n + m)
    found = chi_squared_two_sample([n - a, a], [m - b, b])
    expected = two_proportion_test(a, n, b, m)
    assert found.statistic == pytest.approx(expected.statistic**2, abs=1e-9)
    assert found.p_value == pytest.approx(expected.p_value)
    if min(n, m) * (a + b) < 5 * (n + m) and a + b < n + m - a - b:
        _, exact = stats.fisher_exact([[a, n - a], [b, m - b]])
        assert found.p_value == pytest.approx(exact)


def test_large_cells_stay_and_empty_ones_go():
    assert pool_small_cells([100, 50, 0], [90, 60, 0])[0].tolist() == [100, 50]
    assert [each.tolist() for each in pool_small_cells([0, 0], [0, 0])] == [[], []]


def test_rows_of_one_window_alone_and_parts_of_a_row_are_pooled_too():
    a, b = pool_small_cells([100, 0, 0], [100, 2, 1])
    assert (a.tolist(), b.tolist()) == ([100, 0], [100, 3])
    a, b = pool_small_cells([1000, 1], [1000, 0])
    assert (a.tolist(), b.tolist()) == ([1000, 1], [1000, 0])
    a, b = pool_small_cells([0.25, 0.0], [0.25, 0.125])
    assert (a.tolist(), b.tolist()) == ([0.25], [0.375])


def test_the_rest_is_pooled_however_large_it_is():
    # windows of 100 and 200 rows, of which the last cell is all that has no name
    a, b = pool_small_cells([60, 38, 2, 0], [100, 50, 4, 46], n_rest=1)
    assert (a.tolist(), b.tolist()) == ([60, 38, 2], [100, 50, 50])


@pytest.mark.parametrize("statistic", [pool_small_cells, chi_squared_two_sample])
def test_small_integers_do_not_overflow(statistic):
    a, b = np.array([200, 90, 0], dtype=np.uint8), np.array([250, 200, 80], dtype=np.uint8)
    wide = statistic(a.astype(float), b.astype(float))
    for found in (statistic(a, b), statistic(a, b.astype(float)), statistic(a.astype(float), b)):
        np.testing.assert_array_equal(found, wide)


def test_effective_rows_may_be_fewer_than_one():
    a, b = [0.3, 0.2, 0.4], [0.1, 0.5, 0.15]
    expected = stats.chi2_contingency([a, b], correction=False)
    assert chi_squared_two_sample(a, b) == pytest.approx((expected.statistic, expected.pvalue))
    shares = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.25, 0.5])
    # gaps of 1/4, 1/4 and 0 at cells of 3/8, 1/4 and 3/8 of all rows
    assert cramer_von_mises_statistic(*shares) == pytest.approx((3 / 8 + 1 / 4) / 16)


def test_two_equal_proportions_are_no_difference():
    assert two_proportion_test(50, 100, 500, 1000).p_value == 1


def test_the_difference_has_the_sign_of_the_second_window():
    assert two_proportion_test(10, 100, 30, 100).statistic > 0
    assert two_proportion_test(30, 100, 10, 100).statistic < 0


@pytest.mark.parametrize("table", [(0, 30, 1, 1), (1, 1, 0, 30), (3, 900, 1, 1), (899, 900, 0, 2)])
def test_a_sample_of_one_row_is_a_sample(table):
    a, n, b, m = table
    expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
    assert two_proportion_test(*table).p_value == pytest.approx(expected)


@pytest.mark.parametrize(
    "table",
    [
        (4, 900_000, 5, 300_000),
        (899_990, 900_000, 299_999, 300_000),
        (0, 4000, 4, 700),
        (996, 1000, 995_004, 999_000),
        (995_004, 999_000, 996, 1000),
    ],
)
def test_rare_and_common_properties_of_many_rows_agree_with_fisher(table):
    a, n, b, m = table
    expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
    assert two_proportion_test(*table).p_value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("case", [(0, 0, 1, 5), (0, 9, 0, 9), (9, 9, 5, 5), (1, 5, 0, 0)])
def test_proportions_that_cannot_differ_are_undefined(case):
    assert math.isnan(two_proportion_test(*case).p_value)


def test_four_rows_against_none_are_not_significant():
    # the score test alone would say 0.045
    assert two_proportion_test(0, 1000, 4, 1000).p_value == pytest.approx(0.1246, abs=1e-4)


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
@example(0, 14, 10, 14)
def test_proportions_do_not_care_which_window_or_which_side(a, n, b, m):
    a, b = min(a, n), min(b, m)

    p_value = two_proportion_test(a, n, b, m).p_value

    swapped = two_proportion_test(b, m, a, n).p_value
    opposite = two_proportion_test(n - a, n, m - b, m).p_value
    np.testing.assert_allclose([swapped, opposite], p_value, rtol=1e-6)


def test_cramer_von_mises_is_zero_for_equal_windows_and_a_third_at_most():
    a = np.array([10, 0, 10])

    assert cramer_von_mises_statistic(a, 3 * a) == 0
    assert math.isnan(cramer_von_mises_statistic(a, np.zeros(3)))
    assert math.isnan(cramer_von_mises_statistic(np.zeros(3), a))
    apart = cramer_von_mises_statistic(np.repeat([1, 0], 500), np.repeat([0, 1], 500))
    assert apart == pytest.approx(1 / 3, abs=0.01)


@given(
    arrays(np.int64, 7, elements=st.integers(0, 3)), arrays(np.int64, 7, elements=st.integers(0, 3))
)
def test_the_bounds_of_a_grid_are_those_of_the_worst_places_in_its_cells(a, b):
    if not a.sum() or not b.sum():
        return
    f, g = (np.append(0, np.cumsum(x)) / x.sum() for x in (a, b))
    known = max(abs(f[i] - g[i]) for i in range(1, 7))
    # rows of one window at the lower end of an open cell, those of the other at the upper end
    worst = [max(f[i + 1] - g[i], g[i + 1] - f[i]) for i in range(0, 7, 2) if a[i] and b[i]]

    found = grid_ks_statistic(a, b)

    assert found.value == pytest.approx(known, abs=1e-12)
    assert found.value + found.bound == pytest.approx(max([known, *worst]), abs=1e-12)


def test_rows_below_the_first_edge_may_lie_anywhere_there():
    a, b = np.array([4, 0, 4]), np.array([6, 0, 2])
    # one window can have all of its 6 of 8 rows there before the other has any
    assert grid_ks_statistic(a, b) == (0.25, 0.5)
    assert grid_ks_statistic(b, a) == (0.25, 0.5)


@pytest.mark.parametrize(("n", "least"), [(499, 10), (500, 5), (5_000, 5)])
def test_a_cell_that_is_expected_to_hold_five_rows_or_ten_of_few_is_not_small(n, least):
    # of windows of n and 3 n rows: a quarter of the rows of a cell is expected in the smaller one
    def pooled(rows: int) -> list[list[float]]:
        other = rows - 1
        cells = pool_small_cells([n - 2, 1, 1], [3 * n - 2 * other, other, other])
        return [each.tolist() for each in cells]

    of_each = 4 * least - 1
    assert pooled(4 * least) == [[n - 2, 1, 1], [3 * n - 2 * of_each, of_each, of_each]]
    assert [len(each) for each in pooled(4 * least - 1)] == [2, 2]


@pytest.mark.parametrize(
    ("table", "is_small"),
    [
        # a sample of 100 with a tenth of 200 rows, and of 100 with a twentieth of 500 rows
        ((8, 100, 2, 100), False),
        ((8, 100, 1, 100), True),
        ((10, 100, 15, 400), False),
        ((10, 100, 14, 400), True),
        ((92, 100, 98, 100), False),
        ((385, 400, 90, 100), False),
    ],
)
def test_the_score_test_needs_five_expected_rows_in_the_smaller_sample(table, is_small):
    a, n, b, m = table
    rows = [[a, n - a], [b, m - b]]
    if is_small:
        expected = stats.fisher_exact(rows).pvalue
    else:
        expected = stats.chi2_contingency(rows, correction=False).pvalue

    assert two_proportion_test(a, n, b, m).p_value == pytest.approx(expected, rel=1e-9)


def test_every_small_table_agrees_with_fisher():
    for n, m in [(1, 3), (4, 4), (7, 3), (5, 9)]:
        for a in range(n + 1):
            for b in range(m + 1):
                if 0 < a + b < n + m:
                    expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
                    found = two_proportion_test(a, n, b, m).p_value
                    assert found == pytest.approx(expected, rel=1e-9)
