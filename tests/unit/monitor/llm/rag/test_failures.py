"""A retrieval system that is dead, half dead or not judged never reads as fine."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import Answer, RAGRule
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Judged
from flytekitplugins.wbmon.monitor.llm.rag.evaluate import evaluate_rag
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

QUERIES = [{"question": f"q{i}", "relevant": [f"d{i}"]} for i in range(40)]
UNLABELLED = [{"question": each["question"]} for each in QUERIES]
RULE = RAGRule(k=3, floors={"recall": 0.8, "groundedness": 0.8})


def good(item: dict) -> Answer:
    number = item["question"][1:]
    return Answer(
        text="x",
        retrieved=(f"d{number}", "z"),
        scores=(0.9, 0.1),
        contexts=("c", "z"),
        latency_ms=10.0,
        cost_usd=0.01,
    )


def failing(n: int) -> Callable[[dict], Answer]:
    """Fails on the first queries."""

    def ask(item: dict) -> Answer:
        if int(item["question"][1:]) < n:
            raise ConnectionError("the vector store is down")
        return good(item)

    return ask


def judging(n_failed: int = 0, score: float = 1.0) -> Callable[..., Awaitable[Judged]]:
    """Fails on the first judgements."""
    n = 0

    async def judge(**known: str) -> Judged:
        nonlocal n
        n += 1
        if n <= n_failed:
            raise TimeoutError
        return Judged(score, cost_usd=0.001)

    return judge


def numbers(report: RAGReport) -> dict[str, float]:
    return {each.name: each.value for each in report.measurements()}


@pytest.mark.parametrize("n", [1, 40])
def test_a_dead_system_is_degraded_and_nothing_was_measured(n: int) -> None:
    report = evaluate_rag(QUERIES[:n], failing(40), rule=RULE, groundedness=judging())
    found = numbers(report)

    assert report.verdict == "degraded"
    assert found["degraded"] == 1
    assert report.reason.startswith(f"{n} of {n} queries failed (ConnectionError {n}), 5% may")
    assert "recall 0 is below 0.8" in report.reason
    assert "groundedness 0 is below 0.8" in report.reason
    assert f"{n} of {n} queries failed (ConnectionError {n})" in report.unmeasured
    assert (found["failed_rate"], found["n_failed"], found["n_answered"]) == (1, n, 0)
    assert found["recall"] == 0
    assert report.n_labelled == n
    for unknown in ("recall.answered", "empty_rate", "stale_rate", "latency_ms", "cost_usd"):
        assert math.isnan(found[unknown]), unknown
    assert math.isnan(found["judge_failed_rate.groundedness"]), "nothing was given to the judge"
    assert "Retrieval is degraded" in report.to_html()


def test_a_dead_system_that_is_allowed_to_fail_is_unknown() -> None:
    report = evaluate_rag(QUERIES, failing(40), rule=RAGRule(max_failed=1.0))

    assert report.verdict == "undecided"
    assert math.isnan(numbers(report)["degraded"])
    assert "40 of 40 queries failed (ConnectionError 40)" in report.reason


@pytest.mark.parametrize("n", [2, 4, 40])
def test_half_of_the_queries_failing_is_degraded_and_the_rest_is_told(n: int) -> None:
    rule = RAGRule(k=3, floors={"recall": 0.8})
    report = evaluate_rag(QUERIES[:n], failing(n // 2), rule=rule)

    assert report.degraded
    assert f"{n // 2} of {n} queries failed (ConnectionError {n // 2}), 5% may" in report.reason
    assert numbers(report)["failed_rate"] == 0.5
    assert numbers(report)["recall"] == 0.5
    assert numbers(report)["recall.answered"] == 1
    assert report.unmeasured == ""


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(0, 40),
    n_failed=st.integers(0, 40),
    n_unjudged=st.integers(0, 40),
    floor=st.floats(0.05, 1),
    max_failed=st.floats(0, 1),
)
def test_what_is_fine_is_fine_with_everything_that_failed_counted_as_0(
    n: int, n_failed: int, n_unjudged: int, floor: float, max_failed: float
) -> None:
    n_failed = min(n, n_failed)
    n_unjudged = min(n - n_failed, n_unjudged)
    rule = RAGRule(floors={"recall": floor, "groundedness": floor}, max_failed=max_failed)
    report = evaluate_rag(
        QUERIES[:n], failing(n_failed), rule=rule, groundedness=judging(n_unjudged)
    )
    gate = numbers(report)["degraded"]

    assert (gate == 0) == (report.verdict == "ok")
    if report.verdict == "ok":
        assert n > 1
        assert n_failed <= max_failed * n
        assert report.retrieval["recall"].high >= floor
        unjudged = report.judged["groundedness"]
        assert not n_unjudged or unjudged.mean_if_failed >= floor or unjudged.mean < floor
    elif not report.degraded:
        assert math.isnan(gate)
        assert report.unmeasured
    if n_failed:
        assert f"{n_failed} of {n} queries failed (ConnectionError {n_failed})" in report.reason


def test_a_judge_that_fails_on_all_leaves_its_floor_unknown() -> None:
    report = evaluate_rag(QUERIES, good, rule=RULE, groundedness=judging(40))

    assert report.verdict == "undecided"
    assert math.isnan(numbers(report)["degraded"])
    assert numbers(report)["judge_failed_rate.groundedness"] == 1
    assert math.isnan(numbers(report)["groundedness"])
    assert "40 of 40 judgements failed (TimeoutError 40)" in report.unmeasured
    assert "could not be judged" in report.to_html()


def test_a_judge_that_fails_on_all_is_told_without_a_floor_too() -> None:
    report = evaluate_rag(QUERIES, good, relevance=judging(1000))

    assert report.verdict == "undecided"
    assert "context_relevance was not measured: 40 of 40 judgements failed" in report.unmeasured


def test_a_floor_that_only_holds_without_the_failed_judgements_is_no_pass() -> None:
    some = evaluate_rag(QUERIES, good, rule=RULE, groundedness=judging(10))
    few = evaluate_rag(QUERIES, good, rule=RULE, groundedness=judging(4))
    bad = evaluate_rag(QUERIES, good, rule=RULE, groundedness=judging(10, score=0.2))

    assert some.judged["groundedness"].mean_if_failed == 0.75
    assert some.verdict == "undecided"
    assert "groundedness is 1 without and 0.75 with 10 answers" in some.unmeasured
    assert "10 of 40 judgements failed (TimeoutError 10)" in some.unmeasured
    assert numbers(some)["judge_failed_rate.groundedness"] == 0.25
    assert few.verdict == "ok"
    assert bad.verdict == "degraded"
    assert "groundedness 0.2 is below 0.8" in bad.reason


def test_one_judgement_of_forty_is_a_measurement_and_no_pass() -> None:
    report = evaluate_rag(QUERIES, good, rule=RULE, groundedness=judging(39))

    assert report.verdict == "undecided"
    assert "groundedness is 1 without and 0.025 with 39 answers" in report.unmeasured


def test_a_failed_query_beside_a_dead_judge_is_no_measurement() -> None:
    report = evaluate_rag(QUERIES, failing(1), rule=RULE, groundedness=judging(39))

    assert report.verdict == "undecided"
    assert "groundedness was not measured" in report.unmeasured
    assert numbers(report)["judge_failed_rate.groundedness"] == 1


@pytest.mark.parametrize("value", [math.nan, 1.5, -1, "good", None])
def test_a_judgement_that_is_no_score_is_a_failed_one(value: Any) -> None:
    async def judge(**known: str) -> Judged:
        return Judged(value)

    report = evaluate_rag(QUERIES, good, rule=RULE, groundedness=judge)

    assert report.judged["groundedness"].n_failed == 40
    assert report.verdict == "undecided"


def test_answers_without_their_documents_leave_the_floor_of_a_judge_unknown() -> None:
    def bare(item: dict) -> Answer:
        return Answer(text="x", retrieved=("d1",))

    report = evaluate_rag(UNLABELLED, bare, rule=RULE, groundedness=judging())

    assert report.verdict == "undecided"
    assert "groundedness was not measured, 0.8 is wanted: no answer has documents" in report.reason
    assert "recall was not measured, 0.8 is wanted: no query has known" in report.reason
    assert report.judged == {}


def test_what_retrieves_nothing_is_not_a_missing_judgement() -> None:
    def some(item: dict) -> Answer:
        return Answer(text="no idea") if item["question"] in ("q1", "q2") else good(item)

    report = evaluate_rag(
        UNLABELLED, some, rule=RAGRule(floors={"groundedness": 1.0}), groundedness=judging()
    )

    assert report.verdict == "ok"
    assert report.judged["groundedness"].n == 38


def test_no_query_is_a_report() -> None:
    report = evaluate_rag([], good, rule=RULE, groundedness=judging())
    found = numbers(report)

    assert report.verdict == "undecided"
    assert report.unmeasured == report.reason == "there was no query"
    assert math.isnan(found["degraded"])
    assert math.isnan(found["failed_rate"])
    assert found["n_queries"] == 0
    assert record_from_json(RAGReport, record_to_json(report)).unmeasured
    assert "there was no query" in report.to_html()


@pytest.mark.parametrize(("found", "verdict"), [("d0", "undecided"), ("z", "degraded")])
def test_one_query_can_be_too_low_and_is_too_few_to_be_fine(found: str, verdict: str) -> None:
    rule = RAGRule(floors={"recall": 0.8})
    report = evaluate_rag(QUERIES[:1], lambda item: Answer(retrieved=(found,)), rule=rule)

    assert report.verdict == verdict
    assert math.isnan(report.retrieval["recall"].low)
    assert math.isnan(report.retrieval["recall"].high)
    if verdict == "undecided":
        assert report.unmeasured == "1 query is too few to tell whether recall is 0.8"


def test_a_floor_so_low_that_these_queries_cannot_miss_it_is_no_pass() -> None:
    rule = RAGRule(floors={"recall": 0.3})
    bad = evaluate_rag(QUERIES[:4], lambda item: Answer(retrieved=("z",)), rule=rule)

    assert bad.retrieval["recall"].mean == 0
    assert bad.verdict == "undecided"
    assert bad.unmeasured == "4 queries are too few to tell whether recall is 0.3"
    assert evaluate_rag(QUERIES, good, rule=rule).verdict == "ok"


def test_where_nothing_could_tell_how_good_retrieval_is_it_is_not_fine() -> None:
    assert evaluate_rag(UNLABELLED, good).verdict == "undecided"
    assert evaluate_rag(UNLABELLED, good, groundedness=judging()).verdict == "ok"
    assert evaluate_rag(UNLABELLED, good, reference_scores=[0.1, 0.9] * 50).verdict == "ok"


@pytest.mark.parametrize("scores", [(), (math.nan, math.nan)])
def test_scores_that_are_gone_are_not_scores_that_did_not_move(scores: tuple[float, ...]) -> None:
    report = evaluate_rag(
        QUERIES,
        lambda item: Answer(retrieved=("d1", "d2"), scores=scores),
        reference_scores=[0.5] * 100,
    )

    assert report.verdict == "undecided"
    assert "too few retrieval scores" in report.unmeasured
    assert math.isnan(numbers(report)["score_drift"])


def test_ages_that_nobody_knows_are_not_young() -> None:
    rule = RAGRule(stale_after_days=30, max_stale=0.1)
    at = datetime(2026, 3, 1, tzinfo=timezone.utc)
    unknown = evaluate_rag(QUERIES, good, rule=rule, documents={"z": None}, at=at)
    known = evaluate_rag(QUERIES, good, rule=rule, documents={"z": at}, at=at)

    assert unknown.verdict == "undecided"
    assert math.isnan(numbers(unknown)["stale_rate"])
    assert known.verdict == "ok"
    assert numbers(known)["stale_rate"] == 0


@pytest.mark.parametrize("changed_at", ["yesterday", 1, "2026-13-01"])
def test_a_time_of_a_document_that_cannot_be_read_is_counted(changed_at: Any) -> None:
    rule = RAGRule(stale_after_days=30, max_stale=0.1)
    at = datetime(2026, 3, 1, tzinfo=timezone.utc)
    one = evaluate_rag(QUERIES, good, rule=rule, documents={"z": at, "d1": changed_at}, at=at)
    all_of_them = evaluate_rag(QUERIES, good, rule=rule, documents={"z": changed_at}, at=at)

    assert one.verdict == "ok"
    assert numbers(one)["n_unreadable_ages"] == 1
    assert "changed_at of 1 documents is no moment" in one.reason
    assert all_of_them.verdict == "undecided"
    with pytest.raises(ConfigError, match="at must be a moment"):
        evaluate_rag(QUERIES, good, rule=rule, at=changed_at)


def test_shares_are_of_the_answered_queries() -> None:
    def ask(item: dict) -> Answer:
        return Answer(text="?") if item["question"] == "q39" else failing(20)(item)

    report = evaluate_rag(QUERIES, ask)

    assert numbers(report)["empty_rate"] == 0.05


def test_unknown_prices_are_no_cost_of_0() -> None:
    async def judge(**known: str) -> Judged:
        return Judged(1.0)

    def ask(item: dict) -> Answer:
        return Answer(retrieved=("d1",), contexts=("c",))

    found = numbers(evaluate_rag(QUERIES, ask, groundedness=judge))

    assert math.isnan(found["cost_usd"])
    assert math.isnan(found["judge_cost_usd"])
    assert numbers(evaluate_rag(QUERIES, good))["judge_cost_usd"] == 0


def test_an_object_with_an_asynchronous_call_answers_and_judges() -> None:
    class App:
        async def __call__(self, item: dict) -> Answer:
            await asyncio.sleep(0)
            return good(item)

    class Judge:
        def __call__(self, **known: str) -> float:
            return 1.0

    report = evaluate_rag(QUERIES, App(), rule=RULE, groundedness=Judge())

    assert report.verdict == "ok"
    assert report.judged["groundedness"].mean == 1


@pytest.mark.parametrize("returned", [None, "text"])
def test_what_is_no_answer_is_a_failed_query(returned: object) -> None:
    report = evaluate_rag(QUERIES, lambda item: returned)

    assert report.errors == {"TypeError": 40}


@pytest.mark.parametrize(
    "wrong",
    [
        {"retrieved": [None]}, {"retrieved": "abc"}, {"retrieved": [["a"]]}, {"retrieved": 7},
        {"scores": ["x"]}, {"scores": [math.inf]}, {"scores": 0.5}, {"contexts": "abc"},
        {"contexts": [None]}, {"stage_ms": {"search": "1"}}, {"stage_ms": [1.0]},
        {"stage_ms": {"search": -1.0}}, {"latency_ms": "1"}, {"cost_usd": math.inf},
    ],
)  # fmt: skip
def test_an_impossible_value_makes_its_query_a_failed_one(wrong: dict) -> None:
    def ask(item: dict) -> Answer:
        return replace(good(item), **(wrong if item["question"] == "q7" else {}))

    report = evaluate_rag(QUERIES, ask, rule=RAGRule(k=3, floors={"recall": 0.8}))

    assert report.errors == {f"invalid {next(iter(wrong))}": 1}
    assert report.verdict == "ok"
    assert report.retrieval["recall"].mean == pytest.approx(39 / 40)
    assert record_from_json(RAGReport, record_to_json(report)).n_failed == 1


@pytest.mark.parametrize("name", [each.name for each in fields(Answer)])
def test_none_in_any_field_is_what_nobody_said(name: str) -> None:
    def ask(item: dict) -> Answer:
        return replace(good(item), **({name: None} if item["question"] == "q7" else {}))

    report = evaluate_rag(QUERIES, ask, rule=RULE, groundedness=judging())

    assert report.n_failed == 0
    assert report.n_empty == int(name == "retrieved")
    assert record_from_json(RAGReport, record_to_json(report)).reason == report.reason


@pytest.mark.parametrize("cost_usd", ["1", -1.0, math.inf])
def test_a_judge_that_says_an_impossible_cost_has_failed_and_its_cost_is_unknown(
    cost_usd: Any,
) -> None:
    async def judge(**known: str) -> Judged:
        return Judged(1.0, cost_usd=cost_usd)

    report = evaluate_rag(QUERIES, good, rule=RULE, groundedness=judge)

    assert report.verdict == "undecided"
    assert "40 of 40 judgements failed (ValueError 40)" in report.reason
    assert math.isnan(report.judge_cost_usd)


def test_what_this_window_lacks_is_no_mistake_of_a_rule() -> None:
    report = evaluate_rag(UNLABELLED, failing(40))

    for name in ("recall", "groundedness.answered", "judge_failed_rate.groundedness"):
        lacking = report.absent(name)
        assert lacking is not None, name
        assert lacking.name == name
        assert math.isnan(lacking.value)
    assert report.absent("stage_ms.retrieval") is not None
    assert report.absent("recal") is None
