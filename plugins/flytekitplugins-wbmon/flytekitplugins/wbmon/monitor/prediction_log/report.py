"""The report of a compaction of a prediction log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from flytekitplugins.wbmon.reports.measurement import Measurement, number
from flytekitplugins.wbmon.reports.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionReport(Report):
    """Result of the compaction of a prediction log.

    Attributes:
        service: Name of the service.
        n_segments: Number of sealed segments that were converted to Parquet.
        n_orphans: Number of these that a dead process had left open.
        n_predictions: Rows of the prediction log written.
        n_feedback: Rows of the feedback log written.
        n_windows: Rows of serving windows written.
        n_duplicates: Rows left out because the day already had them.
        n_torn: Lines that were incomplete, unreadable, or without a valid time.
        n_dropped: Rows that serving dropped, according to its windows.
        days: Days of event time (UTC) that got rows, `YYYY-MM-DD`.
        reason: One sentence: what happened.
    """

    KIND: ClassVar[str] = "prediction_log"

    service: str
    n_segments: int
    n_orphans: int = 0
    n_predictions: int = 0
    n_feedback: int = 0
    n_windows: int = 0
    n_duplicates: int = 0
    n_torn: int = 0
    n_dropped: int = 0
    days: tuple[str, ...] = ()
    reason: str

    def _measured(self) -> Iterable[Measurement]:
        yield number("n_predictions", value=self.n_predictions, prominence="news")
        yield number("n_feedback", value=self.n_feedback, prominence="news")
        for name in ("n_segments", "n_windows", "n_duplicates"):
            yield number(name, value=getattr(self, name))
        for name in ("n_orphans", "n_torn", "n_dropped"):
            yield number(name, value=getattr(self, name), higher_is_better=False)
