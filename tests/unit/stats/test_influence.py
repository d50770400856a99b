"""Sampling errors of rows that come in clusters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.stats.influence import (
    effective_rows,
    influence_error,
    influence_freedom,
)

samples = st.lists(st.tuples(st.floats(-5, 5), st.floats(0.2, 5)), min_size=3, max_size=20)


@given(samples, st.integers(1, 4))
def test_copies_of_a_row_in_its_cluster_tell_nothing_more(rows, copies):
    value, weight = np.array(rows).T
    value = value - np.average(value, weights=weight)
    cluster = np.repeat(np.arange(len(value)), copies)
    again = np.repeat(value, copies), np.repeat(weight, copies), cluster
    for statistic in (influence_error, influence_freedom):
        alone = statistic(value, weight)
        assert statistic(*again) == pytest.approx(alone, rel=1e-6, nan_ok=True)
    assert effective_rows(again[1], cluster) == pytest.approx(effective_rows(weight))


def test_influences_are_added_up_within_each_cluster():
    influence, weight = np.array([1.0, 2.0, -3.0, 0.0]), np.array([1.0, 1.0, 2.0, 1.0])
    cluster = np.array([7, 7, 0, 3])
    # the clusters weigh 2, 2 and 1; their sums are 3, -6 and 0
    n = 25 / 9
    assert effective_rows(weight, cluster) == pytest.approx(n)
    expected = math.sqrt((9 + 36) * n / (n - 1)) / 5
    assert influence_error(influence, weight, cluster) == pytest.approx(expected)


def test_rows_of_a_single_cluster_have_no_error():
    assert math.isnan(influence_error(np.array([1.0, -1.0]), np.ones(2), np.zeros(2, dtype=int)))
    assert influence_freedom(np.array([1.0, -1.0]), np.ones(2), np.zeros(2, dtype=int)) <= 0


def test_an_error_that_hangs_on_one_row_is_known_like_that_of_two():
    rare = np.full(1000, -0.001)
    rare[0] = 0.999
    assert influence_freedom(rare, np.ones(1000)) == pytest.approx(2.0, rel=0.01)
    # of a normal variable the kurtosis is 3, which n - 1 rows give
    normal = np.random.default_rng(0).normal(size=100_000)
    assert influence_freedom(normal, np.ones(100_000)) == pytest.approx(100_000, rel=0.05)


@given(st.floats(1e-150, 1e150))
def test_the_degrees_of_freedom_know_no_unit(unit):
    influence = np.array([1.0, -2.0, 3.0, -2.0])
    expected = influence_freedom(influence, np.ones(4))
    assert influence_freedom(influence * unit, np.ones(4)) == pytest.approx(expected)
