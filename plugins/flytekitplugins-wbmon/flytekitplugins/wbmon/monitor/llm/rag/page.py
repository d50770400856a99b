"""The page of a report on retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.reports.html import (
    cell,
    dim_cell,
    facts,
    interval,
    name_cell,
    number,
    page,
    section,
    share,
    table,
    verdict,
)

if TYPE_CHECKING:
    from flytekitplugins.wbmon.monitor.llm.evaluation.report import ScoreSummary


_WORDS = {
    "ok": ("ok", "Retrieval is as it should be"),
    "degraded": ("worse", "Retrieval is degraded"),
    "undecided": ("undecided", "Retrieval could not be judged"),
}


def rag_section(report: RAGReport) -> str:
    """The section of a RAG report."""
    state, words = _WORDS[report.verdict]
    body = [
        verdict(state, words, report.reason),
        facts(
            f"{report.n_queries:,} queries, {report.n_labelled:,} with known documents",
            f"{report.n_failed:,} failed",
            f"{share(report.share(report.n_empty))} retrieve nothing",
            f"{share(report.share(report.n_with_duplicates))} duplicates",
            f"{share(report.share(report.n_with_stale))} stale documents",
            "failed queries count as 0",
        ),
        table(
            ("measure", f"at {report.k}", "95 % interval", "answered", "queries", "unjudged"),
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
        cell(number(summary.mean_answered)),
        cell(f"{summary.n:,}"),
        cell(f"{summary.n_failed:,}"),
    )


def page_of(report: RAGReport) -> str:
    """The page of a report of this package."""
    return page("RAG report", rag_section(report))
