"""Segments as serving left them: their whole lines, by kind and by day of event time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.fit import utc
from flytekitplugins.wbmon.monitor.prediction_log.schema import COLUMNS, SCHEMA_VERSION, RowKind
from flytekitplugins.wbmon.storage.segments.json_lines import read_lines
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX

_DAY = len("2026-01-01")
_TIME: Mapping[str, str] = {
    "prediction": "timestamp",
    "feedback": "timestamp",
    "window": "window_start",
}
_KEYS: Mapping[str, tuple[str, ...]] = {
    "prediction": ("request_id", "timestamp", "instance"),
    "feedback": ("feedback_id", "timestamp"),
    "window": ("window_start", "instance", "route", "method", "tenant"),
}


@dataclass(slots=True)
class Segment:
    """The rows of one segment of predictions or calls.

    Attributes:
        name: Its file name without the ending.
        rows: By kind and day, in the order they were written.
        n_torn: Lines that are no row: cut off in the middle, unreadable, or of no time.
    """

    name: str
    rows: dict[tuple[RowKind, str], list[dict[str, Any]]] = field(default_factory=dict)
    n_torn: int = 0


def read_segment(name: str, data: bytes) -> Segment:
    """The rows of a segment; what comes after the last newline was being written when it ended.

    Args:
        name: The segment's file name.
        data: What is in the file.

    Raises:
        DataError: If a row is of a newer schema than this package knows.
    """
    lines = read_lines(data)
    segment = Segment(name.removesuffix(SUFFIX), n_torn=lines.n_torn)
    for row in lines.rows:
        kind = _kind(name, row)
        at = utc(row.get(_TIME[kind])) if kind is not None else None
        if kind is None or at is None:
            segment.n_torn += 1
            continue
        row[_TIME[kind]] = at
        segment.rows.setdefault((kind, at[:_DAY]), []).append(row)
    return segment


def row_key(kind: RowKind, row: Mapping[str, Any]) -> int:
    """What tells a row from every other of its table and day."""
    return hash(tuple(row.get(name) for name in _KEYS[kind]))


def key_columns(kind: RowKind) -> tuple[str, ...]:
    """The columns that `row_key` is made of."""
    return _KEYS[kind]


def keys_of(kind: RowKind, columns: Mapping[str, Iterable[Any]]) -> set[int]:
    """`row_key` of rows that are columns, their times as serving writes them."""
    return {hash(values) for values in zip(*(columns[name] for name in _KEYS[kind]), strict=True)}


def _kind(name: str, row: Mapping[str, Any]) -> RowKind | None:
    """Which table a row is of; None if it is of none."""
    version = row.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int):
        return None
    if version > SCHEMA_VERSION:
        raise DataError(
            f"segment {name} must be of schema version {SCHEMA_VERSION} or older, found "
            f"{version}; use the flytekitplugins-wbmon that serving uses"
        )
    said = row.get("kind", "prediction")
    return next((kind for kind in COLUMNS if kind == said), None)
