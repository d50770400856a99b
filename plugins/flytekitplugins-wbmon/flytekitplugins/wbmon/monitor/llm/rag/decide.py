"""The verdict on retrieval: what is degraded, and which limits nothing could be measured for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from flytekitplugins.wbmon.monitor.llm.evaluation.failures import told_failures
from flytekitplugins.wbmon.monitor.llm.evaluation.report import ScoreSummary
from flytekitplugins.wbmon.monitor.llm.rag.measure import ALPHA, Measure, ScoreDrift
from flytekitplugins.wbmon.monitor.llm.rag.report import RETRIEVAL_MEASURES, RAGRule
from flytekitplugins.wbmon.stats.paired import paired_difference


class Measured(NamedTuple):
    """What was measured of all queries, as in `RAGReport`, on which the verdict rests."""

    measures: Mapping[str, Measure]
    n_queries: int
    n_answered: int
    n_empty: int
    n_with_stale: int
    n_with_ages: int
    n_unreadable_ages: int
    errors: Mapping[str, int]
    drift: ScoreDrift

    @property
    def failures(self) -> str:
        """How many queries failed; empty if none did."""
        n_failed = self.n_queries - self.n_answered
        told = told_failures(n_failed, self.n_queries, "queries failed", self.errors)
        return told if n_failed else ""


class RAGDecision(NamedTuple):
    """What is degraded, what is unknown, and both in one sentence."""

    reasons: tuple[str, ...]
    open_questions: tuple[str, ...]
    reason: str


def decide(found: Measured, rule: RAGRule) -> RAGDecision:
    """Hold what was measured against the rule.

    Args:
        found: What was measured.
        rule: The limits.
    """
    reasons, unknown = list(_exceeded(found, rule)), list(_unknown(found, rule))
    for name, floor in rule.floors.items() if found.n_queries else ():
        measure = found.measures.get(name)
        if measure is not None and _is_too_low(measure, floor):
            reasons.append(f"{name} {_told(measure.summary)} is below {floor:g}")
        elif doubt := _doubt(name, measure, floor):
            unknown.append(doubt)
    told = [*reasons, *unknown] or [_summary(found, rule.k)]
    if found.failures and not any(found.failures in each for each in told):
        told.append(found.failures)
    if found.n_unreadable_ages:
        told.append(f"changed_at of {found.n_unreadable_ages} documents is no moment")
    return RAGDecision(tuple(reasons), tuple(unknown), "; ".join(told))


def _exceeded(found: Measured, rule: RAGRule) -> Iterator[str]:
    n_failed = found.n_queries - found.n_answered
    if n_failed and n_failed / found.n_queries > rule.max_failed:
        yield f"{found.failures}, {rule.max_failed:.0%} may"
    for count, words, limit in (
        (found.n_empty, "retrieve nothing", rule.max_empty),
        (found.n_with_stale, "retrieve stale documents", rule.max_stale),
    ):
        share = count / found.n_answered if count else 0.0
        if share > limit:
            yield f"{share:.1%} of answered queries {words}, {limit:.0%} are allowed"
    drift = found.drift
    if drift.distance > rule.max_score_drift and drift.p_value < ALPHA:
        yield (
            f"retrieval scores moved by {drift.distance:.2f}, {rule.max_score_drift:g} is allowed"
        )


def _unknown(found: Measured, rule: RAGRule) -> Iterator[str]:
    """What was to be measured and was not, whatever the floors are."""
    if not found.n_answered:
        yield "nothing was answered" if found.n_queries else "there was no query"
        return
    if not found.measures and not found.drift.is_asked:
        yield "no query has known relevant documents and nothing was judged"
    for name, measure in found.measures.items():
        if not measure.is_known and name not in rule.floors:
            yield f"{name} was not measured: {_why_missing(name, measure)}"
    if found.drift.is_asked and not found.drift.is_known:
        yield "too few retrieval scores to compare them with those of the reference"
    if rule.max_stale < 1 and not found.n_with_ages:
        yield "no age of a retrieved document is known"


def _is_too_low(measure: Measure, floor: float) -> bool:
    # judgements that are missing give the failed queries too much weight
    return _is_below(measure.answered, floor) or (
        not measure.n_missing and _is_below(measure.summary, floor)
    )


def _is_below(summary: ScoreSummary, floor: float) -> bool:
    # the whole interval must be below; with one query there is no interval, so the mean decides
    return summary.high < floor or (math.isnan(summary.high) and summary.mean < floor)


def _doubt(name: str, measure: Measure | None, floor: float) -> str:
    """Why a floor that is not violated is not held either; empty if it is."""
    if measure is None or not measure.is_known:
        return f"{name} was not measured, {floor:g} is wanted: {_why_missing(name, measure)}"
    score, worst = measure.summary, measure.worst
    if measure.n_missing and (worst.mean < floor <= score.mean or _is_below(worst, floor)):
        failed = _failed_judgements(measure)
        return (
            f"{name} is {score.mean:.3g} without and {worst.mean:.3g} with {measure.n_missing} "
            f"answers that were not judged{f': {failed}' if failed else ''}; {floor:g} is wanted"
        )
    # so few that not even the worst scores would be beyond chance
    if not score.low >= floor and not _highest_if_bad(score.n) < floor:
        queries = "1 query is" if score.n == 1 else f"{score.n} queries are"
        return f"{queries} too few to tell whether {name} is {floor:g}"
    return ""


def _why_missing(name: str, measure: Measure | None) -> str:
    if name in RETRIEVAL_MEASURES:
        return "no query has known relevant documents"
    failed = "" if measure is None else _failed_judgements(measure)
    return failed or "no answer has documents"


def _highest_if_bad(n: int) -> float:
    """Upper end of the interval of a mean of `n` zeros; `nan` if there is none."""
    return paired_difference(np.zeros(n), np.zeros(n)).high


def _failed_judgements(measure: Measure) -> str:
    score = measure.answered
    n = score.n + score.n_failed
    told = told_failures(score.n_failed, n, "judgements failed", score.errors)
    return told if score.n_failed else ""


def _told(score: ScoreSummary) -> str:
    """The mean, and that of the answered queries where others failed."""
    if score.mean == score.mean_answered or math.isnan(score.mean_answered):
        return f"{score.mean:.3g}"
    return f"{score.mean:.3g} ({score.mean_answered:.3g} where answered)"


def _summary(found: Measured, k: int) -> str:
    measures = found.measures
    if "recall" in measures:
        recall, ndcg = (measures[name].summary for name in ("recall", "ndcg"))
        return f"recall@{k} {_told(recall)}, nDCG@{k} {_told(ndcg)} over {recall.n} queries"
    if measures:
        return ", ".join(f"{name} {_told(each.summary)}" for name, each in measures.items())
    return f"{found.n_answered} queries were answered, and retrieval scores moved by " + (
        f"{found.drift.distance:.2f}"
    )
