"""Summary of the answers of a variant: quality, cost, latency and examples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import item_digest, prompt_digest
from flytekitplugins.wbmon.monitor.llm.evaluation.ask import Asked
from flytekitplugins.wbmon.monitor.llm.evaluation.report import (
    EvaluatedItem,
    ScoreSummary,
    VariantResult,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.rule import EvaluationRule
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Item, Scorer
from flytekitplugins.wbmon.monitor.llm.evaluation.summary import score_summary
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_EXAMPLES = 10
_TEXT_SHOWN = 400


def result_of(
    variant: Variant,
    asked: Sequence[Asked],
    numbers: Sequence[int],
    scorers: Mapping[str, Scorer],
    rule: EvaluationRule,
) -> VariantResult:
    """Summarise the answers of one variant to all items; copies of an item are averaged first.

    Args:
        variant: The variant.
        asked: All answers.
        numbers: The number of each item of the data set, which its copies share.
        scorers: Scorers by name.
        rule: The decision rule.
    """
    own = [each for each in asked if each.variant.name == variant.name]
    answers = [each.answer for each in own]
    came = [answer for answer in answers if not answer.error]
    costs = [answer.cost_usd for answer in came if answer.cost_usd is not None]
    latencies = np.array([answer.latency_ms for answer in came])
    first = [a.time_to_first_chunk_ms for a in came if not math.isnan(a.time_to_first_chunk_ms)]
    tokens = [answer.output_tokens for answer in came if answer.output_tokens is not None]
    return VariantResult(
        variant=variant,
        digest=prompt_digest(variant),
        n_items=len({each.place for each in own}),
        n_repeats=rule.repeats,
        n_failed=len(answers) - len(came),
        n_cached=sum(each.is_cached for each in own),
        n_truncated=sum(answer.finish_reason == "length" for answer in came),
        scores={name: _summary(name, own, numbers) for name in scorers},
        latency_ms=_latency(latencies),
        time_to_first_chunk_ms=float(np.mean(first)) if first else math.nan,
        cost_usd=math.fsum(costs),
        cost_per_call_usd=math.fsum(costs) / len(costs) if costs else math.nan,
        n_unpriced=len(came) - len(costs),
        output_tokens=float(np.mean(tokens)) if tokens else math.nan,
        errors=Counter(answer.error for answer in answers if answer.error),
    )


def _latency(values: Floats) -> dict[str, float]:
    if not len(values):
        return {"mean": math.nan, "p50": math.nan, "p95": math.nan}
    p50, p95 = np.percentile(values, [50, 95])
    return {"mean": float(values.mean()), "p50": float(p50), "p95": float(p95)}


def _summary(name: str, asked: Sequence[Asked], numbers: Sequence[int]) -> ScoreSummary:
    scored = [each for each in asked if name in each.scores]
    return score_summary(
        name,
        [each.scores[name] for each in scored],
        items=[numbers[each.place] for each in scored],
        is_answered=[not each.answer.error for each in scored],
        failures=Counter(each.failures[name] for each in asked if name in each.failures),
    )


def mark_frontier(results: Sequence[VariantResult], metric: str) -> list[VariantResult]:
    """Mark the Pareto-optimal variants in quality, cost and latency, of those that answered."""
    points = [
        (
            -_or_worst(-result.scores[metric].mean),
            _or_worst(result.cost_per_call_usd),
            _or_worst(result.latency_ms["mean"]),
        )
        for result in results
    ]

    def beaten(index: int) -> bool:
        quality, cost, latency = points[index]
        return any(
            q >= quality and c <= cost and t <= latency and (q, c, t) != points[index]
            for q, c, t in points
        )

    return [
        replace(r, on_frontier=r.n_failed < r.n_answers and not beaten(i))
        for i, r in enumerate(results)
    ]


def _or_worst(value: float) -> float:
    return math.inf if math.isnan(value) else value


def evaluated_item(asked: Asked, items: Sequence[Item]) -> EvaluatedItem:
    """One answer with shortened texts, for the report."""
    item, answer = items[asked.place], asked.answer
    return EvaluatedItem(
        item_id=str(item.get("id") or item_digest(item)[:12]),
        variant=asked.variant.name,
        repeat=asked.repeat,
        question=str(item.get("question", ""))[:_TEXT_SHOWN],
        answer=answer.text[:_TEXT_SHOWN],
        expected=str(item.get("expected", ""))[:_TEXT_SHOWN],
        scores=dict(asked.scores),
        error=answer.error,
        latency_ms=answer.latency_ms,
        cost_usd=answer.cost_usd,
    )


def telling_examples(
    asked: Sequence[Asked], items: Sequence[Item], metric: str
) -> tuple[EvaluatedItem, ...]:
    """The items on which the variants differ most, with the answers of each."""
    # one answer per variant is enough to read
    first = [each for each in asked if each.repeat == 0]
    by_place: dict[int, list[Asked]] = {}
    for each in first:
        by_place.setdefault(each.place, []).append(each)

    def spread(place: int) -> float:
        values = [each.scores[metric] for each in by_place[place] if metric in each.scores]
        return max(values) - min(values) if values else 0.0

    worst = sorted((p for p in by_place if spread(p) > 0), key=spread, reverse=True)[:_EXAMPLES]
    return tuple(evaluated_item(each, items) for place in worst for each in by_place[place])
