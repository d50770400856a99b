"""Reports as the library makes them of synthetic data; names are those of `support.examples`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from flytekitplugins.wbmon import (
    Answer,
    FeedbackReport,
    RAGReport,
    RAGRule,
    Variant,
    check_drift,
    check_joint_drift,
    check_performance,
    drift_series,
    estimate_performance,
    profile_data,
)
from flytekitplugins.wbmon.llm import Budget, PriceTable, analyse_steps, evaluate_rag
from flytekitplugins.wbmon.llm import evaluate_variants as evaluate
from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.cost.track import summarise_usage
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Judged
from flytekitplugins.wbmon.monitor.llm.feedback.analyze import analyse_feedback
from flytekitplugins.wbmon.monitor.llm.steps.report import Span, StepReport
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.prediction_log.feedback import join_feedback
from flytekitplugins.wbmon.monitor.service.experiment import compare_variants
from flytekitplugins.wbmon.monitor.service.experiment_plan import ExperimentPlan
from flytekitplugins.wbmon.monitor.service.slo import check_slos
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO
from flytekitplugins.wbmon.monitor.service.summarize import summarize_serving
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.serving.log.feedback import exposure_row, feedback_row
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram
from support.examples import AT


def window(seed: int, n: int = 400) -> pd.DataFrame:
    """Two features, a label of two classes with its score, and a number with its prediction."""
    rng = np.random.default_rng(seed)
    amount = rng.normal(seed, 1, n)
    score = rng.random(n)
    return pd.DataFrame(
        {
            "amount": amount,
            "hour": rng.choice(["a", "b", "c"], n),
            "at": [AT + timedelta(minutes=9 * i) for i in range(n)],
            "region": rng.choice(["eu", "us"], n),
            "label": np.where(rng.random(n) < score, "yes", "no"),
            "score": score,
            "price": amount + rng.normal(size=n),
        }
    )


def drift_reports() -> Iterator[Report]:
    """Of a number and a category: whole, in windows of time and of segments, and together."""
    columns = ["amount", "hour"]
    before, now = window(0), window(1)
    yield check_drift(before[columns], now[columns])
    reference = profile_data(before[columns])
    yield drift_series(now[[*columns, "at"]], like=reference, at="at")
    yield drift_series(now[[*columns, "region"]], like=reference, segment="region")
    yield check_joint_drift(before, now, columns=columns)


def performance_reports() -> Iterator[Report]:
    """Of classes with a score and of a number, measured and estimated."""
    before, now = window(0), window(1)
    classes: dict[str, Any] = {"label": "label", "prediction": "score", "positive": "yes"}
    numbers: dict[str, Any] = {"label": "price", "prediction": "amount", "task": "regression"}
    baseline = check_performance(before, task="classification", **classes)
    estimate = estimate_performance(now, reference=before, **classes)
    yield check_performance(
        now, task="classification", baseline=baseline, estimate=estimate, segments=["region"],
        **classes,
    )  # fmt: skip
    yield check_performance(now, **numbers)
    few = now.assign(judge=now["price"] * 1.01)
    few.loc[few.index[50:], "price"] = None
    yield check_performance(few, proxy="judge", **numbers)
    yield estimate
    yield estimate_performance(now, reference=before, features=["hour"], **numbers)


def serving_reports() -> Iterator[Report]:
    """Of one window of traffic: its summary, its objectives, its ratings, and an experiment."""
    row = {
        "window_start": AT.isoformat(), "window_end": (AT + timedelta(minutes=1)).isoformat(),
        "instance": "i", "route": "/predict", "tenant": "acme", "requests": 100,
        "errors": {"ValueError": 3}, "status": {"2xx": 97, "5xx": 3},
        "latency": LogHistogram.of([5.0] * 100).to_dict(),
        "time_to_first_chunk": LogHistogram.of([2.0]).to_dict(),
        "in_flight_max": 2, "sampled_rows": 9, "dropped_rows": 0,
    }  # fmt: skip
    rows = log_table("window", [row])
    scored = [{"timestamp": AT.isoformat(), "score": 0.9, "prediction": "yes"}]
    predictions = log_table("prediction", scored)
    yield summarize_serving(rows, predictions=predictions)
    yield check_slos(rows, [ServingSLO(name="up", objective=0.99)])
    said = []
    for i in range(80):
        unit, variant = f"u{i}", ("old", "new")[i % 2]
        said.append(exposure_row("layout", unit, variant, tenant=None))
        said.append(
            feedback_row(
                request_id=unit, session_id=unit, source="user", name="thumbs",
                score=float(i % 3 > 0), label=None, feedback_id=None,
            )
        )  # fmt: skip
    table = log_table("feedback", [{**each, "timestamp": AT.isoformat()} for each in said])
    yield join_feedback(predictions, table, name="thumbs").report
    plan = ExperimentPlan(experiment="layout", outcome="thumbs", control="old")
    yield compare_variants(table, plan)


def usage_report() -> UsageReport:
    """A call of one tenant, under a limit for all and one for each tenant."""
    call = {
        "timestamp": AT, "gen_ai_response_model": "house", "tenant": "acme",
        "gen_ai_usage_input_tokens": 1000, "gen_ai_usage_output_tokens": 100,
    }  # fmt: skip
    prices = PriceTable(
        [{"model": "house", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}], builtin=False
    )
    budgets = [Budget(limit=100.0), Budget(scope="tenant", limit=10.0)]
    return summarise_usage(pd.DataFrame([call]), prices, budgets=budgets, at=AT)


def feedback_report() -> FeedbackReport:
    """Ten answers, one of them disliked as too long."""
    calls = pd.DataFrame({"request_id": [f"r{i}" for i in range(10)], "timestamp": AT})
    said = pd.DataFrame({"request_id": ["r1"], "score": [0.0], "label": ["too_long"]})
    return analyse_feedback(calls, said)


def rag_report() -> RAGReport:
    """Twelve queries with labels, judged as well."""

    def ask(item: Any) -> Answer:
        return Answer(
            text="see [d1]", retrieved=("d1",), scores=(0.5,), contexts=("text",), latency_ms=9.0,
            stage_ms={"retrieve": 4.0}, cost_usd=0.01,
        )  # fmt: skip

    async def relevance(*, question: str, context: str) -> Judged:
        return Judged(1.0, cost_usd=0.001)

    async def groundedness(*, question: str, answer: str, contexts: Any) -> Judged:
        return Judged(1.0, cost_usd=0.001)

    items = [{"question": f"q{i}", "relevant": ["d1", "d2"]} for i in range(12)]
    return evaluate_rag(
        items, ask, rule=RAGRule(k=2), relevance=relevance, groundedness=groundedness
    )


def evaluation_report() -> Report:
    """Two prompts of which the new one answers better."""
    old, new = (Variant.of_text(name, "{question}") for name in ("old", "new"))

    def ask(item: Any, variant: Variant) -> Answer:
        right = variant.name == "new" or item["expected"] != "0"
        return Answer(text=item["expected"] if right else "", latency_ms=5.0, cost_usd=0.01)

    items = [{"question": "?", "expected": str(i % 2)} for i in range(40)]
    return evaluate(items, [old, new], ask, scorers=["exact"])


def step_report() -> StepReport:
    """A trace of one step."""
    span = Span(
        id="s", trace_id="t", parent_id="", name="search", started_at=AT,
        ended_at=AT + timedelta(seconds=1), tokens=9,
    )  # fmt: skip
    return analyse_steps([span])


def real_reports() -> Iterator[Report]:
    """Reports of all kinds that need neither a node nor a store to be made."""
    yield from drift_reports()
    yield from performance_reports()
    yield from serving_reports()
    yield usage_report()
    yield feedback_report()
    yield rag_report()
    yield evaluation_report()
    yield step_report()
