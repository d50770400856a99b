"""The nodes about LLM calls: run in a workflow, and rebuilt in a pod from their arguments."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flytekit import Secret, map_task, task, workflow
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    AlertRule,
    AnalyzeFeedback,
    AnalyzeSteps,
    AnswerPrompts,
    CompareModels,
    DegradationAlert,
    EvaluatePrompts,
    EvaluateRAG,
    EvaluationReport,
    EvaluationRule,
    RAGRule,
    ReplayToWeave,
    SyncOfflineTraces,
    TrackCost,
    Variant,
)
from flytekitplugins.wbmon.errors import BudgetExceededError, ConfigError
from flytekitplugins.wbmon.flyte.function_reference import load_reference, reference_of
from flytekitplugins.wbmon.llm import Budget, CallLog
from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants
from flytekitplugins.wbmon.monitor.llm.steps.report import Span
from flytekitplugins.wbmon.monitor.llm.steps.spans import row_of_span, steps_folder
from support import llm_functions

START = datetime(2026, 3, 2, 1, tzinfo=timezone.utc)
PRICE = {"model": "house", "input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 1000.0}
KEY = Secret(group="wandb", key="api_key")
VARIANTS = [Variant.of_text("old", "{question}"), Variant.of_text("new", "{question}!")]


def calls(n: int = 20) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "timestamp": [START + timedelta(minutes=i) for i in range(n)],
            "gen_ai_response_model": "house",
            "gen_ai_usage_input_tokens": 500,
            "gen_ai_usage_output_tokens": 500,
            "tenant": "acme",
            "route": "/ask",
            "input_text": "why?",
            "output_text": "because",
        }
    )


def questions(n: int = 30) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [str(i) for i in range(n)],
            "question": [f"q{i}" for i in range(n)],
            "expected": [f"A{i}" for i in range(n)],
            "relevant": [[f"d{i}"] for i in range(n)],
        }
    )


@task
def spent(report: EvaluationReport) -> float:
    return report.spent_usd


def rebuilt(node: Any) -> Any:
    """The node as a pod makes it from its command line."""
    return node.task_resolver.load_task(node.task_resolver.loader_args(None, node))


def test_the_night_of_an_llm_application_in_one_workflow(tmp_path: Path) -> None:
    cost = rebuilt(TrackCost("ask.cost", prices=[PRICE], budgets=[Budget(period="day", limit=5)]))
    feedback = rebuilt(AnalyzeFeedback("ask.feedback"))
    prompts = rebuilt(
        EvaluatePrompts(
            "ask.prompts",
            answer=llm_functions.answer,
            variants=VARIANTS,
            scorers=["exact", llm_functions.shout],
            answer_store=str(tmp_path / "answers"),
        )
    )
    rag = rebuilt(EvaluateRAG("ask.rag", answer=llm_functions.retrieve, rule=RAGRule(k=1)))
    alert = DegradationAlert(
        "ask.alert",
        rules=[
            AlertRule(metric="usage.over_budget", above=0),
            AlertRule(metric="feedback.rate", below=0.6),
            AlertRule(metric="rag.recall", below=0.5),
            AlertRule(metric="evaluation.exact.old", below=0.5),
            AlertRule(metric="usage.spent_share.day.global", above=0.9),
        ],
    )

    @workflow
    def night(
        log: StructuredDataset, said: StructuredDataset, asked: StructuredDataset
    ) -> tuple[bool, str, bool, StructuredDataset]:
        spent = cost(data=log)
        liked = feedback(calls=log, feedback=said)
        compared = prompts(data=asked)
        found = rag(data=asked)
        decided = alert(
            usage=spent.report,
            feedback=liked.report,
            rag=found.report,
            evaluation=compared.report,
        )
        return decided.fired, compared.verdict, spent.over_budget, liked.low_rated

    ratings = pd.DataFrame(
        {"request_id": ["r0", "r1", "r2"], "timestamp": START, "score": [1.0, 0.0, 0.0],
         "feedback_id": ["a", "b", "c"], "source": "user", "label": None, "comment": None}
    )  # fmt: skip
    fired, verdict, over_budget, low_rated = night(
        log=StructuredDataset(dataframe=calls()),
        said=StructuredDataset(dataframe=ratings),
        asked=StructuredDataset(dataframe=questions()),
    )

    assert (fired, verdict, over_budget) == (True, "ship", True)
    assert low_rated.open(pd.DataFrame).all()["question"].tolist() == ["why?", "why?"]
    assert len(list((tmp_path / "answers").rglob("*.json"))) == 60


@pytest.mark.parametrize("n", [30, 1, 0])
def test_a_night_of_failures_reaches_the_alert_node_whatever_its_rules_ask(n: int) -> None:
    prompts = rebuilt(
        EvaluatePrompts("out.prompts", answer=llm_functions.outage, variants=VARIANTS)
    )
    models = rebuilt(
        CompareModels(
            "out.models", answer=llm_functions.outage, models=["old", "mini"], prompt="{question}"
        )
    )
    rule = RAGRule(k=1, floors={"recall": 0.8})
    rag = rebuilt(EvaluateRAG("out.rag", answer=llm_functions.retrieve_nothing, rule=rule))
    alert = DegradationAlert(
        "out.alert",
        rules=[
            AlertRule(metric="rag.latency_ms", above=100),
            AlertRule(metric="rag.failed_rate", above=0.1, name="failed"),
            AlertRule(metric="evaluation.ship", above=0, on_no_data="breach", name="ship"),
        ],
    )
    asked = StructuredDataset(dataframe=questions(n))
    compared, by_model, found = (node.compute(asked) for node in (prompts, models, rag))
    decided = alert(rag=found.report, evaluation=compared.report)

    assert (compared.ship, compared.verdict) == (False, "undecided")
    assert (by_model.ship, by_model.verdict) == (False, "undecided")
    assert found.degraded
    assert found.verdict == ("degraded" if n else "undecided")
    phases = {each.rule.name: each.phase for each in decided.decision.alerts}
    assert phases["failed"] == ("firing" if n else "no_data")
    assert phases["ship"] == "firing"
    blind = [each for each in decided.decision.findings if "could not be judged" in each]
    assert f"rag could not be judged: {found.report.unmeasured}" in blind
    assert f"evaluation could not be judged: {compared.report.unmeasured}" in blind
    if n == 30:
        assert "10 of 30 answers of old failed (ConnectionError 10)" in compared.report.reason


def test_graded_documents_of_a_parquet_file_are_read_as_they_were_written(tmp_path: Path) -> None:
    asked = pd.DataFrame({"question": ["a", "b"], "relevant": [{"d0": 3, "d5": 1}, {"x": 2}]})
    asked.to_parquet(tmp_path / "graded.parquet")
    node = EvaluateRAG("graded.rag", answer=llm_functions.retrieve_first, rule=RAGRule(k=2))
    found = node.compute(StructuredDataset(dataframe=pd.read_parquet(tmp_path / "graded.parquet")))

    assert found.report.retrieval["recall"].mean == 0.75
    assert found.report.retrieval["mrr"].mean == 0.75


def test_a_floor_without_its_judge_is_refused_where_the_node_is_made() -> None:
    rule = RAGRule(floors={"groundedness": 0.8})
    with pytest.raises(ConfigError, match="need a judge"):
        EvaluateRAG("x", answer=llm_functions.retrieve, rule=rule)


def test_shards_ask_at_once_and_the_evaluation_after_them_pays_nothing(tmp_path: Path) -> None:
    common = {"answer": llm_functions.answer, "variants": VARIANTS, "answer_store": str(tmp_path)}
    ask = AnswerPrompts("ask.answers", **common)
    evaluate = EvaluatePrompts("ask.after", **common)

    @workflow
    def sharded(asked: StructuredDataset) -> tuple[list[int], str, float]:
        counts = map_task(partial(ask, data=asked, n_shards=4))(shard=[0, 1, 2, 3])
        compared = evaluate(data=asked)
        counts >> compared.report
        return counts, compared.verdict, spent(report=compared.report)

    counts, verdict, cost = sharded(asked=StructuredDataset(dataframe=questions(30)))

    assert counts == [16, 16, 14, 14]
    assert (verdict, cost) == ("ship", 0.0)
    assert rebuilt(ask).compute(StructuredDataset(dataframe=questions(2)), 3, 4) == 0


def test_a_budget_that_must_hold_fails_the_node_after_its_report() -> None:
    strict = Budget(scope="tenant", period="day", limit=1, action="fail")
    node = TrackCost("strict.cost", prices=[PRICE], builtin_prices=False, budgets=[strict])
    with pytest.raises(BudgetExceededError, match="tenant acme is exceeded"):
        node.execute(data=StructuredDataset(dataframe=calls()))


def test_steps_that_traced_tasks_logged_are_summarised(tmp_path: Path) -> None:
    with CallLog(steps_folder(str(tmp_path)), "agent") as log:
        for place, (name, error) in enumerate([("agent", "E"), ("search", "E")]):
            log.log_call(
                row_of_span(
                    Span(
                        id=name,
                        trace_id="t",
                        parent_id="agent" if place else "",
                        name=name,
                        started_at=START,
                        ended_at=START + timedelta(seconds=1),
                        error=error,
                    )
                )
            )
    found = rebuilt(AnalyzeSteps("ask.steps", loop_from=2)).compute(str(tmp_path))

    assert found.n_failed == 1
    assert found.report.steps[0].name == "search"
    with pytest.raises(ConfigError, match="loop_from"):
        AnalyzeSteps("x", loop_from=1)


def test_the_steps_of_a_night_are_those_before_the_kickoff(tmp_path: Path) -> None:
    with CallLog(steps_folder(str(tmp_path)), "agent") as log:
        for day, error in enumerate(["", "", "Boom"]):
            began_at = START + timedelta(days=day)
            span = Span(
                id=str(day), trace_id=str(day), name="agent", started_at=began_at,
                ended_at=began_at + timedelta(hours=3), error=error,
            )  # fmt: skip
            log.log_call(row_of_span(span))
    node = rebuilt(AnalyzeSteps("night.steps"))
    alert = DegradationAlert("night.alert", rules=[AlertRule(metric="steps.error_rate", above=0.1)])

    def night(day: int) -> tuple[float, bool, tuple[str, ...]]:
        at = START + timedelta(days=day)
        report = node(call_log=str(tmp_path), at=at).report
        decided = alert(steps=report, at=at)
        return report.n_traces, decided.fired, decided.decision.findings

    assert [night(day)[:2] for day in (1, 2, 3)] == [(1, False), (1, False), (1, True)]
    n_traces, _, findings = night(4)
    assert n_traces == 0
    assert any("no trace in this window" in each for each in findings)
    assert node(call_log=str(tmp_path)).report.n_traces == 3, "the whole log, by hand"
    hourly = rebuilt(AnalyzeSteps("hour.steps", window=timedelta(hours=1)))
    assert hourly(call_log=str(tmp_path), at=START + timedelta(hours=1)).report.n_traces == 1
    with pytest.raises(ConfigError, match="window must be a positive timedelta"):
        AnalyzeSteps("x", window=timedelta(0))


def test_models_are_compared_on_the_same_items() -> None:
    node = rebuilt(
        CompareModels(
            "ask.models",
            answer=llm_functions.answer,
            models=["old", "mini"],
            prompt="{question}",
            parameters={"temperature": 0.0, "stop": "x"},
            rule=EvaluationRule(alpha=0.01),
        )
    )
    found = node.compute(StructuredDataset(dataframe=questions()))

    assert found.ship
    assert found.report.winner == "mini"
    assert [each.variant.model for each in found.report.variants] == ["old", "mini"]
    assert found.report.variants[0].variant.parameters == {"temperature": 0.0, "stop": "x"}


def test_a_function_that_a_pod_could_not_find_is_refused_where_the_node_is_made() -> None:
    with pytest.raises(ConfigError, match="at module level"):
        EvaluatePrompts("x", answer=lambda item, variant: None, variants=VARIANTS)
    with pytest.raises(ConfigError, match="variants"):
        EvaluatePrompts("x", answer=llm_functions.answer, variants=[])
    with pytest.raises(ConfigError, match="two models"):
        CompareModels("x", answer=llm_functions.answer, models=["one"], prompt="x")
    with pytest.raises(ConfigError, match="module:name"):
        reference_of("just_a_name")
    with pytest.raises(ConfigError, match="importable"):
        load_reference("flytekitplugins.wbmon:nothing_of_the_kind")
    assert load_reference(reference_of(evaluate_variants)) is evaluate_variants


def test_nodes_that_send_ask_flyte_for_their_secret_and_take_it_to_the_pod() -> None:
    replay = ReplayToWeave("ask.replay", project="demo", entity="loop", secret=KEY, rate=0.1)
    sync = SyncOfflineTraces("ask.sync", secret=KEY, offline_store="s3://bucket/x")

    for node in (replay, sync):
        assert [s.key for s in node.security_context.secrets] == ["api_key"]
        assert rebuilt(node).config == node.config
    with pytest.raises(ConfigError, match="rate"):
        ReplayToWeave("x", project="p", entity="e", secret=KEY, rate=2)
    with pytest.raises(ConfigError, match="Secret"):
        SyncOfflineTraces("x", secret=object(), offline_store="x")
