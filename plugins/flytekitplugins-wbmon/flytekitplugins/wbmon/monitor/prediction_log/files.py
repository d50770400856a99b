"""The files of one service's log: segments, parts by day, and their manifests."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from flytekitplugins.wbmon.data.sources import require_different
from flytekitplugins.wbmon.errors import DataError, StorageError
from flytekitplugins.wbmon.monitor.prediction_log.manifest import (
    is_part,
    manifest_of,
    noted_as,
    segment_of,
    segments_in,
)
from flytekitplugins.wbmon.monitor.prediction_log.quarantine import LogQuarantine
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    MANIFEST,
    TABLES,
    RowKind,
    day_folder,
    is_day,
)
from flytekitplugins.wbmon.monitor.prediction_log.store import UNFINISHED, LogStore, name_of
from flytekitplugins.wbmon.storage.compare_and_swap import is_draft, read_file, replace_file
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX, segment_folder

EMPTY_PART = "part-empty.parquet"
"""What a table gets for a day without rows, so that it can be read."""

_ROW_GROUP = 65_536
# more than most footers have, so that one request is enough
_FOOTER_BYTES = 65_536
_UNREADABLE = (pa.ArrowException, OSError, ValueError)
_TO_LEVEL = "_to_level.json"
# a file takes no longer to be written
_ABANDONED_AFTER = timedelta(hours=1)


class LogPart(NamedTuple):
    """A part of a day, by its footer.

    Attributes:
        path: Where it is.
        schema: Its columns.
        n_rows: Number of its rows.
    """

    path: str
    schema: pa.Schema
    n_rows: int


class LogFiles:
    """The files of one service's log.

    Args:
        destination: Path or fsspec URL of the log.
        service: Name of the service.
        filesystem: The fsspec file system of the log, if the caller has one with credentials.

    Attributes:
        files: The fsspec file system.
        quarantine: What could not be read.
    """

    def __init__(self, destination: str, service: str, filesystem: Any = None) -> None:
        self._store = LogStore(destination, filesystem)
        self.files, self._root = self._store.files, self._store.root
        self._service = service
        self.quarantine = LogQuarantine(self._store, service)

    def seal_orphans(self, before: datetime) -> int:
        """Seal open segments not written to since `before`; returns how many."""
        n = 0
        target = segment_folder(self._root, "sealed", self._service)
        for path, size in self._store.list(segment_folder(self._root, "open", self._service)):
            if size is None or not path.endswith(SUFFIX):
                continue
            # its writer may seal it at the same time
            with suppress(FileNotFoundError):
                if self.files.modified(path).astimezone(timezone.utc) < before:
                    self._store.move(path, f"{target}/{name_of(path)}")
                    n += 1
        return n

    def sealed(self) -> tuple[list[str], list[str]]:
        """Paths of the sealed segments in the order of their names, and of what else is there."""
        found = self._store.list(segment_folder(self._root, "sealed", self._service))
        segments = [p for p, size in found if size is not None and p.endswith(SUFFIX)]
        # a name with a dot in front is of the system, or of a tool
        others = [p for p, _ in found if p not in segments and not name_of(p).startswith(".")]
        return segments, others

    def delete_segment(self, path: str, *, keep: bool) -> None:
        """Delete a segment, or move it to `compacted/`."""
        # another compaction may have done so
        with suppress(FileNotFoundError):
            if keep:
                folder = segment_folder(self._root, "compacted", self._service)
                self._store.move(path, f"{folder}/{name_of(path)}")
            else:
                self.files.rm_file(path)

    def days(self, kind: RowKind) -> list[str]:
        """The days that a table has, in their order."""
        folder = day_folder(self._root, kind, self._service, "").rpartition("/")[0]
        names = [name_of(path) for path, _ in self._store.list(folder)]
        return [name.removeprefix("dt=") for name in names if name.startswith("dt=")]

    def parts(self, kind: RowKind, day: str) -> list[tuple[str, int]]:
        """Paths and sizes of the complete parts of a day."""
        found = self._store.list(day_folder(self._root, kind, self._service, day))
        return [(path, size) for path, size in found if size is not None and is_part(path)]

    def was_written(self) -> bool:
        """Whether there is a segment, or for any day a part that was made of one."""
        folders = [segment_folder(self._root, each, self._service) for each in ("open", "sealed")]
        return any(self._store.list(folder) for folder in folders) or any(
            not path.endswith(EMPTY_PART)
            for kind in TABLES
            for day in reversed(self.days(kind))
            for path, _ in self.parts(kind, day)
        )

    def part(self, path: str, size: int) -> LogPart | None:
        """A part by its footer; None if it has none that can be read."""
        try:
            metadata = self._footer(path, size) or self._whole(path).metadata
            schema = metadata.schema.to_arrow_schema()
            require_different(schema.names)
        except FileNotFoundError:  # another compaction has put it aside
            return None
        except StorageError:  # of the store, not of the part
            raise
        except _UNREADABLE:
            return None
        return LogPart(path, schema, metadata.num_rows)

    def read_part(self, path: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """The rows of a part; None if it cannot be read.

        Args:
            path: Of the part.
            columns: Those to read; all if None. The part may lack some of them.
        """
        try:
            with suppress(*_UNREADABLE), self.files.open(path, "rb") as file:
                return _rows(pq.ParquetFile(file), columns)
            return _rows(self._whole(path), columns)
        except StorageError:
            raise
        except _UNREADABLE:
            return None

    def _footer(self, path: str, size: int) -> pq.FileMetaData | None:
        """The footer of a part of that size; None if the part has another one by now."""
        # a store may refuse a range that the part no longer has; what else it says, it says again
        with suppress(*_UNREADABLE):
            tail = self.files.cat_file(path, start=max(0, size - _FOOTER_BYTES), end=size)
            needed = int.from_bytes(tail[-8:-4], "little") + 8
            if len(tail) < needed <= size:
                tail = self.files.cat_file(path, start=size - needed, end=size)
            return pq.read_metadata(pa.BufferReader(tail))
        return None

    def _whole(self, path: str) -> pq.ParquetFile:
        """A part read at once: piece by piece, another compaction may put a new one between."""
        return pq.ParquetFile(pa.BufferReader(self.files.cat_file(path)))

    def write_part(self, kind: RowKind, day: str, name: str, table: pa.Table) -> None:
        """Write a part atomically, and read its number of rows back.

        Raises:
            DataError: If it reads back with another number of rows.
        """
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=_ROW_GROUP)
        path = f"{day_folder(self._root, kind, self._service, day)}/{name}"
        self._store.put(path, buffer.getvalue())
        # read back, because the segment, the only other copy, is deleted next
        part = self.part(path, buffer.tell())
        if part is None or part.n_rows != table.num_rows:
            found = "nothing that can be read" if part is None else part.n_rows
            raise DataError(f"{path} must hold {table.num_rows} rows, found {found}; compact again")

    def put_aside_others(self, kind: RowKind, day: str) -> None:
        """Move what is no part out of the way of those who read a day's folder."""
        for path, size in self._store.list(day_folder(self._root, kind, self._service, day)):
            # readers of a folder skip these names
            if name_of(path).startswith((".", "_")):
                continue
            if size is None:
                self.quarantine.put_aside_folder(kind, day, path)
            elif not is_part(path):
                self.quarantine.put_aside(kind, day, path)

    def count_missing(self, kind: RowKind, day: str) -> None:
        """Count the parts that a day's manifest names and that are not there."""
        there = {noted_as(path) for path, _ in self.parts(kind, day)}
        rows = {name: numbers.get("rows") for name, numbers in self.noted(kind, day).items()}
        missing = [name for name in rows if rows[name] and name not in there]
        if missing:
            # what was put aside was counted then
            aside = self.quarantine.of_day(kind, day)
            known = {noted_as(path) for path in aside if is_part(path)}
            for name in missing:
                if name not in known:
                    self.quarantine.count_missing(kind, day, name)

    def verify(self, kind: RowKind, day: str) -> None:
        """Put parts aside whose rows cannot be read, though their footers can."""
        for path, _ in self.parts(kind, day):
            if self.read_part(path) is None:
                self.put_aside_part(kind, day, path)

    def put_aside_part(self, kind: RowKind, day: str, path: str) -> None:
        """Move a part that cannot be read out of the way of those who read the day.

        If its segment was kept, the next compaction reads it again.
        """
        self.quarantine.put_aside(kind, day, path)
        name = f"{segment_of(path)}{SUFFIX}"
        with suppress(FileNotFoundError):
            self._store.move(
                f"{segment_folder(self._root, 'compacted', self._service)}/{name}",
                f"{segment_folder(self._root, 'sealed', self._service)}/{name}",
            )

    def note(self, kind: RowKind, day: str, segment: str, numbers: dict[str, int]) -> None:
        """Add a segment's counts to the manifest of a day; a second call changes nothing.

        Of two compactions at once neither loses what the other has noted.
        """
        path = self._manifest(kind, day)
        is_noted = False
        while not is_noted:
            data, version = read_file(self.files, path)
            known = {} if data is None else segments_in(data)
            if known is None:
                self.noted(kind, day)  # makes it again
                continue
            manifest = manifest_of(kind, day, {**known, segment: numbers})
            is_noted = replace_file(self.files, path, manifest, version)

    def noted(self, kind: RowKind, day: str) -> dict[str, dict[str, int]]:
        """The counts of each segment that had rows of a day.

        A manifest that cannot be read is put aside, and made again of the parts.
        """
        path = self._manifest(kind, day)
        try:
            data = self.files.cat_file(path)
        except FileNotFoundError:
            return {}
        except NotADirectoryError:  # where the day's folder should be
            self.put_aside_others(kind, day)
            return {}
        except IsADirectoryError:
            data = b""
        known = segments_in(data)
        if known is None:
            self.quarantine.put_aside(kind, day, path)
            parts = [self.part(*each) for each in self.parts(kind, day)]
            known = {noted_as(part.path): {"rows": part.n_rows} for part in parts if part}
            self._store.put(path, manifest_of(kind, day, known))
        return known

    def clear(self, kind: RowKind, day: str) -> None:
        """Delete what a killed compaction has left half written in a day."""
        self._clear(day_folder(self._root, kind, self._service, day))

    def clear_outside_of_days(self) -> None:
        """Delete what a killed compaction has left half written elsewhere."""
        self._clear(self._to_level().rpartition("/")[0])
        self._clear(self.quarantine.folder)

    def _clear(self, folder: str) -> None:
        if not self._store.has_folders:
            return  # where a file is there as a whole or not at all
        before = datetime.now(timezone.utc) - _ABANDONED_AFTER
        for path, size in self._store.list(folder):
            name = name_of(path)
            if size is not None and (name.startswith(UNFINISHED) or is_draft(name, MANIFEST)):
                with suppress(FileNotFoundError):
                    if self.files.modified(path).astimezone(timezone.utc) < before:
                        self.files.rm_file(path)

    def to_level(self) -> set[tuple[RowKind, str]]:
        """The days that an earlier compaction wrote to, and did not live to level."""
        with suppress(OSError, ValueError, RecursionError, TypeError, AttributeError):
            said = json.loads(self.files.cat_file(self._to_level()))
            return {(kind, day) for kind in TABLES for day in said.get(kind, ()) if is_day(day)}
        return set()

    def note_to_level(self, days: Iterable[tuple[RowKind, str]]) -> None:
        """Say which days are to be levelled, or that none is."""
        waiting: dict[str, list[str]] = {}
        for kind, day in sorted(days):
            waiting.setdefault(kind, []).append(day)
        # a folder of this name is somebody's, and only costs what a kill would leave to do
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            if waiting:
                self._store.put(self._to_level(), json.dumps(waiting).encode())
            else:
                self.files.rm_file(self._to_level())

    def _to_level(self) -> str:
        folder = day_folder(self._root, "prediction", self._service, "").rpartition("/")[0]
        return f"{folder}/{_TO_LEVEL}"

    def _manifest(self, kind: RowKind, day: str) -> str:
        return f"{day_folder(self._root, kind, self._service, day)}/{MANIFEST}"


def _rows(stored: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    names = stored.schema_arrow.names
    require_different(names)
    return stored.read(None if columns is None else [name for name in columns if name in names])


def services_of(destination: str, filesystem: Any = None) -> list[str]:
    """The services that have a prediction log.

    Args:
        destination: Path or fsspec URL of the log.
        filesystem: The fsspec file system of the log, if the caller has one with credentials.
    """
    files, root = open_filesystem(destination, filesystem=filesystem)
    files.invalidate_cache()
    try:
        found = files.ls(f"{root}/{TABLES['prediction']}", detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = sorted(name_of(str(path)) for path in found)
    return [name.removeprefix("service=") for name in names if name.startswith("service=")]
