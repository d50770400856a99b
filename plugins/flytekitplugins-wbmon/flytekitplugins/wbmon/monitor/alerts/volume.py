"""Windows that hold far less or far more than windows usually do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from flytekitplugins.wbmon.monitor.alerts.state import WindowSummary
from flytekitplugins.wbmon.reports.measurement import Measurement
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.reports.volume import MIN_PAST_VOLUMES, unusual_volume

_ACCEPTED_AFTER = 7  # windows, after which an unusual volume is one of the usual ones


def volume_findings(
    reports: Iterable[Report | None],
    numbers: Mapping[str, Measurement],
    history: Sequence[WindowSummary],
    at: datetime,
) -> dict[str, str]:
    """A sentence for each volume of a report that is unusually large or small, by its W&B name.

    What is usual is what the memory knows of earlier windows, or else the report itself. From five
    days of the same weekday on, only these are compared. Windows without anything, and the last 7
    where they were unusual themselves, are no examples. Of a report that could not be judged that
    is said already.

    Args:
        reports: The reports of the window; None for a missing one.
        numbers: Their headline numbers, by their W&B names.
        history: The windows of the memory, in order of time.
        at: Time of the window.
    """
    before = [night for night in history if night.at < at]
    found = {}
    for report in reports:
        if report is None or report.unmeasured:
            continue
        for volume in report.VOLUMES:
            seen = numbers.get(f"{report.kind}/{volume}")
            if seen is None:
                continue
            past = _past(seen.metric, before, at) or report.usual_volumes
            if unusual := unusual_volume(seen.value, past):
                found[seen.metric] = f"{report.kind} has an unusual {seen.told}: {unusual}"
    return found


def _past(metric: str, before: Sequence[WindowSummary], at: datetime) -> list[float]:
    """The volumes of earlier windows that are examples of usual ones."""
    recent = before[-_ACCEPTED_AFTER:]
    examples = [
        night
        for night in before
        if night.numbers.get(metric, 0) > 0 and not (metric in night.unusual and night in recent)
    ]
    alike = [night for night in examples if night.at.weekday() == at.weekday()]
    # windows of an hour have many of a day, and few days
    if len({night.at.date() for night in alike}) >= MIN_PAST_VOLUMES:
        examples = alike
    return [night.numbers[metric] for night in examples]
