"""Differences of independent means: against scipy, and how often they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flytekitplugins.wbmon.stats.interval import newcombe_interval
from flytekitplugins.wbmon.stats.unpaired import permuted_ratios, unpaired_difference

samples = st.lists(st.floats(-5, 5).map(lambda x: round(x, 2)), min_size=2, max_size=30)


def welch(x, y, axis=-1):
    return stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic


@pytest.mark.parametrize(("n", "m"), [(40, 40), (200, 12), (12, 200)])
def test_the_p_value_is_that_of_the_studentised_permutation_test_of_scipy(n, m):
    rng = np.random.default_rng(4)
    a, b = rng.lognormal(0, 1, n), rng.lognormal(0.5, 1, m)

    found = unpaired_difference(a, b, n_permutations=40_000)

    theirs = stats.permutation_test(
        (b, a), welch, vectorized=True, n_resamples=20_000, rng=np.random.default_rng(1)
    )
    assert found.method == "permutation"
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert found.p_value == pytest.approx(theirs.pvalue, rel=0.15)


def test_every_exchange_of_a_few_values_is_as_likely():
    a, b = np.array([1.0, 2.0, 4.0]), np.array([8.0, 16.0, 33.0])
    values = np.concatenate((a, b))
    exact = [
        welch(values[list(chosen)], np.delete(values, chosen))
        for chosen in ((i, j, k) for i in range(6) for j in range(i) for k in range(j))
    ]

    found = permuted_ratios(a, b, 20_000, np.random.default_rng(0))

    assert set(found.round(6)) == set(np.round(exact, 6))
    assert np.mean(found >= max(exact) - 1e-9) == pytest.approx(1 / 20, abs=0.005)


def test_normal_samples_have_nearly_the_interval_of_welch(rng):
    a, b = rng.normal(1, 1, 300), rng.normal(1.2, 3, 200)
    found = unpaired_difference(a, b)
    theirs = stats.ttest_ind(b, a, equal_var=False)
    low, high = theirs.confidence_interval()
    error = (high - low) / 2
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * error)
    assert found.p_value == pytest.approx(theirs.pvalue, rel=0.4)


@pytest.mark.parametrize("size", [2500, 9000])
def test_large_samples_are_permuted_in_blocks_with_the_same_result(size, rng):
    a, b = rng.lognormal(0, 1, size), rng.lognormal(0, 1, 2 * size)
    found = unpaired_difference(a, b)
    low, high = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_values_of_two_kinds_have_newcombes_interval_in_their_unit(rng):
    a, b = rng.random(90) < 0.3, rng.random(70) < 0.6
    low, high = newcombe_interval(a.sum(), 90, b.sum(), 70, alpha=0.01)

    shares = unpaired_difference(a.astype(float), b.astype(float), alpha=0.01)
    votes = unpaired_difference(2.0 * a - 1, 2.0 * b - 1, alpha=0.01)

    assert (shares.low, shares.high, shares.method) == (low, high, "newcombe")
    assert (votes.value, votes.low, votes.high) == pytest.approx(
        (2 * shares.value, 2 * low, 2 * high)
    )
    assert votes.p_value == shares.p_value


@settings(max_examples=40, deadline=None)
@given(samples, samples, st.sampled_from([1e-12, 1e-4, 0.01, 0.05, 0.5]))
def test_the_interval_excludes_zero_exactly_with_a_p_value_up_to_the_level(first, second, alpha):
    found = unpaired_difference(np.array(first), np.array(second), alpha=alpha, n_permutations=400)
    if math.isnan(found.p_value):
        return
    assert found.low <= found.value + 1e-12
    assert found.high >= found.value - 1e-12
    if abs(found.p_value / alpha - 1) > 1e-6:
        assert (not found.low <= 0 <= found.high) is (found.p_value < alpha)


@settings(max_examples=40, deadline=None)
@given(samples, samples)
def test_swapping_samples_of_two_kinds_changes_the_sign_and_nothing_else(first, second):
    a, b = (np.array(each) > 0 for each in (first, second))
    forth, back = (unpaired_difference(x * 1.0, y * 1.0) for x, y in ((a, b), (b, a)))
    assert forth.value == -back.value
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), nan_ok=True)


def test_scale_and_origin_do_not_matter(rng):
    a, b = rng.normal(0, 1, 40), rng.normal(1, 1, 30)
    found, moved = unpaired_difference(a, b), unpaired_difference(1e9 + a * 1e3, 1e9 + b * 1e3)
    assert moved.p_value == pytest.approx(found.p_value, rel=1e-6)
    assert (moved.low, moved.high) == pytest.approx((found.low * 1e3, found.high * 1e3), rel=1e-6)


def test_samples_without_spread_differ_by_their_difference():
    found = unpaired_difference(np.full(30, 2.0), np.r_[np.full(29, 3.0), 3.0])
    # two values only, so these are shares: none of 30 against all of 30
    assert (found.value, found.method) == (1.0, "newcombe")
    flat = unpaired_difference(np.full(5, 2.0), np.full(4, 2.0))
    assert flat[:3] == (0.0, 0.0, 0.0)
    assert math.isnan(flat.p_value)


def test_less_than_two_values_have_no_interval():
    assert math.isnan(unpaired_difference(np.array([]), np.ones(3)).value)
    found = unpaired_difference(np.ones(1), np.array([2.0, 4.0]))
    assert found.value == 2.0
    assert math.isnan(found.low)


@pytest.mark.parametrize("kind", ["share of 5 %", "revenue"])
def test_a_small_arm_is_called_different_in_one_of_twenty_experiments(kind):
    rng = np.random.default_rng(2)

    def draw(n):
        return (rng.random(n) < 0.05) * 1.0 if kind == "share of 5 %" else rng.lognormal(0, 1.5, n)

    n_runs = 300
    wrong = by_welch = 0
    for _ in range(n_runs):
        a, b = draw(1000), draw(30)
        wrong += unpaired_difference(a, b, n_permutations=500).p_value <= 0.05
        by_welch += stats.ttest_ind(a, b, equal_var=False).pvalue <= 0.05
    assert wrong / n_runs <= 0.08
    assert by_welch / n_runs > 0.12
