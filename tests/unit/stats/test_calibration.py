from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, halfnorm

from flytekitplugins.wbmon.stats.calibration import (
    calibration_curve,
    calibration_error_by_chance,
    expected_calibration_error,
    spiegelhalter_z,
)

rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 20), st.floats(0.5, 5)), min_size=1, max_size=80
)


def columns(rows):
    positive, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    return positive, score / 20, weight.astype(float)


@given(rows, st.integers(1, 12))
def test_every_row_is_in_one_bin_and_bins_rise(rows, bins):
    positive, score, weight = columns(rows)
    curve = calibration_curve(positive, score, weight, bins=bins)
    assert 1 <= len(curve) <= bins
    assert sum(each.weight for each in curve) == pytest.approx(weight.sum())
    assert sum(each.share * each.weight for each in curve) == pytest.approx(weight[positive].sum())
    scores = [each.score for each in curve]
    assert scores == sorted(scores)
    for each in curve:
        assert each.low <= each.share + 1e-12
        assert each.share <= each.high + 1e-12


def test_a_curve_has_ten_bins_unless_another_number_is_asked_for(rng):
    score = rng.random(200)
    curve = calibration_curve(rng.random(200) < score, score, np.ones(200))
    assert [each.weight for each in curve] == [20] * 10


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_bins_hold_equally_many_rows_and_their_means(bins, rng):
    score, n = rng.random(60), 60 // bins
    positive = rng.random(60) < score

    curve = calibration_curve(positive, score, np.ones(60), bins=bins)

    for found, rows in zip(curve, np.array_split(np.argsort(score), bins), strict=True):
        p, hits = score[rows], int(positive[rows].sum())
        assert (found.weight, found.score) == (n, pytest.approx(p.mean()))
        assert found.share == pytest.approx(hits / n)
        assert found.variance == pytest.approx((p * (1 - p)).sum() / n**2)
        interval = binomtest(hits, n).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_a_row_of_weight_three_bends_the_curve_as_three_rows_do(rng):
    score, weight = rng.random(50), rng.integers(1, 4, 50)
    positive = rng.random(50) < score

    curve = calibration_curve(positive, score, weight.astype(float), bins=5)

    rows = np.repeat(np.arange(50), weight)
    alike = calibration_curve(positive[rows], score[rows], np.ones(len(rows)), bins=5)
    for found, other in zip(curve, alike, strict=True):
        assert (found.weight, found.score) == pytest.approx((other.weight, other.score))
        assert found.share == pytest.approx(other.share)
        # the three rows are three chances, the row of weight three is one
        assert found.variance > other.variance
    errors = expected_calibration_error(curve), expected_calibration_error(alike)
    assert errors[0] == pytest.approx(errors[1])
    by_hand = sum(each.weight * abs(each.score - each.share) for each in alike) / len(rows)
    assert errors[1] == pytest.approx(by_hand)


def test_the_error_of_chance_is_the_mean_of_a_half_normal():
    (one,) = calibration_curve(np.arange(100) < 30, np.full(100, 0.3), np.ones(100))
    expected = halfnorm(scale=math.sqrt(0.3 * 0.7 / 100)).mean()
    assert calibration_error_by_chance([one]) == pytest.approx(expected)
    assert calibration_error_by_chance([one, one]) == pytest.approx(expected)


def test_spiegelhalters_z_is_the_brier_score_in_standard_errors_over_all_outcomes(rng):
    score, weight = rng.random(9), rng.uniform(0.5, 3, 9)
    outcomes = np.array(list(product([False, True], repeat=9)))
    chance = np.where(outcomes, score, 1 - score).prod(axis=1)
    brier = ((outcomes - score) ** 2 * weight).sum(axis=1)
    mean = (chance * brier).sum()
    sd = math.sqrt((chance * (brier - mean) ** 2).sum())

    for outcome, value in zip(outcomes[::37], brier[::37], strict=True):
        assert spiegelhalter_z(outcome, score, weight) == pytest.approx((value - mean) / sd)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([1e-9, 0.1, 0.7, 1e9])), min_size=1))
def test_no_share_leaves_its_range_however_the_weights_are_rounded(rows):
    positive, weight = (np.array(column) for column in zip(*rows, strict=True))
    for each in calibration_curve(positive, np.arange(len(rows)) / len(rows), weight, bins=3):
        assert 0 <= each.low <= each.high <= 1
        assert 0 <= each.share <= 1


def test_a_bin_of_weighted_rows_has_the_interval_of_its_effective_rows():
    # Kish: (1 + 1 + 1 + 5)^2 / (1 + 1 + 1 + 25) rows, of whose weight 3/8 is positive
    (one,) = calibration_curve(np.arange(4) < 3, np.full(4, 0.5), np.array([1.0, 1, 1, 5]))
    n = 64 / 28
    z2 = 1.959964**2
    ends = sorted(np.roots([1 + z2 / n, -(2 * 3 / 8 + z2 / n), 9 / 64]).real)
    assert (one.share, one.low, one.high) == pytest.approx((3 / 8, *ends))
    assert one.variance == pytest.approx(28 * 0.25 / 64)


def test_one_certain_row_among_others_leaves_a_statistic():
    score = np.array([0.0, 0.25])
    # (1 - 0.25) (1 - 2/4) over sqrt((1/2)^2 3/16)
    expected = 0.75 / math.sqrt(3 / 16)
    assert spiegelhalter_z(np.array([False, True]), score, np.ones(2)) == pytest.approx(expected)


@given(rows)
def test_the_error_is_a_share_and_ignores_the_scale_of_weights(rows):
    positive, score, weight = columns(rows)
    error = expected_calibration_error(calibration_curve(positive, score, weight))
    scaled = expected_calibration_error(calibration_curve(positive, score, weight * 4))
    assert 0 <= error <= 1
    assert scaled == pytest.approx(error)


def test_true_scores_show_the_error_of_chance_and_no_more(rng):
    errors, chances, beyond = [], [], 0
    for _ in range(200):
        score = rng.random(500)
        positive = rng.random(500) < score
        curve = calibration_curve(positive, score, np.ones(500))
        errors.append(expected_calibration_error(curve))
        chances.append(calibration_error_by_chance(curve))
        beyond += abs(spiegelhalter_z(positive, score, np.ones(500))) > 1.96
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.05)
    assert 2 <= beyond <= 22


def test_scores_that_are_too_sure_are_found_and_too_modest_ones_as_well(rng):
    truth = rng.random(4000)
    positive = rng.random(4000) < truth
    sure, modest = np.clip(truth * 1.6 - 0.3, 0.01, 0.99), truth * 0.5 + 0.25
    assert spiegelhalter_z(positive, sure, np.ones(4000)) > 5
    assert spiegelhalter_z(positive, modest, np.ones(4000)) < -5
    curve = calibration_curve(positive, sure, np.ones(4000))
    assert expected_calibration_error(curve) > 4 * calibration_error_by_chance(curve)


def test_equal_scores_are_one_bin():
    curve = calibration_curve(np.arange(40) < 10, np.full(40, 0.5), np.ones(40))
    assert len(curve) == 1
    assert (curve[0].score, curve[0].share) == (0.5, 0.25)


def test_nothing_is_known_without_rows_or_without_chance():
    none = np.empty(0)
    assert calibration_curve(none.astype(bool), none, none) == []
    assert math.isnan(expected_calibration_error([]))
    assert math.isnan(calibration_error_by_chance([]))
    assert math.isnan(spiegelhalter_z(np.array([True, False]), np.array([1.0, 0.0]), np.ones(2)))
