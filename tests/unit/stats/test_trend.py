from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from flytekitplugins.wbmon.stats.trend import mann_kendall_p_value, theil_sen_slope

different = st.lists(st.integers(-1000, 1000), min_size=2, max_size=12, unique=True)


@given(different)
def test_the_p_value_is_that_of_kendalls_tau_with_time(values):
    exact = scipy_stats.kendalltau(
        range(len(values)), values, method="exact", alternative="greater"
    )
    assert mann_kendall_p_value(values) == pytest.approx(exact.pvalue)


@given(different)
def test_a_trend_and_its_mirror_image_add_up_to_more_than_one(values):
    total = mann_kendall_p_value(values) + mann_kendall_p_value([-value for value in values])
    assert 1 < total <= 2


@given(different, st.floats(0.1, 10), st.floats(-5, 5))
def test_unit_and_origin_change_no_p_value(values, unit, origin):
    moved = [value * unit + origin for value in values]
    assert mann_kendall_p_value(moved) == mann_kendall_p_value(values)
    assert theil_sen_slope(moved) == pytest.approx(theil_sen_slope(values) * unit, abs=1e-6)


def test_four_rising_values_are_the_least_that_show_a_trend():
    assert mann_kendall_p_value([1, 2, 3, 4]) == pytest.approx(1 / 24)
    assert mann_kendall_p_value([1, 2, 3]) == pytest.approx(1 / 6)


def test_the_critical_values_of_kendalls_table_are_reproduced():
    # Hollander & Wolfe, Nonparametric Statistical Methods, table of Kendall's K for n = 5
    published = {10: 0.008, 8: 0.042, 6: 0.117}
    found = {
        10: mann_kendall_p_value([1, 2, 3, 4, 5]),
        8: mann_kendall_p_value([2, 1, 3, 4, 5]),
        6: mann_kendall_p_value([2, 1, 3, 5, 4]),
    }
    assert found == pytest.approx(published, abs=5e-4)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=7))
def test_with_ties_the_p_value_is_that_of_all_orders_of_the_same_values(values):
    def score(order):
        return sum((b > a) - (b < a) for a, b in combinations(order, 2))

    scores = [score(order) for order in permutations(values)]
    expected = np.mean([each >= score(values) for each in scores])
    assert mann_kendall_p_value(values) == pytest.approx(expected)


def test_a_tied_pair_can_show_less_than_a_rising_one():
    # of the 60 different orders of 1, 1, 2, 3, 4 one has no falling pair
    assert mann_kendall_p_value([1, 1, 2, 3, 4]) == pytest.approx(1 / 60)
    # three more have one: 1 2 1 3 4, 1 1 3 2 4 and 1 1 2 4 3
    assert mann_kendall_p_value([1, 1, 3, 2, 4]) == pytest.approx(4 / 60)


def test_ties_do_not_raise_the_rate_of_false_trends():
    # by brute force over shares of 20 rows, of which many are equal
    rng = np.random.default_rng(0)
    series = rng.binomial(20, 0.9, size=(4000, 7))
    rate = np.mean([mann_kendall_p_value(row.tolist()) <= 0.01 for row in series])
    assert rate <= 0.01


def test_equal_values_show_no_trend():
    assert mann_kendall_p_value([5.0] * 8) > 0.5
    assert theil_sen_slope([5.0] * 8) == 0.0


def test_one_value_has_no_trend_nor_has_none():
    assert mann_kendall_p_value([1.0]) == mann_kendall_p_value([]) == 1.0
    assert math.isnan(theil_sen_slope([1.0]))


def test_the_slope_does_not_follow_one_wild_value():
    values = np.arange(9.0) * 2
    values[4] = 900.0
    assert theil_sen_slope(values.tolist()) == pytest.approx(2.0, abs=0.6)


def test_the_slope_is_that_of_scipy(rng):
    values = rng.normal(size=9)
    assert theil_sen_slope(values.tolist()) == pytest.approx(scipy_stats.theilslopes(values)[0])


def test_noise_shows_a_trend_in_at_most_one_of_twenty_series(rng):
    alarms = sum(mann_kendall_p_value(rng.normal(size=7).tolist()) <= 0.05 for _ in range(1000))
    assert alarms <= 75
