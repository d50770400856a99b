"""Labelled rows without a prediction: the model failed there, and others do not speak for it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import (
    AlertRule,
    check_performance,
    estimate_performance,
    evaluate_rules,
)
from support.examples import AT


def window(rng, n=1000, failed=0.0, right=0.9):
    y = rng.integers(0, 2, n)
    p = np.where(rng.random(n) < right, y, 1 - y).astype(float)
    score = np.clip(p * 0.8 + 0.1 + rng.normal(0, 0.05, n), 0, 1)
    score[: round(failed * n)] = math.nan
    return pd.DataFrame({"y": y, "p": score, "part": np.where(np.arange(n) < n // 4, "a", "b")})


def measured(frame, **given):
    return check_performance(frame, task="classification", label="y", prediction="p", **given)


def gate(report, name="worse"):
    return next(each.value for each in report.measurements() if each.name == name)


@pytest.mark.parametrize(("failed", "is_told"), [(0.0, False), (0.05, False), (0.06, True)])
def test_more_than_one_row_in_twenty_without_a_prediction_is_no_pass(rng, failed, is_told):
    baseline = measured(window(rng, 4000))
    report = measured(window(rng, failed=failed), baseline=baseline)
    assert bool(report.unmeasured) == is_told
    assert math.isnan(gate(report)) == is_told
    assert report.missing_prediction_share == pytest.approx(failed)
    assert gate(report, "missing_prediction_share") == pytest.approx(failed)


def test_the_reason_says_how_many(rng):
    report = measured(window(rng, failed=0.95))
    assert report.unmeasured == (
        "950 of 1,000 labelled rows have no prediction; the others do not stand for them"
    )
    assert "on 50 of 1000 labelled rows, the others have no prediction" in report.reason
    every = measured(window(rng, failed=1.0))
    assert "1000 of 1000 labelled rows have no prediction" in every.unmeasured


def test_what_is_left_can_be_bad_enough(rng):
    baseline = measured(window(rng, 4000))
    report = measured(window(rng, failed=0.5, right=0.6), baseline=baseline)
    assert gate(report) == 1
    assert report.unmeasured


def test_a_segment_without_predictions_is_named(rng):
    frame = window(rng, 4000)
    frame.loc[frame.index[:30], "p"] = math.nan
    tiny = frame.assign(part=["a"] * 30 + ["b"] * 3970)
    report = measured(tiny, segments=("part",))
    assert report.missing_prediction_share < 0.05
    assert report.unmeasured == "no prediction for 30 of 30 rows of part a"


def test_an_estimate_of_the_rows_that_are_left_is_no_pass(rng):
    reference = window(rng, 3000)
    given = {"reference": reference, "label": "y", "prediction": "p"}
    healthy = estimate_performance(window(rng), **given)
    assert (healthy.unmeasured, gate(healthy)) == ("", 0)
    report = estimate_performance(window(rng, failed=0.2), **given)
    assert math.isnan(gate(report))
    assert report.unmeasured.startswith("200 of 1,000 rows have no prediction")


def test_a_baseline_without_a_verdict_of_its_own_is_none(rng):
    for baseline, why in (
        (window(rng, 3), "3 rows could be measured"),
        (window(rng, 0), "none of"),
    ):
        report = measured(window(rng, right=0.3), baseline=measured(baseline))
        assert math.isnan(gate(report))
        assert (
            "nothing to compare with: the baseline has no verdict of its own" in report.unmeasured
        )
        assert why in report.unmeasured


@pytest.mark.parametrize("share", [0.9, 1.0])
@pytest.mark.parametrize("kind", ["probability", "class", "several classes", "number"])
def test_answers_that_are_no_answers_are_failed_predictions(rng, kind, share):
    def rows(n):
        score = rng.random(n)
        names = rng.choice(["a", "b", "c"], n)
        return pd.DataFrame(
            {
                "y": (rng.random(n) < score).astype(int),
                "probability": score,
                "class": (score > 0.5).astype(int),
                "true name": names,
                "several classes": names,
                "number": score,
            }
        )

    label = {"several classes": "true name", "number": "probability"}.get(kind, "y")
    task = "regression" if kind == "number" else "classification"
    given = {"task": task, "label": label, "prediction": kind}
    baseline = check_performance(rows(2000), **given)
    night = rows(1000)
    night[kind] = night[kind].astype(object).where(rng.random(1000) >= share, "ERROR")
    report = check_performance(night, baseline=baseline, **given)
    assert math.isnan(gate(report))
    assert "labelled rows have no prediction" in report.unmeasured
    assert "ERROR" in report.reason


def test_a_rule_on_a_comparison_with_nothing_is_a_rule_to_mend(rng):
    report = measured(window(rng))
    rules = [
        AlertRule(metric=f"performance.{name}", above=0) for name in ("worse", "overestimated")
    ]
    alerts = {each.rule.metric: each for each in evaluate_rules(rules, [report], at=AT).alerts}
    for name, needed in (("worse", "baseline="), ("overestimated", "estimate=")):
        assert alerts[f"performance.{name}"].is_broken
        assert needed in alerts[f"performance.{name}"].reason
    # with a baseline that a window cannot be held against, it is the window that says nothing
    baseline = measured(window(rng))
    (alert,) = evaluate_rules(
        rules[:1], [measured(window(rng, 3), baseline=baseline)], at=AT
    ).alerts
    assert (alert.is_broken, alert.phase) == (False, "no_data")


@settings(max_examples=60, deadline=None)
@given(st.integers(30, 200), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_whatever_the_share_of_failures_a_pass_has_few_of_them(n, failed, seed):
    rng = np.random.default_rng(seed)
    report = measured(window(rng, n, failed), baseline=measured(window(rng, 500)))
    if gate(report) == 0:
        assert report.n_missing_prediction <= 0.05 * report.n_labelled
        assert not report.unmeasured
    assert report.n_labelled == n
