"""The record of a scoring run's progress, from which a later attempt resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringCheckpoint:
    """Rows that are scored and stored: the files that hold them, and the counts so far.

    Attributes:
        parts: Full paths of the complete parts, in order; other files beside them do not count.
        quarantined: Full paths of the complete files of failed rows.
        source_columns: Columns of the data that were read.
        n_source: Rows of the data; None if unknown.
        n_read: Rows read, including failed ones; the next batch starts after them.
        errors: Failed rows by exception class.
        batch_s: Time inside predict of each batch, in seconds.
        batch_rows: Rows of each batch.
        columns: The columns that were predicted.
        missing: Rows without a value, by predicted column.
        duration_s: Time spent on reading, scoring and writing so far, in seconds.
    """

    parts: tuple[str, ...]
    quarantined: tuple[str, ...] = ()
    source_columns: tuple[str, ...]
    n_source: int | None
    n_read: int
    errors: Mapping[str, int] = field(default_factory=dict)
    batch_s: tuple[float, ...]
    batch_rows: tuple[int, ...]
    columns: tuple[str, ...]
    missing: Mapping[str, int] = field(default_factory=dict)
    duration_s: float
