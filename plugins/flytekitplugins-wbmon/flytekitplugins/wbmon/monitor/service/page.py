"""The pages of the reports on a service."""

from __future__ import annotations

from collections.abc import Sequence

from flytekitplugins.wbmon.monitor.service.experiment_page import experiment_section
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.monitor.service.report import ServingConfidence, ServingReport, Traffic
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLOResult, SLOReport
from flytekitplugins.wbmon.names import shown_name
from flytekitplugins.wbmon.reports.html import (
    cell,
    dim_cell,
    facts,
    headline,
    interval,
    name_cell,
    number,
    page,
    section,
    share,
    state_cell,
    table,
    verdict,
)

_SHOWN = 20


def serving_section(report: ServingReport) -> str:
    """The section of a serving report."""
    total = report.total
    words = f"{total.n_requests:,} requests, {share(total.error_rate)} failed"
    colour = "warn" if report.unmeasured else "bad" if total.error_rate == 1 else "none"
    body = [
        # a summary has no verdict, but of a service that answers nobody
        headline(colour, words, report.reason),
        facts(
            f"busiest minute {number(report.peak_per_s)} requests/s",
            f"at most {report.in_flight_max:,} at a time",
            f"{report.n_instances:,} processes",
            f"{report.n_sampled:,} rows kept",
            f"{report.n_dropped:,} rows dropped",
        ),
        _traffic_table("route", report.routes or (total,)),
    ]
    if report.tenants:
        body.append(_traffic_table("tenant", report.tenants))
    if total.errors:
        rows = (
            (cell(shown_name(name)), cell(f"{n:,}"))
            for name, n in list(total.errors.items())[:_SHOWN]
        )
        body.append(table(("error", "requests"), rows))
    if report.confidence is not None and report.confidence.n_rows:
        body.append(_confidence_table(report.confidence))
    return section("Serving report", body)


def slo_section(report: SLOReport) -> str:
    """The section of the objectives of a service."""
    missed = sum(result.verdict == "fail" for result in report.results)
    unknown = sum(not result.is_judged for result in report.results)
    words = f"{missed} of {len(report.results)} objectives missed"
    if unknown:
        words += f", {unknown} not judged"
    body = [
        verdict("fail" if missed else "insufficient" if unknown else "ok", words, report.reason),
        table(
            (
                "objective",
                "promise",
                "requests",
                "failed",
                "good",
                "interval",
                "burn rate",
                "worst hour",
                "",
            ),
            map(_slo_row, report.results),
        ),
    ]
    return section("Service levels", body)


def _traffic_table(what: str, groups: Sequence[Traffic]) -> str:
    head = (what, "requests", "failed", "p50 ms", "p95 ms", "p99 ms", "first chunk p99 ms")
    return table(head, map(_traffic_row, groups[:_SHOWN]))


def _traffic_row(group: Traffic) -> Sequence[str]:
    latency, chunk = group.latency_ms, group.first_chunk_ms
    return (
        name_cell(group.name),
        cell(f"{group.n_requests:,}"),
        cell(share(group.error_rate)),
        *(cell(number(latency[name]) if latency else "-") for name in ("p50", "p95", "p99")),
        cell(number(chunk["p99"]) if chunk else "-"),
    )


def _confidence_table(confidence: ServingConfidence) -> str:
    rows = (
        ("rows with a score", f"{confidence.n_rows:,}"),
        ("mean score", number(confidence.mean)),
        (f"score below {confidence.threshold:g}", share(confidence.low_share)),
        ("its interval", interval(confidence.low_share_low, confidence.low_share_high, share)),
        ("most frequent answer", share(confidence.top_share)),
        ("entropy of the answers, bits", number(confidence.entropy_bits)),
    )
    return table(("confidence", ""), ((dim_cell(name), cell(text)) for name, text in rows))


def _slo_row(result: ServingSLOResult) -> Sequence[str]:
    slo = result.slo
    limit = "did not fail"
    if slo.latency_ms is not None:
        limit = f"≤ {slo.latency_ms:g} ms"
    elif slo.time_to_first_chunk_ms is not None:
        limit = f"first chunk ≤ {slo.time_to_first_chunk_ms:g} ms"
    hour = result.worst_hour_at
    return (
        name_cell(slo.name),
        cell(f"{slo.objective:.4g} {limit}"),
        cell(f"{result.n_requests:,}"),
        cell(f"{result.n_failed:,}"),
        cell(share(result.good_share)),
        cell(interval(result.good_share_low, result.good_share_high, share)),
        cell(number(result.burn_rate)),
        cell(f"{number(result.worst_hour_burn_rate)} at {hour:%H:%M}" if hour else "-"),
        state_cell(result.verdict),
    )


def page_of(report: ExperimentReport | ServingReport | SLOReport) -> str:
    """The page of a report of this package."""
    if isinstance(report, ExperimentReport):
        return page("Experiment", experiment_section(report))
    if isinstance(report, ServingReport):
        return page("Serving report", serving_section(report))
    return page("Service levels", slo_section(report))
