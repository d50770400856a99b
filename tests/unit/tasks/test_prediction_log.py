"""The serving nodes as tasks: what they return can be stored, shown and handed on."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from flytekit import task, workflow

from flytekitplugins.wbmon import (
    AlertRule,
    CheckSLO,
    CompactionReport,
    CompactPredictionLog,
    CompareVariants,
    DegradationAlert,
    DriftCheck,
    JoinFeedback,
    PerformanceCheck,
    PerformanceReport,
    ProfileData,
    ServingReport,
    ServingSLO,
    SummarizeServing,
)
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving import Experiment, PredictionLogger, SamplingPolicy
from support.clock import today, tomorrow
from support.waiting import wait_until


@task
def accuracy(report: PerformanceReport) -> float:
    return report.metrics["accuracy"].value


@task
def requests(report: ServingReport) -> int:
    return report.total.n_requests


LAYOUT = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})


def serve(folder: Path, n: int = 200) -> None:
    log = PredictionLogger("api", str(folder), sampling=SamplingPolicy(rate=1.0))
    for i in range(n):
        session = f"s{i}"
        log.assign(LAYOUT, session)
        name = log.log_prediction(
            features={"amount": float(i % 17)},
            prediction="yes" if i % 3 else "no",
            score=0.9,
            session_id=session,
            latency_ms=5.0,
        )
        log.log_feedback(name, "thumbs", score=float(i % 2), session_id=session)
        log.log_feedback(name, "label", label="yes" if i % 4 else "no", source="annotator")
    log.close()


def test_a_log_runs_through_every_node(tmp_path: Path) -> None:
    serve(tmp_path)
    compact = CompactPredictionLog("t.compact", destination=str(tmp_path), service="api")
    join = JoinFeedback("t.join")
    profile = ProfileData("t.profile", columns=("feature.amount", "score"), weight="sample_weight")
    measure = PerformanceCheck(
        "t.performance",
        task="classification",
        label="label",
        prediction="prediction",
        weight="sample_weight",
    )
    summarize = SummarizeServing("t.summary")
    slo = CheckSLO("t.slo", slos=[ServingSLO(name="fast", latency_ms=100)])
    drift = DriftCheck("t.drift")
    variants = CompareVariants(
        "t.variants", experiment="layout", outcome="thumbs", control="old", shares=LAYOUT.variants
    )

    @workflow
    def night(at: datetime) -> tuple[CompactionReport, float, int, bool, bool, bool]:
        done = compact(at=at)
        labelled = join(predictions=done.predictions, feedback=done.feedback)
        current = profile(data=labelled.data)
        checked = drift(reference=current, current=current)
        measured = measure(data=labelled.data)
        summary = summarize(windows=done.windows, predictions=done.predictions)
        promised = slo(windows=done.windows)
        compared = variants(feedback=done.feedback)
        return (
            done.report,
            accuracy(report=measured.report),
            requests(report=summary),
            promised.violated,
            compared.decided,
            checked.drifted,
        )

    report, measured_accuracy, n, violated, decided, drifted = night(at=tomorrow())

    assert report.n_predictions == n == 200
    truth = sum((i % 3 > 0) == (i % 4 > 0) for i in range(200)) / 200
    assert measured_accuracy == pytest.approx(truth)
    assert not violated
    assert not drifted
    assert decided in (True, False)


def test_a_night_without_traffic_is_no_error(tmp_path: Path) -> None:
    compact = CompactPredictionLog("t.empty.compact", destination=str(tmp_path), service="api")
    done = compact(at=tomorrow())
    summary = SummarizeServing("t.empty.summary")(
        windows=done.windows, predictions=done.predictions
    )
    checked = CheckSLO("t.empty.slo", slos=[ServingSLO(name="up")])(windows=done.windows)
    joined = JoinFeedback("t.empty.join")(predictions=done.predictions, feedback=done.feedback)

    assert summary.total.n_requests == 0
    assert checked.report.results[0].verdict == "no_data"
    assert joined.data.open(pa.Table).all().num_rows == 0
    assert joined.report.unmeasured == "no prediction in this window"
    assert done.report.unmeasured.startswith(f"no row of api on {today()} or any other day: nothin")
    assert done.report.is_unwritten
    assert compact(at=tomorrow()).report.is_unwritten, "what a night writes is no row"


def test_a_log_of_another_night_or_of_a_server_at_work_was_written(tmp_path: Path) -> None:
    serve(tmp_path / "earlier", n=3)
    compact = CompactPredictionLog("t.a", destination=str(tmp_path / "earlier"), service="api")
    compact(at=tomorrow())
    later = compact(at=tomorrow() + timedelta(days=9)).report
    assert (later.is_unwritten, later.unmeasured[:16]) == (False, "no row of api on")

    log = PredictionLogger("api", str(tmp_path / "new"), sampling=SamplingPolicy(rate=1.0))
    log.log_prediction(prediction=1, latency_ms=1.0)
    wait_until(lambda: any((tmp_path / "new").rglob("*.jsonl*")))
    first = CompactPredictionLog("t.b", destination=str(tmp_path / "new"), service="api")
    assert not first(at=tomorrow()).report.is_unwritten
    log.close()


def test_a_retried_night_finds_the_day_that_its_first_attempt_wrote(tmp_path: Path) -> None:
    serve(tmp_path, n=30)
    compact = CompactPredictionLog("t.retry", destination=str(tmp_path), service="api")
    alert = DegradationAlert(
        "t.retry.alert",
        rules=[AlertRule(metric="prediction_log.n_day_windows", below=1)],
        state_uri=str(tmp_path / "alert.json"),
    )
    reports = [compact(at=tomorrow()).report for _ in range(3)]
    decided = [alert(prediction_log=report, at=tomorrow()) for report in reports]

    assert [report.n_predictions for report in reports] == [30, 0, 0]
    assert {report.unmeasured for report in reports} == {""}
    held = {(report.n_day_predictions, report.n_day_feedback, report.day) for report in reports}
    # two ratings of each prediction, and when its session entered the experiment
    assert held == {(30, 90, today())}
    assert {report.n_day_windows for report in reports} == {reports[0].n_windows}
    assert [(each.fired, each.decision.findings) for each in decided] == [(False, ())] * 3
    assert f"{today()} has 30 predictions" in reports[2].reason


def test_a_line_that_cannot_be_read_is_a_finding_whatever_the_rules_ask(tmp_path: Path) -> None:
    serve(tmp_path, n=3)
    (segment,) = (tmp_path / "sealed/api").iterdir()
    segment.write_bytes(segment.read_bytes() + b"{torn")
    compact = CompactPredictionLog("t.torn", destination=str(tmp_path), service="api")
    alert = DegradationAlert(
        "t.torn.alert",
        rules=[AlertRule(metric="prediction_log.n_day_windows", below=1)],
        state_uri=str(tmp_path / "alert.json"),
    )
    decided = alert(prediction_log=compact(at=tomorrow()).report, at=tomorrow())

    (finding,) = decided.decision.findings
    assert "1 lines could not be read and are in the quarantine" in finding


def test_rows_of_another_day_do_not_hide_that_the_day_has_none(tmp_path: Path) -> None:
    serve(tmp_path, n=3)
    compact = CompactPredictionLog("t.other", destination=str(tmp_path), service="api")
    report = compact(at=tomorrow() + timedelta(days=1)).report

    assert report.n_predictions == 3
    assert report.unmeasured.startswith(f"no row of api on {tomorrow().date()}; ")
    assert report.unmeasured.endswith(" rows were of other days")
    (gate,) = (each for each in report.measurements() if each.name == "n_day_predictions")
    assert gate.value == 0


@pytest.mark.parametrize(("feedback_days", "n_left"), [(8, 6), (1, 0)])
def test_feedback_of_as_many_days_as_asked_for_is_handed_on(
    tmp_path: Path, feedback_days: int, n_left: int
) -> None:
    serve(tmp_path, n=2)
    compact = CompactPredictionLog(
        f"t.days{feedback_days}.compact",
        destination=str(tmp_path),
        service="api",
        feedback_days=feedback_days,
    )
    feedback = compact(at=tomorrow() + timedelta(days=1)).feedback

    assert feedback.open(pa.Table).all().num_rows == n_left


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: CompactPredictionLog("x", destination="d", service="s", days_back=-1),
        lambda: CompactPredictionLog("x", destination="d", service="s", feedback_days=0),
        lambda: SummarizeServing("x", low_confidence=2.0),
        lambda: CheckSLO("x", slos=[]),
        lambda: CompareVariants("x", experiment="e", outcome="o", control="c", shares={"a": 1.0}),
        lambda: CompareVariants("x", experiment="e", outcome="o", control="c", min_units=1),
        lambda: CompareVariants("x", experiment="e", outcome="o", control="c", planned_units=59),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        wrong()
