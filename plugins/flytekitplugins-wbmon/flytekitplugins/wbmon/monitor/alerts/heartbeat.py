"""The heartbeat of a monitor: the age of its last report and of its newest data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Report):
    """The heartbeat of a monitor at one moment.

    Attributes:
        at: When it looked, UTC.
        reported_at: The last window that the monitor decided about; None if it never did, or
            cannot be known.
        data_at: When the newest data were written; None if there are none, or it is not watched.
        watches_report: Whether a report is expected.
        watches_data: Whether data are expected.
        data: What the newest data are: the file, or the folder that holds none.
        problem: Why a sign could not be read; empty otherwise.
        failure: Why the monitor itself failed; empty if it did not.
    """

    KIND: ClassVar[str] = "heartbeat"

    at: datetime
    reported_at: datetime | None = None
    data_at: datetime | None = None
    watches_report: bool = False
    watches_data: bool = False
    data: str = ""
    problem: str = ""
    failure: str = ""

    @property
    def report_age_h(self) -> float:
        """Hours since the last report; infinite if there is none, `nan` if none is expected."""
        return _hours(self.at, self.reported_at, expected=self.watches_report)

    @property
    def data_age_h(self) -> float:
        """Hours since the newest data; infinite if there are none, `nan` if none are expected."""
        return _hours(self.at, self.data_at, expected=self.watches_data)

    def _measured(self) -> Iterable[Measurement]:
        for name in ("report_age_h", "data_age_h"):
            yield number(
                name,
                value=getattr(self, name),
                higher_is_better=False,
                unit="h",
                prominence="history",
                reason="it is not watched",
            )
        failed = bool(self.failure)
        yield gate("failed", value=failed, reason=self.failure or "it ran to its end")


def _hours(at: datetime, then: datetime | None, *, expected: bool) -> float:
    if not expected:
        return math.nan
    return math.inf if then is None else (at - then).total_seconds() / 3600
