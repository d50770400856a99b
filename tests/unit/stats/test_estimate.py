from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from flytekitplugins.wbmon.stats.estimate import (
    Estimate,
    Share,
    difference,
    effective_rows,
    influence_error,
    log_interval,
    mean_of_shares,
    p_value_of_zero,
    positive_mean,
    student_quantile,
    undefined,
    weighted_share,
)
from flytekitplugins.wbmon.stats.interval import wilson_interval

weights = st.floats(0.1, 50)


@given(st.integers(0, 500), st.integers(0, 500), weights)
def test_equal_weights_of_any_size_give_wilsons_interval(hits, misses, weight):
    share = weighted_share(hits * weight, misses * weight, weight, weight)
    if hits + misses == 0:
        assert math.isnan(share.value)
        assert share.estimate.reason
        return
    assert share.value == pytest.approx(hits / (hits + misses))
    assert share.estimate[1:3] == pytest.approx(wilson_interval(hits, hits + misses))


def test_rare_heavy_rows_widen_the_interval_even_before_one_is_seen():
    light = weighted_share(20.0, 0.0, 1.0, 1.0)
    heavy = weighted_share(20.0, 0.0, 1.0, 5.0)
    assert heavy.n == 4.0
    assert heavy.estimate.low < light.estimate.low


def test_the_effective_number_gives_the_linearised_variance(rng):
    weight = rng.choice([1.0, 4.0], 200)
    hit = rng.random(200) < 0.3
    units = [(weight[side] ** 2).sum() / weight[side].sum() for side in (hit, ~hit)]
    share = weighted_share(weight[hit].sum(), weight[~hit].sum(), *units)
    spread = ((weight * (hit - share.value)) ** 2).sum() / weight.sum() ** 2
    assert share.value * (1 - share.value) / share.n == pytest.approx(spread)


def test_a_share_without_rows_is_undefined_and_says_so():
    assert Share(math.nan, 0.0).estimate == pytest.approx(undefined("no row counts"), nan_ok=True)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), weights)
def test_the_mean_lies_in_its_interval_and_ignores_the_scale_of_the_weights(values, scale):
    array = np.array(values)
    mean = positive_mean(array, np.ones(len(array)))
    assert mean.low <= mean.value <= mean.high
    assert mean[:3] == pytest.approx(positive_mean(array, np.full(len(array), scale))[:3])


@given(st.floats(1e-3, 1e3))
def test_the_mean_and_its_interval_scale_with_the_unit(unit):
    values = np.array([0.2, 0.5, 1.4, 3.0, 0.1])
    ones = np.ones(5)
    scaled = positive_mean(values * unit, ones)
    assert scaled[:3] == pytest.approx([x * unit for x in positive_mean(values, ones)[:3]])


def test_one_row_has_a_mean_and_no_interval():
    mean = positive_mean(np.array([2.0]), np.ones(1))
    assert mean.value == 2.0
    assert math.isnan(mean.low)


def test_equal_losses_have_an_interval_of_no_width():
    assert positive_mean(np.full(9, 0.5), np.ones(9))[:3] == (0.5, 0.5, 0.5)
    assert log_interval(0.0, 0.0, 9)[:3] == (0.0, 0.0, 0.0)


def test_students_quantile_is_infinite_without_a_degree_of_freedom():
    assert student_quantile(0.5) == math.inf
    assert student_quantile(1e9) == pytest.approx(1.959964)


@pytest.mark.parametrize("probability", [0.975, 1 - 0.05 / 6])
@pytest.mark.parametrize("df", [10, 20, 40])
def test_students_quantile_has_the_accuracy_of_the_published_expansion(df, probability):
    # Abramowitz & Stegun 26.7.5 to the fourth term: what is left out shrinks as the fifth power
    found = student_quantile(df, z=scipy_stats.norm.ppf(probability))
    left_out = 6 / df**5
    assert found == pytest.approx(scipy_stats.t.ppf(probability, df), abs=left_out)


@given(st.lists(st.floats(0.5, 20), min_size=1, max_size=20))
def test_effective_rows_are_at_most_the_rows(weight):
    array = np.array(weight)
    assert 1 - 1e-9 <= effective_rows(array) <= len(array) + 1e-9


def test_rows_without_weight_are_no_rows():
    assert effective_rows(np.zeros(3)) == 0.0
    assert math.isnan(influence_error(np.zeros(3), np.zeros(3)))


def test_a_mean_of_certain_looking_shares_is_not_certain():
    parts = [Estimate(1.0, 0.8, 1.0)] * 3
    mean = mean_of_shares(parts, np.full(3, 0.95), np.diag(np.full(3, 0.005)))
    assert mean.value == 1.0
    assert 0.8 < mean.low < 0.95
    assert mean.high == 1.0


def test_one_rare_part_widens_the_mean_on_the_side_where_it_is_open():
    sure = [Estimate(0.9, 0.89, 0.91)] * 3
    covariance = np.diag([1e-5, 1e-5, 1e-5, 0.03])
    mean = mean_of_shares([*sure, Estimate(0.2, 0.05, 0.8)], np.full(4, 0.7), covariance)
    assert mean.value == pytest.approx(0.725)
    assert mean.high >= 0.725 + (0.8 - 0.2) / 4


def test_an_undefined_part_counts_as_nothing_and_may_be_anything():
    parts = [Estimate(0.8, 0.7, 0.9), undefined("no row")]
    mean = mean_of_shares(parts, np.array([0.8, 0.5]), np.diag([0.002, 0.25]))
    assert mean.value == 0.4
    assert mean.high >= 0.9


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_the_difference_changes_sign_when_the_windows_are_swapped(a, b):
    one, two = Estimate(a, a - 0.05, a + 0.02), Estimate(b, b - 0.01, b + 0.08)
    there, back = difference(one, two), difference(two, one)
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_a_known_baseline_shifts_the_interval_and_does_not_widen_it():
    change = difference(Estimate(0.7, 0.6, 0.8), Estimate(0.9))
    assert change[:3] == pytest.approx((-0.2, -0.3, -0.1))


@pytest.mark.parametrize(
    ("current", "baseline"),
    [
        (undefined("x"), Estimate(1.0)),
        (Estimate(1.0), Estimate(1.0)),
        (Estimate(1, 0, 2), undefined("x")),
    ],
)
def test_a_change_of_something_undefined_has_no_interval(current, baseline):
    change = difference(current, baseline)
    assert math.isnan(change.low)
    assert math.isnan(p_value_of_zero(change))


def test_an_interval_that_just_touches_zero_has_a_p_value_of_five_percent():
    assert p_value_of_zero(Estimate(0.2, 0.0, 0.5)) == pytest.approx(0.05)
    assert p_value_of_zero(Estimate(-0.2, -0.5, 0.0)) == pytest.approx(0.05)
    assert p_value_of_zero(Estimate(0.0, -0.1, 0.1)) == 1.0
    assert p_value_of_zero(Estimate(0.2, 0.2, 0.2)) == 0.0
