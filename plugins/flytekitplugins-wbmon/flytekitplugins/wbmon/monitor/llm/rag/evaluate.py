"""Evaluation of retrieval-augmented generation with labels, judges and latency by stage."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import numpy as np

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.ask import run_coroutine
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer, ScoreSummary
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Item, Judged
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport, RAGRule
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.stats.paired import paired_difference
from flytekitplugins.wbmon.stats.retrieval import (
    RetrievalMetrics,
    average_precision,
    retrieval_metrics,
)
from flytekitplugins.wbmon.stats.tail_probabilities import kolmogorov_sf

AskRAG: TypeAlias = Callable[[Item], Answer | Awaitable[Answer]]
Judging: TypeAlias = Callable[..., Awaitable[Judged]]
OTHER = "other"


@dataclass(slots=True, kw_only=True)
class _Query:
    """One query with its answer and measures."""

    item: Item
    answer: Answer
    metrics: RetrievalMetrics | None = None
    judged: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    judge_cost: float = 0.0


def evaluate_rag(
    items: Sequence[Item],
    ask: AskRAG,
    *,
    rule: RAGRule | None = None,
    relevance: Judging | None = None,
    groundedness: Judging | None = None,
    reference_scores: Sequence[float] = (),
    documents: Mapping[str, datetime] | None = None,
    at: datetime | None = None,
) -> RAGReport:
    """Answer every query, and measure the retrieved documents and the answers.

    Args:
        items: Queries with `question`, and `relevant` (ids, or grades by id) if known.
        ask: Answers a query; the answer has `retrieved`, `scores`, `contexts` and `stage_ms`.
        rule: What to measure, and the limits.
        relevance: Judge of one document, called with `question` and `context`.
        groundedness: Judge of an answer, called with `question`, `answer` and `contexts`.
        reference_scores: Retrieval scores of a period in which retrieval was good.
        documents: Time of the last change of each document by id, from which their age follows;
            one without a time is not stale.
        at: Time at which ages are computed; now if None.

    Raises:
        DataError: If there are no queries.
        ConfigError: If `rule.floors` names something that was not measured, or `at` or the time of
            a document is no moment.
    """
    if not items:
        raise DataError("an evaluation of retrieval must have queries, got none")
    rule = rule or RAGRule()
    changed = {
        name: moment(f"the time of document {quoted_name(name)}", changed_at)
        for name, changed_at in (documents or {}).items()
        if not is_missing(changed_at)
    }
    work = _Work(ask=ask, rule=rule, relevance=relevance, groundedness=groundedness)
    queries = run_coroutine(work.run(items))
    answered = [query for query in queries if not query.answer.error]
    scores = [score for query in answered for score in query.answer.scores]
    drift, p_value = _score_drift(reference_scores, scores)
    retrieval = {
        name: _summary(name, [getattr(q.metrics, name) for q in answered if q.metrics])
        for name in RetrievalMetrics._fields
    }
    judged = _judged(answered)
    at = datetime.now(timezone.utc) if at is None else moment("at", at)
    stages = _stages(answered)
    counts = {
        "n_empty": sum(not q.answer.retrieved for q in answered),
        "n_with_duplicates": sum(
            len(set(q.answer.retrieved)) < len(q.answer.retrieved) for q in answered
        ),
        "n_with_stale": sum(_has_stale(q.answer, changed, rule, at) for q in answered),
    }
    reasons = _reasons(rule, {**retrieval, **judged}, counts, len(queries), drift, p_value)
    n_labelled = retrieval["recall"].n
    return RAGReport(
        k=rule.k,
        n_queries=len(queries),
        n_labelled=n_labelled,
        n_failed=len(queries) - len(answered),
        retrieval=retrieval if n_labelled else {},
        judged=judged,
        score_drift=drift,
        score_p_value=p_value,
        scores=_quantiles(scores),
        stage_ms=stages,
        latency_ms=math.fsum(stages.values()) if stages else math.nan,
        cost_usd=math.fsum(q.answer.cost_usd or 0.0 for q in answered),
        judge_cost_usd=math.fsum(q.judge_cost for q in answered),
        reasons=tuple(reasons),
        reason=_reason(reasons, retrieval, judged, n_labelled, rule.k),
        **counts,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    ask: AskRAG
    rule: RAGRule
    relevance: Judging | None
    groundedness: Judging | None

    async def run(self, items: Sequence[Item]) -> list[_Query]:
        gate = asyncio.Semaphore(self.rule.concurrency)

        async def one(item: Item) -> _Query:
            async with gate:
                query = _Query(item=item, answer=await self._answer(item))
                if not query.answer.error:
                    await self._measure(query)
                return query

        return list(await asyncio.gather(*map(one, items)))

    async def _answer(self, item: Item) -> Answer:
        try:
            if asyncio.iscoroutinefunction(self.ask):
                found: Any = await self.ask(item)
            else:
                found = await asyncio.to_thread(self.ask, item)
        except Exception as error:  # noqa: BLE001 - a query that fails is a finding
            return Answer(error=type(error).__name__)
        answer: Answer = found
        return answer

    async def _measure(self, query: _Query) -> None:
        answer, relevant = query.answer, query.item.get("relevant")
        if relevant:
            query.metrics = retrieval_metrics(
                retrieved=answer.retrieved, relevant=relevant, k=self.rule.k
            )
        if self.relevance is not None and answer.contexts:
            await self._judge_contexts(query, self.relevance)
        if self.groundedness is not None and answer.contexts:
            contexts = "\n".join(f"[{i}] {text}" for i, text in enumerate(answer.contexts, 1))
            found = await self._judge(
                query, "groundedness", self.groundedness, answer=answer.text, contexts=contexts
            )
            if found is not None:
                query.judged["groundedness"] = found

    async def _judge_contexts(self, query: _Query, judge: Judging) -> None:
        """Judge each document; if one verdict is missing, the query has no score."""
        texts = query.answer.contexts[: self.rule.k]
        found = await asyncio.gather(
            *(self._judge(query, "context_relevance", judge, context=text) for text in texts)
        )
        values = [value for value in found if value is not None]
        if len(values) < len(texts):
            query.failures["context_precision"] = query.failures["context_relevance"]
            return
        query.judged["context_relevance"] = math.fsum(values) / len(values)
        verdicts = [value >= self.rule.useful_from for value in values]
        query.judged["context_precision"] = average_precision(verdicts)

    async def _judge(self, query: _Query, name: str, judge: Judging, **known: str) -> float | None:
        try:
            found = await judge(question=str(query.item.get("question", "")), **known)
        except Exception as error:  # noqa: BLE001 - counted in the report
            query.failures[name] = type(error).__name__
            return None
        query.judge_cost += found.cost_usd or 0.0
        return float(found.value)


def _summary(
    name: str, values: Sequence[float], failures: Mapping[str, int] | None = None
) -> ScoreSummary:
    known = np.array([value for value in values if not math.isnan(value)])
    n_failed = sum((failures or {}).values())
    if not len(known):
        return ScoreSummary(
            name=name, mean=math.nan, n=0, n_failed=n_failed, errors=dict(failures or {})
        )
    # the interval of a mean is that of its difference from zero
    found = paired_difference(np.zeros(len(known)), known)
    return ScoreSummary(
        name=name,
        mean=float(known.mean()),
        low=max(0.0, found.low),
        high=min(1.0, found.high),
        n=len(known),
        n_failed=n_failed,
        mean_if_failed=float(known.sum()) / (len(known) + n_failed),
        errors=dict(failures or {}),
    )


def _judged(queries: Sequence[_Query]) -> dict[str, ScoreSummary]:
    names = dict.fromkeys(name for q in queries for name in (*q.judged, *q.failures))
    return {
        name: _summary(
            name,
            [q.judged[name] for q in queries if name in q.judged],
            Counter(q.failures[name] for q in queries if name in q.failures),
        )
        for name in names
    }


def _score_drift(reference: Sequence[float], current: Sequence[float]) -> tuple[float, float]:
    """Two-sample Kolmogorov-Smirnov distance and its asymptotic p-value."""
    if not len(reference) or not len(current):
        return math.nan, math.nan
    a, b = np.sort(np.asarray(reference, float)), np.sort(np.asarray(current, float))
    places = np.concatenate([a, b])
    shares = [np.searchsorted(side, places, side="right") / len(side) for side in (a, b)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    # effective sample size of the two-sample statistic
    size = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    return distance, kolmogorov_sf(distance * size)


def _quantiles(scores: Sequence[float]) -> dict[str, float]:
    if not scores:
        return {}
    values = np.percentile(scores, [10, 50, 90])
    return dict(zip(("p10", "p50", "p90"), values.tolist(), strict=True))


def _has_stale(
    answer: Answer, documents: Mapping[str, datetime], rule: RAGRule, at: datetime
) -> bool:
    if rule.stale_after_days is None:
        return False
    oldest = at - timedelta(days=rule.stale_after_days)
    return any(name in documents and documents[name] < oldest for name in answer.retrieved)


def _stages(queries: Sequence[_Query]) -> dict[str, float]:
    """Mean time by stage; `other` is the remainder, so that the sum is the mean latency."""
    timed = [q.answer for q in queries if not math.isnan(q.answer.latency_ms)]
    if not timed:
        return {}
    names = dict.fromkeys(name for answer in timed for name in answer.stage_ms)
    means = {
        name: math.fsum(answer.stage_ms.get(name, 0.0) for answer in timed) / len(timed)
        for name in names
        if name != OTHER
    }
    whole = math.fsum(answer.latency_ms for answer in timed) / len(timed)
    return means | {OTHER: max(0.0, whole - math.fsum(means.values()))}


def _reasons(
    rule: RAGRule,
    measures: Mapping[str, ScoreSummary],
    counts: Mapping[str, int],
    n_queries: int,
    drift: float,
    p_value: float,
) -> list[str]:
    found = []
    for name, floor in rule.floors.items():
        if name not in measures:
            raise ConfigError(
                f"floors must name what is measured: {', '.join(measures)}; got {name!r}"
            )
        summary = measures[name]
        # the whole interval must be below; with one query there is no interval, so the mean decides
        if summary.high < floor or (math.isnan(summary.high) and summary.mean < floor):
            found.append(f"{name} {summary.mean:.3g} is below {floor:g}")
    for name, words, limit in (
        ("n_empty", "retrieve nothing", rule.max_empty),
        ("n_with_stale", "retrieve stale documents", rule.max_stale),
    ):
        share = counts[name] / n_queries
        if share > limit:
            found.append(f"{share:.1%} of queries {words}, {limit:.0%} are allowed")
    if drift > rule.max_score_drift and p_value < 0.05:  # noqa: PLR2004 - the usual level
        found.append(f"retrieval scores moved by {drift:.2f}, {rule.max_score_drift:g} is allowed")
    return found


def _reason(
    reasons: Sequence[str],
    retrieval: Mapping[str, ScoreSummary],
    judged: Mapping[str, ScoreSummary],
    n_labelled: int,
    k: int,
) -> str:
    if reasons:
        return "; ".join(reasons)
    if n_labelled:
        recall, ndcg = retrieval["recall"], retrieval["ndcg"]
        return f"recall@{k} {recall.mean:.3g}, nDCG@{k} {ndcg.mean:.3g} over {n_labelled} queries"
    if judged:
        return ", ".join(f"{each.name} {each.mean:.3g}" for each in judged.values())
    return "no query has known relevant documents and nothing was judged"
