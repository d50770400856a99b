"""Paired differences: their laws, and how often they are wrong."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.stats import paired
from flytekitplugins.wbmon.stats.interval import newcombe_paired_interval
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


def score_interval(share: float, n: int, z: float) -> np.ndarray:
    """Where `(share - p)^2 = z^2 p (1 - p) / n`: Wilson's limits as the roots of their equation."""
    return np.sort(np.roots([1 + z * z / n, -2 * share - z * z / n, share * share]).real)


@pytest.mark.parametrize(("alpha", "z"), [({}, 1.959964), ({"alpha": 0.1}, 1.644854)])
@pytest.mark.parametrize(
    "table", [(30, 5, 12, 13), (20, 9, 2, 4), (36, 12, 2, 0), (3, 0, 1, 7), (1, 0, 0, 1)]
)
def test_shares_are_compared_by_score_intervals_and_their_correlation(
    table: tuple, alpha: dict, z: float
) -> None:
    # items right on both sides, on the first side, on the second side, on none
    a, b = (np.repeat(right, table).astype(float) for right in ([1, 1, 0, 0], [1, 0, 1, 0]))
    n, phi = len(a), np.corrcoef(a, b)[0, 1]
    # with Newcombe's continuity correction of n / 2, in the unit of the correlation
    phi = min(phi, max(0, phi - 1 / (2 * n * a.std() * b.std())))
    (low_a, high_a), (low_b, high_b) = (score_interval(x.mean(), n, z) for x in (a, b))

    def error(x: float, y: float) -> float:
        return math.sqrt(x * x - 2 * phi * x * y + y * y)

    found = paired_difference(a, b, **alpha)

    value = b.mean() - a.mean()
    low = value - error(b.mean() - low_b, high_a - a.mean())
    high = value + error(high_b - b.mean(), a.mean() - low_a)
    assert newcombe_paired_interval(*table, **alpha) == pytest.approx((low, high), abs=1e-5)
    disagree = table[1] + table[2]
    p_value = binomtest(table[1], disagree).pvalue if disagree else 1.0
    if p_value > alpha.get("alpha", 0.05):
        # the test does not reject: 0 belongs to the interval
        low, high = min(low, 0), max(high, 0)
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)
    assert found.p_value == pytest.approx(p_value)
    assert found.deviation == pytest.approx(np.std(b - a, ddof=1))
    assert (found.n, found.method) == (n, "mcnemar")


@pytest.mark.parametrize(
    ("table", "low", "high"), [((36, 12, 2, 0), 0.0569, 0.3404), ((1, 1, 7, 12), -0.507, -0.026)]
)
def test_published_intervals_of_paired_shares_are_reproduced(
    table: tuple, low: float, high: float
) -> None:
    """From Newcombe (1998) and from Fagerland, Lydersen & Laake (2017), chapter 8."""
    both, only_first, only_second, neither = table
    found = newcombe_paired_interval(both, only_second, only_first, neither)
    assert found == pytest.approx((low, high), abs=5e-4)


def test_shares_without_variation_on_one_side_are_taken_as_uncorrelated() -> None:
    # 10 of 10 against 6 of 10
    low, high = newcombe_paired_interval(6, 4, 0, 0)

    low_b, high_b = score_interval(0.6, 10, 1.959964)
    low_a, _ = score_interval(1.0, 10, 1.959964)
    assert low == pytest.approx(-0.4 - (0.6 - low_b), abs=1e-5)
    assert high == pytest.approx(-0.4 + math.hypot(high_b - 0.6, 1 - low_a), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=4, max_size=4), st.floats(1e-9, 0.5))
def test_the_interval_of_shares_excludes_zero_exactly_with_a_p_value_up_to_the_level(
    table: list, alpha: float
) -> None:
    a, b = (np.repeat(right, table).astype(float) for right in ([1, 1, 0, 0], [1, 0, 1, 0]))
    if len(a) < 2:
        return
    found = paired_difference(a, b, alpha=alpha)

    assert found.p_value >= mcnemar_p_value(table[1], table[2])
    if abs(found.p_value / alpha - 1) > 1e-6:
        assert (not found.low <= 0 <= found.high) is (found.p_value < alpha)


