from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
