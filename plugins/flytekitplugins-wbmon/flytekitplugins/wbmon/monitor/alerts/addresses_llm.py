"""What rules can ask of the reports about LLM calls.

Addresses begin with `usage`, `feedback`, `rag` or `evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.reports.measurement import Observation, gate, number


def llm_observations(report: object) -> tuple[str, list[Observation]] | None:
    """The report's kind and its numbers; None for a report of another kind."""
    if isinstance(report, UsageReport):
        return "usage", list(_of_usage(report))
    if isinstance(report, FeedbackReport):
        return "feedback", list(_of_feedback(report))
    if isinstance(report, RAGReport):
        return "rag", list(_of_rag(report))
    if isinstance(report, EvaluationReport):
        return "evaluation", list(_of_evaluation(report))
    return None


def _of_usage(report: UsageReport) -> Iterable[Observation]:
    total, none = report.total, "no LLM call in this window"
    yield gate("over_budget", report.over_budget, report.reason)
    for name in ("n_calls", "cost_usd", "n_unpriced", "input_tokens", "output_tokens"):
        yield number(name, getattr(total, name))
    for name in ("error", "retried", "rate_limited", "fallback", "truncated"):
        count = total.n_errors if name == "error" else getattr(total, f"n_{name}")
        yield number(f"{name}_rate", total.share(count), none)
    for status in report.budgets:
        whose = f"{status.budget.period}.{status.budget.scope}"
        name = f"{whose}.{status.key}" if status.key else whose
        yield number(f"spent_share.{name}", status.share)
        yield number(f"forecast_share.{name}", status.forecast_usd / status.budget.limit)


def _of_feedback(report: FeedbackReport) -> Iterable[Observation]:
    total = report.total
    yield gate("worse", report.worse, report.reason)
    yield Observation(
        name="rate",
        value=total.rate,
        low=total.low,
        high=total.high,
        baseline=total.before,
        higher_is_better=True,
        verdict=total.verdict,
        reason="no answer is rated",
    )
    yield number("n_rated", total.n_rated)
    yield number("coverage", total.coverage, "no LLM call in this window")
    for issue in report.issues:
        yield number(f"issue.{issue.label}", issue.share)


def _of_rag(report: RAGReport) -> Iterable[Observation]:
    yield gate("degraded", report.degraded, report.reason)
    for each in (*report.retrieval.values(), *report.judged.values()):
        yield number(each.name, each.mean, "nothing was measured")
        yield number(f"{each.name}.n_failed", each.n_failed)
    for name in ("empty", "with_stale", "with_duplicates"):
        yield number(f"{name}_rate", report.share(getattr(report, f"n_{name}")))
    yield number("score_drift", report.score_drift, "no reference scores")
    yield number("latency_ms", report.latency_ms, "nothing was timed")


def _of_evaluation(report: EvaluationReport) -> Iterable[Observation]:
    yield gate("ship", report.ship, report.reason)
    yield number("spent_usd", report.spent_usd)
    for result in report.variants:
        yield number(f"n_failed.{result.variant.name}", result.n_failed)
        for score in result.scores.values():
            yield number(f"{score.name}.{result.variant.name}", score.mean, "nothing was scored")
        cost = result.cost_per_call_usd
        yield number(f"cost_per_call_usd.{result.variant.name}", cost, "no price is known")
    for found in report.comparisons:
        value = found.difference if found.n else math.nan
        yield number(f"difference.{found.metric}.{found.candidate}", value, found.reason)
