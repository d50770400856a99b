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


def test_a_reference_must_hold_enough_rows(rng):
    with pytest.raises(InsufficientDataError, match="100 labelled rows, found 50"):
        estimate(window(rng, 100), window(rng, 50))


def test_a_feature_that_changes_its_kind_is_named(rng):
    with pytest.raises(DataError, match="'kind' must hold numbers or text"):
        estimate(window(rng, 100).assign(kind=1.0), window(rng, 500))
