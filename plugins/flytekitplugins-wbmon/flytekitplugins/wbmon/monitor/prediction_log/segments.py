"""Reads segments, which serving wrote: their complete lines, by kind and day of event time."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.fit import fit, utc
from flytekitplugins.wbmon.monitor.prediction_log.schema import COLUMNS, SCHEMA_VERSION, RowKind
from flytekitplugins.wbmon.monitor.prediction_log.soundness import unsound
from flytekitplugins.wbmon.names import whole_name
from flytekitplugins.wbmon.storage.segments.json_lines import Line, each_line
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX

_DAY = len("2026-01-01")
EVENT_TIME: Mapping[str, str] = {
    "prediction": "timestamp",
    "feedback": "timestamp",
    "window": "window_start",
}
"""The column with a row's event time."""
# the columns that identify a row within its table and day
_KEYS: Mapping[str, tuple[str, ...]] = {
    "prediction": ("request_id", "timestamp", "instance"),
    "feedback": ("feedback_id", "timestamp", "request_id", "session_id", "source", "name"),
    "window": ("window_start", "instance", "route", "method", "tenant"),
}
# the column that alone tells rows apart, where it is given
_ID: Mapping[str, str] = {"prediction": "request_id", "feedback": "feedback_id"}


@dataclass(slots=True)
class Segment:
    """The rows of one segment of predictions or calls.

    Attributes:
        name: File name without the suffix.
        data: Content of the file.
        rows: Rows by kind and day, in the order they were written.
        offsets: Where the line of each row begins, in the same order.
        refused: Lines that are not rows: incomplete, unreadable, of no known kind, without a
            valid time, or of numbers that cannot be.
    """

    name: str
    data: bytes = b""
    rows: dict[tuple[RowKind, str], list[dict[str, Any]]] = field(default_factory=dict)
    offsets: dict[tuple[RowKind, str], list[int]] = field(default_factory=dict)
    refused: list[Line] = field(default_factory=list)

    @property
    def n_torn(self) -> int:
        """Number of lines that are not rows."""
        return len(self.refused)

    @property
    def checksum(self) -> int:
        """What tells its content from that of another segment of the same name."""
        return zlib.crc32(self.data)

    def refuse(self, offset: int, reason: str) -> None:
        """Count the line that begins at `offset` as one that is no row."""
        line = self.data[offset:].partition(b"\n")[0]
        self.refused.append(Line(offset, line, None, reason))


def read_segment(name: str, data: bytes) -> Segment:
    """Read the rows of a segment; text after the last newline is a line not completely written.

    Args:
        name: File name of the segment.
        data: Content of the file.

    Raises:
        DataError: If a row has a newer schema version than this package knows.
    """
    segment = Segment(name.removesuffix(SUFFIX), data)
    for line in each_line(data):
        if line.row is None:
            segment.refused.append(line)
            continue
        kind, reason = _kind(name, line.row)
        at = utc(line.row.get(EVENT_TIME[kind])) if kind is not None else None
        if kind is None or at is None:
            reason = reason or f"without a valid {EVENT_TIME[kind or 'prediction']}"
            segment.refused.append(line._replace(row=None, reason=reason))
            continue
        if reason := unsound(kind, line.row):
            segment.refused.append(line._replace(row=None, reason=reason))
            continue
        if kind == "prediction" and line.row.get("sample_weight") is None:
            # it was not sampled, so it stands for itself
            line.row["sample_weight"] = 1.0
        # one format for all, so that keys of rows in segments and in Parquet are equal
        line.row[EVENT_TIME[kind]] = at
        segment.rows.setdefault((kind, at[:_DAY]), []).append(line.row)
        segment.offsets.setdefault((kind, at[:_DAY]), []).append(line.offset)
    return segment


def row_key(kind: RowKind, row: Mapping[str, Any]) -> int:
    """Hash that identifies a row within its table and day; differs between processes."""
    # a hash and not the tuple, to hold the keys of a whole day in memory; as the table has the
    # values, whatever another writer has put there
    types = COLUMNS[kind]
    if kind in _ID and row.get(_ID[kind]) is None:
        # without an id a row is told from others by all that it says
        return hash(repr(sorted(row.items())))
    return hash(tuple(fit(types[name], row.get(name)) for name in _KEYS[kind]))


def key_columns(kind: RowKind) -> tuple[str, ...]:
    """The columns that `row_key` uses."""
    return _KEYS[kind]


def keys_of(kind: RowKind, columns: Mapping[str, Iterable[Any]]) -> list[int]:
    """`row_key` of each row of a table.

    Args:
        kind: Kind of the rows.
        columns: Values of each key column, with times in the format of `utc`.
    """
    return [hash(values) for values in zip(*(columns[name] for name in _KEYS[kind]), strict=True)]


def written_values(table: pa.Table, name: str) -> list[Any]:
    """A key column with values as in the segment; null if the table lacks it.

    Times are text, so that the keys are equal.
    """
    if name not in table.column_names:
        return [None] * table.num_rows
    column = table[name]
    if not pa.types.is_timestamp(column.type):
        return cast("list[Any]", column.to_pylist())
    # `%S` of Arrow includes the fraction of the second
    texts = pc.strftime(column.cast(pa.timestamp("us")), format="%Y-%m-%dT%H:%M:%S")
    return [None if text is None else f"{text}+00:00" for text in texts.to_pylist()]


def _kind(name: str, row: Mapping[str, Any]) -> tuple[RowKind | None, str]:
    """The kind of a row; None, and the reason, if it is unknown."""
    version = row.get("schema_version")
    if version is None:
        version = SCHEMA_VERSION
    if not isinstance(version, int):
        return None, "of a schema version that is no whole number"
    if version > SCHEMA_VERSION:
        raise DataError(
            f"segment {name} must be of schema version {SCHEMA_VERSION} or older, found "
            f"{whole_name(version)}; use the flytekitplugins-wbmon that serving uses"
        )
    said = row.get("kind", "prediction")
    kind = next((kind for kind in COLUMNS if kind == said), None)
    return kind, "" if kind else "of an unknown kind"
