"""How the reports about LLM calls read on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.records.html import (
    _cell,
    _dim,
    _facts,
    _mark,
    _number,
    _section,
    _share,
    _table,
    _verdict,
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
        _verdict(worst, words[worst], report.reason),
        _facts(
            f"{total.input_tokens:,.0f} tokens in",
            f"{total.output_tokens:,.0f} tokens out",
            f"{_share(total.share(total.n_errors))} failed",
            f"{_share(total.share(total.n_rate_limited))} rate limited",
            f"{_share(total.share(total.n_fallback))} answered by a fallback",
        ),
    ]
    if report.models_without_price:
        names = ", ".join(report.models_without_price)
        body.append(f'<p class="warn">No price is known for {escape(names)}</p>')
    if report.budgets:
        head = ("budget", "of", "spent", "expected", "allowed", "unknown calls", "verdict")
        body.append(_table(head, map(_budget_row, report.budgets[:_SHOWN])))
    measures = ("", "calls", "cost", "tokens in", "tokens out", "failed", "retried", "unknown cost")
    for dimension, groups in report.groups.items():
        body.append(f"<h1>By {escape(dimension)}</h1>")
        body.append(_table(measures, map(_usage_row, groups[:_SHOWN])))
    return _section("Usage report", body)


def _budget_row(status: BudgetStatus) -> Sequence[str]:
    budget = status.budget
    likely = f"${status.forecast_usd:,.2f}"
    if not math.isnan(status.forecast_low):
        likely += f" ({status.forecast_low:,.2f} … {status.forecast_high:,.2f})"
    return (
        _cell(f"{budget.period} from {status.start}"),
        f"<td><b>{escape(f'{budget.scope} {status.key}'.strip())}</b></td>",
        _cell(f"${status.spent_usd:,.2f}"),
        _cell(likely),
        _cell(f"${budget.limit:,.2f}"),
        _cell(f"{status.n_unknown:,.0f}"),
        _mark(status.verdict),
    )


def _usage_row(usage: Usage) -> Sequence[str]:
    return (
        f"<td><b>{escape(usage.key)}</b></td>",
        _cell(f"{usage.n_calls:,.0f}"),
        _cell(f"${usage.cost_usd:,.4g}"),
        _cell(f"{usage.input_tokens:,.0f}"),
        _cell(f"{usage.output_tokens:,.0f}"),
        _cell(_share(usage.share(usage.n_errors))),
        _cell(_share(usage.share(usage.n_retried))),
        _cell(f"{usage.n_unpriced:,.0f}"),
    )


def evaluation_section(report: EvaluationReport) -> str:
    """The section of an evaluation report."""
    words = {
        "ship": f"Ship {report.winner}",
        "hold": f"Keep {report.winner}",
        "undecided": f"Undecided; keep {report.winner} for now",
    }
    body = [
        _verdict(report.verdict, words[report.verdict], report.reason),
        _facts(
            f"{report.n_items:,} items",
            f"decided by {report.metric}",
            f"${report.spent_usd:,.4g} spent by this run",
            "intervals cover 95 %",
        ),
    ]
    if report.stopped:
        body.append(f'<p class="warn">{escape(report.stopped)}</p>')
    scorers = list(dict.fromkeys(name for each in report.variants for name in each.scores))
    head = ("variant", "model", *scorers, "cost a call", "p50", "p95", "failed", "truncated", "")
    body.append(_table(head, (_variant_row(each, scorers) for each in report.variants)))
    if report.comparisons:
        compared = ("compared", "by", "difference", "95 % interval", "p-value", "verdict", "why")
        body.append(_table(compared, map(_comparison_row, report.comparisons)))
    if report.examples:
        body.append("<h1>Where the answers differ most</h1>")
        shown = ("item", "variant", "question", "expected", "answer", "scores")
        body.append(_table(shown, map(_example_row, report.examples)))
    return _section(f"Evaluation {report.name}", body)


def _variant_row(result: VariantResult, scorers: Sequence[str]) -> Sequence[str]:
    scores = []
    for name in scorers:
        score = result.scores.get(name)
        if score is None:
            scores.append(_cell("-"))
            continue
        interval = "" if math.isnan(score.low) else f" [{score.low:.3g}, {score.high:.3g}]"
        failed = f", {score.n_failed} failed" if score.n_failed else ""
        scores.append(_cell(f"{_number(score.mean)}{interval}{failed}"))
    return (
        f"<td><b>{escape(result.variant.name)}</b><br>"
        f'<span class="dim">{escape(result.digest[:12])}</span></td>',
        _cell(result.variant.model or "-"),
        *scores,
        _cell(_usd(result.cost_per_call_usd)),
        *(_cell(_milliseconds(result.latency_ms, name)) for name in ("p50", "p95")),
        _cell(f"{result.n_failed}"),
        _cell(f"{result.n_truncated}"),
        _dim("best for its price" if result.on_frontier else ""),
    )


def _comparison_row(found: PairedComparison) -> Sequence[str]:
    return (
        f"<td><b>{escape(found.candidate)}</b> to {escape(found.baseline)}</td>",
        _cell(found.metric),
        _cell(f"{found.difference:+.4g}"),
        _cell(f"{_number(found.low)} … {_number(found.high)}"),
        _cell(_number(found.p_value)),
        _mark(found.verdict),
        f"<td>{escape(found.reason)}</td>",
    )


def _example_row(item: EvaluatedItem) -> Sequence[str]:
    scores = ", ".join(f"{name} {_number(value)}" for name, value in item.scores.items())
    return (
        _dim(item.item_id),
        f"<td><b>{escape(item.variant)}</b></td>",
        f"<td>{escape(item.question)}</td>",
        f"<td>{escape(item.expected)}</td>",
        f"<td>{escape(item.answer or item.error)}</td>",
        _cell(scores),
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
        _verdict("worse" if report.degraded else "ok", words, report.reason),
        _facts(
            f"{report.n_queries:,} queries, {report.n_labelled:,} with known documents",
            f"{report.n_failed:,} failed",
            f"{_share(report.share(report.n_empty))} retrieve nothing",
            f"{_share(report.share(report.n_with_duplicates))} duplicates",
            f"{_share(report.share(report.n_with_stale))} stale documents",
        ),
        _table(
            ("measure", f"at {report.k}", "95 % interval", "queries", "failed"),
            map(_summary_row, (*report.retrieval.values(), *report.judged.values())),
        ),
    ]
    if report.stage_ms:
        rows = (
            (_dim(name), _cell(f"{value:,.1f} ms"), _cell(_share(value / report.latency_ms)))
            for name, value in report.stage_ms.items()
        )
        body.append(_table(("stage", "mean", "share"), rows))
    return _section("RAG report", body)


def _summary_row(summary: ScoreSummary) -> Sequence[str]:
    return (
        f"<td><b>{escape(summary.name.replace('_', ' '))}</b></td>",
        _cell(_number(summary.mean)),
        _cell(f"{_number(summary.low)} … {_number(summary.high)}"),
        _cell(f"{summary.n:,}"),
        _cell(f"{summary.n_failed:,}"),
    )


def feedback_section(report: FeedbackReport) -> str:
    """The section of a feedback report."""
    total = report.total
    words = {
        "worse": "Answers are liked less than before",
        "better": "Answers are liked more than before",
    }.get(total.verdict, f"{_share(total.rate)} of rated answers are liked")
    body = [
        _verdict(total.verdict, words, report.reason),
        _facts(
            f"{total.n_rated:,} rated of {total.n_calls:,.0f}",
            f"{report.n_unmatched:,} ratings of unknown answers",
            "intervals cover 95 %",
        ),
    ]
    if report.issues:
        rows = (
            (
                f"<td><b>{escape(issue.label)}</b></td>",
                _cell(f"{issue.n:,}"),
                _cell(_share(issue.share)),
                _cell(_share(issue.before)),
                _mark(issue.verdict),
            )
            for issue in report.issues[:_SHOWN]
        )
        body.append(_table(("complaint", "ratings", "share", "before", "change"), rows))
    for dimension, groups in report.groups.items():
        body.append(f"<h1>By {escape(dimension)}</h1>")
        head = ("", "rated", "liked", "95 % interval", "before", "change")
        body.append(_table(head, map(_rate_row, groups[:_SHOWN])))
    return _section("Feedback report", body)


def _rate_row(rate: FeedbackRate) -> Sequence[str]:
    return (
        f"<td><b>{escape(rate.key)}</b></td>",
        _cell(f"{rate.n_rated:,}"),
        _cell(_share(rate.rate)),
        _cell(f"{_share(rate.low)} … {_share(rate.high)}"),
        _cell(_share(rate.before)),
        _mark(rate.verdict),
    )


def steps_section(report: StepReport) -> str:
    """The section of a step report."""
    words = f"{report.n_failed} of {report.n_traces} traces failed"
    head = ("step", "runs", "failures begin here", "p50", "p95", "own time", "tokens", "errors")
    rows = (
        (
            f"<td><b>{escape(step.name)}</b></td>",
            _cell(f"{step.n:,}"),
            _cell(f"{step.n_origin:,}"),
            _cell(_milliseconds(step.latency_ms, "p50")),
            _cell(_milliseconds(step.latency_ms, "p95")),
            _cell(f"{step.own_ms:,.0f} ms"),
            _cell(f"{step.tokens:,.0f}"),
            _dim(", ".join(f"{kind} {n}" for kind, n in step.errors.items())),
        )
        for step in report.steps[:_SHOWN]
    )
    body = [
        _verdict("warning" if report.n_failed else "ok", words, report.reason),
        _facts(
            f"{report.n_recovered:,} recovered",
            f"{report.n_looping:,} go round in circles",
            f"{report.n_dead_ends:,} end without a result",
        ),
        _table(head, rows),
    ]
    return _section("Step report", body)
