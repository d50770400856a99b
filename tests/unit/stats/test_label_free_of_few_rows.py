"""Expected metrics of windows whose rows weigh little, or fill few of the calibrator's bins."""

from __future__ import annotations

import numpy as np
import pytest

from flytekitplugins.wbmon.stats.label_free import Expected, expected_metrics
from flytekitplugins.wbmon.stats.label_free_classes import (
    ExpectedClasses,
    expected_class_metrics,
)


def test_the_unit_of_the_weights_changes_no_expected_metric(rng):
    score = rng.uniform(0.1, 0.9, 9)
    bins, variance = (score > 0.5).astype(int), np.array([0.01, 0.02])
    rows = Expected(score, score, (score > 0.4) * 1.0, rng.uniform(1, 2, 9), bins, variance)
    light = expected_metrics(rows._replace(weight=rows.weight / 1000))
    for name, expected in expected_metrics(rows).items():
        assert light[name][:3] == pytest.approx(expected[:3]), name


def test_bins_without_a_row_of_the_window_add_no_error():
    score, decided = np.array([0.1, 0.2, 0.15]), np.array([0.0, 0.0, 1.0])
    found = [
        expected_metrics(Expected(score, score, decided, np.ones(3), np.zeros(3, int), variance))
        for variance in (np.array([0.02]), np.array([0.02, 0.5, 0.5]))
    ]
    assert found[0] == found[1]


def test_bins_without_a_row_of_the_window_add_no_error_of_a_class(rng):
    scores = rng.dirichlet(np.ones(3), 6)
    decided, bins = scores.argmax(axis=1), np.zeros((6, 3), int)
    found = [
        expected_class_metrics(
            ExpectedClasses(scores, scores, decided, np.full(6, unit), bins, (variance,) * 3)
        )
        for variance in (np.array([0.02]), np.array([0.02, 0.5, 0.5]))
        for unit in (1.0, 0.01)
    ]
    for other in found[1:]:
        for name, estimate in found[0].items():
            assert other[name][:3] == pytest.approx(estimate[:3]), name


@pytest.mark.parametrize("unit", [1.0, 0.01])
def test_a_class_below_half_an_expected_row_adds_no_error_even_if_it_is_predicted(unit):
    p = np.array([[0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    decided = np.array([0, 0, 1, 1])
    rows = ExpectedClasses(
        p, p, decided, np.full(4, unit), np.zeros((4, 3), int), (np.zeros(1),) * 3
    )
    spread = p * (1 - p)

    # the mean of two shares, of two independent rows each
    found = expected_class_metrics(rows)["precision"]
    own = [(0, 0), (1, 0), (2, 1), (3, 1)]
    error = np.sqrt(sum(spread[at] for at in own)) / 4
    value = sum(p[at] for at in own) / 4
    assert found[:3] == pytest.approx(
        (value, max(0, value - 1.959964 * error), min(1, value + 1.959964 * error))
    )

    # the mean of two: of one and of two rows
    found = expected_class_metrics(rows._replace(decided=np.array([2, 0, 1, 1])))["precision"]
    value = (p[1, 0] + (p[2, 1] + p[3, 1]) / 2) / 2
    error = np.sqrt(spread[1, 0] + (spread[2, 1] + spread[3, 1]) / 4) / 2
    assert found[:3] == pytest.approx(
        (value, max(0, value - 1.959964 * error), min(1, value + 1.959964 * error))
    )
