from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from flytekitplugins.wbmon.errors import DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.estimate import estimate_performance


def window(rng, n, *, a=1.0, b=2.0, tilt=1.0, flipped=0.0):
    """True probabilities from a beta distribution; scores tilted on the logit scale."""
    truth = rng.beta(a, b, n)
    y = rng.random(n) < truth * (1 - flipped) + flipped * (1 - truth)
    score = 1 / (1 + ((1 - truth) / truth) ** tilt)
    return pa.table({"y": y.astype(int), "p": score})


def estimate(current, reference, **changed):
    return estimate_performance(
        current, reference=reference, **{"label": "y", "prediction": "p", **changed}
    )


def measure(table):
    return check_performance(table, task="classification", label="y", prediction="p")


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ({}, {}),
        ({}, {"a": 2.0}),
        ({"tilt": 1.8}, {"tilt": 1.8}),
        ({"tilt": 1.8}, {"tilt": 1.8, "a": 0.6}),
    ],
    ids=["the same", "more positives", "too sure", "too sure, fewer positives"],
)
def test_the_interval_holds_what_the_labels_say_later(rng, reference, current):
    """Of 100 windows 95 should; the limit is four Monte-Carlo standard errors away."""
    held = dict.fromkeys(measure(window(rng, 100)).metrics, 0)
    for _ in range(100):
        coming = window(rng, 800, **current)
        report = estimate(coming.drop_columns("y"), window(rng, 4000, **reference))
        for name, metric in measure(coming).metrics.items():
            guess = report.metrics[name]
            held[name] += guess.low <= metric.value <= guess.high
    assert min(held.values()) >= 86, held


def test_a_change_of_what_the_scores_mean_is_not_seen(rng):
    reference = window(rng, 4000)
    drifted = window(rng, 4000, flipped=0.3)
    report = estimate(drifted, reference)
    assert report.metrics["accuracy"].verdict == "ok"
    assert measure(drifted).metrics["accuracy"].value < report.metrics["accuracy"].low - 0.05


def test_a_harder_window_is_called_worse_than_the_reference(rng):
    reference = window(rng, 4000, a=0.4, b=0.4)
    report = estimate(window(rng, 2000, a=3, b=3), reference)
    assert report.metrics["accuracy"].verdict == "worse"
    assert report.worse
    assert report.estimated
    assert "estimated without labels" in report.reason


def test_classes_with_a_score_and_text_labels_are_estimated_alike(rng):
    def named(table):
        words = np.array(["no", "yes"])
        score = table["p"].to_numpy()
        return pa.table(
            {
                "y": words[table["y"].to_numpy()],
                "q": words[(score >= 0.5).astype(int)],
                "p": score,
                "w": np.ones(len(score)),
            }
        )

    reference, current = window(rng, 2000), window(rng, 500)
    given = {"prediction": "q", "score": "p", "weight": "w"}
    one = estimate(named(current).drop_columns("y"), named(reference), **given)
    two = estimate(current, reference)
    assert {k: m.value for k, m in one.metrics.items()} == pytest.approx(
        {k: m.value for k, m in two.metrics.items()}
    )
    assert one.classes == ("no", "yes")


def test_few_rows_are_estimated_and_not_judged(rng):
    report = estimate(window(rng, 10), window(rng, 2000))
    assert (report.status, report.worse) == ("insufficient", False)
    assert 0 < report.metrics["accuracy"].value <= 1


@pytest.mark.parametrize("rows", [0, 40])
def test_a_window_without_scores_keeps_its_metrics_undefined(rng, rows):
    empty = pa.table({"p": pa.nulls(rows, pa.float64())})
    report = estimate(empty, window(rng, 2000))
    assert (report.n_rows, report.n_missing_prediction) == (rows, rows)
    assert all(math.isnan(metric.value) for metric in report.metrics.values())


def test_a_window_that_is_all_negative_has_no_precision(rng):
    report = estimate(pa.table({"p": np.full(50, 0.1)}), window(rng, 4000))
    assert "predicted positive" in report.metrics["precision"].reason
    assert report.metrics["recall"].value == 0.0
    assert report.metrics["roc_auc"].value == pytest.approx(0.5)


def test_scores_that_never_came_true_expect_nothing_positive(rng):
    score = rng.random(2000) * 0.5
    reference = pa.table({"y": (score > 0.475).astype(int), "p": score})
    report = estimate(pa.table({"p": np.full(50, 0.01)}), reference)
    for name in ("recall", "f1", "roc_auc"):
        assert math.isnan(report.metrics[name].value)
        assert "expected" in report.metrics[name].reason


def test_a_reference_must_hold_enough_of_both_classes(rng):
    reference = pa.table({"y": [0] * 500 + [1] * 5, "p": rng.random(505)})
    with pytest.raises(InsufficientDataError, match="20 labelled rows of each class, found 5"):
        estimate(window(rng, 100), reference)


def test_classes_without_a_probability_are_refused(rng):
    table = pa.table({"y": [0, 1] * 50, "q": [0, 1] * 50})
    with pytest.raises(DataError, match="the probability of each"):
        estimate(table, table, prediction="q")
