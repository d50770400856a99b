"""Paired differences: their laws, and how often they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.stats.paired import mcnemar_p_value, paired_difference, pairs_needed

scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=40)


@settings(max_examples=40, deadline=None)
@given(scores)
def test_swapping_the_sides_changes_the_sign_and_nothing_else(pairs: list) -> None:
    a, b = np.array(pairs).T
    forth = paired_difference(a, b, n_resamples=200)
    back = paired_difference(b, a, n_resamples=200)

    assert forth.value == pytest.approx(-back.value)
    assert forth.p_value == back.p_value
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


@settings(max_examples=40, deadline=None)
@given(scores)
def test_the_interval_and_the_p_value_never_contradict_each_other(pairs: list) -> None:
    a, b = np.array(pairs).T
    found = paired_difference(a, b, n_resamples=499)

    if found.method == "bootstrap" and found.p_value > 0.06:
        assert found.low <= 0 <= found.high
    assert found.low <= found.value <= found.high


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test_of_the_pairs_that_disagree(a: int, b: int) -> None:
    expected = binomtest(a, a + b).pvalue if a + b else 1.0

    assert mcnemar_p_value(a, b) == pytest.approx(expected, rel=1e-9)


def test_the_interval_of_shares_covers_the_truth_as_often_as_it_says(
    rng: np.random.Generator,
) -> None:
    covered = []
    for _ in range(1000):
        # both right 60 %, only the first 10 %, only the second 20 %: the truth is +0.1
        outcome = rng.choice(4, size=50, p=[0.6, 0.1, 0.2, 0.1])
        a, b = np.isin(outcome, (0, 1)), np.isin(outcome, (0, 2))
        found = paired_difference(a, b)
        covered.append(found.low <= 0.1 <= found.high)

    assert 0.93 <= np.mean(covered) <= 0.98


def test_pairs_that_all_differ_alike_are_judged_by_their_number() -> None:
    few = paired_difference([0.1] * 3, [0.2] * 3)
    many = paired_difference([0.1] * 20, [0.2] * 20)

    assert few.method == many.method == "sign"
    assert few.p_value == pytest.approx(0.25)
    assert many.p_value < 1e-5


def test_one_pair_says_nothing() -> None:
    found = paired_difference([0.0], [1.0])

    assert found.n == 1
    assert math.isnan(found.p_value)


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([1, math.nan], [1, 2])])
def test_scores_that_do_not_pair_are_refused(a: list, b: list) -> None:
    with pytest.raises(DataError):
        paired_difference(a, b)


@pytest.mark.parametrize("shape", ["binary", "skewed", "mostly ties"])
def test_no_difference_is_called_one_in_at_most_a_twentieth_of_experiments(
    shape: str, rng: np.random.Generator
) -> None:
    def draw(n: int) -> np.ndarray:
        if shape == "binary":
            return (rng.random(n) < 0.7).astype(float)
        if shape == "skewed":
            return rng.lognormal(0, 1, n)
        return np.where(rng.random(n) < 0.85, 0.8, rng.random(n))

    found = [paired_difference(draw(60), draw(60), n_resamples=400) for _ in range(400)]

    wrong = sum(each.p_value <= 0.05 for each in found)
    # 400 experiments at 5 %: more than 32 happen once in a hundred times
    assert wrong <= 32


def test_the_size_that_is_said_to_be_needed_finds_the_difference_four_times_in_five(
    rng: np.random.Generator,
) -> None:
    n = int(pairs_needed(1.0, 0.3))
    found = [
        paired_difference(np.zeros(n), rng.normal(0.3, 1, n), n_resamples=400) for _ in range(200)
    ]

    assert n == 88
    assert 0.7 < np.mean([each.p_value <= 0.05 for each in found]) < 0.9


def test_no_difference_needs_infinitely_many_pairs() -> None:
    assert pairs_needed(1.0, 0.0) == math.inf
    assert math.isnan(pairs_needed(math.nan, 0.1))
