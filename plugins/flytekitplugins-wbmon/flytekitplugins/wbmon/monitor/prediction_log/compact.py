"""Compacts segments into Parquet files by day; idempotent, so a task may be retried.

A segment becomes one part per table and day, whose name depends on the segment alone. The segment
is deleted only after all its parts are written; if the task fails before, the next one writes the
same parts again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.prediction_log.files import EMPTY_PART, LogFiles
from flytekitplugins.wbmon.monitor.prediction_log.level import level_day, schema_before
from flytekitplugins.wbmon.monitor.prediction_log.manifest import CHECKSUM, noted_as, segment_of
from flytekitplugins.wbmon.monitor.prediction_log.report import (
    CompactionReport,
    compaction_reason,
)
from flytekitplugins.wbmon.monitor.prediction_log.schema import TABLES, RowKind
from flytekitplugins.wbmon.monitor.prediction_log.segments import (
    Segment,
    key_columns,
    keys_of,
    read_segment,
    row_key,
    written_values,
)
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX

logger = logging.getLogger(__name__)

# a file where a folder must be, or a folder in place of a file
_IN_THE_WAY = (NotADirectoryError, IsADirectoryError, FileExistsError)
# so that the names of its parts are no longer than file systems allow
_LONGEST_NAME = 200
_KINDS: tuple[RowKind, ...] = tuple(TABLES)


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

    A line that is no row, and a part or a manifest that cannot be read, are put aside (see
    `LogFiles`). A segment that cannot be read as a whole, or has a row of a newer schema version,
    stays where it is. All are counted.

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
        DataError: If a part reads back with another number of rows than were written.
    """
    if orphan_after_s <= 0:
        raise ConfigError(f"orphan_after_s must be positive, got {orphan_after_s}")
    log = LogFiles(destination, service, filesystem)
    at = datetime.now(timezone.utc) if now is None else moment("now", now)
    n_orphans = log.seal_orphans(at - timedelta(seconds=orphan_after_s))
    paths, others = log.sealed()
    compaction = _Compaction(log, {_stem(path) for path in paths})
    for path in paths:
        compaction.take(path, keep=keep_segments)
    compaction.level()
    report = compaction.report(service, n_orphans)
    report = replace(report, n_left=report.n_left + len(others))
    return replace(report, reason=compaction_reason(report))


def with_day(
    report: CompactionReport,
    destination: str,
    day: str,
    *,
    feedback_days: Sequence[str] = (),
    filesystem: Any = None,
) -> CompactionReport:
    """Make a day's tables readable by anybody; the report with what they hold, whoever wrote it.

    All parts get one schema. A table without a part gets one without rows, with the columns of the
    last earlier day with rows.

    Args:
        report: The report of the compaction.
        destination: Path or fsspec URL of the log.
        day: `YYYY-MM-DD`, UTC.
        feedback_days: Days whose feedback is read as well.
        filesystem: The fsspec file system of the log, if the caller has one with credentials.
    """
    log = LogFiles(destination, report.service, filesystem)
    for other in sorted({*feedback_days} - {day}):
        level_day(log, "feedback", other)
    n = {}
    for kind in _KINDS:
        log.put_aside_others(kind, day)
        log.verify(kind, day)
        n[kind] = level_day(log, kind, day)
        log.count_missing(kind, day)
        _ensure(log, kind, day)
    report = replace(
        report,
        n_damaged=report.n_damaged + len(log.quarantine.damaged),
        day=day,
        n_day_predictions=n["prediction"],
        n_day_feedback=n["feedback"],
        n_day_windows=n["window"],
        is_unwritten=not any(n.values()) and not report.losses and not log.was_written(),
    )
    return replace(report, reason=compaction_reason(report))


def days_before(at: datetime, n: int) -> str:
    """The day (UTC) `n` days before the day of a moment; a moment without a zone counts as UTC.

    >>> days_before(datetime(2026, 3, 2, 2, tzinfo=timezone.utc), 2)
    '2026-02-28'
    """
    today = moment("at", at).date()
    return (today - timedelta(days=n)).isoformat()


def _ensure(log: LogFiles, kind: RowKind, day: str) -> None:
    if not log.parts(kind, day):
        empty = schema_before(log, kind, day).empty_table()
        log.write_part(kind, day, EMPTY_PART, empty)


