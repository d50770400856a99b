from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from flytekitplugins.wbmon.errors import ConfigError, DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.estimate import (
    compare_estimate,
    estimate_performance,
)
from flytekitplugins.wbmon.monitor.performance.part import Metric
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport


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
    assert {metric.reason for metric in report.metrics.values()} == {"no row could be estimated"}


def test_what_is_not_measured_is_counted(rng):
    scores = [None, math.nan, *window(rng, 50)["p"].to_pylist()]
    report = estimate(pa.table({"p": scores}), window(rng, 2000))
    assert (report.n_rows, report.n_labelled, report.n_missing_prediction) == (52, 0, 2)
    assert report.metrics["accuracy"].n == 50


def test_thirty_rows_are_enough_for_a_verdict_unless_told_otherwise(rng):
    reference = window(rng, 500)
    statuses = [estimate(window(rng, n), reference).status for n in (29, 30)]
    assert statuses == ["insufficient", "ok"]
    assert estimate(window(rng, 29), reference, min_rows=29).status == "ok"


@pytest.mark.parametrize(
    "names", [("stay", "churn"), ("#", "1"), ("1", "#"), ("0", "1"), ("1", "0")]
)
def test_the_positive_class_may_have_any_name(rng, names):
    """The names are those of the negative and of the positive class."""

    def named(table):
        return table.set_column(0, "y", pa.array(np.array(names)[table["y"].to_numpy()]))

    reference, current = window(rng, 2000, a=0.5), window(rng, 500)
    report = estimate(current.drop_columns("y"), named(reference), positive=names[1])
    plain = estimate(current, reference)
    assert report.classes == names
    assert {k: m.value for k, m in report.metrics.items()} == {
        k: m.value for k, m in plain.metrics.items()
    }


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
    with pytest.raises(InsufficientDataError, match="found 0 of '1'"):
        estimate(window(rng, 100), pa.table({"y": [0] * 500, "p": rng.random(500)}))
    enough = pa.table({"y": [0] * 500 + [1] * 20, "p": rng.random(520)})
    assert estimate(window(rng, 100), enough).status == "ok"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"threshold": "0.5"}, "threshold must be a probability"),
        ({"min_rows": None}, "min_rows must be a whole number of at least 1, got None"),
        ({"features": "p"}, "features must be a sequence of column names"),
        ({"prediction_is": "score"}, "prediction_is must be 'class' or 'probability'"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(rng, changed, message):
    with pytest.raises(ConfigError, match=message):
        estimate(window(rng, 100), window(rng, 100), **changed)


@pytest.mark.parametrize("heavy", ["reference", "window"])
def test_weights_that_cannot_be_squared_are_refused_in_both_windows(rng, heavy):
    weights = {"reference": 1.0, "window": 1.0} | {heavy: 1e-200}
    columns = {"y": [0, 1] * 100, "p": rng.random(200)}
    reference, current = (
        pa.table(columns | {"w": np.full(200, weights[name])}) for name in ("reference", "window")
    )
    for task in ("classification", "regression"):
        with pytest.raises(DataError, match="column 'w' has 200 rows that are not"):
            estimate(current, reference, weight="w", task=task)


def test_one_class_alone_is_no_reference(rng):
    reference = pa.table({"y": ["yes"] * 100, "q": ["yes"] * 100, "p": rng.random(100)})
    current = pa.table({"q": ["yes"] * 100, "p": rng.random(100)})
    with pytest.raises(DataError, match="two classes or more"):
        estimate(current, reference, prediction="q", score="p")


def test_classes_without_a_probability_are_refused(rng):
    table = pa.table({"y": [0, 1] * 50, "q": [0, 1] * 50})
    with pytest.raises(DataError, match="the probability of each"):
        estimate(table, table, prediction="q")
    with pytest.raises(DataError, match="the probability of each"):
        estimate(table.slice(0, 0), table, prediction="q")


def report_of_accuracy(value, low=math.nan, high=math.nan, *, labelled=100, estimated=False):
    metric = Metric(name="accuracy", value=value, low=low, high=high, n=100, higher_is_better=True)
    return PerformanceReport(
        task="classification",
        status="ok",
        n_rows=100,
        n_labelled=labelled,
        metrics={"accuracy": metric},
        estimated=estimated,
        reason="",
    )


@pytest.mark.parametrize(
    ("interval", "value", "labelled", "deviations"),
    [
        # half of the interval on the side of the value is 1.959964 deviations
        ((0.7, 0.85), 0.75, 100, 1.959964 / 2),
        ((0.7, 0.85), 0.825, 100, 1.959964 / 2),
        ((0.7, 0.85), 0.65, 100, 1.959964 * 1.5),
        ((0.7, 0.85), 0.8, 100, 0),
        # a quarter of the labels: twice the error
        ((0.7, 0.85), 0.6, 25, 1.959964),
        ((0.8, 0.8), 0.8, 100, 0),
        ((0.8, 0.8), 0.81, 100, math.inf),
        ((0.8, 0.8), 0.79, 100, math.inf),
    ],
)
def test_an_estimate_is_judged_by_the_half_of_its_interval(interval, value, labelled, deviations):
    expected = report_of_accuracy(0.8, *interval, estimated=True)
    (found,) = compare_estimate(expected, report_of_accuracy(value, labelled=labelled))
    assert found.p_value == pytest.approx(2 * norm.sf(deviations), rel=1e-5)
    widened = math.sqrt(100 / labelled)
    assert found.low == pytest.approx(0.8 - widened * (0.8 - interval[0]))
    assert found.high == pytest.approx(0.8 + widened * (interval[1] - 0.8))
    assert (found.expected, found.value) == (0.8, value)
