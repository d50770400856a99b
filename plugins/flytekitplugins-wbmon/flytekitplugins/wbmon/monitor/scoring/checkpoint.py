"""How far a scoring run has come, so that a later attempt goes on behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringCheckpoint:
    """Rows that are scored and safe: the parts that hold them, and what was counted on the way.

    Attributes:
        parts: Whole parts in order, each with its full path; what is beside them is no part of it.
        quarantined: Whole files of failed rows, likewise.
        source_columns: Of the data that were read.
        n_source: Rows of the data; None if unknown.
        n_read: Rows read, failed ones included: the next batch begins behind them.
        errors: Failed rows by exception class.
        batch_s: Time inside predict of each batch, in seconds.
        batch_rows: Rows of each batch.
        columns: The columns that were predicted.
        duration_s: Reading, scoring and writing so far.
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
    duration_s: float
