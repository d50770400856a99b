"""Compacts segments into Parquet files by day; idempotent, so a task may be retried.

A segment becomes one part per table and day, whose name depends on the segment alone. The segment
is deleted only after all its parts are written; if the task fails before, the next one writes the
same parts again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import empty_log_table, log_table
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    MANIFEST,
    SCHEMA_VERSION,
    TABLES,
    RowKind,
    day_folder,
)
from flytekitplugins.wbmon.monitor.prediction_log.segments import (
    Segment,
    key_columns,
    keys_of,
    read_segment,
    row_key,
)
from flytekitplugins.wbmon.storage.filesystem import (
    make_parent,
    move_file,
    open_filesystem,
    write_file,
)
from flytekitplugins.wbmon.storage.guard import is_object_store
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX, segment_folder

_ROW_GROUP = 65_536


def compact_prediction_log(
    destination: str,
    service: str,
    *,
    now: datetime | None = None,
    orphan_after_s: float = 900.0,
    keep_segments: bool = False,
    filesystem: Any = None,
) -> CompactionReport:
    """Turn every sealed segment of a service into Parquet by day of event time (UTC).

    Args:
        destination: Path or fsspec URL of the log.
        service: Name of the service.
        now: Current time, from which the age of open segments is counted; the clock's if None.
        orphan_after_s: Age in seconds, since the last write, from which an open segment counts as
            orphaned by a dead process. Must be greater than serving's `segment_age`, or else
            segments that are still being written are sealed.
        keep_segments: Move segments to `compacted/` instead of deleting them.
        filesystem: The fsspec file system of the log, if the caller has one with credentials.

    Returns:
        Counts of what was found and written.

    Raises:
        ConfigError: If `orphan_after_s` is not positive, or `now` is no moment.
        DataError: If a row has a newer schema version, or a part reads back with another number of
            rows than were written.
    """
    if orphan_after_s <= 0:
        raise ConfigError(f"orphan_after_s must be positive, got {orphan_after_s}")
    log = _Log(destination, service, filesystem)
    at = datetime.now(timezone.utc) if now is None else moment("now", now)
    n_orphans = log.seal_orphans(at - timedelta(seconds=orphan_after_s))
    paths = log.sealed()
    compaction = _Compaction(log, {_stem(path) for path in paths})
    for path in paths:
        compaction.add(read_segment(path.rpartition("/")[2], log.files.cat_file(path)))
        # only now: if the process dies before, the next attempt finds the segment again
        log.delete_segment(path, keep=keep_segments)
    return compaction.report(service, len(paths), n_orphans)


def ensure_day(destination: str, service: str, day: str, *, filesystem: Any = None) -> None:
    """Write a part without rows to every table of a day that has no part, so that it can be read.

    Args:
        destination: Path or fsspec URL of the log.
        service: Name of the service.
        day: `YYYY-MM-DD`, UTC.
        filesystem: The fsspec file system of the log, if the caller has one with credentials.
    """
    log = _Log(destination, service, filesystem)
    kinds: tuple[RowKind, ...] = tuple(TABLES)
    for kind in kinds:
        if not log.parts(kind, day):
            log.write_part(kind, day, "part-empty.parquet", empty_log_table(kind))


def with_day(
    report: CompactionReport, destination: str, day: str, *, filesystem: Any = None
) -> CompactionReport:
    """The report with what the tables of a day hold, whichever attempt wrote it.

    Args:
        report: The report of the compaction.
        destination: Path or fsspec URL of the log.
        day: `YYYY-MM-DD`, UTC.
        filesystem: The fsspec file system of the log, if the caller has one with credentials.
    """
    log = _Log(destination, report.service, filesystem)
    n = {kind: log.noted(kind, day).get("rows", 0) for kind in TABLES}
    return replace(
        report,
        day=day,
        n_day_predictions=n["prediction"],
        n_day_feedback=n["feedback"],
        n_day_windows=n["window"],
        reason=f"{report.reason}; {day} has {n['prediction']} predictions, {n['feedback']} "
        f"feedback rows and {n['window']} windows",
    )


def days_before(at: datetime, n: int) -> str:
    """The day (UTC) `n` days before the day of a moment; a moment without a zone counts as UTC.

    >>> days_before(datetime(2026, 3, 2, 2, tzinfo=timezone.utc), 2)
    '2026-02-28'
    """
    today = moment("at", at).date()
    return (today - timedelta(days=n)).isoformat()


class _Log:
    """The files of one service's log."""

    def __init__(self, destination: str, service: str, filesystem: Any) -> None:
        self.files: Any
        self.files, self._root = open_filesystem(destination, filesystem=filesystem)
        self._service = service
        self._is_object_store = is_object_store(self.files)

    def seal_orphans(self, before: datetime) -> int:
        """Seal open segments not written to since `before`; returns how many."""
        n = 0
        for path in self._list(segment_folder(self._root, "open", self._service)):
            if self.files.modified(path).astimezone(timezone.utc) < before:
                target = segment_folder(self._root, "sealed", self._service)
                self._move(path, f"{target}/{path.rpartition('/')[2]}")
                n += 1
        return n

    def sealed(self) -> list[str]:
        """Paths of the sealed segments, in the order of their names."""
        found = self._list(segment_folder(self._root, "sealed", self._service))
        return [path for path in found if path.endswith(SUFFIX)]

    def delete_segment(self, path: str, *, keep: bool) -> None:
        """Delete a segment, or move it to `compacted/`."""
        if keep:
            name = path.rpartition("/")[2]
            self._move(path, f"{segment_folder(self._root, 'compacted', self._service)}/{name}")
        else:
            self.files.rm_file(path)

    def parts(self, kind: RowKind, day: str) -> list[str]:
        """Paths of the complete parts of a day."""
        found = self._list(day_folder(self._root, kind, self._service, day))
        return [path for path in found if path.rpartition("/")[2].startswith("part-")]

    def write_part(self, kind: RowKind, day: str, name: str, table: pa.Table) -> None:
        """Write a part atomically, and read its number of rows back."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=_ROW_GROUP)
        path = f"{day_folder(self._root, kind, self._service, day)}/{name}"
        self._put(path, buffer.getvalue())
        # read back, because the segment, the only other copy, is deleted next
        with self.files.open(path, "rb") as file:
            n = pq.read_metadata(file).num_rows
        if n != table.num_rows:
            raise DataError(f"{path} must hold {table.num_rows} rows, found {n}; compact again")

    def seen(self, kind: RowKind, day: str, but_not: set[str]) -> set[int]:
        """Keys of the rows of a day, except for the parts of the segments in `but_not`."""
        keys: set[int] = set()
        names = key_columns(kind)
        for path in self.parts(kind, day):
            if _segment_of(path) not in but_not:
                with self.files.open(path, "rb") as file:
                    table = pq.read_table(file, columns=list(names))
                keys |= keys_of(kind, {name: _as_written(table[name]) for name in names})
        return keys

    def note(self, kind: RowKind, day: str, segment: str, numbers: dict[str, int]) -> None:
        """Add a segment's counts to the manifest of a day; a second call changes nothing."""
        path = f"{day_folder(self._root, kind, self._service, day)}/{MANIFEST}"
        segments = {**self.noted(kind, day).get("segments", {}), segment: numbers}
        totals = {name: sum(each.get(name, 0) for each in segments.values()) for name in numbers}
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "table": TABLES[kind],
            "day": day,
            **totals,
            "segments": segments,
        }
        self._put(path, json.dumps(manifest, indent=1).encode())

    def noted(self, kind: RowKind, day: str) -> dict[str, Any]:
        """The manifest of a day; empty if no segment had rows of it."""
        path = f"{day_folder(self._root, kind, self._service, day)}/{MANIFEST}"
        try:
            return cast("dict[str, Any]", json.loads(self.files.cat_file(path)))
        except FileNotFoundError:
            return {}

    def _list(self, folder: str) -> list[str]:
        # fsspec caches listings, and serving adds segments all the time
        self.files.invalidate_cache()
        try:
            return sorted(str(path) for path in self.files.ls(folder, detail=False))
        except FileNotFoundError:
            return []

    def _put(self, path: str, data: bytes) -> None:
        if self._is_object_store:
            self.files.pipe_file(path, data)
            return
        # renamed when complete, so that a reader never sees half a file; `parts` skips this prefix
        folder, _, name = path.rpartition("/")
        unfinished = f"{folder}/_incomplete-{name}"
        write_file(self.files, unfinished, data)
        move_file(self.files, unfinished, path)

    def _move(self, path: str, target: str) -> None:
        make_parent(self.files, target)
        move_file(self.files, path, target)


