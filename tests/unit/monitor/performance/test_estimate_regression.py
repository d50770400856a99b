from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon.errors import DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.estimate import estimate_performance

COLUMNS = {"task": "regression", "label": "y", "prediction": "p"}
FEATURES = ("x", "kind")


def window(rng, n, *, hard=0.2, concept=0.0):
    """A model that errs three times as much on one kind of rows, and more for greater `x`."""
    x = rng.uniform(0, 1, n)
    kind = np.where(rng.random(n) < hard, "hard", "easy")
    sd = (0.3 + x) * np.where(kind == "hard", 3.0, 1.0)
    p = 5 * x
    return pd.DataFrame({"x": x, "kind": kind, "p": p, "y": p + concept + rng.normal(0, sd)})


def estimate(current, reference, **changed):
    given = {"features": FEATURES, **COLUMNS, **changed}
    return estimate_performance(current, reference=reference, **given)


def test_a_harder_window_is_called_worse_and_the_spread_of_labels_stays_unknown(rng):
    report = estimate(window(rng, 1000, hard=0.8).drop(columns="y"), window(rng, 2000))
    assert report.estimated
    assert report.metrics["mae"].verdict == report.metrics["rmse"].verdict == "worse"
    assert "not known without them" in report.metrics["r2"].reason


def test_concept_drift_is_not_seen_and_told_by_the_labels(rng):
    drifted = window(rng, 1000, concept=3.0)
    report = estimate(drifted.drop(columns="y"), window(rng, 2000))
    assert not report.worse
    assert check_performance(drifted, **COLUMNS, estimate=report).overestimated


@pytest.mark.parametrize("label", [1e300, -1e300, 1e60])
def test_errors_too_large_for_their_squares_leave_the_estimate_undefined(rng, label):
    reference = window(rng, 200)
    reference.loc[0, "y"] = label
    report = estimate(window(rng, 100), reference)
    for name in ("mae", "rmse"):
        assert np.isnan(report.metrics[name].value)
        assert report.metrics[name].verdict == "unknown"
        assert "too large to be estimated" in report.metrics[name].reason


def test_the_same_rows_give_the_same_estimate(rng):
    reference, current = window(rng, 500), window(rng, 200)
    assert (
        estimate(current, reference).metrics["mae"] == estimate(current, reference).metrics["mae"]
    )


def test_an_unseen_word_and_a_missing_number_are_missing_values(rng):
    current = window(rng, 100)
    current.loc[:9, "kind"], current.loc[10:19, "x"] = "strange", np.nan
    report = estimate(current, window(rng, 1000))
    assert (report.n_missing_prediction, report.metrics["mae"].n) == (0, 100)


def test_a_window_without_rows_keeps_its_metrics_undefined(rng):
    report = estimate(window(rng, 0), window(rng, 500))
    assert (report.status, report.n_rows) == ("insufficient", 0)
    assert np.isnan(report.metrics["mae"].value)


def test_what_is_not_measured_is_counted(rng):
    current = window(rng, 60)
    current.loc[:6, "p"] = np.nan
    report = estimate(current, window(rng, 200))
    assert (report.n_rows, report.n_labelled, report.n_missing_prediction) == (60, 0, 7)
    assert report.metrics["mae"].n == 53


def test_thirty_rows_are_enough_for_a_verdict_unless_told_otherwise(rng):
    reference = window(rng, 100)
    statuses = [estimate(window(rng, n), reference).status for n in (29, 30)]
    assert statuses == ["insufficient", "ok"]
    assert estimate(window(rng, 29), reference, min_rows=29).status == "ok"


@pytest.mark.parametrize("weighted", ["reference", "current"])
def test_rows_count_by_their_weight_on_either_side(rng, weighted):
    """Hard and easy rows, of which one kind has nearly all of the weight."""
    reference, current = window(rng, 1000, hard=0.5), window(rng, 500, hard=0.5)
    x = current["x"].mean()

    def mae(kind: str) -> float:
        weights = {"reference": 1.0, "current": 1.0}
        frames = {}
        for name, frame in (("reference", reference), ("current", current)):
            heavy = (
                np.where(frame["kind"] == kind, 1.0, 1e-6) if name == weighted else weights[name]
            )
            frames[name] = frame.assign(w=heavy)
        # without the features the model of the loss only learns the mean of the reference
        features = ("x",) if weighted == "reference" else FEATURES
        report = estimate(frames["current"], frames["reference"], weight="w", features=features)
        return report.metrics["mae"].value

    # E|error| of a normal variable is sqrt(2 / pi) standard deviations
    easy = np.sqrt(2 / np.pi) * (0.3 + x)
    assert mae("easy") == pytest.approx(easy, rel=0.15)
    assert mae("hard") == pytest.approx(3 * easy, rel=0.15)


def test_the_root_of_the_expected_square_is_the_rmse_of_a_constant_loss(rng):
    """Every row errs by 3, so the loss is known exactly."""
    frame = window(rng, 400)
    frame["y"] = frame["p"] + np.where(rng.random(400) < 0.5, 3.0, -3.0)
    metrics = estimate(frame.drop(columns="y"), frame).metrics
    assert metrics["mae"].value == pytest.approx(3, rel=1e-6)
    assert metrics["rmse"].value == pytest.approx(3, rel=1e-6)


def test_a_reference_must_hold_enough_rows(rng):
    with pytest.raises(InsufficientDataError, match="100 labelled rows, found 50"):
        estimate(window(rng, 100), window(rng, 50))
    assert estimate(window(rng, 100), window(rng, 100)).status == "ok"


def test_a_feature_that_changes_its_kind_is_named(rng):
    with pytest.raises(DataError, match="'kind' must hold numbers or text"):
        estimate(window(rng, 100).assign(kind=1.0), window(rng, 500))


@pytest.mark.parametrize("n", [0, 1, 29])
def test_too_few_rows_are_told(rng, n):
    assert "a verdict needs 30 rows" in estimate(window(rng, n), window(rng, 200)).reason
