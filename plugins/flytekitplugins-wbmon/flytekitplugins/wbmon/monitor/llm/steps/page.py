"""The page of a report on steps."""

from __future__ import annotations

import math

from flytekitplugins.wbmon.monitor.llm.steps.report import StepReport
from flytekitplugins.wbmon.reports.html import (
    cell,
    dim_cell,
    facts,
    milliseconds,
    name_cell,
    page,
    section,
    table,
    verdict,
)

_SHOWN = 20


def steps_section(report: StepReport) -> str:
    """The section of a step report."""
    words = f"{report.n_failed} of {report.n_traces} traces failed"
    head = ("step", "runs", "failures begin here", "p50", "p95", "own time", "tokens", "errors")
    rows = (
        (
            name_cell(step.name),
            cell(f"{step.n:,}"),
            cell(f"{step.n_origin:,}"),
            cell(milliseconds(step.latency_ms.get("p50", math.nan))),
            cell(milliseconds(step.latency_ms.get("p95", math.nan))),
            cell(milliseconds(step.own_ms)),
            cell(f"{step.tokens:,.0f}"),
            dim_cell(", ".join(f"{kind} {n}" for kind, n in step.errors.items())),
        )
        for step in report.steps[:_SHOWN]
    )
    state = "warning" if report.n_failed or report.n_looping or report.n_dead_ends else "ok"
    body = [
        verdict("no_data" if report.unmeasured else state, words, report.reason),
        facts(
            _window(report),
            f"{report.n_recovered:,} recovered",
            f"{report.n_looping:,} go round in circles",
            f"{report.n_dead_ends:,} end without a result",
            f"{report.n_unfinished:,} of them never ended",
        ),
        table(head, rows),
    ]
    return section("Step report", body)


def _window(report: StepReport) -> str:
    """Of which window the traces are: without one, a bad night is one among all."""
    ends = [
        f"{word} {at:%Y-%m-%d %H:%M} UTC"
        for word, at in (("from", report.start_at), ("until", report.end_at))
        if at is not None
    ]
    return f"traces that began {' '.join(ends)}" if ends else "all traces of the log"


def page_of(report: StepReport) -> str:
    """The page of a report of this package."""
    return page("Step report", steps_section(report))
