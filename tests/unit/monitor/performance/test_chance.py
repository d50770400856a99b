"""What a performance report says of chance to the budget of false pages."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flytekitplugins.wbmon import check_performance


def window(seed: int, n: int, *, noise: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    label = (rng.random(n) < (1 - noise) * score + noise / 2).astype(int)
    return pd.DataFrame({"y": label, "p": score})


def measured(frame, baseline=None):
    return check_performance(
        frame, task="classification", label="y", prediction="p", baseline=baseline, positive=1
    )


def numbers(report):
    return {each.name: each for each in report.measurements()}


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_metric_has_the_one_sided_p_value_of_being_worse(noise):
    report = measured(window(1, 800, noise=noise), measured(window(0, 4000)))
    found = numbers(report)
    for name in ("roc_auc", "log_loss"):
        metric = report.metrics[name]
        sign = 1 if metric.change < 0 else -1
        is_worse = sign > 0 if metric.higher_is_better else sign < 0
        expected = metric.p_value / 2 if is_worse else 1 - metric.p_value / 2
        assert found[name].p_value == pytest.approx(expected)
        assert found[name].distance == pytest.approx(stats.norm.isf(expected))


def test_all_metrics_together_have_the_p_value_of_simes():
    report = measured(window(1, 800, noise=0.3), measured(window(0, 4000)))
    found = numbers(report)
    one_sided = sorted(found[name].p_value for name in report.metrics)
    expected = min(len(one_sided) * p / j for j, p in enumerate(one_sided, start=1))
    assert found["worse"].p_value == pytest.approx(expected)
    assert found["worse"].distance == max(found[name].distance for name in report.metrics)


def test_a_p_value_below_all_numbers_is_a_finite_distance():
    rows = pd.DataFrame({"y": [0, 1] * 50_000, "p": [0.9, 0.1] * 50_000})
    found = numbers(measured(rows, measured(window(0, 20_000))))
    assert found["roc_auc"].p_value < 1e-250
    assert 30 < found["roc_auc"].distance < 40


def test_without_a_baseline_nobody_says_what_chance_does():
    found = numbers(measured(window(0, 500)))
    assert math.isnan(found["roc_auc"].p_value)
    assert "worse" not in found


@pytest.mark.parametrize(("n_baseline", "asks"), [(1599, True), (1600, False)])
def test_a_baseline_of_less_than_four_windows_is_asked_to_be_larger(n_baseline, asks):
    report = measured(window(1, 400), measured(window(0, n_baseline)))
    said = f"the baseline has {n_baseline} measured rows, 1600 or more (as of 4 windows) are"
    assert (said in report.reason) is asks
    assert "measured rows" not in measured(window(1, 400), {"roc_auc": 0.8}).reason
