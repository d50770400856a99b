"""Evaluation of retrieval-augmented generation with labels, judges and latency by stage."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TypeAlias

import numpy as np

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.errors import ConfigError, error_type
from flytekitplugins.wbmon.monitor.llm.evaluation.ask import (
    answer_of,
    judged_by,
    run_coroutine,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Item, Judged
from flytekitplugins.wbmon.monitor.llm.rag.decide import Measured, decide
from flytekitplugins.wbmon.monitor.llm.rag.labels import document_id, relevant_documents
from flytekitplugins.wbmon.monitor.llm.rag.measure import Measure, measure_of, score_drift
from flytekitplugins.wbmon.monitor.llm.rag.report import (
    GROUNDEDNESS,
    RELEVANCE_MEASURES,
    RETRIEVAL_MEASURES,
    RAGReport,
    RAGRule,
)
from flytekitplugins.wbmon.stats.retrieval import (
    RetrievalMetrics,
    average_precision,
    retrieval_metrics,
)

AskRAG: TypeAlias = Callable[[Item], Answer | Awaitable[Answer]]
Judging: TypeAlias = Callable[..., Awaitable[Judged]]
OTHER = "other"


@dataclass(slots=True, kw_only=True)
class _Query:
    """One query with its answer and measures."""

    item: Item
    relevant: Mapping[str, float]
    answer: Answer
    metrics: RetrievalMetrics | None = None
    judged: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    judge_costs: list[float | None] = field(default_factory=list)


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

    A query that fails counts as 0 in the measures of what was retrieved and answered, and is
    counted. A judgement that fails is counted and left out.

    Args:
        items: Queries with `question`, and `relevant` if known: ids, grades by id, or pairs of
            both.
        ask: Answers a query: a function, a coroutine function or an object with such a `__call__`.
            The answer has `retrieved`, `scores`, `contexts` and `stage_ms`.
        rule: What to measure, and the limits.
        relevance: Judge of one document, called with `question` and `context`.
        groundedness: Judge of an answer, called with `question`, `answer` and `contexts`.
        reference_scores: Retrieval scores of a period in which retrieval was good.
        documents: Time of the last change of each document by id, from which their age follows;
            one without a time is not stale. One that cannot be read is counted, and unknown.
        at: Time at which ages are computed; now if None.

    Raises:
        DataError: If `relevant` of a query cannot be read.
        ConfigError: If `rule.floors` names a score without a judge, or `at` is no moment.
    """
    rule = rule or RAGRule()
    rule.check_judges(relevance=relevance is not None, groundedness=groundedness is not None)
    ages = _Ages(rule=rule, documents=documents or {}, at=at)
    labels = [relevant_documents(item.get("relevant")) for item in items]
    work = _Work(ask=ask, rule=rule, relevance=relevance, groundedness=groundedness)
    queries = run_coroutine(work.run(items, labels))
    answered = [query for query in queries if not query.answer.error]
    scores = [float(s) for q in answered for s in q.answer.scores if not is_missing(s)]
    measures = _measures(queries, work)
    stages = _stages(answered)
    aged = [query for query in answered if ages.has_known(query.answer)]
    found = Measured(
        measures=measures,
        n_queries=len(queries),
        n_answered=len(answered),
        n_empty=sum(not q.answer.retrieved for q in answered),
        n_with_stale=sum(ages.has_stale(q.answer) for q in aged),
        n_with_ages=len(aged),
        n_unreadable_ages=ages.n_unreadable,
        errors=Counter(q.answer.error for q in queries if q.answer.error),
        drift=score_drift([float(s) for s in reference_scores if not is_missing(s)], scores),
    )
    decision = decide(found, rule)
    summaries = {name: each.summary for name, each in measures.items()}
    return RAGReport(
        k=rule.k,
        n_queries=len(queries),
        n_labelled=sum(bool(query.relevant) for query in queries),
        n_failed=len(queries) - len(answered),
        errors=found.errors,
        retrieval={n: each for n, each in summaries.items() if n in RETRIEVAL_MEASURES},
        judged={
            n: summaries[n] for n in work.judged_names if summaries[n].n or summaries[n].n_failed
        },
        n_empty=found.n_empty,
        n_with_duplicates=sum(
            len(set(q.answer.retrieved)) < len(q.answer.retrieved) for q in answered
        ),
        n_with_stale=found.n_with_stale,
        n_with_ages=found.n_with_ages,
        n_unreadable_ages=found.n_unreadable_ages,
        score_drift=found.drift.distance,
        score_p_value=found.drift.p_value,
        scores=_quantiles(scores),
        stage_ms=stages,
        latency_ms=math.fsum(stages.values()) if stages else math.nan,
        cost_usd=_sum_of_known([q.answer.cost_usd for q in queries]),
        judge_cost_usd=_sum_of_known([cost for q in answered for cost in q.judge_costs]),
        reasons=decision.reasons,
        open_questions=decision.open_questions,
        reason=decision.reason,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    ask: AskRAG
    rule: RAGRule
    relevance: Judging | None
    groundedness: Judging | None

    @property
    def judged_names(self) -> tuple[str, ...]:
        """What is to be judged."""
        names = RELEVANCE_MEASURES if self.relevance is not None else ()
        return (*names, GROUNDEDNESS) if self.groundedness is not None else names

    async def run(
        self, items: Sequence[Item], labels: Sequence[Mapping[str, float]]
    ) -> list[_Query]:
        gate = asyncio.Semaphore(self.rule.concurrency)

        async def one(item: Item, relevant: Mapping[str, float]) -> _Query:
            async with gate:
                answer = await answer_of(self.ask, item)
                answer = replace(answer, retrieved=tuple(map(document_id, answer.retrieved)))
                query = _Query(item=item, relevant=relevant, answer=answer)
                if not answer.error:
                    await self._measure(query)
                return query

        return list(await asyncio.gather(*map(one, items, labels)))

    async def _measure(self, query: _Query) -> None:
        answer = query.answer
        if query.relevant:
            query.metrics = retrieval_metrics(
                retrieved=answer.retrieved, relevant=query.relevant, k=self.rule.k
            )
        if self.relevance is not None and answer.contexts:
            await self._judge_contexts(query, self.relevance)
        if self.groundedness is not None and answer.contexts:
            contexts = "\n".join(f"[{i}] {text}" for i, text in enumerate(answer.contexts, 1))
            found = await self._judge(
                query, GROUNDEDNESS, self.groundedness, answer=answer.text, contexts=contexts
            )
            if found is not None:
                query.judged[GROUNDEDNESS] = found

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
        question = str(query.item.get("question", ""))

        def pay(cost_usd: float | None, n_unpriced: int) -> None:
            query.judge_costs += [cost_usd, *[None] * n_unpriced]

        try:
            found = await judged_by(judge, pay=pay, question=question, **known)
        except Exception as error:  # noqa: BLE001 - counted in the report
            query.failures[name] = error_type(error)
            return None
        return found.value


def _measures(queries: Sequence[_Query], work: _Work) -> dict[str, Measure]:
    """Each measure over the queries that should have it; one that failed has 0."""
    labelled = [query for query in queries if query.relevant]
    # what retrieves nothing has nothing to judge, and a limit of its own
    to_judge = [q for q in queries if q.answer.error or q.answer.retrieved or q.answer.contexts]
    found = {
        name: measure_of(
            name,
            [None if q.metrics is None else getattr(q.metrics, name) for q in labelled],
            is_failed=[bool(q.answer.error) for q in labelled],
        )
        for name in (RETRIEVAL_MEASURES if labelled else ())
    }
    return found | {
        name: measure_of(
            name,
            [query.judged.get(name) for query in to_judge],
            is_failed=[bool(q.answer.error) for q in to_judge],
            failures=Counter(q.failures[name] for q in to_judge if name in q.failures),
        )
        for name in work.judged_names
    }


def _sum_of_known(costs: Sequence[float | None]) -> float:
    """The sum of the known costs; `nan` if there are costs and none is known."""
    known = [cost for cost in costs if cost is not None and not math.isnan(cost)]
    return math.fsum(known) if known or not costs else math.nan


def _quantiles(scores: Sequence[float]) -> dict[str, float]:
    if not scores:
        return {}
    values = np.percentile(scores, [10, 50, 90])
    return dict(zip(("p10", "p50", "p90"), values.tolist(), strict=True))


class _Ages:
    """Ages of documents, as far as they are known; `n_unreadable` are no moment."""

    def __init__(
        self, *, rule: RAGRule, documents: Mapping[str, datetime], at: datetime | None
    ) -> None:
        self.n_unreadable = 0
        self._changed: dict[str, datetime] = {}
        for name, changed_at in documents.items():
            if is_missing(changed_at):
                continue
            try:
                self._changed[document_id(name)] = moment("changed_at", changed_at)
            except ConfigError:
                self.n_unreadable += 1
        at = datetime.now(timezone.utc) if at is None else moment("at", at)
        days = rule.stale_after_days
        self._oldest = None if days is None else at - timedelta(days=days)

    def has_known(self, answer: Answer) -> bool:
        """Whether the age of any retrieved document is known, and asked for."""
        return self._oldest is not None and any(n in self._changed for n in answer.retrieved)

    def has_stale(self, answer: Answer) -> bool:
        """Whether any retrieved document is older than allowed."""
        known = [self._changed[name] for name in answer.retrieved if name in self._changed]
        return self._oldest is not None and any(changed < self._oldest for changed in known)


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