@pytest.mark.parametrize("n", [2, 12, 3000])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_scores_are_compared_by_the_ratios_of_resamples(n: int, alpha: float) -> None:
    """The same draws, each judged by the t test of scipy against the observed mean."""
    scores = np.random.default_rng(n).normal(0.3, 1, n)
    n_resamples = 999 if n < 3000 else 700  # 3000 pairs do not fit into one piece
    drawn = scores[np.random.default_rng(7).integers(0, n, (n_resamples, n))]
    away = drawn.mean(axis=1) - scores.mean()
    with np.errstate(all="ignore"):
        ratios = away / (drawn.std(axis=1, ddof=1) / n**0.5)
    flat = np.ptp(drawn, axis=1) == 0
    ratios[flat] = np.copysign(math.inf, away[flat])
    observed = abs(ttest_1samp(scores, 0).statistic)

    found = paired_difference(
        np.zeros(n), scores, alpha=alpha, n_resamples=n_resamples, rng=np.random.default_rng(7)
    )

    def quantile(tail: np.ndarray, level: float) -> float:
        return float(np.sort(tail)[n_resamples - math.floor(level * (1 + n_resamples) + 1e-9)])

    reach = [
        max(quantile(np.abs(ratios), alpha), quantile(side * ratios, alpha / 2)) for side in (1, -1)
    ]
    error, most = np.std(scores, ddof=1) / n**0.5, 2 * np.abs(scores).max()
    down, up = (min(each * error, most) for each in reach)
    toward_zero = ratios if scores.mean() > 0 else -ratios
    beyond = [(each >= observed).sum() for each in (np.abs(ratios), toward_zero)]
    if min(beyond) >= 9:
        p_value = max((1 + beyond[0]), 2 * (1 + beyond[1])) / (1 + n_resamples)
        assert found.p_value == pytest.approx(min(1.0, p_value))
    else:
        # too few to read it off from
        assert 0 < found.p_value < 20 / (1 + n_resamples)
    assert (found.value, found.low, found.high) == pytest.approx(
        (scores.mean(), scores.mean() - down, scores.mean() + up)
    )
    assert found.deviation == pytest.approx(np.std(scores, ddof=1))
    assert (found.n, found.method) == (n, "bootstrap")


@pytest.mark.parametrize(
    ("deviation", "difference", "alpha", "n"),
    [
        # (1.959964 + 0.841621)^2 = 7.8489 and (1.644854 + 0.841621)^2 = 6.1826, times the squares
        (1.0, 0.5, 0.05, 32),
        (1.0, -0.5, 0.05, 32),
        (2.0, 0.5, 0.05, 126),
        (1.0, 0.5, 0.1, 25),
        (0.1, 5.0, 0.05, 2),
    ],
)
def test_the_number_of_pairs_is_that_of_the_normal_approximation(
    deviation: float, difference: float, alpha: float, n: int
) -> None:
    assert pairs_needed(deviation, difference, alpha=alpha) == n


def test_a_single_pair_has_a_value_and_no_pair_has_none() -> None:
    assert paired_difference([0.25], [1.0])[:1] == (0.75,)
    nothing = paired_difference([], [])
    assert nothing.n == 0
    assert math.isnan(nothing.value)


def test_scores_that_never_differ_are_no_difference() -> None:
    found = paired_difference([0.3, 0.8], [0.3, 0.8])

    assert found == (0.0, 0.0, 0.0, 1.0, 0.0, 2, "sign")


def test_numbers_of_every_kind_are_scores() -> None:
    a, b = [Decimal("0.5"), Decimal(2), Decimal("0.25")], [Fraction(1), Fraction(1, 2), Fraction(3)]
    exact = paired_difference([0.5, 2, 0.25], [1, 0.5, 3])
    assert paired_difference(a, b) == exact
    small = (np.array(column, dtype=np.uint8) for column in ([9, 2, 3], [1, 8, 2]))
    assert paired_difference(*small).value == pytest.approx(-1)


def test_some_zeros_and_ones_do_not_make_scores_shares() -> None:
    assert paired_difference([0, 0.5, 1], [1, 0.25, 0]).method == "bootstrap"
    assert paired_difference([0, 1, 1], [1, 0.25, 0]).method == "bootstrap"


def test_two_thousand_resamples_of_one_seed_are_drawn_unless_told_otherwise() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(0.1, 1, 30)
    p_value = paired_difference(np.zeros(30), scores).p_value
    assert p_value * 2001 == pytest.approx(round(p_value * 2001))
    seeded = paired_difference(np.zeros(30), scores, n_resamples=2000, rng=np.random.default_rng(0))
    assert paired_difference(np.zeros(30), scores) == seeded


@pytest.mark.parametrize("differences", [[1.0, -1.0], [-1.0, 0.0, 1.0]])
@pytest.mark.parametrize("chunk", [1, 2_000_000])
def test_no_mean_difference_is_as_likely_as_can_be(
    differences: list, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "_CHUNK", chunk)
    found = paired_difference(np.zeros(len(differences)), differences, n_resamples=50)
    assert (found.value, found.p_value) == (0.0, 1.0)


def test_resamples_that_equal_the_mean_are_at_no_distance_from_it() -> None:
    # 17 % of the resamples have a mean of 0 by balance, and 13 % more because they hold zeros only
    differences = np.array([1.0, -1.0] + [0.0] * 98)
    found = paired_difference(np.zeros(100), differences, alpha=0.75)
    assert (found.low, found.high) == (0.0, 0.0)


@pytest.mark.parametrize(("n", "most"), [(30, 0.085), (100, 0.075)])
def test_frequent_gains_and_rare_losses_are_rarely_called_better(n: int, most: float) -> None:
    """The symmetric bootstrap-t alone calls 10.0 and 7.3 % of these better, where 2.5 % may be."""
    shipped = 0
    for seed in range(400):
        loss = np.random.default_rng(seed).lognormal(0, 1, n)
        scores = math.exp(0.5) - loss
        shipped += paired_difference(np.zeros(n), scores, n_resamples=1000).low > 0
    assert shipped / 400 <= most


def test_scores_that_are_no_numbers_are_told() -> None:
    with pytest.raises(DataError, match="paired scores must be numbers: could not convert"):
        paired_difference(["x", "y"], ["z", "w"])
