from __future__ import annotations

import math

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
