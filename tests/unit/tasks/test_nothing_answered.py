"""The nodes of services and LLM applications, fed with nothing and with failures only.

The counterpart of `test_nothing_measured.py`, where windows are tables of a model.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    AlertRule,
    AnalyzeFeedback,
    AnalyzeSteps,
    Answer,
    CheckSLO,
    CompactPredictionLog,
    CompareVariants,
    DegradationAlert,
    EvaluatePrompts,
    EvaluateRAG,
    JoinFeedback,
    RAGRule,
    ServingSLO,
    SummarizeServing,
    TrackCost,
    Variant,
    tasks,
)
from flytekitplugins.wbmon.llm import Budget, CallLog
from flytekitplugins.wbmon.monitor.llm.steps.report import Span
from flytekitplugins.wbmon.monitor.llm.steps.spans import row_of_span, steps_folder
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.serving.log.feedback import exposure_row, feedback_row
from flytekitplugins.wbmon.serving.log.logger import PredictionLogger
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram
from flytekitplugins.wbmon.tasks._node import Node
from support.examples import AT

N = 200  # of an ordinary window
NOTHING = ("empty", "one", "failed")


def dataset(data: Any) -> StructuredDataset:
    return StructuredDataset(dataframe=data)


def size(what: str) -> int:
    return {"empty": 0, "one": 1}.get(what, N)


def answer_query(item: Any) -> Answer:
    if item["question"].startswith("failed"):
        raise ConnectionError("the vector store is down")
    return Answer(text="see [d1]", retrieved=("d1",), scores=(0.5,), contexts=("text",))


def answer_item(item: Any, variant: Variant) -> Answer:
    if item["question"].startswith("failed"):
        raise TimeoutError("the provider does not answer")
    right = variant.name == "now" or int(item["id"]) % 2
    return Answer(text=item["expected"] if right else "", latency_ms=5.0, cost_usd=0.01)


def queries(what: str) -> Report:
    node = EvaluateRAG("rag", answer=answer_query, rule=RAGRule(k=1, floors={"recall": 0.8}))
    asked = [{"question": f"{what} {i}", "relevant": ["d1"]} for i in range(size(what))]
    return node(data=dataset(pd.DataFrame(asked, columns=["question", "relevant"]))).report


def items(what: str) -> Report:
    node = EvaluatePrompts(
        "prompts",
        answer=answer_item,
        variants=[Variant.of_text(name, "{question}") for name in ("now", "next")],
    )
    asked = [
        {"question": f"{what} {i}", "expected": "right", "id": str(i)} for i in range(size(what))
    ]
    columns = ["question", "expected", "id"]
    return node(data=dataset(pd.DataFrame(asked, columns=columns))).report


def calls(what: str) -> Any:
    return log_table(
        "prediction",
        [
            {
                "timestamp": (AT + timedelta(minutes=i)).isoformat(),
                "request_id": f"r{i}",
                "prediction": None if what == "failed" else "an answer",
                "error_type": "APIConnectionError" if what == "failed" else None,
                "gen_ai_request_model": "house",
                "gen_ai_response_model": None if what == "failed" else "house",
                "gen_ai_usage_input_tokens": None if what == "failed" else 1000,
                "gen_ai_usage_output_tokens": None if what == "failed" else 10,
            }
            for i in range(size(what))
        ],
    )


def cost(what: str) -> Report:
    price = {"model": "house", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
    node = TrackCost(
        "cost", prices=[price], builtin_prices=False, budgets=[Budget(limit=10.0, period="day")]
    )
    return node(data=dataset(calls(what))).report


def said(what: str, name: str = "thumbs") -> Any:
    rows = [
        feedback_row(
            request_id=f"r{i}", session_id=None, source="user", name=name,
            score=7.0 if what == "failed" else float(i % 4 > 0),
            label=None, feedback_id=None,
        )
        for i in range(size(what))
    ]  # fmt: skip
    return log_table("feedback", [{**each, "timestamp": AT.isoformat()} for each in rows])


def ratings(what: str) -> Report:
    node = AnalyzeFeedback("feedback")
    before = node(calls=dataset(calls("usual")), feedback=dataset(said("usual"))).report
    now = calls("empty" if what == "empty" else "usual")
    return node(calls=dataset(now), feedback=dataset(said(what)), previous=before).report


def labels(what: str) -> Report:
    node = JoinFeedback("labels", feedback="thumbs")
    return node(predictions=dataset(calls(what)), feedback=dataset(said(what))).report


def experiment(what: str) -> Report:
    node = CompareVariants("experiment", experiment="layout", outcome="thumbs", control="old")
    rows: list[dict[str, Any]] = []
    for i in range(size(what)):
        rows.append(exposure_row("layout", f"s{i}", ("old", "new")[i % 2], tenant=None))
        rows.append(
            feedback_row(
                request_id=f"s{i}", session_id=f"s{i}", source="user", name="thumbs",
                score=None if what == "failed" else float(i % 4 > 1),
                label="n/a" if what == "failed" else None, feedback_id=None,
            )
        )  # fmt: skip
    table = log_table("feedback", [{**each, "timestamp": AT.isoformat()} for each in rows])
    return node(feedback=dataset(table)).report


def windows(what: str) -> Any:
    n = size(what)
    if not n:
        return log_table("window", [])
    failed = n if what == "failed" else 0
    of_all = LogHistogram.of([5.0] * n).to_dict()
    row = {
        "window_start": AT.isoformat(), "window_end": (AT + timedelta(minutes=1)).isoformat(),
        "instance": "i", "route": "/predict", "tenant": None, "requests": n,
        "errors": {"503": failed} if failed else {},
        "status": {"5xx": failed} if failed else {"2xx": n},
        "failed": failed, "latency": of_all, "failed_latency": of_all if failed else None,
        "in_flight_max": 2, "sampled_rows": n, "dropped_rows": 0,
    }  # fmt: skip
    return log_table("window", [row])


def objectives(what: str) -> Report:
    promised = [ServingSLO(name="fast", objective=0.95, latency_ms=500.0)]
    return CheckSLO("slo", slos=promised)(windows=dataset(windows(what))).report


def requests(what: str) -> Report:
    return SummarizeServing("serving")(windows=dataset(windows(what)))


def steps(what: str, folder: Path) -> Report:
    with CallLog(steps_folder(str(folder)), "agent") as log:
        for i in range(size(what)):
            ended = None if what == "failed" else AT + timedelta(seconds=1)
            span = Span(
                id=f"s{i}", trace_id=f"t{i}", parent_id="", name="agent", started_at=AT,
                ended_at=ended, has_output=what != "failed",
            )  # fmt: skip
            log.log_call(row_of_span(span))
    return AnalyzeSteps("steps")(call_log=str(folder)).report


def compacted(what: str, folder: Path) -> Report:
    if what != "empty":
        log = PredictionLogger("shop", str(folder))
        for _ in range(size(what)):
            log.log_prediction(prediction="yes")
        log.close()
        if what == "failed":
            for segment in folder.rglob("*.jsonl"):
                segment.write_text("{torn\n" * N)
    node = CompactPredictionLog("log", destination=str(folder), service="shop", days_back=0)
    return node().report


class Monitor(NamedTuple):
    """What is fed with a window, what the gate is, and its value where all is well."""

    kind: str
    gate: str
    check: Callable[..., Report]
    good: float = 0.0
    has_volume: bool = True


MONITORS = {
    "queries": Monitor("rag", "rag.degraded", queries),
    "prompts": Monitor("evaluation", "evaluation.ship", items, good=1.0),
    "cost": Monitor("usage", "usage.over_budget", cost),
    "ratings": Monitor("feedback", "feedback.worse", ratings),
    "labels": Monitor("labels", "labels.coverage", labels, good=1.0),
    "objectives": Monitor("slo", "slo.fast", objectives),
    "requests": Monitor("serving", "serving.error_rate", requests),
    "experiment": Monitor("experiment", "experiment.decided", experiment, good=1.0),
    "steps": Monitor("steps", "steps.dead_end_rate", steps),
    "compaction": Monitor(
        "prediction_log", "prediction_log.lost_rate", compacted, has_volume=False
    ),
}


@pytest.fixture
def report_of(tmp_path: Path) -> Callable[[str, str], Report]:
    def report(name: str, what: str) -> Report:
        check = MONITORS[name].check
        folder = tmp_path / what
        return check(what, folder) if name in ("steps", "compaction") else check(what)

    return report


@pytest.mark.parametrize("what", NOTHING)
@pytest.mark.parametrize("name", MONITORS)
def test_nothing_answered_is_no_pass(report_of, tmp_path, name: str, what: str) -> None:
    monitor = MONITORS[name]
    rule = (
        AlertRule(metric=monitor.gate, above=0, on_no_data="breach")
        if not monitor.good
        else AlertRule(metric="alerts.n_findings", above=0)
    )
    node = DegradationAlert("alert", rules=[rule], state_uri=str(tmp_path / "alert.json"))
    usual = report_of(name, "usual")
    assert not usual.unmeasured
    for night in range(6):
        decided = node(**{monitor.kind: usual}, at=AT + timedelta(days=night))
        assert decided.decision.findings == ()

    report = report_of(name, what)
    decided = node(**{monitor.kind: report}, at=AT + timedelta(days=7))

    gate = next(each for each in report.measurements() if each.address == monitor.gate)
    if what == "one":
        # one that is well is well, where one is enough to say so; then the volume is a finding
        assert gate.value != monitor.good or decided.decision.findings or not monitor.has_volume
    else:
        assert math.isnan(gate.value) or gate.value != monitor.good
        assert decided.fired, (report, gate)
    if report.unmeasured:
        assert any(report.unmeasured in each for each in decided.decision.findings)
        if gate.is_gate:
            # unknown, or that nothing was answered is what is wrong
            assert math.isnan(gate.value) or gate.value != monitor.good
            assert gate.reason
    assert 'class="verdict good"' not in report.to_html() or what == "one"


JUDGED = {
    # here
    *("EvaluateRAG", "EvaluatePrompts", "TrackCost", "AnalyzeFeedback", "JoinFeedback"),
    *("CheckSLO", "SummarizeServing", "CompareVariants", "AnalyzeSteps", "CompactPredictionLog"),
    # in test_nothing_measured
    *("ProfileData", "DriftCheck", "DriftSeriesCheck", "PerformanceCheck"),
    *("EstimatePerformance", "FitLossModel", "EstimateLoss"),
    "DegradationAlert",
}
ELSEWHERE = {
    "CompareModels": "an EvaluatePrompts with variants of its own",
    "AnswerPrompts": "makes answers and judges none: it counts those that failed",
    "FeatureImportance": "weighs: test_importance",
    "JoinLabels": "joins: test_join_labels",
    "LoadReference": "loads what was promoted",
    "MergeProfiles": "merges profiles, of which drift is checked",
    "MonitorFailure": "tells of nodes that failed: test_failure",
    "DeadManCheck": "fires where nothing came: test_heartbeat",
    "PromoteReference": "promotes nothing on nothing: test_references",
    "SyncOfflineRuns": "delivers",
    "SyncOfflineTraces": "delivers",
    "ReplayToWeave": "delivers",
    "TagBest": "tags a run",
}


def test_every_node_is_fed_with_nothing() -> None:
    names = set()
    for module in pkgutil.iter_modules(tasks.__path__, f"{tasks.__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            found = vars(importlib.import_module(module.name))
            names |= {
                name
                for name, each in found.items()
                if isinstance(each, type) and issubclass(each, Node) and each is not Node
            }
    assert names == JUDGED | ELSEWHERE.keys()
