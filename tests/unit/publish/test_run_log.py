from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import wandb
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
    assert row["drift/missing/amount"] == 0.3
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
    assert run.column("slo/p99") == [7.0]
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
