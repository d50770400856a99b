from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flytekitplugins.wbmon.stats.binning import cell_counts, grid_edges
from flytekitplugins.wbmon.stats.moments import (
    Moments,
    grid_kurtosis,
    mean_shift,
    merge_moments,
    moments,
    spread_ratio,
    standard_deviation,
)

samples = arrays(np.float64, st.integers(0, 50), elements=st.floats(-1e6, 1e6))


@given(samples, samples)
def test_moments_of_two_parts_merge_to_those_of_the_whole(a, b):
    merged = merge_moments(moments(a), moments(b))

    whole = moments(np.concatenate((a, b)))
    np.testing.assert_allclose(merged, whole, rtol=1e-9, atol=1e-3)


@given(samples)
def test_whole_weights_are_repeated_values(values):
    weights = np.arange(len(values)) % 3

    weighted = moments(values, weights.astype(float))

    np.testing.assert_allclose(weighted, moments(np.repeat(values, weights)), rtol=1e-9, atol=1e-3)


def test_moments_of_nothing_are_neutral():
    some = moments(np.array([1.0, 3.0]))

    assert merge_moments(Moments(), some) == some
    assert merge_moments(some, Moments()) == some
    assert math.isnan(standard_deviation(Moments()))
    assert standard_deviation(some) == 1


def test_a_large_mean_does_not_swallow_the_spread():
    values = 1e9 + np.array([0.0, 1.0, 2.0])

    assert standard_deviation(moments(values)) == pytest.approx(math.sqrt(2 / 3))


def test_weights_of_zero_have_no_mean():
    assert moments(np.array([5.0]), np.array([0.0])).weight == 0


SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.exponential(size=n),
    "flat": lambda rng, n: rng.random(n),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_cover_the_truth_as_often_as_they_say(shape):
    rng = np.random.default_rng(0)
    mean_covered, ratio_covered = [], []
    for _ in range(400):
        a, b = SHAPES[shape](rng, 400), 2 * SHAPES[shape](rng, 300)
        edges = grid_edges(np.sort(a))
        kurtosis = tuple(
            grid_kurtosis(edges, cell_counts(np.sort(x), edges), minimum=x.min(), maximum=x.max())
            for x in (a, b)
        )
        truth = {"normal": 0.0, "skewed": 1.0, "flat": 0.5}[shape]
        _, low, high = mean_shift(moments(a), moments(b), n=400, m=300)
        mean_covered.append(low <= truth <= high)
        _, low, high = spread_ratio(moments(a), moments(b), n=400, m=300, kurtosis=kurtosis)
        ratio_covered.append(low <= 2 <= high)

    assert np.mean(mean_covered) == pytest.approx(0.95, abs=0.035)
    assert np.mean(ratio_covered) == pytest.approx(0.95, abs=0.06)


def test_a_shift_has_the_sign_of_the_current_window():
    low, high = moments(np.array([1.0, 2.0])), moments(np.array([4.0, 6.0]))

    assert mean_shift(low, high, n=2, m=2)[0] == 3.5
    assert mean_shift(high, low, n=2, m=2)[0] == -3.5
    assert spread_ratio(low, high, n=2, m=2)[0] == 2


def test_shifts_of_nothing_and_spreads_of_constants_are_undefined():
    nothing, constant = Moments(), moments(np.array([1.0, 1.0]))

    assert all(map(math.isnan, mean_shift(nothing, constant, n=0, m=2)))
    assert all(map(math.isnan, spread_ratio(constant, constant, n=2, m=2)))
    assert all(map(math.isnan, spread_ratio(nothing, constant, n=0, m=2)))


def test_the_kurtosis_of_a_grid_is_hardly_below_that_of_its_values():
    rng = np.random.default_rng(0)
    for shape, expected in (("normal", 3.0), ("skewed", 9.0), ("flat", 1.8)):
        values = np.sort(SHAPES[shape](rng, 200_000))
        edges = grid_edges(values)
        found = grid_kurtosis(
            edges, cell_counts(values, edges), minimum=values[0], maximum=values[-1]
        )
        assert 0.95 * expected < found < 1.4 * expected


def test_the_kurtosis_of_nothing_or_a_constant_is_undefined():
    edge = np.array([1.0])

    assert math.isnan(grid_kurtosis(edge, np.zeros(3), minimum=1, maximum=1))
    assert math.isnan(grid_kurtosis(edge, np.array([0, 5, 0]), minimum=1, maximum=1))


REFERENCE, CURRENT = Moments(10.0, 2.0, 40.0), Moments(20.0, 5.0, 180.0)  # variances 4 and 9
QUANTILES = pytest.mark.parametrize(
    # Fisher (1925), Statistical methods for research workers, table I
    ("alpha", "z"),
    [({}, 1.959964), ({"alpha": 0.1}, 1.644854)],
)


@QUANTILES
def test_the_interval_of_a_shift_is_the_quantile_times_the_standard_error(alpha, z):
    found = mean_shift(REFERENCE, CURRENT, n=16, m=9, **alpha)

    half = z * math.sqrt(4 / 16 + 9 / 9)
    assert found == pytest.approx((3.0, 3.0 - half, 3.0 + half), abs=1e-5)


@pytest.mark.parametrize(("n", "m"), [(0, 9), (16, 0), (-1, 9), (16, -1)])
def test_a_shift_against_a_window_without_rows_is_undefined(n, m):
    assert all(map(math.isnan, mean_shift(REFERENCE, CURRENT, n=n, m=m)))


