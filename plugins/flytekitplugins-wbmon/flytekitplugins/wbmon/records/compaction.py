"""What was made of the segments that serving left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionReport:
    """What a compaction of a prediction log found and wrote.

    Attributes:
        service: The service.
        n_segments: Sealed segments that became Parquet.
        n_orphans: Of them, those that a dead process had left open.
        n_predictions: Rows of the prediction log written.
        n_feedback: Rows of the feedback log written.
        n_windows: Serving windows written.
        n_duplicates: Rows that were there already.
        n_torn: Lines cut off in the middle or unreadable.
        n_dropped: Rows that serving itself had to drop, by its windows.
        days: Days of event time (UTC) that got rows, `YYYY-MM-DD`.
        reason: One sentence: what happened.
    """

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

    def to_dict(self) -> dict[str, Any]:
        """Plain Python containers and numbers."""
        from flytekitplugins.wbmon.records.json import record_to_dict

        return record_to_dict(self)

    def to_html(self) -> str:
        """A self-contained page: what came in, what was written, and what was lost."""
        from flytekitplugins.wbmon.records.page import page
        from flytekitplugins.wbmon.records.serving_html import compaction_section

        return page("Prediction log", compaction_section(self))
