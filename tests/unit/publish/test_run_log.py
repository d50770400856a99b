from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import wandb
from flytekitplugins.wbmon import PerformanceReport, check_performance
from flytekitplugins.wbmon.monitor.scoring.report import Confidence, PredictedClasses
from flytekitplugins.wbmon.publish.report import publish_reports
from support.examples import AT, decision, drift_report, performance_report, scoring_report
from support.wandb_log import LoggedRun, find_run


def logged(folder: Path, *reports: object) -> LoggedRun:
    """An offline run that the reports were published to, read back from its file."""
    with wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True)) as run:
        publish_reports(reports, run=run)
    return find_run(folder)


def test_a_drift_report_becomes_metrics_a_table_and_a_page(tmp_path: Path) -> None:
    run = logged(tmp_path, drift_report(level="drift", effect_size=0.21))
    (row,) = run.history
    assert row["drift/drifted"] == 1
    assert row["drift/effect_size/amount"] == 0.21
    assert row["drift/missing_current/amount"] == 0.3
    assert row["drift/features"]["_type"] == "table-file"
    assert row["drift/report"]["_type"] == "html-file"


def test_a_value_that_was_not_measured_leaves_a_gap(tmp_path: Path) -> None:
    (row,) = logged(tmp_path, performance_report()).history
    assert row["performance/accuracy"] == 0.7
    assert row["performance/accuracy/baseline"] == 0.9
    assert "performance/roc_auc" not in row


def test_scoring_and_decision_are_a_row_each(tmp_path: Path) -> None:
    run = logged(tmp_path, scoring_report(), decision())
    assert run.column("scoring/n_rows") == [10]
    assert run.column("slo/p99/observed") == [7.0]
    assert run.column("alerts/fired") == [1]


def test_a_decision_is_one_row_over_the_time_of_its_night(tmp_path: Path) -> None:
    run = logged(tmp_path, replace(decision(), numbers={"drift/share_drifted": 0.5}))
    (row,) = run.history
    assert row["night"] == AT.timestamp()
    assert row["alerts/n_firing"] == 1
    assert row["alerts/report"]["_type"] == "html-file"
    assert row["drift/share_drifted"] == 0.5
    assert run.alerts == []


def test_what_is_no_report_is_left_alone(tmp_path: Path) -> None:
    assert logged(tmp_path, True, 3.0, "text", None).history == []


def test_a_run_that_breaks_costs_the_task_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True))
    run.finish()
    publish_reports([drift_report()], run=run)
    assert "DriftReport could not be shown" in caplog.text


def test_without_a_run_nothing_is_logged(tmp_path: Path) -> None:
    publish_reports([drift_report()], run=None)
    assert list(tmp_path.iterdir()) == []


def test_failures_confidence_and_classes_of_a_scoring_are_metrics(tmp_path: Path) -> None:
    report = replace(
        scoring_report(),
        n_rows=90,
        n_failed=10,
        errors={"ValueError": 10},
        confidence=Confidence(
            n=90,
            mean=0.8,
            sd=0.1,
            quantiles={"p5": 0.5},
            threshold=0.6,
            low_share=0.2,
            low_share_low=0.1,
            low_share_high=0.3,
        ),
        classes=PredictedClasses(counts={"yes": 60, "no": 30}),
    )
    (row,) = logged(tmp_path, report).history
    assert row["scoring/n_failed"] == row["scoring/errors/ValueError"] == 10
    assert row["scoring/error_rate"] == 0.1
    assert row["scoring/confidence/p5"] == 0.5
    assert row["scoring/low_confidence_share/high"] == 0.3
    assert row["scoring/class_share/yes"] == pytest.approx(2 / 3)
    assert row["slo/p99"] == 1


def measured_in_parts() -> PerformanceReport:
    """A report of a calibrated score, worse in one of two countries."""
    rng = np.random.default_rng(3)
    n = 4000
    wrong = np.repeat([True, False], n // 2)
    p = rng.random(n)
    frame = pd.DataFrame(
        {
            "country": np.where(wrong, "fr", "de"),
            "at": pd.date_range("2026-01-01", periods=n, freq="min"),
            "p": p,
            "y": (rng.random(n) < np.where(wrong, 1 - p, p)).astype(int),
        }
    )
    return check_performance(
        frame,
        task="classification",
        label="y",
        prediction="p",
        segments=["country"],
        time="at",
    )


def test_parts_of_a_window_are_tables_and_the_worst_is_named(tmp_path: Path) -> None:
    (row,) = logged(tmp_path, measured_in_parts()).history
    assert row["performance/worst_segment"] == "country fr: worse"
    assert row["performance/n_worse_segments"] == 1
    assert row["performance/segments"]["nrows"] == 2
    assert row["performance/chunks"]["nrows"] == 3
    assert row["performance/calibration_error"] > row["performance/calibration_error_by_chance"]


def test_an_estimate_is_a_line_of_its_own(tmp_path: Path) -> None:
    (row,) = logged(tmp_path, replace(performance_report(), estimated=True)).history
    assert row["estimate/accuracy"] == 0.7
    assert not any(name.startswith("performance/") for name in row)


def test_what_a_report_guessed_and_could_not_read_is_in_the_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = pd.Series(rng.choice(["churn", "stay"], 100), dtype=object)
    scores = pd.Series([*rng.random(99), "n/a"], dtype=object)
    report = check_performance(
        pd.DataFrame({"y": labels, "p": scores}),
        task="classification",
        label="y",
        prediction="p",
        prediction_is="probability",
    )
    (row,) = logged(tmp_path, report).history
    said = "positive class 'stay' (last in order; pass positive= if it is another)"
    assert row["performance/positive_class"] == said
    assert row["performance/prediction_is"] == "probability"
    assert row["performance/n_unreadable"] == 1
    assert row["performance/unreadable"] == "'n/a' in 'p'"


def test_the_unit_of_a_regression_is_in_the_run(tmp_path: Path) -> None:
    spans = pd.to_timedelta(np.arange(50), unit="s")
    report = check_performance(
        pd.DataFrame({"y": spans, "p": spans}), task="regression", label="y", prediction="p"
    )
    (row,) = logged(tmp_path, report).history
    assert row["performance/unit"] == "s"
    assert "performance/positive_class" not in row
