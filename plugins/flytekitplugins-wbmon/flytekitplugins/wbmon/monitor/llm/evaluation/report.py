"""Evaluations of prompts and models: their settings, answers, scores and comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.monitor.llm.evaluation.comparison_report import (
    ComparisonVerdict,
    PairedComparison,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.failures import told_failures
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
from flytekitplugins.wbmon.reports.failures import FAILED_ALLOWED
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report

TAKEN_NAMES = frozenset(
    {
        "cost_per_call_usd",
        "difference",
        "failed_share",
        "latency_ms",
        "n_failed",
        "unscored_share",
    }
)
"""What a variant has beside its scores, which therefore no scorer can be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(ByContent):
    """The response to one item.

    What `answer` returns may have None in any field: that is its default. Any other value of a
    wrong type, an infinity or a negative number makes this answer a failed one, with the error
    `invalid latency_ms`.

    Attributes:
        text: The answer; empty if there is none, as where a model calls a tool or refuses.
        model: The model that answered.
        input_tokens: Input tokens, cached ones included; None if not reported.
        output_tokens: Output tokens, reasoning included; None if not reported.
        cached_tokens: Input tokens read from a cache.
        reasoning_tokens: Output tokens used for reasoning.
        cost_usd: Cost of the answer; None if unknown.
        latency_ms: Time until the answer was complete.
        stage_ms: Parts of the latency, by name.
        time_to_first_chunk_ms: Time until the first chunk of a streamed answer.
        finish_reason: `stop`, `length` …
        retrieved: Ids of retrieved documents, best first.
        scores: Scores of the retrieved documents, in the same order.
        contexts: Texts of the retrieved documents, in the same order.
        attempts: Number of requests sent, retries included.
        error: Class of the error; empty if there is an answer.
    """

    text: str = ""
    model: str = ""
    input_tokens: float | None = None
    output_tokens: float | None = None
    cached_tokens: float | None = None
    reasoning_tokens: float | None = None
    cost_usd: float | None = None
    latency_ms: float = math.nan
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    time_to_first_chunk_ms: float = math.nan
    finish_reason: str = ""
    retrieved: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    contexts: tuple[str, ...] = ()
    attempts: int = 1
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary(ByContent):
    """One scorer's values over the items of a variant.

    Attributes:
        name: Name of the scorer.
        mean: Mean over the items with a score, of which one that was not answered has 0; `nan` if
            none has a score.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end of that interval.
        n: Number of items with a score.
        n_failed: Number of items that could not be scored; the mean excludes them.
        mean_if_failed: The mean if each failed item had the lowest possible score.
        errors: Number of failures by class of the error.
        mean_answered: The mean without the items that were not answered; `nan` if none was.
    """

    name: str
    mean: float
    low: float = math.nan
    high: float = math.nan
    n: int
    n_failed: int = 0
    mean_if_failed: float = math.nan
    errors: Mapping[str, int] = field(default_factory=dict)
    mean_answered: float = math.nan

    @property
    def failed_share(self) -> float:
        """Share of the items that could not be scored; `nan` if none was to be."""
        return self.n_failed / (self.n + self.n_failed) if self.n or self.n_failed else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult(ByContent):
    """The scores, cost and latency of one variant over all items.

    Attributes:
        variant: The variant.
        digest: Digest of the prompt it used.
        n_items: Number of items asked.
        n_repeats: Number of answers per item.
        n_failed: Number of requests without an answer; these get the lowest possible score.
        n_cached: Number of answers taken from an earlier run.
        n_truncated: Number of answers cut at their length limit.
        scores: Summaries by scorer.
        latency_ms: Latency of an answer: `mean`, `p50`, `p95`.
        time_to_first_chunk_ms: Mean time to the first chunk; `nan` if not streamed.
        cost_usd: Total cost of the answers with a known price, cached ones included.
        cost_per_call_usd: Mean cost of these answers; `nan` if no price is known.
        n_unpriced: Number of answers with an unknown price.
        output_tokens: Mean number of output tokens.
        on_frontier: Whether the variant is Pareto-optimal in quality, cost and latency.
        errors: Number of failed answers by class of the error.
    """

    variant: Variant
    digest: str
    n_items: int
    n_repeats: int = 1
    n_failed: int = 0
    n_cached: int = 0
    n_truncated: int = 0
    scores: Mapping[str, ScoreSummary] = field(default_factory=dict)
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    time_to_first_chunk_ms: float = math.nan
    cost_usd: float = 0.0
    cost_per_call_usd: float = math.nan
    n_unpriced: int = 0
    output_tokens: float = math.nan
    on_frontier: bool = False
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_answers(self) -> int:
        """Number of answers asked for."""
        return self.n_items * self.n_repeats

    @property
    def failed_share(self) -> float:
        """Share of the answers that never came; `nan` if none was asked for."""
        return self.n_failed / self.n_answers if self.n_answers else math.nan

    @property
    def told_failed(self) -> str:
        """How many of its answers failed, in words."""
        answers = f"answers of {self.variant.name} failed"
        return told_failures(self.n_failed, self.n_answers, answers, self.errors)

    def told_unscored(self, name: str, max_failed_share: float) -> str:
        """How many of the answers that came a scorer failed on; empty if it was few.

        Args:
            name: The scorer.
            max_failed_share: What is few; all are never.
        """
        score, n_came = self.scores.get(name), self.n_answers - self.n_failed
        few = min(max_failed_share * n_came, n_came - 1)
        if score is None or not n_came or not score.n_failed > few:
            return ""
        answers = f"answers of {self.variant.name} have no score"
        told = told_failures(score.n_failed, n_came, answers, score.errors)
        return f"{told}: {name} failed on them"

    def unreliable(self, metric: str, max_failed_share: float) -> str:
        """Why nothing can be held against this variant; empty if it can.

        Args:
            metric: The scorer that decides.
            max_failed_share: As in the rule.
        """
        told = self.told_unscored(metric, max_failed_share)
        if self.failed_share > max_failed_share:
            told = self.told_failed
        return f"{told}, {max_failed_share:.0%} may" if told else ""

    def measurements(self) -> Iterable[Measurement]:
        """Its scores, cost and latency, each named after the variant."""
        name = self.variant.name
        yield number("n_failed", name, value=self.n_failed, higher_is_better=False)
        yield number(
            "failed_share",
            name,
            value=self.failed_share,
            higher_is_better=False,
            reason="nothing was asked",
        )
        for score in self.scores.values():
            yield number(
                "unscored_share",
                score.name,
                name,
                value=score.failed_share,
                higher_is_better=False,
                reason="nothing was scored",
            )
            yield number(
                score.name,
                name,
                value=score.mean,
                low=score.low,
                high=score.high,
                higher_is_better=True,
                reason="nothing was scored",
            )
        yield number(
            "cost_per_call_usd",
            name,
            value=self.cost_per_call_usd,
            higher_is_better=False,
            unit="USD",
            reason="no price is known",
        )
        yield number(
            "latency_ms",
            name,
            value=self.latency_ms.get("mean", math.nan),
            higher_is_better=False,
            unit="ms",
            reason="nothing was timed",
        )


