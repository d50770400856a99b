from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.stats.interval import (
    ks_margin,
    newcombe_interval,
    total_variation_margin,
    wilson_interval,
)
from flytekitplugins.wbmon.stats.two_sample import ks_statistic


@given(st.integers(0, 100), st.integers(1, 100))
def test_the_share_lies_in_its_interval(count, n):
    count = min(count, n)

    low, high = wilson_interval(count, n)

    assert 0 <= low <= count / n + 1e-12
    assert count / n - 1e-12 <= high <= 1


def test_published_intervals_are_reproduced():
    # Newcombe (1998), Statistics in Medicine 17, tables of examples: 81 of 263; 56/70 and 48/80
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    low, high = newcombe_interval(48, 80, 56, 70)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_swapping_the_windows_turns_the_interval_round(a, n, b, m):
    a, b = min(a, n), min(b, m)

    low, high = newcombe_interval(a, n, b, m)

    assert low <= b / m - a / n <= high
    assert newcombe_interval(b, m, a, n) == pytest.approx((-high, -low))


def test_intervals_of_nothing_are_undefined():
    assert all(map(math.isnan, wilson_interval(0, 0)))
    assert all(map(math.isnan, newcombe_interval(0, 0, 1, 2)))


def test_margins_shrink_with_rows():
    assert ks_margin(100, 100) > ks_margin(10_000, 10_000)
    assert total_variation_margin(100, 100) > total_variation_margin(10_000, 10_000)


def test_the_lower_bound_of_the_distance_is_rarely_above_the_truth():
    rng = np.random.default_rng(0)
    # two uniform distributions, one shifted by 0.2: the true distance is 0.2
    above = [
        ks_statistic(np.sort(rng.random(300)), np.sort(0.2 + rng.random(200))) - ks_margin(300, 200)
        > 0.2
        for _ in range(400)
    ]

    assert np.mean(above) <= 0.05
