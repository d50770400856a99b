from __future__ import annotations

import math

import pytest

from flytekitplugins.wbmon.monitor.performance.part import Metric


def metric(**changed):
    return Metric(**{"name": "mae", "value": 1.2, "n": 9, "higher_is_better": False, **changed})


def test_loss_is_a_share_of_the_baseline_in_the_direction_of_the_metric():
    assert metric(baseline=1.0).loss == pytest.approx(0.2)
    assert metric(baseline=1.0, higher_is_better=True).loss == pytest.approx(-0.2)
    assert metric(baseline=-2.0, value=-3.0, higher_is_better=True).loss == pytest.approx(0.5)


def test_loss_and_change_are_undefined_without_a_baseline():
    assert math.isnan(metric().change)
    assert math.isnan(metric().loss)
    assert math.isnan(metric(baseline=0.0).loss)
