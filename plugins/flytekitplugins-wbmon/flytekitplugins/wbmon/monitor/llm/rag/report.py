"""The report on the quality of retrieval, and of the answers that are based on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.evaluation.report import ScoreSummary
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class RAGRule:
    """Settings of a RAG evaluation: what is measured, and when retrieval counts as degraded.

    Attributes:
        k: Number of top-ranked documents that are evaluated.
        floors: Minimum mean by measure: `recall`, `ndcg`, `groundedness` … A measure counts as too
            low if its whole confidence interval is below.
        max_empty: Maximum share of queries that retrieve nothing.
        max_stale: Maximum share of queries that retrieve a stale document.
        stale_after_days: Age from which a document is stale; None checks no ages.
        max_score_drift: Maximum Kolmogorov-Smirnov distance of the retrieval scores to those of the
            reference.
        useful_from: Judged relevance from which a document counts as useful.
        concurrency: Number of queries at the same time.

    Raises:
        ConfigError: If a number is out of range.
    """

    k: int = 5
    floors: Mapping[str, float] = field(default_factory=dict)
    max_empty: float = 0.05
    max_stale: float = 1.0
    stale_after_days: float | None = None
    max_score_drift: float = 0.2
    useful_from: float = 0.5
    concurrency: int = 8

    def __post_init__(self) -> None:
        if self.k < 1 or self.concurrency < 1:
            raise ConfigError(
                f"k and concurrency must be at least 1, got {self.k} and {self.concurrency}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RAGReport(Report):
    """The result of a RAG evaluation; `nan` and None where nothing could be measured.

    Attributes:
        k: Number of top-ranked documents that were evaluated.
        n_queries: Number of queries asked.
        n_labelled: Number of queries whose relevant documents are known.
        n_failed: Number of queries without an answer.
        retrieval: `recall`, `precision`, `mrr`, `ndcg`, `hit_rate` over labelled queries.
        judged: `context_precision`, `context_relevance`, `groundedness`; only what was judged.
        n_empty: Queries that retrieved nothing.
        n_with_duplicates: Queries that retrieved a document twice.
        n_with_stale: Queries that retrieved a document older than allowed.
        score_drift: Kolmogorov-Smirnov distance of the retrieval scores to those of the reference.
        score_p_value: P-value of the hypothesis that the scores did not drift.
        scores: Quantiles of the retrieval scores: `p10`, `p50`, `p90`.
        stage_ms: Mean time of a query by stage; the stages sum to `latency_ms`.
        latency_ms: Mean time of a query.
        cost_usd: Cost of the answers with a known price.
        judge_cost_usd: Cost of the judges.
        reasons: One sentence for each way in which retrieval is degraded.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "rag"

    k: int
    n_queries: int
    n_labelled: int
    n_failed: int = 0
    retrieval: Mapping[str, ScoreSummary] = field(default_factory=dict)
    judged: Mapping[str, ScoreSummary] = field(default_factory=dict)
    n_empty: int = 0
    n_with_duplicates: int = 0
    n_with_stale: int = 0
    score_drift: float = math.nan
    score_p_value: float = math.nan
    scores: Mapping[str, float] = field(default_factory=dict)
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float = math.nan
    cost_usd: float = 0.0
    judge_cost_usd: float = 0.0
    reasons: tuple[str, ...] = ()
    reason: str

    @property
    def degraded(self) -> bool:
        """Whether anything is worse than allowed."""
        return bool(self.reasons)

    def share(self, count: int) -> float:
        """A count over all queries; `nan` without queries."""
        return count / self.n_queries if self.n_queries else math.nan

    def _measured(self) -> Iterable[Measurement]:
        yield gate("degraded", value=self.degraded, reason=self.reason)
        yield number("n_queries", value=self.n_queries)
        yield number("n_failed", value=self.n_failed, higher_is_better=False)
        for each in (*self.retrieval.values(), *self.judged.values()):
            yield number(
                each.name,
                value=each.mean,
                low=each.low,
                high=each.high,
                higher_is_better=True,
                prominence="news",
                reason="nothing was measured",
            )
            yield number(each.name, "n_failed", value=each.n_failed, higher_is_better=False)
        for name, count in (
            ("empty_rate", self.n_empty),
            ("stale_rate", self.n_with_stale),
            ("duplicate_rate", self.n_with_duplicates),
        ):
            yield number(
                name, value=self.share(count), higher_is_better=False, reason="no query was asked"
            )
        yield number(
            "score_drift",
            value=self.score_drift,
            higher_is_better=False,
            reason="no reference scores",
        )
        timings = [("latency_ms", self.latency_ms)]
        timings += [(f"stage_ms.{name}", value) for name, value in self.stage_ms.items()]
        for name, value in timings:
            yield number(
                *name.split(".", 1),
                value=value,
                higher_is_better=False,
                unit="ms",
                reason="nothing was timed",
            )
        for name in ("cost_usd", "judge_cost_usd"):
            yield number(name, value=getattr(self, name), higher_is_better=False, unit="USD")
