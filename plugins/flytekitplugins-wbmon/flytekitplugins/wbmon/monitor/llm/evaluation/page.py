"""The page of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from flytekitplugins.wbmon.monitor.llm.evaluation.comparison_report import (
    PairedComparison,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.report import (
    EvaluatedItem,
    EvaluationReport,
    VariantResult,
)
from flytekitplugins.wbmon.names import shown_name
from flytekitplugins.wbmon.reports.html import (
    cell,
    dim_cell,
    facts,
    heading,
    interval,
    milliseconds,
    name_cell,
    number,
    page,
    prose_cell,
    section,
    state_cell,
    table,
    verdict,
    warning,
)
from flytekitplugins.wbmon.stats.repeated_looks import validity


def evaluation_section(report: EvaluationReport) -> str:
    """The section of an evaluation report."""
    words = {
        "ship": f"Ship {report.winner}",
        "hold": f"Keep {report.winner}",
        "undecided": f"Undecided; keep {report.winner} for now",
    }
    found = "undecided" if report.undecidable else report.verdict
    body = [
        verdict(found, words[found], report.reason),
        facts(
            f"{report.n_items:,} items",
            f"decided by {report.metric}",
            f"${report.spent_usd:,.4g} spent by this run",
            "intervals cover 95 %",
            *_looks(report),
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


def _looks(report: EvaluationReport) -> Sequence[str]:
    """For which looks the comparisons hold, which is the same for all of them."""
    return [
        f"comparisons are {validity(found.looks, found.planned_items, 'items')}"
        for found in report.comparisons[:1]
    ]


def _variant_row(result: VariantResult, scorers: Sequence[str]) -> Sequence[str]:
    scores = []
    for name in scorers:
        score = result.scores.get(name)
        if score is None:
            scores.append(cell("-"))
            continue
        bounds = "" if math.isnan(score.low) else f" [{score.low:.3g}, {score.high:.3g}]"
        failed = f", {score.n_failed} failed" if score.n_failed else ""
        answered = f", {number(score.mean_answered)} where answered" if result.n_failed else ""
        scores.append(cell(f"{number(score.mean)}{bounds}{answered}{failed}"))
    return (
        name_cell(result.variant.name, below=result.digest[:12]),
        cell(result.variant.model or "-"),
        *scores,
        cell(_usd(result.cost_per_call_usd)),
        *(cell(milliseconds(result.latency_ms.get(name, math.nan))) for name in ("p50", "p95")),
        cell(f"{result.n_failed}"),
        cell(f"{result.n_truncated}"),
        dim_cell("best for its price" if result.on_frontier else ""),
    )


def _comparison_row(found: PairedComparison) -> Sequence[str]:
    return (
        f"<td><b>{escape(found.candidate)}</b> to {escape(found.baseline)}</td>",
        cell(shown_name(found.metric)),
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


def page_of(report: EvaluationReport) -> str:
    """The page of a report of this package."""
    return page("Evaluation report", evaluation_section(report))