class _Compaction:
    """Writes segments one by one without rows that are there already, and counts."""

    def __init__(self, log: _Log, waiting: set[str]) -> None:
        self._log, self._waiting = log, waiting
        self._seen: dict[tuple[RowKind, str], set[int]] = {}
        self._n_rows: dict[RowKind, int] = dict.fromkeys(TABLES, 0)
        self._n_duplicates = self._n_torn = self._n_dropped = 0
        self._days: set[str] = set()

    def add(self, segment: Segment) -> None:
        """Write one part for each table and day in a segment."""
        self._n_torn += segment.n_torn
        torn = segment.n_torn
        for (kind, day), rows in segment.rows.items():
            new = self._unseen(kind, day, rows)
            dropped = sum(row.get("dropped_rows", 0) for row in new) if kind == "window" else 0
            self._log.write_part(kind, day, f"part-{segment.name}-0.parquet", log_table(kind, new))
            numbers = {
                "rows": len(new),
                "duplicates": len(rows) - len(new),
                "torn_lines": torn,
                "dropped_rows": dropped,
            }
            self._log.note(kind, day, segment.name, numbers)
            self._n_rows[kind] += len(new)
            self._n_duplicates += len(rows) - len(new)
            self._n_dropped += dropped
            self._days.add(day)
            torn = 0  # a torn line has no day, so it is counted in the segment's first part only

    def report(self, service: str, n_segments: int, n_orphans: int) -> CompactionReport:
        """The report of all segments added so far."""
        n = self._n_rows
        lost = self._n_torn + self._n_dropped
        return CompactionReport(
            service=service,
            n_segments=n_segments,
            n_orphans=n_orphans,
            n_predictions=n["prediction"],
            n_feedback=n["feedback"],
            n_windows=n["window"],
            n_duplicates=self._n_duplicates,
            n_torn=self._n_torn,
            n_dropped=self._n_dropped,
            days=tuple(sorted(self._days)),
            reason=f"{n['prediction']} predictions, {n['feedback']} feedback rows and "
            f"{n['window']} windows of {service} written; "
            + (f"{lost} rows lost on the way" if lost else "nothing lost"),
        )

    def _unseen(
        self, kind: RowKind, day: str, rows: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        if (kind, day) not in self._seen:
            # without parts of segments still to be compacted: after a failed attempt they hold
            # the same rows, which would all be taken for duplicates
            self._seen[kind, day] = self._log.seen(kind, day, self._waiting)
        seen = self._seen[kind, day]
        new = []
        for row in rows:
            key = row_key(kind, row)
            if key not in seen:
                seen.add(key)
                new.append(row)
        return new


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(SUFFIX)


def _segment_of(part: str) -> str:
    return part.rpartition("/")[2].removeprefix("part-").removesuffix(".parquet").rpartition("-")[0]


def _as_written(column: pa.ChunkedArray) -> list[Any]:
    """Values as in the segment, with timestamps as text, so that their keys are equal."""
    if not pa.types.is_timestamp(column.type):
        return cast("list[Any]", column.to_pylist())
    # `%S` of Arrow includes the fraction of the second
    texts = pc.strftime(column.cast(pa.timestamp("us")), format="%Y-%m-%dT%H:%M:%S")
    return [None if text is None else f"{text}+00:00" for text in texts.to_pylist()]