def nothing_answered(results: Sequence[VariantResult]) -> str:
    """That nothing was answered at all; empty if anything was.

    Args:
        results: Every variant.
    """
    if not any(each.n_answers for each in results):
        return "there was no item to answer"
    if any(each.n_failed < each.n_answers for each in results):
        return ""
    return f"nothing was answered: {', '.join(each.told_failed for each in results)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedItem(ByContent):
    """The answer of one variant to one item in one repeat, for inspection."""

    item_id: str
    variant: str
    repeat: int = 0
    question: str = ""
    answer: str = ""
    expected: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    latency_ms: float = math.nan
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport(Report):
    """The result of an evaluation; the first variant is the baseline.

    Attributes:
        name: Name of the evaluation.
        metric: Name of the scorer that decides.
        n_items: Number of items asked.
        n_not_asked: Number of further items in the data set, which the budget did not reach.
        variants: Results of the variants, in the order given.
        comparisons: Each candidate compared with the baseline in quality, cost and latency.
        verdict: Verdict on the best candidate.
        winner: The variant to use: the best candidate if the verdict is `ship`, else the baseline.
        n_to_decide: Estimated number of items needed to decide; `nan` if the evaluation has
            decided, or if there is no estimate.
        spent_usd: Cost of this run as far as it is known, including judges but not cached answers.
        n_unpriced: Number of calls of this run, those of judges too, whose cost is unknown.
        stopped: Why the evaluation stopped early, such as a budget; empty if it is complete.
        items: The first answers of every item, up to a limit.
        examples: The items on which the variants differ most.
        reason: One sentence: what to do.
        missing: Why no verdict was possible, with counts: what failed, or was too little; empty if
            one was.
        max_failed_share: That of the rule.
    """

    KIND: ClassVar[str] = "evaluation"

    name: str
    metric: str
    n_items: int
    n_not_asked: int = 0
    variants: tuple[VariantResult, ...]
    comparisons: tuple[PairedComparison, ...] = ()
    verdict: ComparisonVerdict
    winner: str
    n_to_decide: float = math.nan
    spent_usd: float = 0.0
    n_unpriced: int = 0
    stopped: str = ""
    items: tuple[EvaluatedItem, ...] = ()
    examples: tuple[EvaluatedItem, ...] = ()
    reason: str
    missing: str = ""
    max_failed_share: float = FAILED_ALLOWED

    @property
    def ship(self) -> bool:
        """Whether the candidate is to replace the baseline."""
        return self.verdict == "ship" and not self.undecidable

    @property
    def undecidable(self) -> str:
        """Why no verdict was possible; empty if one was.

        That is `missing`, and what a stored report of an earlier release does not say itself.
        """
        if self.missing or not self.variants:
            return self.missing
        unreliable = self.variants[0].unreliable(self.metric, self.max_failed_share)
        return nothing_answered(self.variants) or unreliable or self._cut_off

    @property
    def unmeasured(self) -> str:
        """Why no verdict was possible, and which scorers scored nothing; empty if all went well."""
        unscored = [
            result.told_unscored(name, 1.0)
            for result in self.variants
            for name in result.scores
            if name != self.metric
        ]
        return "; ".join(filter(None, (self.undecidable, *unscored)))

    @property
    def _cut_off(self) -> str:
        """Why the one look that was planned never took place; empty if it did."""
        looks = {found.looks for found in self.comparisons} or {"once"}
        is_cut_off = self.n_not_asked or self.stopped.startswith("stopped after")
        return self.stopped if is_cut_off and "once" in looks else ""

    def _measured(self) -> Iterable[Measurement]:
        yield gate("ship", value=None if self.undecidable else self.ship, reason=self.reason)
        yield number("n_items", value=self.n_items)
        yield number("n_not_asked", value=self.n_not_asked, higher_is_better=False)
        yield number("spent_usd", value=self.spent_usd, higher_is_better=False, unit="USD")
        yield number("n_unpriced", value=self.n_unpriced, higher_is_better=False)
        for result in self.variants:
            yield from result.measurements()
        for found in self.comparisons:
            yield number(
                "difference",
                found.metric,
                found.candidate,
                value=found.difference,
                low=found.low,
                high=found.high,
                reason=found.reason,
            )
