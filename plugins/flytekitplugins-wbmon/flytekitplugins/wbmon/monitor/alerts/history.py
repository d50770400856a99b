"""What is kept of a night, and what is different from the one before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from flytekitplugins.wbmon.monitor.alerts.addresses import Report
from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.alerts.heartbeat import Heartbeat
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, WindowSummary
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.scoring.report import ScoringReport
from flytekitplugins.wbmon.monitor.service.report import ServingReport, SLOReport

_NOTABLE = 0.01
_ENDS = ("/low", "/high", "/baseline")
_SHOWN = 8
# how fast the machine was, and when somebody looked, are no news of the model
_NO_NEWS = ("scoring/", "heartbeat/", "serving/requests", "serving/latency_ms/")


def summarise_window(decision: Decision, reports: Iterable[Report | None]) -> WindowSummary:
    """The lines of a night that later nights are compared with.

    Args:
        decision: With its numbers, findings and links.
        reports: Those it was made of.
    """
    return WindowSummary(
        at=decision.at,
        severity=decision.severity,
        reason=decision.reason,
        phases={alert.rule.title: alert.phase for alert in decision.alerts},
        numbers=decision.numbers,
        drifted=_drifted(reports),
        findings=decision.findings,
        links=decision.links,
    )


def headline_numbers(reports: Iterable[Report | None]) -> dict[str, float]:
    """The few numbers of a night that are worth a line in a chart, by their W&B names."""
    numbers: dict[str, float] = {}
    for report in reports:
        if isinstance(report, DriftReport):
            numbers |= {
                "drift/share_drifted": report.share_drifted,
                "drift/n_drifted": report.n_drifted,
                "drift/n_current": report.n_current,
            }
        elif isinstance(report, PerformanceReport):
            kind = "estimate" if report.estimated else "performance"
            for name, metric in report.metrics.items():
                numbers |= {
                    f"{kind}/{name}": metric.value,
                    f"{kind}/{name}/low": metric.low,
                    f"{kind}/{name}/high": metric.high,
                    f"{kind}/{name}/baseline": metric.baseline,
                }
            numbers[f"{kind}/coverage"] = report.coverage
        elif isinstance(report, ScoringReport):
            numbers["scoring/n_rows"] = report.n_rows
            numbers["scoring/rows_per_s"] = report.rows_per_s
            numbers |= {f"scoring/latency_ms/{k}": v for k, v in report.latency_ms.items()}
        elif isinstance(report, Heartbeat):
            numbers["heartbeat/report_age_h"] = report.report_age_h
            numbers["heartbeat/data_age_h"] = report.data_age_h
        else:
            numbers |= _of_service(report)
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def _of_service(report: Report | None) -> dict[str, float]:
    if isinstance(report, SLOReport):
        return _of_slos(report)
    if not isinstance(report, ServingReport):
        return {}
    total = report.total
    return {
        "serving/requests": total.n_requests,
        "serving/error_rate": total.error_rate,
        "serving/error_rate/low": total.error_rate_low,
        "serving/error_rate/high": total.error_rate_high,
        **{f"serving/latency_ms/{name}": value for name, value in total.latency_ms.items()},
    }


def _of_slos(report: SLOReport) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for result in report.results:
        place, allowed = f"slo/{result.slo.name}/burn_rate", 1 - result.slo.objective
        numbers |= {
            place: result.burn_rate,
            f"{place}/low": (1 - result.good_share_high) / allowed,
            f"{place}/high": (1 - result.good_share_low) / allowed,
        }
    return numbers


def missing_reports(reports: Mapping[str, Report | None]) -> tuple[str, ...]:
    """A sentence for each report that did not come, by the reports' names."""
    return tuple(
        f"no {name} report came; its rules cannot be judged"
        for name, report in reports.items()
        if report is None
    )


def previous_window(memory: AlertMemory, at: datetime) -> WindowSummary | None:
    """The newest night before a time; None if none is remembered."""
    return next((night for night in reversed(memory.history) if night.at < at), None)


def diff_from_previous(before: WindowSummary | None, now: WindowSummary) -> tuple[str, ...]:
    """What is different from the night before, in words: rules, then features, then numbers.

    A number is mentioned if it changed by at least 1 %, the largest change first; a metric with an
    interval only if the value of the night before lies outside of it.
    """
    if before is None:
        return ()
    rules = [
        f"{title}: {_words(before.phases.get(title, 'new'))} → {_words(phase)}"
        for title, phase in now.phases.items()
        if before.phases.get(title, "new") != phase
    ]
    new = [name for name in now.drifted if name not in before.drifted]
    gone = [name for name in before.drifted if name not in now.drifted]
    features = [f"drifts now: {', '.join(new[:_SHOWN])}"] if new else []
    features += [f"drifts no more: {', '.join(gone[:_SHOWN])}"] if gone else []
    return (*rules, *features, *_changed_numbers(before.numbers, now.numbers))


def remember_window(
    memory: AlertMemory, night: WindowSummary, *, keep: int
) -> tuple[WindowSummary, ...]:
    """The last `keep` nights with this one, oldest first; judged again, a night is replaced."""
    others = [one for one in memory.history if one.at != night.at]
    numbers = {name: value for name, value in night.numbers.items() if not name.endswith(_ENDS)}
    kept = replace(night, numbers=numbers)
    return tuple(sorted([*others, kept], key=lambda one: one.at)[-keep:])


def _drifted(reports: Iterable[Report | None]) -> tuple[str, ...]:
    return tuple(
        feature.name
        for report in reports
        if isinstance(report, DriftReport)
        for feature in report.features.values()
        if feature.drifted
    )


def _changed_numbers(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    both = [
        name
        for name in now
        if name in before and not name.startswith(_NO_NEWS) and not _within(before[name], name, now)
    ]
    moved = {name: _relative(before[name], now[name]) for name in both}
    notable = sorted(
        (name for name in both if abs(moved[name]) >= _NOTABLE),
        key=lambda name: -abs(moved[name]),
    )
    return [
        f"{name.replace('/', ' ')}: {before[name]:.4g} → {now[name]:.4g}"
        + (f" ({moved[name]:+.1%})" if math.isfinite(moved[name]) else "")
        for name in notable[:_SHOWN]
    ]


def _within(value: float, name: str, now: Mapping[str, float]) -> bool:
    low, high = now.get(f"{name}/low", math.inf), now.get(f"{name}/high", -math.inf)
    return low <= value <= high


def _relative(before: float, now: float) -> float:
    if before == now:
        return 0.0
    return (now - before) / abs(before) if before else math.inf


def _words(phase: str) -> str:
    return phase.replace("_", " ")
