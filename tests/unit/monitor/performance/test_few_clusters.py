"""Rows of few customers: how much customers differ is not known of fewer than five."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon import check_performance, estimate_performance


def window(rng, n=1000, clusters=50):
    y = rng.integers(0, 2, n)
    score = np.clip(np.where(rng.random(n) < 0.9, y, 1 - y) * 0.8 + rng.normal(0.1, 0.03, n), 0, 1)
    return pd.DataFrame({"y": y, "p": score, "who": np.arange(n) % clusters, "w": 1.0})


def measured(frame, **given):
    return check_performance(
        frame, task="classification", label="y", prediction="p", cluster="who", **given
    )


@pytest.mark.parametrize("clusters", [1, 2, 4])
def test_a_window_of_few_clusters_has_no_verdict(rng, clusters):
    baseline = measured(window(rng, 4000))
    flipped = window(rng, clusters=clusters).assign(y=lambda frame: 1 - frame["y"])
    report = measured(flipped, baseline=baseline)
    assert not report.worse
    assert f"{clusters} clusters do not tell how much clusters differ" in report.unmeasured
    assert {metric.verdict for metric in report.metrics.values()} == {"unknown"}
    gate = next(each for each in report.measurements() if each.name == "worse")
    assert math.isnan(gate.value)


def test_a_window_of_five_is_judged(rng):
    baseline = measured(window(rng, 4000))
    flipped = window(rng, clusters=5).assign(y=lambda frame: 1 - frame["y"])
    report = measured(flipped, baseline=baseline)
    assert (report.worse, report.unmeasured) == (True, "")


def test_one_heavy_row_makes_no_verdict_of_an_estimate(rng):
    reference = window(rng, 4000)
    given = {"reference": reference, "label": "y", "prediction": "p", "weight": "w"}
    for heavy in (1e4, 1e6):
        frame = window(rng)
        frame.loc[0, "w"] = heavy
        report = estimate_performance(frame, **given)
        assert not report.worse
        assert "rows in effect" in report.unmeasured
    assert estimate_performance(window(rng), **given).unmeasured == ""
