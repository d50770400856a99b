"""The report on the quality of retrieval, and of the answers that are based on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.evaluation.failures import told_failures
from flytekitplugins.wbmon.monitor.llm.evaluation.report import ScoreSummary
from flytekitplugins.wbmon.reports.failures import FAILED_ALLOWED
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.stats.retrieval import RetrievalMetrics

RETRIEVAL_MEASURES = RetrievalMetrics._fields
RELEVANCE_MEASURES = ("context_relevance", "context_precision")
GROUNDEDNESS = "groundedness"
RAGVerdict = Literal["ok", "degraded", "undecided"]
_MEASURES = (*RETRIEVAL_MEASURES, *RELEVANCE_MEASURES, GROUNDEDNESS)
_UNASKED = "no query was asked"
_UNANSWERED = "no query was answered"
_UNMEASURED = "nothing was measured"
_UNTIMED = "nothing was timed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RAGRule:
    """Settings of a RAG evaluation: what is measured, and when retrieval counts as degraded.

    Attributes:
        k: Number of top-ranked documents that are evaluated.
        floors: Minimum mean by measure: `recall`, `ndcg`, `groundedness` … A query that fails
            counts as 0. A measure counts as too low if its whole confidence interval is below. A
            floor is not held, but unknown, if nothing was measured, or if it only holds without the
            judgements that are missing.
        max_failed: Maximum share of queries that fail.
        max_empty: Maximum share of the answered queries that retrieve nothing.
        max_stale: Maximum share of the answered queries that retrieve a stale document; below 1 it
            needs `stale_after_days`.
        stale_after_days: Age from which a document is stale; None checks no ages.
        max_score_drift: Maximum Kolmogorov-Smirnov distance of the retrieval scores to those of the
            reference.
        useful_from: Judged relevance from which a document counts as useful.
        concurrency: Number of queries at the same time.

    Raises:
        ConfigError: If a number is out of range, or a floor is of nothing that can be measured.
    """

    k: int = 5
    floors: Mapping[str, float] = field(default_factory=dict)
    max_failed: float = FAILED_ALLOWED
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
        if unknown := [name for name in self.floors if name not in _MEASURES]:
            raise ConfigError(
                f"floors must name what can be measured: {', '.join(_MEASURES)}; got {unknown[0]!r}"
            )
        shares = {f"the floor of {name}": floor for name, floor in self.floors.items()}
        names = ("max_failed", "max_empty", "max_stale", "max_score_drift", "useful_from")
        for name, share in (shares | {name: getattr(self, name) for name in names}).items():
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, got {share}")
        if self.max_stale < 1 and self.stale_after_days is None:
            raise ConfigError("max_stale needs stale_after_days, got none: say when one is stale")

    def check_judges(self, *, relevance: bool, groundedness: bool) -> None:
        """Refuse floors of scores that no judge will give.

        Args:
            relevance: Whether there is a judge of documents.
            groundedness: Whether there is a judge of answers.

        Raises:
            ConfigError: If a judge is missing.
        """
        judges = {
            **dict.fromkeys(RELEVANCE_MEASURES, ("relevance", relevance)),
            GROUNDEDNESS: ("groundedness", groundedness),
        }
        for name in self.floors:
            judge, given = judges.get(name, ("", True))
            if not given:
                raise ConfigError(
                    f"floors of {name!r} need a judge, got none; give one as {judge}=…"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class RAGReport(Report):
    """The result of a RAG evaluation; `nan` and None where nothing could be measured.

    Attributes:
        k: Number of top-ranked documents that were evaluated.
        n_queries: Number of queries asked.
        n_labelled: Number of queries whose relevant documents are known.
        n_failed: Number of queries without an answer.
        errors: Number of these by class of the error.
        retrieval: `recall`, `precision`, `mrr`, `ndcg`, `hit_rate` over labelled queries; one that
            failed counts as 0, and `mean_answered` leaves it out.
        judged: `context_precision`, `context_relevance`, `groundedness`, likewise; only what was
            to be judged. `n_failed` are failed judgements.
        n_empty: Queries that retrieved nothing.
        n_with_duplicates: Queries that retrieved a document twice.
        n_with_stale: Queries that retrieved a document older than allowed.
        n_with_ages: Queries that retrieved a document whose age is known.
        n_unreadable_ages: Documents whose time of the last change is no moment, so that their age
            is unknown.
        score_drift: Kolmogorov-Smirnov distance of the retrieval scores to those of the reference.
        score_p_value: P-value of the hypothesis that the scores did not drift.
        scores: Quantiles of the retrieval scores: `p10`, `p50`, `p90`.
        stage_ms: Mean time of a query by stage; the stages sum to `latency_ms`.
        latency_ms: Mean time of a query.
        cost_usd: Cost of the answers with a known price; `nan` if none has one.
        judge_cost_usd: Cost of the judgements with a known price; `nan` if there are judgements and
            none has one.
        reasons: One sentence for each way in which retrieval is degraded.
        open_questions: One sentence for each limit that could not be judged, with what is missing.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "rag"

    k: int
    n_queries: int
    n_labelled: int
    n_failed: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    retrieval: Mapping[str, ScoreSummary] = field(default_factory=dict)
    judged: Mapping[str, ScoreSummary] = field(default_factory=dict)
    n_empty: int = 0
    n_with_duplicates: int = 0
    n_with_stale: int = 0
    n_with_ages: int = 0
    n_unreadable_ages: int = 0
    score_drift: float = math.nan
    score_p_value: float = math.nan
    scores: Mapping[str, float] = field(default_factory=dict)
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float = math.nan
    cost_usd: float = 0.0
    judge_cost_usd: float = 0.0
    reasons: tuple[str, ...] = ()
    open_questions: tuple[str, ...] = ()
    reason: str

    @property
    def degraded(self) -> bool:
        """Whether anything is surely worse than allowed."""
        return bool(self.reasons)

    @property
    def verdict(self) -> RAGVerdict:
        """`degraded`; `undecided` if not, and a limit could not be judged; else `ok`."""
        if self.degraded:
            return "degraded"
        return "undecided" if self.unmeasured else "ok"

    @property
    def n_answered(self) -> int:
        """Number of queries with an answer."""
        return self.n_queries - self.n_failed

    @property
    def unmeasured(self) -> str:
        """Why the window could not be judged, in one sentence; empty where it was."""
        if not self.n_queries:
            return "there was no query"
        if not self.n_answered:
            failed = told_failures(self.n_failed, self.n_queries, "queries failed", self.errors)
            return f"nothing was answered: {failed}"
        return "" if self.degraded else "; ".join(self.open_questions)

    def share(self, count: int) -> float:
        """A count over the answered queries; `nan` without any."""
        return count / self.n_answered if self.n_answered else math.nan

    def absent(self, name: str) -> Measurement | None:
        """A measure, or a stage, that this window does not have."""
        measure, _, part = name.removeprefix("judge_failed_rate.").partition(".")
        if measure == "stage_ms":
            return number(measure, part, value=math.nan, reason=_UNTIMED)
        if measure in _MEASURES and part in ("", "n_failed", "answered"):
            return number(*name.split("."), value=math.nan, reason=_UNMEASURED)
        return None

    def _measured(self) -> Iterable[Measurement]:
        known = self.degraded or not self.unmeasured
        yield gate("degraded", value=self.degraded if known else None, reason=self.reason)
        yield number("n_queries", value=self.n_queries)
        yield number("n_answered", value=self.n_answered)
        yield number("n_failed", value=self.n_failed, higher_is_better=False)
        failed = self.n_failed / self.n_queries if self.n_queries else math.nan
        yield number(
            "failed_rate",
            value=failed,
            higher_is_better=False,
            prominence="news",
            reason=_UNASKED,
        )
        for each in self.retrieval.values():
            yield from _numbers(each)
        for each in self.judged.values():
            yield from _numbers(each)
            yield number(each.name, "n_failed", value=each.n_failed, higher_is_better=False)
            yield number(
                "judge_failed_rate",
                each.name,
                value=self._judge_failed_rate(each),
                higher_is_better=False,
                reason=_UNMEASURED,
            )
        yield from self._measured_shares()
        yield number("n_unreadable_ages", value=self.n_unreadable_ages, higher_is_better=False)
        yield number(
            "score_drift",
            value=self.score_drift,
            higher_is_better=False,
            reason="no scores to compare, or too few",
        )
        timings = [("latency_ms", self.latency_ms)]
        timings += [(f"stage_ms.{name}", value) for name, value in self.stage_ms.items()]
        for name, value in timings:
            yield number(
                *name.split(".", 1), value=value, higher_is_better=False, unit="ms", reason=_UNTIMED
            )
        for name in ("cost_usd", "judge_cost_usd"):
            yield number(
                name,
                value=getattr(self, name),
                higher_is_better=False,
                unit="USD",
                reason="no price is known",
            )

    def _judge_failed_rate(self, score: ScoreSummary) -> float:
        # a query that failed has a score of 0, and was never judged
        n = max(0, score.n - self.n_failed) + score.n_failed
        return score.n_failed / n if n else math.nan

    def _measured_shares(self) -> Iterable[Measurement]:
        # without a known age no document is known to be stale, nor not to be
        has_ages = self.n_with_ages or self.n_with_stale
        stale = self.share(self.n_with_stale) if has_ages else math.nan
        for name, share, why in (
            ("empty_rate", self.share(self.n_empty), _UNANSWERED),
            ("stale_rate", stale, "no age of a document is known"),
            ("duplicate_rate", self.share(self.n_with_duplicates), _UNANSWERED),
        ):
            yield number(name, value=share, higher_is_better=False, reason=why)


def _numbers(summary: ScoreSummary) -> Iterable[Measurement]:
    yield number(
        summary.name,
        value=summary.mean,
        low=summary.low,
        high=summary.high,
        higher_is_better=True,
        prominence="news",
        reason=_UNMEASURED,
    )
    yield number(
        summary.name,
        "answered",
        value=summary.mean_answered,
        higher_is_better=True,
        reason=_UNANSWERED,
    )
