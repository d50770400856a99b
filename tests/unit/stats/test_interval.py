from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

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
    assert all(map(math.isnan, newcombe_interval(1, 2, 0, 0)))
    assert not any(map(math.isnan, newcombe_interval(1, 1, 0, 1)))


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_interval_of_a_share_is_that_of_scipy(count, n, alpha):
    count = min(count, n)

    theirs = binomtest(count, n).proportion_ci(confidence_level=1 - alpha, method="wilson")

    assert wilson_interval(count, n, alpha=alpha) == pytest.approx(theirs, abs=1e-12)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_the_interval_of_a_difference_joins_the_distances_of_two_at_its_level(a, n, b, m):
    a, b = min(a, n), min(b, m)
    own = binomtest(a, n).proportion_ci(confidence_level=0.8, method="wilson")
    other = binomtest(b, m).proportion_ci(confidence_level=0.8, method="wilson")

    low, high = newcombe_interval(a, n, b, m, alpha=0.2)

    below, above = (a / n - own.low, own.high - a / n), (b / m - other.low, other.high - b / m)
    assert low == pytest.approx(b / m - a / n - math.hypot(above[0], below[1]), abs=1e-12)
    assert high == pytest.approx(b / m - a / n + math.hypot(above[1], below[0]), abs=1e-12)
    assert -1 <= low <= high <= 1


def test_the_margin_of_the_ks_distance_has_the_published_coefficients():
    # Smirnov (1948), large samples: 1.358 at 5 % and 1.628 at 1 %, times sqrt((n + m) / (n m))
    unit = math.sqrt((40 + 90) / (40 * 90))
    assert ks_margin(40, 90) == ks_margin(90, 40) == pytest.approx(1.358 * unit, rel=3e-4)
    assert ks_margin(40, 90, alpha=0.01) == pytest.approx(1.628 * unit, rel=3e-4)


@pytest.mark.parametrize(("given", "alpha"), [({}, 0.05), ({"alpha": 0.3}, 0.3)])
def test_the_margin_of_total_variation_solves_mcdiarmids_inequality(given, alpha):
    n, m = 12, 31
    changes = [1 / n] * n + [1 / m] * m  # how far each row alone can move the distance

    margin = total_variation_margin(n, m, **given)

    assert math.exp(-2 * margin**2 / sum(c**2 for c in changes)) == pytest.approx(alpha)


def test_the_lower_bound_of_the_distance_is_rarely_above_the_truth():
    rng = np.random.default_rng(0)
    # two uniform distributions, one shifted by 0.2: the true distance is 0.2
    above = [
        ks_statistic(np.sort(rng.random(300)), np.sort(0.2 + rng.random(200))) - ks_margin(300, 200)
        > 0.2
        for _ in range(400)
    ]

    assert np.mean(above) <= 0.05


def test_a_share_of_hardly_a_row_may_be_anything() -> None:
    for n in (1e-101, 1e-200, 5e-324):
        assert wilson_interval(n / 2, n) == (0.0, 1.0)
    low, high = wilson_interval(1e-99 / 2, 1e-99)
    assert (low, high) == pytest.approx((0, 1))
