"""The reports of a compaction of a prediction log, and of labels joined to it."""

from __future__ import annotations

import math
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
        n_conflicts: Those of them, windows, that say something else than the one that was kept.
        n_torn: Lines that were put aside as they are no rows: incomplete, unreadable, of no known
            kind, without a valid time, or of numbers that cannot be.
        n_dropped: Rows that serving dropped, according to its windows.
        n_left: What stays among the sealed segments: of a newer schema version, unreadable as a
            whole, or no segment at all.
        n_damaged: Parts and manifests that were put aside as they cannot be read, or are missing,
            and what else lies in a day's folder. The task's log names them.
        days: Days of event time (UTC) that got rows, `YYYY-MM-DD`.
        day: The day whose tables are handed on, `YYYY-MM-DD`; empty if it is not known.
        n_day_predictions: Rows that the prediction log of this day holds, whoever wrote them.
        n_day_feedback: The same of its feedback log.
        n_day_windows: The same of its serving windows.
        is_unwritten: Whether nothing was ever logged there: no row of any day, and no segment.
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
    n_conflicts: int = 0
    n_torn: int = 0
    n_dropped: int = 0
    n_left: int = 0
    n_damaged: int = 0
    days: tuple[str, ...] = ()
    day: str = ""
    n_day_predictions: int = 0
    n_day_feedback: int = 0
    n_day_windows: int = 0
    is_unwritten: bool = False
    reason: str

    @property
    def losses(self) -> tuple[str, ...]:
        """What the tables lack that was written, with counts; empty if nothing is lost."""
        return tuple(
            what.format(n=f"{n:,}")
            for n, what in (
                (self.n_torn, "{n} lines could not be read and are in the quarantine"),
                (self.n_dropped, "{n} rows lost that serving dropped"),
                (self.n_left, "{n} of the sealed could not be compacted, and stay where they are"),
                (
                    self.n_damaged,
                    "{n} parts or manifests could not be read, or are missing",
                ),
                (self.n_conflicts, "{n} windows differ from the one that was there first"),
            )
            if n
        )

    @property
    def unmeasured(self) -> str:
        """What is not known of the day: all of it if it has no row, or what the tables lack."""
        return "; ".join(filter(None, (self._no_row, *self.losses)))

    @property
    def _no_row(self) -> str:
        """Why nothing is known of the day; empty if it has a row, also of an earlier attempt."""
        if self.n_day_predictions or self.n_day_feedback or self.n_day_windows:
            return ""
        n_rows = self.n_predictions + self.n_feedback + self.n_windows + self.n_duplicates
        if self.n_torn and not n_rows:
            return f"none of {self.n_torn:,} lines of {self.service} could be read"
        if self.is_unwritten:
            return (
                f"no row of {self.service} on {self.day} or any other day: nothing was ever logged "
                "there; see that the destination is the server's"
            )
        if self.day:
            others = f"; {n_rows:,} rows were of other days" if n_rows else ""
            return f"no row of {self.service} on {self.day}{others}"
        return "" if n_rows else f"no row of {self.service} in {self.n_segments:,} segments"

    def _measured(self) -> Iterable[Measurement]:
        n_lost = self.n_torn + self.n_dropped
        n_rows = self.n_predictions + self.n_feedback + self.n_windows + self.n_duplicates
        yield number(
            "lost_rate",
            value=n_lost / (n_rows + n_lost) if n_rows + n_lost else math.nan,
            higher_is_better=False,
            reason="" if n_rows + n_lost else "no line was there that is not compacted yet",
        )
        yield number("n_predictions", value=self.n_predictions, prominence="news")
        yield number("n_feedback", value=self.n_feedback, prominence="news")
        if self.day:
            for name in ("n_day_predictions", "n_day_feedback", "n_day_windows"):
                yield number(name, value=getattr(self, name))
        for name in ("n_segments", "n_windows", "n_duplicates"):
            yield number(name, value=getattr(self, name))
        for name in ("n_orphans", "n_torn", "n_dropped", "n_left", "n_damaged", "n_conflicts"):
            yield number(name, value=getattr(self, name), higher_is_better=False)


def compaction_reason(report: CompactionReport) -> str:
    """The sentence of a report of a compaction."""
    parts = [
        f"{report.n_predictions} predictions, {report.n_feedback} feedback rows and "
        f"{report.n_windows} windows of {report.service} written",
        *(report.losses or ("nothing lost",)),
    ]
    if report.day:
        parts.append(
            f"{report.day} has {report.n_day_predictions} predictions, {report.n_day_feedback} "
            f"feedback rows and {report.n_day_windows} windows"
        )
    return "; ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport(Report):
    """Feedback joined to the predictions of a server.

    Attributes:
        name: Name of the feedback that was joined.
        n_predictions: Number of predictions.
        n_labelled: Predictions that have a label or a score.
        n_disputed: Labels and scores about which sources disagree, each by its last word.
        n_repeated: Predictions that get no feedback as a later one has the same request id.
        n_unmatched: Request ids of feedback that the log does not have: those of other days, too.
        n_left_out: Rows of feedback of sources that are not used.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "labels"
    VOLUMES: ClassVar[tuple[str, ...]] = ("n_predictions",)

    name: str
    n_predictions: int
    n_labelled: int
    n_disputed: int = 0
    n_repeated: int = 0
    n_unmatched: int = 0
    n_left_out: int = 0
    reason: str

    @property
    def coverage(self) -> float:
        """Share of predictions that have feedback; `nan` without predictions."""
        return self.n_labelled / self.n_predictions if self.n_predictions else math.nan

    @property
    def unmeasured(self) -> str:
        """Why no label is known; empty if one is."""
        if self.n_labelled:
            return ""
        if not self.n_predictions:
            return "no prediction in this window"
        why = f"none of {self.n_predictions:,} predictions has feedback named {self.name!r}"
        if self.n_unmatched:
            why += f"; that of {self.n_unmatched:,} requests is of none that the log has"
        if self.n_left_out:
            why += f"; {self.n_left_out:,} rows are of other sources"
        return why

    def _measured(self) -> Iterable[Measurement]:
        yield number(
            "coverage",
            value=self.coverage,
            higher_is_better=True,
            prominence="news",
            reason=self.unmeasured,
        )
        yield number("n_predictions", value=self.n_predictions, prominence="history")
        for name in ("n_disputed", "n_repeated", "n_unmatched", "n_left_out"):
            yield number(name, value=getattr(self, name), higher_is_better=False)


def label_reason(report: LabelReport) -> str:
    """The sentence of a report of labels."""
    if report.unmeasured:
        return report.unmeasured
    words = f"{report.n_labelled:,} of {report.n_predictions:,} predictions have feedback named "
    parts = [f"{words}{report.name!r}"]
    for n, what in (
        (report.n_disputed, "are disputed by sources"),
        (report.n_repeated, "predictions have the request id of a later one, and no feedback"),
        (report.n_unmatched, "requests with feedback are not in the log"),
        (report.n_left_out, "rows of feedback are of sources that are not used"),
    ):
        if n:
            parts.append(f"{n:,} {what}")
    return "; ".join(parts)
