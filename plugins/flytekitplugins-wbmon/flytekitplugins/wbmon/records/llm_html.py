"""How the reports about LLM calls read on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.records.page import (
    cell,
    dim_cell,
    facts,
    heading,
    interval,
    name_cell,
    number,
    prose_cell,
    section,
    share,
    state_cell,
    table,
    verdict,
    warning,
)

if TYPE_CHECKING:
    from flytekitplugins.wbmon.records.evaluation import (
        EvaluatedItem,
        EvaluationReport,
        PairedComparison,
        ScoreSummary,
        VariantResult,
    )
    from flytekitplugins.wbmon.records.feedback import FeedbackRate, FeedbackReport
    from flytekitplugins.wbmon.records.rag import RAGReport
    from flytekitplugins.wbmon.records.steps import StepReport
    from flytekitplugins.wbmon.records.usage import BudgetStatus, Usage, UsageReport

_SHOWN = 20


def usage_section(report: UsageReport) -> str:
    """The section of a usage report."""
    worst = report.budgets[0].verdict if report.budgets else "ok"
    total = report.total
    words = {
        "ok": f"${total.cost_usd:,.2f} for {total.n_calls:,.0f} calls",
        "at_risk": "A budget will be exceeded",
        "exceeded": "A budget is exceeded",
    }
    body = [
        verdict(worst, words[worst], report.reason),
        facts(
            f"{total.input_tokens:,.0f} tokens in",
            f"{total.output_tokens:,.0f} tokens out",
            f"{share(total.share(total.n_errors))} failed",
            f"{share(total.share(total.n_rate_limited))} rate limited",
            f"{share(total.share(total.n_fallback))} answered by a fallback",
        ),
    ]
    if report.models_without_price:
        names = ", ".join(report.models_without_price)
        body.append(warning(f"No price is known for {names}"))
    if report.budgets:
        head = ("budget", "of", "spent", "expected", "allowed", "unknown calls", "verdict")
        body.append(table(head, map(_budget_row, report.budgets[:_SHOWN])))
    measures = ("", "calls", "cost", "tokens in", "tokens out", "failed", "retried", "unknown cost")
    for dimension, groups in report.groups.items():
        body.append(heading(f"By {dimension}"))
        body.append(table(measures, map(_usage_row, groups[:_SHOWN])))
    return section("Usage report", body)


def _budget_row(status: BudgetStatus) -> Sequence[str]:
    budget = status.budget
    likely = f"${status.forecast_usd:,.2f}"
    if not math.isnan(status.forecast_low):
        likely += f" ({status.forecast_low:,.2f} … {status.forecast_high:,.2f})"
    return (
        cell(f"{budget.period} from {status.start}"),
        name_cell(f"{budget.scope} {status.key}".strip()),
        cell(f"${status.spent_usd:,.2f}"),
        cell(likely),
        cell(f"${budget.limit:,.2f}"),
        cell(f"{status.n_unknown:,.0f}"),
        state_cell(status.verdict),
    )


def _usage_row(usage: Usage) -> Sequence[str]:
    return (
        name_cell(usage.key),
        cell(f"{usage.n_calls:,.0f}"),
        cell(f"${usage.cost_usd:,.4g}"),
        cell(f"{usage.input_tokens:,.0f}"),
        cell(f"{usage.output_tokens:,.0f}"),
        cell(share(usage.share(usage.n_errors))),
        cell(share(usage.share(usage.n_retried))),
        cell(f"{usage.n_unpriced:,.0f}"),
    )


def evaluation_section(report: EvaluationReport) -> str:
    """The section of an evaluation report."""
    words = {
        "ship": f"Ship {report.winner}",
        "hold": f"Keep {report.winner}",
        "undecided": f"Undecided; keep {report.winner} for now",
    }
    body = [
        verdict(report.verdict, words[report.verdict], report.reason),
        facts(
            f"{report.n_items:,} items",
            f"decided by {report.metric}",
            f"${report.spent_usd:,.4g} spent by this run",
            "intervals cover 95 %",
        ),
    ]
    if report.stopped:
        body.append(warning(report.stopped))
    scorers = list(dict.fromkeys(name for each in report.variants for name in each.scores))
    head = ("variant", "model", *scorers, "cost a call", "p50", "p95", "failed", "truncated", "")
    body.append(table(head, (_variant_row(each, scorers) for each in report.variants)))
    if report.comparisons:
        compared = ("compared", "by", "difference", "95 % interval", "p-value", "verdict", "why")
        body.append(table(compared, map(_comparison_row, report.comparisons)))
    if report.examples:
        body.append(heading("Where the answers differ most"))
        shown = ("item", "variant", "question", "expected", "answer", "scores")
        body.append(table(shown, map(_example_row, report.examples)))
    return section(f"Evaluation {report.name}", body)


def _variant_row(result: VariantResult, scorers: Sequence[str]) -> Sequence[str]:
    scores = []
    for name in scorers:
        score = result.scores.get(name)
        if score is None:
            scores.append(cell("-"))
            continue
        bounds = "" if math.isnan(score.low) else f" [{score.low:.3g}, {score.high:.3g}]"
        failed = f", {score.n_failed} failed" if score.n_failed else ""
        scores.append(cell(f"{number(score.mean)}{bounds}{failed}"))
    return (
        name_cell(result.variant.name, below=result.digest[:12]),
        cell(result.variant.model or "-"),
        *scores,
        cell(_usd(result.cost_per_call_usd)),
        *(cell(_milliseconds(result.latency_ms, name)) for name in ("p50", "p95")),
        cell(f"{result.n_failed}"),
        cell(f"{result.n_truncated}"),
        dim_cell("best for its price" if result.on_frontier else ""),
    )


def _comparison_row(found: PairedComparison) -> Sequence[str]:
    return (
        f"<td><b>{escape(found.candidate)}</b> to {escape(found.baseline)}</td>",
        cell(found.metric),
        cell(f"{found.difference:+.4g}"),
        cell(interval(found.low, found.high)),
        cell(number(found.p_value)),
        state_cell(found.verdict),
        prose_cell(found.reason),
    )


def _example_row(item: EvaluatedItem) -> Sequence[str]:
    scores = ", ".join(f"{name} {number(value)}" for name, value in item.scores.items())
    return (
        dim_cell(item.item_id),
        name_cell(item.variant),
        prose_cell(item.question),
        prose_cell(item.expected),
        prose_cell(item.answer or item.error),
        cell(scores),
    )


def _usd(value: float) -> str:
    return "unknown" if math.isnan(value) else f"${value:.3g}"


def _milliseconds(values: Mapping[str, float], name: str) -> str:
    value = values.get(name, math.nan)
    return "-" if math.isnan(value) else f"{value:,.0f} ms"


def rag_section(report: RAGReport) -> str:
    """The section of a RAG report."""
    words = "Retrieval is degraded" if report.degraded else "Retrieval is as it should be"
    body = [
        verdict("worse" if report.degraded else "ok", words, report.reason),
        facts(
            f"{report.n_queries:,} queries, {report.n_labelled:,} with known documents",
            f"{report.n_failed:,} failed",
            f"{share(report.share(report.n_empty))} retrieve nothing",
            f"{share(report.share(report.n_with_duplicates))} duplicates",
            f"{share(report.share(report.n_with_stale))} stale documents",
        ),
        table(
            ("measure", f"at {report.k}", "95 % interval", "queries", "failed"),
            map(_summary_row, (*report.retrieval.values(), *report.judged.values())),
        ),
    ]
    if report.stage_ms:
        rows = (
            (dim_cell(name), cell(f"{value:,.1f} ms"), cell(share(value / report.latency_ms)))
            for name, value in report.stage_ms.items()
        )
        body.append(table(("stage", "mean", "share"), rows))
    return section("RAG report", body)


def _summary_row(summary: ScoreSummary) -> Sequence[str]:
    return (
        name_cell(summary.name.replace("_", " ")),
        cell(number(summary.mean)),
        cell(interval(summary.low, summary.high)),
        cell(f"{summary.n:,}"),
        cell(f"{summary.n_failed:,}"),
    )


def feedback_section(report: FeedbackReport) -> str:
    """The section of a feedback report."""
    total = report.total
    words = {
        "worse": "Answers are liked less than before",
        "better": "Answers are liked more than before",
    }.get(total.verdict, f"{share(total.rate)} of rated answers are liked")
    body = [
        verdict(total.verdict, words, report.reason),
        facts(
            f"{total.n_rated:,} rated of {total.n_calls:,.0f}",
            f"{report.n_unmatched:,} ratings of unknown answers",
            "intervals cover 95 %",
        ),
    ]
    if report.issues:
        rows = (
            (
                name_cell(issue.label),
                cell(f"{issue.n:,}"),
                cell(share(issue.share)),
                cell(share(issue.before)),
                state_cell(issue.verdict),
            )
            for issue in report.issues[:_SHOWN]
        )
        body.append(table(("complaint", "ratings", "share", "before", "change"), rows))
    for dimension, groups in report.groups.items():
        body.append(heading(f"By {dimension}"))
        head = ("", "rated", "liked", "95 % interval", "before", "change")
        body.append(table(head, map(_rate_row, groups[:_SHOWN])))
    return section("Feedback report", body)


def _rate_row(rate: FeedbackRate) -> Sequence[str]:
    return (
        name_cell(rate.key),
        cell(f"{rate.n_rated:,}"),
        cell(share(rate.rate)),
        cell(interval(rate.low, rate.high, share)),
        cell(share(rate.before)),
        state_cell(rate.verdict),
    )


def steps_section(report: StepReport) -> str:
    """The section of a step report."""
    words = f"{report.n_failed} of {report.n_traces} traces failed"
    head = ("step", "runs", "failures begin here", "p50", "p95", "own time", "tokens", "errors")
    rows = (
        (
            name_cell(step.name),
            cell(f"{step.n:,}"),
            cell(f"{step.n_origin:,}"),
            cell(_milliseconds(step.latency_ms, "p50")),
            cell(_milliseconds(step.latency_ms, "p95")),
            cell(f"{step.own_ms:,.0f} ms"),
            cell(f"{step.tokens:,.0f}"),
            dim_cell(", ".join(f"{kind} {n}" for kind, n in step.errors.items())),
        )
        for step in report.steps[:_SHOWN]
    )
    body = [
        verdict("warning" if report.n_failed else "ok", words, report.reason),
        facts(
            f"{report.n_recovered:,} recovered",
            f"{report.n_looping:,} go round in circles",
            f"{report.n_dead_ends:,} end without a result",
        ),
        table(head, rows),
    ]
    return section("Step report", body)
