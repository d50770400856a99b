"""Segments as serving left them: their whole lines, by kind and by day of event time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.schema import COLUMNS, SCHEMA_VERSION, RowKind
from flytekitplugins.wbmon.storage.filesystem import open_filesystem

_DAY = len("2026-01-01")
_DEPTH = len(("sealed", "service", "….jsonl"))
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
    """The rows of one segment.

    Attributes:
        name: Its file name without the ending.
        rows: By kind and day, in the order they were written.
        n_torn: Lines that are no row: cut off in the middle, or unreadable.
    """

    name: str
    rows: dict[tuple[RowKind, str], list[dict[str, Any]]] = field(default_factory=dict)
    n_torn: int = 0


def segment_contents(
    destination: str, *, service: str = "", filesystem: Any = None
) -> Iterator[bytes]:
    """What is in each segment of a log, the sealed ones and those that are still written to.

    Args:
        destination: Path or fsspec URL of the log.
        service: Only this one; all of them if empty.
        filesystem: The fsspec file system of the log, where the caller has one with credentials.
    """
    files, root = open_filesystem(destination, filesystem=filesystem)
    try:
        found = sorted(files.find(root))
    except FileNotFoundError:
        return
    for path in found:
        # not by a pattern: the names of folders may look like one
        parts = path.removeprefix(root).strip("/").split("/")
        if len(parts) == _DEPTH and path.endswith(".jsonl") and service in ("", parts[1]):
            yield files.cat_file(path)


def read_segment(name: str, data: bytes) -> Segment:
    """The rows of a segment; what comes after the last newline was being written when it ended.

    Args:
        name: The segment's file name.
        data: What is in the file.

    Raises:
        DataError: If a row is of a newer schema than this package knows.
    """
    segment = Segment(name.removesuffix(".jsonl"))
    *lines, tail = data.split(b"\n")
    segment.n_torn += bool(tail)
    for line in lines:
        row = _row(line)
        if row is None:
            segment.n_torn += bool(line)
            continue
        if row.get("schema_version", SCHEMA_VERSION) > SCHEMA_VERSION:
            raise DataError(
                f"segment {name} must be of schema version {SCHEMA_VERSION} or older, found "
                f"{row['schema_version']}; use the flytekitplugins-wbmon that serving uses"
            )
        kind = row["kind"]
        segment.rows.setdefault((kind, row[_TIME[kind]][:_DAY]), []).append(row)
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


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or row.get("kind") not in COLUMNS:
        return None
    time = row.get(_TIME[row["kind"]])
    return row if isinstance(time, str) and len(time) > _DAY else None
