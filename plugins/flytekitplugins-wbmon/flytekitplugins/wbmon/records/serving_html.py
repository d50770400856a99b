"""How the reports about a service read on a page."""

from __future__ import annotations

from collections.abc import Sequence
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
    from flytekitplugins.wbmon.records.compaction import CompactionReport
    from flytekitplugins.wbmon.records.experiment import ExperimentReport, VariantOutcome
    from flytekitplugins.wbmon.records.serving import (
        Confidence,
        ServingReport,
        ServingSLOResult,
        SLOReport,
        Traffic,
    )

_SHOWN = 20
_TONES = {"no_difference": "ok", "invalid": "error"}


def compaction_section(report: CompactionReport) -> str:
    """The section of a compaction report."""
    lost = report.n_torn + report.n_dropped
    words = f"{report.n_predictions:,} predictions from {report.n_segments:,} segments"
    body = [
        _verdict("warning" if lost else "ok", words, report.reason),
        _facts(
            f"{report.n_feedback:,} feedback rows",
            f"{report.n_windows:,} windows",
            f"{report.n_duplicates:,} duplicates left out",
            f"{report.n_torn:,} torn lines",
            f"{report.n_dropped:,} rows dropped by serving",
            f"{report.n_orphans:,} orphaned segments",
        ),
        _facts("days " + (", ".join(report.days) or "none")),
    ]
    return _section("Prediction log", body)


def serving_section(report: ServingReport) -> str:
    """The section of a serving report."""
    total = report.total
    words = f"{total.n_requests:,} requests, {_share(total.error_rate)} failed"
    body = [
        _verdict("ok" if total.n_requests else "no_data", words, report.reason),
        _facts(
            f"busiest minute {_number(report.peak_per_s)} requests/s",
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
        rows = ((_cell(name), _cell(f"{n:,}")) for name, n in list(total.errors.items())[:_SHOWN])
        body.append(_table(("error", "requests"), rows))
    if report.confidence is not None:
        body.append(_confidence_table(report.confidence))
    return _section("Serving report", body)


def slo_section(report: SLOReport) -> str:
    """The section of the objectives of a service."""
    missed = sum(result.verdict == "fail" for result in report.results)
    words = f"{missed} of {len(report.results)} objectives missed"
    body = [
        _verdict("fail" if missed else "ok", words, report.reason),
        _table(
            ("objective", "promise", "requests", "good", "interval", "burn rate", "worst hour", ""),
            map(_slo_row, report.results),
        ),
    ]
    return _section("Service levels", body)


def experiment_section(report: ExperimentReport) -> str:
    """The section of an experiment."""
    worst = next((each.verdict for each in report.variants[1:]), "insufficient")
    verdict = "insufficient" if not report.variants else _TONES.get(worst, worst)
    body = [
        _verdict(verdict, f"{report.experiment}: {report.outcome}", report.reason),
        _facts(
            f"control {report.control}",
            f"split p-value {_number(report.split_p_value)}",
            "intervals cover 95 %",
        ),
        _table(
            ("variant", "units", "mean", "interval", "difference", "interval", "p-value", ""),
            map(_variant_row, report.variants),
        ),
    ]
    return _section("Experiment", body)


def _traffic_table(what: str, groups: Sequence[Traffic]) -> str:
    head = (what, "requests", "failed", "p50 ms", "p95 ms", "p99 ms", "first chunk p99 ms")
    return _table(head, map(_traffic_row, groups[:_SHOWN]))


def _traffic_row(group: Traffic) -> Sequence[str]:
    latency, chunk = group.latency_ms, group.first_chunk_ms
    return (
        f"<td><b>{escape(group.name)}</b></td>",
        _cell(f"{group.n_requests:,}"),
        _cell(_share(group.error_rate)),
        *(_cell(_number(latency[name]) if latency else "-") for name in ("p50", "p95", "p99")),
        _cell(_number(chunk["p99"]) if chunk else "-"),
    )


def _confidence_table(confidence: Confidence) -> str:
    interval = f"{_share(confidence.low_share_low)} … {_share(confidence.low_share_high)}"
    rows = (
        ("rows with a score", f"{confidence.n_rows:,}"),
        ("mean score", _number(confidence.mean)),
        (f"score below {confidence.threshold:g}", _share(confidence.low_share)),
        ("its interval", interval),
        ("most frequent answer", _share(confidence.top_share)),
        ("entropy of the answers, bits", _number(confidence.entropy_bits)),
    )
    return _table(("confidence", ""), ((_dim(name), _cell(text)) for name, text in rows))


def _slo_row(result: ServingSLOResult) -> Sequence[str]:
    slo = result.slo
    limit = "did not fail"
    if slo.latency_ms is not None:
        limit = f"≤ {slo.latency_ms:g} ms"
    elif slo.time_to_first_chunk_ms is not None:
        limit = f"first chunk ≤ {slo.time_to_first_chunk_ms:g} ms"
    hour = result.worst_hour_at
    return (
        f"<td><b>{escape(slo.name)}</b></td>",
        _cell(f"{slo.objective:.4g} {limit}"),
        _cell(f"{result.n_requests:,}"),
        _cell(_share(result.good_share)),
        _cell(f"{_share(result.good_share_low)} … {_share(result.good_share_high)}"),
        _cell(_number(result.burn_rate)),
        _cell(f"{_number(result.worst_hour_burn_rate)} at {hour:%H:%M}" if hour else "-"),
        _mark(result.verdict),
    )


def _variant_row(each: VariantOutcome) -> Sequence[str]:
    return (
        f"<td><b>{escape(each.variant)}</b></td>",
        _cell(f"{each.n_measured:,} of {each.n_exposed:,}"),
        _cell(_number(each.mean)),
        _cell(f"{_number(each.low)} … {_number(each.high)}"),
        _cell(_number(each.difference)),
        _cell(f"{_number(each.difference_low)} … {_number(each.difference_high)}"),
        _cell(_number(each.p_value)),
        _mark(each.verdict),
    )