class _New(NamedTuple):
    """The rows of a segment that a day does not have yet.

    Attributes:
        table: The rows.
        keys: What tells each from others, with what tells its content.
        n_duplicates: Rows that the day has.
        n_conflicts: Those of them that say something else than the one that the day has.
    """

    table: pa.Table
    keys: dict[int, int]
    n_duplicates: int
    n_conflicts: int


class _Compaction:
    """Writes segments one by one without rows that are there already, and counts."""

    def __init__(self, log: LogFiles, waiting: set[str]) -> None:
        self._log, self._waiting = log, waiting
        self._seen: dict[tuple[RowKind, str], dict[int, int]] = {}
        self._noted: dict[tuple[RowKind, str], dict[str, dict[str, int]]] = {}
        self._to_level = log.to_level()
        self._n_rows: dict[RowKind, int] = dict.fromkeys(TABLES, 0)
        self._n_duplicates = self._n_conflicts = self._n_torn = self._n_dropped = 0
        self._n_segments = self._n_left = 0
        self._days: set[str] = set()

    def take(self, path: str, *, keep: bool) -> None:
        """Write the parts of a segment, and delete it or move it to `compacted/`."""
        try:
            if self._add(path):
                # only now: if the process dies before, the next attempt finds the segment again
                self._log.delete_segment(path, keep=keep)
        except _IN_THE_WAY as error:
            self._leave(path, error)

    def _add(self, path: str) -> bool:
        """Write one part for each table and day in a segment; whether it could be read."""
        if len(_stem(path).encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
            self._leave(path, f"its name is longer than {_LONGEST_NAME} bytes")
            return False
        try:
            segment = read_segment(path.rpartition("/")[2], self._log.files.cat_file(path))
            found = {place: self._new(*place, segment) for place in [*segment.rows]}
        except FileNotFoundError:  # another compaction was faster, and has written its parts
            self._waiting.discard(_stem(path))
            self._seen.clear()
            return False
        except Exception as error:  # noqa: BLE001 - no segment stands in the way of the others
            self._leave(path, error)
            return False
        self._log.quarantine.put_aside_lines(segment)
        if not self._to_level.issuperset(found):
            # before the first part: if the process dies, the next one levels them
            self._to_level.update(found)
            self._log.note_to_level(self._to_level)
        torn = segment.n_torn
        for place, new in found.items():
            self._write(place, segment, new, torn)
            torn = 0  # a torn line has no day, so it is counted in the segment's first part only
        self._n_torn += segment.n_torn
        self._n_segments += 1
        return True

    def _leave(self, path: str, why: object) -> None:
        """Count a segment that stays where it is."""
        logger.warning("%s stays where it is: %s", path, why)
        self._n_left += 1

    def level(self) -> None:
        """Give the parts of each day that was written to one schema."""
        for kind, day in sorted(self._to_level):
            level_day(self._log, kind, day)
        if self._to_level:
            self._log.note_to_level(())
        self._log.clear_outside_of_days()

    def report(self, service: str, n_orphans: int) -> CompactionReport:
        """The report of all segments added so far."""
        n = self._n_rows
        return CompactionReport(
            service=service,
            n_segments=self._n_segments,
            n_orphans=n_orphans,
            n_predictions=n["prediction"],
            n_feedback=n["feedback"],
            n_windows=n["window"],
            n_duplicates=self._n_duplicates,
            n_conflicts=self._n_conflicts,
            n_torn=self._n_torn,
            n_dropped=self._n_dropped,
            n_left=self._n_left,
            n_damaged=len(self._log.quarantine.damaged),
            days=tuple(sorted(self._days)),
            reason="",
        )

    def _write(self, place: tuple[RowKind, str], segment: Segment, new: _New, torn: int) -> None:
        kind, day = place
        n = new.table.num_rows
        dropped = _dropped(new.table) if kind == "window" else 0
        number = self._number(kind, day, segment)
        name = _part_name(segment.name, number)
        self._log.write_part(kind, day, name, new.table)
        numbers = {
            "rows": n,
            "duplicates": new.n_duplicates,
            "torn_lines": torn,
            "dropped_rows": dropped,
            CHECKSUM: segment.checksum,
        }
        self._log.note(kind, day, noted_as(name), numbers)
        self._seen[place].update(new.keys)
        self._n_rows[kind] += n
        self._n_duplicates += new.n_duplicates
        self._n_conflicts += new.n_conflicts
        self._n_dropped += dropped
        self._days.add(day)

    def _number(self, kind: RowKind, day: str, segment: Segment) -> int:
        """The number of a segment's part: 0, unless another segment had the same name."""
        place = (kind, day)
        if place not in self._noted:
            self._noted[place] = self._log.noted(kind, day)
        for number in count():
            noted = self._noted[place].get(noted_as(_part_name(segment.name, number)), {})
            if noted.get(CHECKSUM, segment.checksum) == segment.checksum:
                return number
        raise AssertionError("unreachable")

    def _new(self, kind: RowKind, day: str, segment: Segment) -> _New:
        place = (kind, day)
        if place not in self._seen:
            # without parts of segments still to be compacted: after a failed attempt they hold
            # the same rows, which would all be taken for duplicates
            self._seen[place] = self._seen_in(kind, day)
        number = self._number(kind, day, segment)
        if number:
            # parts of others, whose name it has
            own = _part_name(segment.name, number)
            others = [
                path
                for path, _ in self._log.parts(kind, day)
                if segment_of(path) == segment.name and not path.endswith(own)
            ]
            self._seen[place].update(self._seen_of(kind, day, others))
        rows, table = _readable(kind, day, segment)
        seen, kept, n_conflicts = self._seen[place], [], 0
        keys: dict[int, int] = {}
        for row, content in zip(rows, _contents(kind, table), strict=True):
            key = row_key(kind, row)
            known = seen.get(key, keys.get(key))
            if known is None:
                keys[key] = content
                kept.append(row)
            elif known != content:
                n_conflicts += 1
        if len(kept) < len(rows):
            table = log_table(kind, kept)
        return _New(table, keys, len(rows) - len(kept), n_conflicts)

    def _seen_in(self, kind: RowKind, day: str) -> dict[int, int]:
        """Keys and contents of the rows that a day has, but for segments that wait."""
        paths = [path for path, _ in self._log.parts(kind, day)]
        done = [path for path in paths if segment_of(path) not in self._waiting]
        return self._seen_of(kind, day, done)

    def _seen_of(self, kind: RowKind, day: str, paths: Iterable[str]) -> dict[int, int]:
        seen: dict[int, int] = {}
        names = key_columns(kind)
        for path in paths:
            table = self._log.read_part(path, None if kind == "window" else names)
            if table is None:
                self._log.put_aside_part(kind, day, path)
                continue
            columns = {name: written_values(table, name) for name in names}
            seen.update(zip(keys_of(kind, columns), _contents(kind, table), strict=True))
        return seen


def _readable(kind: RowKind, day: str, segment: Segment) -> tuple[list[dict[str, Any]], pa.Table]:
    """The rows of a segment as a table; those that no table can hold are refused."""
    rows = segment.rows[kind, day]
    with suppress(Exception):
        return rows, log_table(kind, rows)
    kept = [
        row
        for row, offset in zip(rows, segment.offsets[kind, day], strict=True)
        if _is_held(kind, row, offset, segment)
    ]
    return kept, log_table(kind, kept)


def _is_held(kind: RowKind, row: dict[str, Any], offset: int, segment: Segment) -> bool:
    try:
        log_table(kind, [row])
    except Exception as error:  # noqa: BLE001 - whatever it is, it costs this row alone
        segment.refuse(offset, f"no table can hold it: {type(error).__name__}")
        return False
    return True


def _contents(kind: RowKind, table: pa.Table) -> list[int]:
    """What tells windows apart that share their keys; of other rows the key is all."""
    if kind != "window":
        return [0] * table.num_rows
    return [
        hash(repr(sorted((name, value) for name, value in row.items() if value is not None)))
        for row in table.to_pylist()
    ]


def _dropped(table: pa.Table) -> int:
    return max(0, pc.sum(table["dropped_rows"]).as_py() or 0)


def _part_name(segment: str, number: int) -> str:
    return f"part-{segment}-{number}.parquet"


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(SUFFIX)
