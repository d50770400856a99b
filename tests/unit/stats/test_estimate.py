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
    log_interval,
    mean_of_shares,
    p_value_of_zero,
    positive_mean,
    student_quantile,
    undefined,
    weighted_share,
)
from flytekitplugins.wbmon.stats.influence import effective_rows, influence_error
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


@pytest.mark.parametrize("z", [0.0, 0.5, 1.959964, 3.0, 5.0, 8.0, 20.0])
@pytest.mark.parametrize("df", [1, 1.3, 2, 3, 5.5, 10, 40, 1e3, 1e6])
def test_students_quantile_is_that_of_scipy(df, z):
    expected = scipy_stats.t.isf(scipy_stats.norm.sf(z), df)
    assert student_quantile(df, z=z) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_infinitely_many_degrees_of_freedom_are_the_normal_distribution():
    assert student_quantile(math.inf) == pytest.approx(scipy_stats.norm.ppf(0.975))
    assert student_quantile(math.inf, z=1.0) == 1.0


def test_the_least_degrees_of_freedom_have_the_quantile_of_the_tables():
    assert student_quantile(1) == pytest.approx(12.706, abs=5e-4)
    assert student_quantile(2) == pytest.approx(4.303, abs=5e-4)
    assert student_quantile(math.nextafter(1, 0)) == math.inf


def test_the_interval_of_a_mean_is_students_on_the_log_scale(rng):
    losses = rng.exponential(2, 25)
    found = positive_mean(losses, np.full(25, 3.0))
    # a variance of 25 losses of this kurtosis is known as well as one of as many degrees of freedom
    df = min(24, 2 * 25 / (scipy_stats.kurtosis(losses, fisher=False) - 1))
    ratio = math.exp(student_quantile(df) * scipy_stats.sem(losses) / losses.mean())
    expected = (losses.mean(), losses.mean() / ratio, losses.mean() * ratio)
    assert found[:3] == pytest.approx(expected, rel=1e-6)


def test_the_error_of_a_weighted_mean_is_that_of_its_influence():
    # Kish: (1 + 1 + 2)^2 / (1 + 1 + 4) = 8/3 rows
    weight, influence = np.array([1.0, 1.0, 2.0]), np.array([3.0, -1.0, -1.0])
    assert effective_rows(weight) == pytest.approx(8 / 3)
    expected = math.sqrt((9 + 1 + 4) * (8 / 3) / (5 / 3)) / 4
    assert influence_error(influence, weight) == pytest.approx(expected)


def test_two_effective_rows_have_a_spread_and_fewer_have_none():
    assert influence_error(np.array([1.0, -1.0]), np.ones(2)) == pytest.approx(1.0)
    assert math.isnan(influence_error(np.array([1.0, -1.0]), np.array([1.0, 1.01])))


def test_an_interval_too_wide_for_a_double_ends_at_a_finite_number():
    found = log_interval(1e-6, 1e6, 30)
    assert found.high == pytest.approx(1e-6 * math.exp(700))
    assert found.low == pytest.approx(1e-6 * math.exp(-700))


def test_a_value_without_an_error_is_its_own_interval_and_one_without_rows_has_none():
    assert log_interval(0.0, 0.5, 9)[:3] == (0.0, 0.0, 0.0)
    assert log_interval(0.5, 0.0, 9)[:3] == (0.5, 0.5, 0.5)
    assert log_interval(2.0, 1.0, 0.5)[:3] == (
        2.0,
        pytest.approx(0, abs=1e-300),
        pytest.approx(2 * math.exp(700)),
    )
    assert math.isnan(log_interval(2.0, math.nan, 9).high)


def wilson_by_roots(p, n):
    """The proportions from which `p` lies 1.96 of their standard errors away."""
    z2 = 1.959964**2
    return sorted(np.roots([1 + z2 / n, -(2 * p + z2 / n), p * p]).real)


def test_the_interval_of_a_mean_of_shares_is_the_wider_of_two_at_each_end():
    parts = [Estimate(0.5, 0.3, 0.6), Estimate(0.8, 0.75, 0.95), Estimate(0.2, 0.1, 0.5)]
    smoothed, mean = np.array([0.5, 0.75, 0.25]), 0.5
    covariance = np.array([[4.0, 1, -1], [1, 9, 2], [-1, 2, 16]]) * 1e-4
    correlation = [[1, 1 / 6, -1 / 8], [1 / 6, 1, 1 / 6], [-1 / 8, 1 / 6, 1]]

    def joined(*sides):  # Zou & Donner (2008), written out pair by pair
        pairs = ((i, j) for i in range(3) for j in range(3))
        return math.sqrt(sum(sides[i] * sides[j] * correlation[i][j] for i, j in pairs)) / 3

    found = mean_of_shares(parts, smoothed, covariance)
    assert found.value == pytest.approx(mean)
    assert found.low == pytest.approx(mean - joined(0.2, 0.05, 0.1))
    assert found.high == pytest.approx(mean + joined(0.1, 0.15, 0.3))

    # sure parts: Wilson's interval with as many rows as give the variance of the mean
    sure = [Estimate(part.value, part.value, part.value) for part in parts]
    found = mean_of_shares(sure, smoothed, covariance)
    rows = 0.25 / ((4 + 9 + 16 + 2 * (1 - 1 + 2)) * 1e-4 / 9)
    assert found[1:3] == pytest.approx(wilson_by_roots(mean, rows), abs=1e-6)


def test_the_interval_of_a_mean_of_shares_stays_between_zero_and_one():
    wide = [Estimate(0.1, 0.0, 0.9), Estimate(0.1, 0.0, 0.9)]
    everything = np.full((2, 2), 0.2)
    found = mean_of_shares(wide, np.full(2, 0.2), everything)
    assert (found.low, found.high) == (0.0, pytest.approx(0.9))
    high = [Estimate(0.95, 0.2, 1.0), undefined("no row")]
    assert mean_of_shares(high, np.full(2, 0.5), everything).high == 1.0


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


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_the_difference_changes_sign_when_the_windows_are_swapped(a, b):
    one, two = Estimate(a, a - 0.05, a + 0.02), Estimate(b, b - 0.01, b + 0.08)
    there, back = difference(one, two), difference(two, one)
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_each_end_of_a_difference_joins_the_distances_that_point_there():
    change = difference(Estimate(0.7, 0.6, 0.85), Estimate(0.5, 0.45, 0.58))
    # Zou & Donner (2008), equation 1
    low, high = 0.2 - math.sqrt(0.1**2 + 0.08**2), 0.2 + math.sqrt(0.15**2 + 0.05**2)
    assert change[:3] == pytest.approx((0.2, low, high))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_p_value_takes_the_end_nearer_to_zero_as_two_standard_errors(sign):
    ends = sorted((sign * 0.1, sign * 0.9))
    # 0.3 is 0.2 from the nearer end, so 1.5 times 1.96 standard errors from 0
    expected = 2 * scipy_stats.norm.sf(1.5 * scipy_stats.norm.ppf(0.975))
    assert p_value_of_zero(Estimate(sign * 0.3, *ends)) == pytest.approx(expected)


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
