from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon import AlertRule, evaluate_rules
from flytekitplugins.wbmon.errors import ConfigError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.estimate import (
    compare_estimate,
    estimate_performance,
)

AT = datetime(2026, 3, 1, tzinfo=timezone.utc)
CLASSES = ("bus", "car", "van")
COLUMNS = {"label": "y", "prediction": "q", "score": {name: f"s_{name}" for name in CLASSES}}


def window(rng, n, *, alpha=(0.5, 0.4, 0.3), tilt=1.0, drift=0.0):
    """True probabilities from a Dirichlet distribution; scores tilted on the logit scale."""
    truth = rng.dirichlet(alpha, n)
    tilted = truth**tilt
    score = np.round(tilted / tilted.sum(axis=1, keepdims=True), 6)
    meant = (1 - drift) * truth + drift * truth[:, ::-1]
    y = (rng.random((n, 1)) > meant.cumsum(axis=1)).sum(axis=1).clip(max=2)
    frame = pd.DataFrame(score, columns=[f"s_{name}" for name in CLASSES])
    names = np.array(CLASSES)
    return frame.assign(y=names[y], q=names[score.argmax(axis=1)])


def measure(frame, **given):
    return check_performance(frame, task="classification", **COLUMNS, **given)


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ({}, {}),
        ({"tilt": 1.6}, {"tilt": 1.6, "alpha": (1.0, 1.0, 1.0)}),
    ],
    ids=["the same", "too sure, harder"],
)
def test_the_interval_holds_what_the_labels_say_later(rng, reference, current):
    """Of 80 windows 95 % should; the limit is four Monte-Carlo standard errors away."""
    held: dict[str, int] = {}
    for _ in range(80):
        coming = window(rng, 600, **current)
        report = estimate_performance(
            coming.drop(columns="y"), reference=window(rng, 3000, **reference), **COLUMNS
        )
        for name, metric in measure(coming).metrics.items():
            guess = report.metrics[name]
            held[name] = held.get(name, 0) + (guess.low <= metric.value <= guess.high)
    assert len(held) == 8
    assert min(held.values()) >= 68, held


def test_a_harder_window_is_called_worse_than_the_reference(rng):
    report = estimate_performance(
        window(rng, 2000, alpha=(3, 3, 3)), reference=window(rng, 3000), **COLUMNS
    )
    assert report.estimated
    assert report.metrics["accuracy"].verdict == "worse"


def test_concept_drift_is_not_seen_and_told_by_the_labels(rng):
    drifted = window(rng, 2000, drift=0.4)
    report = estimate_performance(drifted.drop(columns="y"), reference=window(rng, 4000), **COLUMNS)
    assert not report.worse
    measured = measure(drifted, estimate=report)
    assert measured.overestimated
    accuracy = next(each for each in measured.estimates if each.name == "accuracy")
    assert accuracy.held is False
    assert accuracy.expected > accuracy.value + 0.1
    assert "too good beyond chance" in measured.to_html()
    rule = AlertRule(metric="performance.overestimated", above=0)
    assert evaluate_rules([rule], reports=[measured], at=AT).fired
    # without an estimate the rule asks for what nobody gave, and is to be mended
    (alert,) = evaluate_rules([rule], reports=[measure(drifted)], at=AT).alerts
    assert alert.is_broken


def test_an_estimate_that_holds_is_said_to_hold(rng):
    coming = window(rng, 1000)
    report = estimate_performance(coming, reference=window(rng, 4000), **COLUMNS)
    measured = measure(coming, estimate=report)
    assert not measured.overestimated
    assert "within chance" in measured.to_html()


@pytest.mark.parametrize("lacking", [("bus",), ("van",), ("bus", "van")])
def test_a_class_that_the_window_never_has_keeps_its_place(rng, lacking):
    reference, coming = window(rng, 3000), window(rng, 600)
    without = coming[~coming["q"].isin(lacking)]
    as_numbers = {"bus": 0, "car": 1, "van": 2}
    report = estimate_performance(without.drop(columns="y"), reference=reference, **COLUMNS)
    numbered = estimate_performance(
        without.drop(columns="y").replace({"q": as_numbers}),
        reference=reference.replace({"q": as_numbers, "y": as_numbers}),
        **COLUMNS | {"score": tuple(COLUMNS["score"].values())},
    )
    assert report.classes == CLASSES
    assert numbered.classes == ("0", "1", "2")
    for name, metric in report.metrics.items():
        assert metric.value == pytest.approx(numbered.metrics[name].value, nan_ok=True)
    assert report.metrics["accuracy"].low < measure(without).metrics["accuracy"].value
    assert report.metrics["accuracy"].high > measure(without).metrics["accuracy"].value


def test_few_labels_leave_the_estimate_more_room(rng):
    coming = window(rng, 2000)
    report = estimate_performance(coming, reference=window(rng, 4000), **COLUMNS)
    few = coming.assign(y=coming["y"].where(coming.index < 100))
    (all_labels, _, *_), (few_labels, _, *_) = (
        compare_estimate(report, measure(frame)) for frame in (coming, few)
    )
    widths = [each.high - each.low for each in (all_labels, few_labels)]
    assert widths[1] == pytest.approx(widths[0] * np.sqrt(20))


def test_without_labels_nothing_is_compared(rng):
    coming = window(rng, 200)
    report = estimate_performance(coming, reference=window(rng, 2000), **COLUMNS)
    measured = measure(coming.assign(y=pd.Series([None] * 200, dtype=object)), estimate=report)
    assert {each.held for each in measured.estimates} == {None}
    assert not measured.overestimated


def test_a_measured_report_is_no_estimate(rng):
    report = measure(window(rng, 200))
    with pytest.raises(ConfigError, match="must be a report of estimate_performance"):
        compare_estimate(report, report)


def test_the_rarest_class_is_named_where_the_reference_has_too_few(rng):
    reference = window(rng, 600)
    few = reference[(reference["y"] != "van") | (reference.index < 20)]
    with pytest.raises(InsufficientDataError, match="of 'van' among"):
        estimate_performance(window(rng, 100), reference=few, **COLUMNS)


def test_a_task_that_is_neither_is_refused(rng):
    with pytest.raises(ConfigError, match="'classification' or 'regression'"):
        estimate_performance(window(rng, 9), reference=window(rng, 9), task="rank", **COLUMNS)
