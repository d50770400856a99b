"""Retrieval: measured with labels, judged without, and timed so that the parts make the whole."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from flytekitplugins.wbmon import Answer, RAGRule
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Judged
from flytekitplugins.wbmon.monitor.llm.rag.evaluate import evaluate_rag

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
ITEMS = [{"question": f"q{i}", "relevant": [f"d{i}"]} for i in range(30)]


def ask(item: dict) -> Answer:
    number = int(item["question"][1:])
    good = number % 3 != 0
    retrieved = (f"d{number}", "d99") if good else ("d98", "d99")
    return Answer(
        text=f"see [{retrieved[0]}]",
        retrieved=retrieved,
        scores=(0.9, 0.4),
        contexts=("useful" if good else "noise", "noise"),
        latency_ms=100.0,
        stage_ms={"retrieval": 30.0, "generation": 60.0},
        cost_usd=0.01,
    )


async def relevance(*, question: str, context: str) -> Judged:
    return Judged(1.0 if context == "useful" else 0.0, cost_usd=0.001)


def test_with_labels_the_measures_are_those_of_rankings() -> None:
    report = evaluate_rag(ITEMS, ask, rule=RAGRule(k=2))

    assert report.retrieval["recall"].mean == pytest.approx(2 / 3)
    assert report.retrieval["precision"].mean == pytest.approx(1 / 3)
    assert report.retrieval["recall"].low < 2 / 3 < report.retrieval["recall"].high
    assert report.n_labelled == 30
    assert "recall@2 0.667" in report.reason
    assert not report.degraded


def test_the_stages_sum_to_the_whole() -> None:
    report = evaluate_rag(ITEMS, ask)

    assert report.stage_ms == {"retrieval": 30.0, "generation": 60.0, "other": 10.0}
    assert math.fsum(report.stage_ms.values()) == pytest.approx(report.latency_ms) == 100.0


def test_every_document_is_judged_and_precision_counts_the_rank() -> None:
    report = evaluate_rag(ITEMS, ask, relevance=relevance)

    assert report.judged["context_relevance"].mean == pytest.approx(1 / 3)
    assert report.judged["context_precision"].mean == pytest.approx(2 / 3)
    assert report.judge_cost_usd == pytest.approx(0.06)
    assert report.cost_usd == pytest.approx(0.3)


def test_verdicts_that_never_came_are_counted_and_nothing_judged_is_nothing() -> None:
    async def broken(*, question: str, context: str) -> Judged:
        if question == "q1":
            raise KeyError("verdict")
        return Judged(1.0)

    report = evaluate_rag(ITEMS, ask, relevance=broken)
    assert report.judged["context_precision"].n == 29
    assert report.judged["context_precision"].n_failed == 1
    assert report.judged["context_precision"].mean_if_failed == pytest.approx(29 / 30)

    def nothing(item: dict) -> Answer:
        return Answer(text="?", latency_ms=1.0)

    empty = evaluate_rag([{"question": "x"}], nothing, relevance=broken)
    assert empty.judged == {}
    assert empty.n_empty == 1
    assert "nothing was judged" in empty.reason or "retrieve nothing" in empty.reason


def test_groundedness_sees_answer_and_documents() -> None:
    seen = []

    async def grounded(*, question: str, answer: str, contexts: str) -> Judged:
        seen.append((answer, contexts))
        return Judged(0.8)

    report = evaluate_rag(ITEMS[:2], ask, groundedness=grounded)

    assert report.judged["groundedness"].mean == pytest.approx(0.8)
    assert ("see [d1]", "[1] useful\n[2] noise") in seen


def test_a_measure_is_too_low_when_its_whole_interval_is() -> None:
    assert evaluate_rag(ITEMS, ask, rule=RAGRule(floors={"recall": 0.95})).degraded
    assert not evaluate_rag(ITEMS, ask, rule=RAGRule(floors={"recall": 0.7})).degraded
    with pytest.raises(ConfigError, match="floors"):
        evaluate_rag(ITEMS, ask, rule=RAGRule(floors={"recal": 0.7}))


def test_scores_that_moved_are_told_without_any_label(rng: np.random.Generator) -> None:
    unlabelled = [{"question": f"q{i}"} for i in range(60)]
    moved = evaluate_rag(unlabelled, ask, reference_scores=rng.uniform(0, 0.3, 200).tolist())
    same = evaluate_rag(unlabelled, ask, reference_scores=[0.4, 0.9] * 100)

    assert moved.degraded
    assert moved.score_drift == 1.0
    assert same.score_drift == 0.0
    assert not same.degraded


def test_duplicates_and_stale_documents_are_counted() -> None:
    def twice(item: dict) -> Answer:
        return Answer(retrieved=("old", "old", "new"), latency_ms=1.0)

    ages = {"old": NOW - timedelta(days=400), "new": NOW}
    rule = RAGRule(stale_after_days=365, max_stale=0.5)
    report = evaluate_rag(ITEMS, twice, rule=rule, documents=ages, at=NOW)

    assert report.n_with_duplicates == report.n_with_stale == 30
    assert report.degraded
    assert "stale" in report.reason


def test_wrong_settings_are_refused() -> None:
    for wrong in (
        {"k": 0},
        {"floors": {"recall": 1.1}},
        {"floors": {"recall": math.nan}},
        {"max_failed": -0.1},
        {"max_empty": math.nan},
        {"max_stale": 0.5},
    ):
        with pytest.raises(ConfigError):
            RAGRule(**wrong)
    with pytest.raises(ConfigError, match="need a judge"):
        evaluate_rag(ITEMS, ask, rule=RAGRule(floors={"groundedness": 0.8}))
