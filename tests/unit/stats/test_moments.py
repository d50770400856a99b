from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flytekitplugins.wbmon.stats.moments import (
    Moments,
    merge_moments,
    moments,
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