def test_half_an_effective_row_has_an_interval():
    shift, low, high = mean_shift(REFERENCE, CURRENT, n=0.5, m=0.5)

    assert (shift, high - low) == pytest.approx((3.0, 2 * 1.959964 * math.sqrt(26)), abs=1e-4)


@QUANTILES
def test_the_interval_of_a_spread_is_symmetric_on_the_log_scale(alpha, z):
    found = spread_ratio(REFERENCE, CURRENT, n=50, m=80, kurtosis=(3.0, 5.0), **alpha)

    factor = math.exp(z * math.sqrt((2 / 50 + 4 / 80) / 4))
    assert found == pytest.approx((1.5, 1.5 / factor, 1.5 * factor), rel=1e-5)


def test_a_spread_is_taken_for_that_of_normal_values_if_nothing_is_known_of_its_tails():
    known = spread_ratio(REFERENCE, CURRENT, n=50, m=80, kurtosis=(3.0, 3.0))

    assert spread_ratio(REFERENCE, CURRENT, n=50, m=80) == known


@pytest.mark.parametrize("kurtosis", [(math.nan, 3.0), (3.0, math.nan)])
def test_an_unknown_kurtosis_leaves_the_ratio_without_an_interval(kurtosis):
    ratio, low, high = spread_ratio(REFERENCE, CURRENT, n=50, m=80, kurtosis=kurtosis)

    assert ratio == 1.5
    assert math.isnan(low)
    assert math.isnan(high)


def test_a_kurtosis_below_one_has_an_interval_without_width_and_few_rows_one_without_an_end():
    assert spread_ratio(REFERENCE, CURRENT, n=5, m=8, kurtosis=(0.0, 0.0)) == (1.5, 1.5, 1.5)
    found = spread_ratio(REFERENCE, CURRENT, n=1e-9, m=8)
    assert found == pytest.approx((1.5, 1.5 / math.exp(700), 1.5 * math.exp(700)))


@pytest.mark.parametrize("constant", [0, 1])
def test_the_spread_of_one_constant_window_is_undefined(constant):
    windows = [REFERENCE, CURRENT]
    windows[constant] = Moments(10.0, 2.0, 0.0)

    assert all(map(math.isnan, spread_ratio(*windows, n=50, m=80)))


def test_weights_below_one_in_sum_have_moments():
    found = moments(np.array([1.0, 3.0]), np.array([0.25, 0.25]))

    assert found == (0.5, 2.0, 0.5)
    assert merge_moments(found, found) == (1.0, 2.0, 1.0)
    assert standard_deviation(found) == 1.0
    assert moments(np.array([1.0, 3.0]), np.zeros(2)) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("unit", [1.0, 0.05])
def test_the_kurtosis_of_a_grid_is_that_of_rows_in_the_middle_of_their_cells(unit):
    counts = np.array([1, 2, 4, 3, 1, 1, 2])
    places = [-1, 0, 1, 2, 4, 6, 8]  # ends at -2 and 10, edges at 0, 2 and 6
    rows = np.repeat(places, counts)
    deviation = rows - rows.mean()
    expected = (deviation**4).mean() / (deviation**2).mean() ** 2

    found = grid_kurtosis(np.array([0, 2, 6]), unit * counts, minimum=-2.0, maximum=10.0)

    assert found == pytest.approx(expected)


def test_ends_that_add_up_beyond_the_largest_number_have_a_middle():
    edges = np.array([1.5e308, 1.7e308])

    with np.errstate(over="raise"):
        found = grid_kurtosis(edges, np.array([0, 0, 9, 0, 0]), minimum=1.5e308, maximum=1.7e308)

    assert math.isnan(found)


def test_one_row_is_merged_as_any_other_number_of_rows():
    one, two = moments(np.array([5.0])), moments(np.array([1.0, 3.0]))

    assert merge_moments(one, two) == merge_moments(two, one) == (3.0, 3.0, 8.0)


def test_what_is_said_of_no_rows_does_not_spoil_a_sum():
    nothing, some = Moments(0.0, math.nan, math.nan), moments(np.array([1.0, 3.0]))

    assert merge_moments(nothing, some) == merge_moments(some, nothing) == some
    assert Moments() == moments(np.empty(0)) == (0.0, 0.0, 0.0)


def test_values_of_single_precision_are_added_in_double_precision(rng: np.random.Generator):
    values = rng.normal(1000, 1, 5000).astype(np.float32)

    assert moments(values) == pytest.approx(moments(values.astype(np.float64)), rel=1e-13)


def test_numbers_too_large_or_too_small_to_be_squared_end_in_infinity_or_nan_without_a_warning():
    huge = 1.7e308
    # sixteen values are added in eight columns: infinite ones of both signs meet
    signs = np.array([huge, -huge, *[0.0] * 6] * 2)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert moments(np.array([huge, huge])).mean == math.inf
        assert math.isnan(moments(signs).mean)
    # the fourth power of the one deviation is still a number, the squared variance is 0
    edges = np.array([0.0, 5.6e-81])
    found = grid_kurtosis(edges, np.array([0, 99, 0, 1, 0]), minimum=0.0, maximum=5.6e-81)
    assert found == math.inf


def test_an_infinite_kurtosis_leaves_the_ratio_without_an_end():
    found = spread_ratio(REFERENCE, CURRENT, n=50, m=80, kurtosis=(math.inf, math.inf))

    assert found == pytest.approx((1.5, 1.5 / math.exp(700), 1.5 * math.exp(700)))
