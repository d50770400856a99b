"""The page of a scoring report: speed and objectives, then the predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flytekitplugins.wbmon.monitor.scoring.report import (
    Confidence,
    PredictedClasses,
    ScoringReport,
)
from flytekitplugins.wbmon.monitor.scoring.slo import SLOResult
from flytekitplugins.wbmon.names import shown_name
from flytekitplugins.wbmon.reports.html import (
    cell,
    dim_cell,
    facts,
    number,
    page,
    section,
    share,
    state_cell,
    table,
    verdict,
)

_SHOWN = 20


def scoring_section(report: ScoringReport) -> str:
    """The first section of a scoring report."""
    failed = [result for result in report.slos if result.verdict == "fail"]
    words = f"{report.n_rows:,} rows scored" + (f", {len(failed)} objectives missed" * bool(failed))
    if report.n_failed:
        words += f", {report.n_failed:,} rows failed"
    reason = f"{report.n_batches:,} batches in {report.duration_s:.2f} s"
    if report.n_resumed:
        reason += f"; {report.n_resumed:,} rows from an earlier attempt"
    latency = ((dim_cell(name), cell(number(value))) for name, value in report.latency_ms.items())
    state = "insufficient" if report.unmeasured else "fail" if failed else "ok"
    if report.unmeasured:
        reason = f"{report.unmeasured}; {reason}"
    body = [
        verdict(state, words, reason),
        facts(f"{report.rows_per_s:,.0f} rows/s", f"{report.predict_s:.2f} s in predict"),
        table(("batch latency", "ms"), latency),
    ]
    if report.slos:
        head = ("objective", "promise", "observed", "result")
        body.append(table(head, map(_slo_row, report.slos)))
    return section("Scoring report", body)


def scoring_details(report: ScoringReport) -> Iterator[str]:
    """What the first section leaves out: rows that failed, confidence, predicted classes."""
    if report.n_failed:
        yield section("Rows that could not be scored", _failures(report))
    if report.confidence is not None:
        yield section("Confidence", _confidence(report.confidence))
    if report.classes is not None:
        yield section("Predicted classes", _classes(report.classes))


def _slo_row(result: SLOResult) -> Sequence[str]:
    slo = result.slo
    return (
        cell(shown_name(slo.name)),
        cell(f"p{slo.percentile:g} of {slo.metric} ≤ {slo.value:g}"),
        cell(number(result.observed)),
        state_cell(result.verdict),
    )


def _failures(report: ScoringReport) -> Iterable[str]:
    yield facts(
        f"{report.n_failed:,} rows, {share(report.error_rate)}", f"kept in {report.quarantine}"
    )
    rows = ((cell(name), cell(f"{count:,}")) for name, count in report.errors.items())
    yield table(("exception", "rows"), rows)


def _confidence(confidence: Confidence) -> Iterable[str]:
    low, high = share(confidence.low_share_low), share(confidence.low_share_high)
    yield facts(
        f"{share(confidence.low_share)} [{low}, {high}] of rows below "
        f"{number(confidence.threshold)}",
        f"mean {number(confidence.mean)}, sd {number(confidence.sd)}",
        f"{confidence.n_missing:,} rows without",
    )
    quantiles = confidence.quantiles
    yield table(tuple(quantiles), [tuple(cell(number(value)) for value in quantiles.values())])


def _classes(classes: PredictedClasses) -> Iterable[str]:
    yield facts(
        f"as diverse as {number(classes.n_effective)} classes of equal size",
        f"{classes.n_missing:,} rows without",
    )
    shown = list(classes.counts.items())[:_SHOWN]
    rows = (
        (cell(name), cell(f"{count:,}"), dim_cell(share(count / classes.n)))
        for name, count in shown
    )
    yield table(("class", "rows", "share"), rows)


def page_of(report: ScoringReport) -> str:
    """The page of a report of this package."""
    return page("Scoring report", scoring_section(report), *scoring_details(report))
