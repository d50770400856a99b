"""The summary of a window that is kept, and its differences from the previous window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.alerts.judge import is_future
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, WindowSummary
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.names import on_one_line, shown_name
from flytekitplugins.wbmon.reports.measurement import Measurement
from flytekitplugins.wbmon.reports.report import Report

# relative change below which a number is not worth a line in a message
_NOTABLE = 0.01
_SHOWN = 8


def summarise_window(
    decision: Decision, reports: Iterable[Report | None], *, unusual: tuple[str, ...] = ()
) -> WindowSummary:
    """The summary of a window, which later windows are compared with.

    Args:
        decision: The decision about the window, with its findings and links.
        reports: The reports that the decision is based on; None for a missing one.
        unusual: Volumes that were unusual, by their W&B names.
    """
    return WindowSummary(
        at=decision.at,
        severity=decision.severity,
        reason=decision.reason,
        phases={alert.rule.title: alert.phase for alert in decision.alerts},
        numbers={name: each.value for name, each in headlines(reports).items()},
        drifted=_drifted(reports),
        findings=decision.findings,
        links=decision.links,
        broken=tuple(alert.rule.title for alert in decision.alerts if alert.is_broken),
        unusual=unusual,
    )


def headlines(reports: Iterable[Report | None]) -> dict[str, Measurement]:
    """The finite measurements of a window that are marked for the history, by their W&B names."""
    return {
        each.metric: each
        for report in reports
        if report is not None
        for each in report.measurements()
        if each.is_at_least("history") and math.isfinite(each.value)
    }


def with_intervals(numbers: Mapping[str, Measurement]) -> dict[str, float]:
    """The finite values of measurements, of the ends of their intervals and of their baselines."""
    shown = [one for each in numbers.values() for one in (each, *each.derived())]
    return {each.metric: each.value for each in shown if math.isfinite(each.value)}


def missing_reports(reports: Mapping[str, Report | None]) -> tuple[str, ...]:
    """A sentence for each missing report.

    Args:
        reports: Reports by name; None for a missing one.
    """
    return tuple(
        f"no {name} report came; its rules cannot be judged"
        for name, report in reports.items()
        if report is None
    )


def previous_window(memory: AlertMemory, at: datetime) -> WindowSummary | None:
    """The newest window before a time; None if none is in the history."""
    # not the last one: a window that is evaluated again is in the history itself
    return next((night for night in reversed(memory.history) if night.at < at), None)


def diff_from_previous(
    before: WindowSummary | None, now: WindowSummary, numbers: Mapping[str, Measurement]
) -> tuple[str, ...]:
    """The differences from the previous window, in words: rules, then features, then numbers.

    A number with the prominence `news` is mentioned if it changed by at least 1 %, the largest
    change first. If it has an interval, the previous value must also lie outside of it.

    Args:
        before: The previous window; None for the first.
        now: This window.
        numbers: Measurements of this window, by their W&B names.
    """
    if before is None:
        return ()
    rules = [
        f"{on_one_line(title)}: {_words(before.phases.get(title, 'new'))} → {_words(phase)}"
        for title, phase in now.phases.items()
        if before.phases.get(title, "new") != phase
    ]
    new = [name for name in now.drifted if name not in before.drifted]
    gone = [name for name in before.drifted if name not in now.drifted]
    features = [f"drifts now: {', '.join(map(shown_name, new[:_SHOWN]))}"] if new else []
    features += [f"drifts no more: {', '.join(map(shown_name, gone[:_SHOWN]))}"] if gone else []
    return (*rules, *features, *_changed_numbers(before.numbers, numbers))


def remember_window(
    memory: AlertMemory, night: WindowSummary, *, keep: int, now: datetime
) -> tuple[WindowSummary, ...]:
    """The last `keep` windows including this one, which replaces one of the same time.

    As many are kept of those dated in the future, which do not take the place of the others.
    """
    others = [one for one in memory.history if one.at != night.at]
    nights = sorted([*others, night], key=lambda one: one.at)
    past = [one for one in nights if not is_future(one.at, now)]
    return (*past[-keep:], *nights[len(past) :][-keep:])


def newest_night(nights: Sequence[WindowSummary], now: datetime) -> WindowSummary | None:
    """The newest window that is not dated in the future; None if there is none."""
    return next((night for night in reversed(nights) if not is_future(night.at, now)), None)


def _drifted(reports: Iterable[Report | None]) -> tuple[str, ...]:
    return tuple(
        feature.name
        for report in reports
        if isinstance(report, DriftReport)
        for feature in report.features.values()
        if feature.drifted
    )


def _changed_numbers(before: Mapping[str, float], now: Mapping[str, Measurement]) -> list[str]:
    # without an interval the ends are nan, and the comparison with them is false
    moved = {
        name: _relative(before[name], each.value)
        for name, each in now.items()
        if name in before and each.is_at_least("news") and not each.low <= before[name] <= each.high
    }
    notable = sorted(
        (name for name, change in moved.items() if abs(change) >= _NOTABLE),
        key=lambda name: -abs(moved[name]),
    )
    return [
        f"{now[name].kind} {' '.join(map(shown_name, now[name].path))}: "
        f"{before[name]:.4g} → {now[name].value:.4g}"
        + (f" ({moved[name]:+.1%})" if math.isfinite(moved[name]) else "")
        for name in notable[:_SHOWN]
    ]


def _relative(before: float, now: float) -> float:
    if before == now:
        return 0.0
    # `abs`, so that the sign is that of the change
    return (now - before) / abs(before) if before else math.inf


def _words(phase: str) -> str:
    return phase.replace("_", " ")
