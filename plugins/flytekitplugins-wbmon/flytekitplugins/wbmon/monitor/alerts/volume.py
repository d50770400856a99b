"""Windows that hold far less or far more than windows usually do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from flytekitplugins.wbmon.monitor.alerts.state import WindowSummary
from flytekitplugins.wbmon.reports.measurement import Measurement
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.reports.volume import MIN_PAST_VOLUMES, unusual_volume


def volume_findings(
    reports: Iterable[Report | None],
    numbers: Mapping[str, Measurement],
    history: Sequence[WindowSummary],
    at: datetime,
) -> Iterator[str]:
    """A sentence for each report whose window holds unusually much or little.

    What is usual is what the memory knows of earlier windows, or else the report itself. From five
    days of the same weekday on, only these are compared. Of a window that could not be judged at
    all that is said already.

    Args:
        reports: The reports of the window; None for a missing one.
        numbers: Their headline numbers, by their W&B names.
        history: The windows of the memory.
        at: Time of the window.
    """
    before = [night for night in history if night.at < at]
    alike = [night for night in before if night.at.weekday() == at.weekday()]
    # windows of an hour have many of a day, and few days
    if len({night.at.date() for night in alike}) >= MIN_PAST_VOLUMES:
        before = alike
    for report in reports:
        if report is None or report.unmeasured:
            continue
        for volume in report.VOLUMES:
            found = numbers.get(f"{report.kind}/{volume}")
            if found is None:
                continue
            of_nights = (night.numbers.get(found.metric) for night in before)
            past = [each for each in of_nights if each is not None]
            if unusual := unusual_volume(found.value, past or report.usual_volumes):
                yield f"{report.kind} has an unusual {found.told}: {unusual}"
