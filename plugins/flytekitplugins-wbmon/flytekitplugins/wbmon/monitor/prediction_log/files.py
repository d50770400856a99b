"""The files of one service's log: segments, parts by day, manifests, and what was put aside.

A file or a line that cannot be read is moved to `{destination}/quarantine/service={service}/` and
not deleted, so that nothing is lost and whoever reads the rest gets through:

    {segment}.jsonl                 the lines of a segment that are no rows, each with its place
    {table}/dt={day}/{file}         a part or a manifest that cannot be read
"""

from __future__ import annotations

import io
import json
import logging
from base64 import b64encode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from flytekitplugins.wbmon.errors import DataError, StorageError
from flytekitplugins.wbmon.monitor.prediction_log.manifest import (
    is_part,
    manifest_of,
    noted_as,
    segment_of,
    segments_in,
)
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    MANIFEST,
    TABLES,
    RowKind,
    day_folder,
    is_day,
)
from flytekitplugins.wbmon.monitor.prediction_log.segments import Segment
from flytekitplugins.wbmon.storage.compare_and_swap import read_file, replace_file
from flytekitplugins.wbmon.storage.filesystem import (
    make_parent,
    move_file,
    open_filesystem,
    write_file,
)
from flytekitplugins.wbmon.storage.guard import is_object_store
from flytekitplugins.wbmon.storage.segments.json_lines import to_line
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX, segment_folder

logger = logging.getLogger(__name__)

_ROW_GROUP = 65_536
# more than most footers have, so that one request is enough
_FOOTER_BYTES = 65_536
_UNREADABLE = (pa.ArrowException, OSError, ValueError)
_TO_LEVEL, _UNFINISHED = "_to_level.json", "_incomplete-"
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
        damaged: What could not be read and was put aside, or is missing, by its name.
    """

    def __init__(self, destination: str, service: str, filesystem: Any = None) -> None:
        self.files: Any
        self.files, self._root = open_filesystem(destination, filesystem=filesystem)
        self._service = service
        self._is_object_store = is_object_store(self.files)
        self._own = uuid4().hex[:8]
        self.damaged: list[str] = []

    def seal_orphans(self, before: datetime) -> int:
        """Seal open segments not written to since `before`; returns how many."""
        n = 0
        target = segment_folder(self._root, "sealed", self._service)
        for path, size in self._list(segment_folder(self._root, "open", self._service)):
            if size is None or not path.endswith(SUFFIX):
                continue
            # its writer may seal it at the same time
            with suppress(FileNotFoundError):
                if self.files.modified(path).astimezone(timezone.utc) < before:
                    self._move(path, f"{target}/{_name(path)}")
                    n += 1
        return n

    def sealed(self) -> tuple[list[str], list[str]]:
        """Paths of the sealed segments in the order of their names, and of what else is there."""
        found = self._list(segment_folder(self._root, "sealed", self._service))
        segments = [p for p, size in found if size is not None and p.endswith(SUFFIX)]
        # a name with a dot in front is of the system, or of a tool
        others = [p for p, _ in found if p not in segments and not _name(p).startswith(".")]
        return segments, others

    def delete_segment(self, path: str, *, keep: bool) -> None:
        """Delete a segment, or move it to `compacted/`."""
        # another compaction may have done so
        with suppress(FileNotFoundError):
            if keep:
                folder = segment_folder(self._root, "compacted", self._service)
                self._move(path, f"{folder}/{_name(path)}")
            else:
                self.files.rm_file(path)

    def days(self, kind: RowKind) -> list[str]:
        """The days that a table has, in their order."""
        found = self._list(day_folder(self._root, kind, self._service, "").rpartition("/")[0])
        return [name.removeprefix("dt=") for p, _ in found if (name := _name(p)).startswith("dt=")]

    def parts(self, kind: RowKind, day: str) -> list[tuple[str, int]]:
        """Paths and sizes of the complete parts of a day."""
        found = self._list(day_folder(self._root, kind, self._service, day))
        return [(path, size) for path, size in found if size is not None and is_part(path)]

    def part(self, path: str, size: int) -> LogPart | None:
        """A part by its footer; None if it has none that can be read."""
        try:
            tail = self.files.cat_file(path, start=max(0, size - _FOOTER_BYTES), end=size)
            needed = int.from_bytes(tail[-8:-4], "little") + 8
            if len(tail) < needed <= size:
                tail = self.files.cat_file(path, start=size - needed, end=size)
        except FileNotFoundError:  # another compaction has put it aside
            return None
        with suppress(*_UNREADABLE):
            metadata = pq.read_metadata(pa.BufferReader(tail))
            return LogPart(path, metadata.schema.to_arrow_schema(), metadata.num_rows)
        return None

    def read_part(self, path: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """The rows of a part; None if it cannot be read.

        Args:
            path: Of the part.
            columns: Those to read; all if None. The part may lack some of them.
        """
        try:
            with self.files.open(path, "rb") as file:
                stored = pq.ParquetFile(file)
                names = stored.schema_arrow.names
                wanted = None if columns is None else [name for name in columns if name in names]
                return stored.read(wanted)
        except StorageError:  # of the store, not of the part
            raise
        except _UNREADABLE:
            return None

    def write_part(self, kind: RowKind, day: str, name: str, table: pa.Table) -> None:
        """Write a part atomically, and read its number of rows back.

        Raises:
            DataError: If it reads back with another number of rows.
        """
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=_ROW_GROUP)
        path = f"{day_folder(self._root, kind, self._service, day)}/{name}"
        self._put(path, buffer.getvalue())
        # read back, because the segment, the only other copy, is deleted next
        part = self.part(path, buffer.tell())
        if part is None or part.n_rows != table.num_rows:
            found = "nothing that can be read" if part is None else part.n_rows
            raise DataError(f"{path} must hold {table.num_rows} rows, found {found}; compact again")

    def put_aside_others(self, kind: RowKind, day: str) -> None:
        """Move files that are no parts out of the way of those who read a day's folder.

        A folder in it stays, and is counted.
        """
        folder = day_folder(self._root, kind, self._service, day)
        for path, size in self._list(folder):
            name = _name(path)
            # readers of a folder skip these names, and a store may list the folder itself
            if name.startswith((".", "_")) or (name == _name(folder) and self._is_object_store):
                continue
            if size is None:
                self._count(f"{TABLES[kind]}/dt={day}/{name}", "is a folder")
            elif not is_part(path):
                self._put_aside(kind, day, path)

    def count_missing(self, kind: RowKind, day: str) -> None:
        """Count the parts that a day's manifest names and that are not there."""
        folder = f"{TABLES[kind]}/dt={day}"
        there = {noted_as(path) for path, _ in self.parts(kind, day)}
        rows = {name: numbers.get("rows") for name, numbers in self.noted(kind, day).items()}
        missing = [name for name in rows if rows[name] and name not in there]
        if missing:
            # what was put aside was counted then
            aside = self._list(f"{self._quarantine()}/{folder}")
            known = {noted_as(path) for path, _ in aside if is_part(path)}
            for name in missing:
                if name not in known:
                    self._count(f"{folder}/{name}", "is missing")

    def verify(self, kind: RowKind, day: str) -> None:
        """Put parts aside whose rows cannot be read, though their footers can."""
        for path, _ in self.parts(kind, day):
            if self.read_part(path) is None:
                self.put_aside_part(kind, day, path)

    def put_aside_part(self, kind: RowKind, day: str, path: str) -> None:
        """Move a part that cannot be read out of the way of those who read the day.

        If its segment was kept, the next compaction reads it again.
        """
        self._put_aside(kind, day, path)
        name = f"{segment_of(path)}{SUFFIX}"
        with suppress(FileNotFoundError):
            self._move(
                f"{segment_folder(self._root, 'compacted', self._service)}/{name}",
                f"{segment_folder(self._root, 'sealed', self._service)}/{name}",
            )

    def put_aside_lines(self, segment: Segment) -> None:
        """Keep the lines of a segment that are no rows; a second call writes the same.

        Those of another segment of the same name stay.
        """
        if segment.refused:
            rows = (
                {"segment": segment.name, "offset": line.offset, "reason": line.reason}
                | _as_text(line.data)
                for line in sorted(segment.refused)
            )
            data, folder = b"".join(map(to_line, rows)), self._quarantine()
            for number in count():
                path = f"{folder}/{segment.name}{f'.{number}' if number else ''}{SUFFIX}"
                known = read_file(self.files, path)[0]
                if known is None:
                    self._put(path, data)
                if known in (None, data):
                    return

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
            self._put_aside(kind, day, path)
            parts = [self.part(*each) for each in self.parts(kind, day)]
            known = {noted_as(part.path): {"rows": part.n_rows} for part in parts if part}
            self._put(path, manifest_of(kind, day, known))
        return known

    def clear(self, kind: RowKind, day: str) -> None:
        """Delete what a killed compaction has left half written in a day."""
        before = datetime.now(timezone.utc) - _ABANDONED_AFTER
        for path, size in self._list(day_folder(self._root, kind, self._service, day)):
            if size is not None and _name(path).startswith(_UNFINISHED):
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
                self._put(self._to_level(), json.dumps(waiting).encode())
            else:
                self.files.rm_file(self._to_level())

    def _to_level(self) -> str:
        folder = day_folder(self._root, "prediction", self._service, "").rpartition("/")[0]
        return f"{folder}/{_TO_LEVEL}"

    def _manifest(self, kind: RowKind, day: str) -> str:
        return f"{day_folder(self._root, kind, self._service, day)}/{MANIFEST}"

    def _quarantine(self) -> str:
        return f"{self._root}/quarantine/service={self._service}"

    def _put_aside(self, kind: RowKind, day: str, path: str) -> None:
        place = f"{TABLES[kind]}/dt={day}/{_name(path)}"
        with suppress(FileNotFoundError):  # another compaction has done so
            self._move(path, f"{self._quarantine()}/{place}")
            self._count(place, "cannot be read, and is put aside")

    def _count(self, place: str, why: str) -> None:
        logger.warning("%s %s", place, why)
        self.damaged.append(place)

    def _list(self, folder: str) -> list[tuple[str, int | None]]:
        """What is in a folder by its name: paths with their sizes, None for a folder."""
        # fsspec caches listings, and serving adds segments all the time
        self.files.invalidate_cache()
        try:
            found = self.files.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(
            (str(each["name"]), (each.get("size") or 0) if each["type"] == "file" else None)
            for each in found
        )

    def _put(self, path: str, data: bytes) -> None:
        if self._is_object_store:
            self.files.pipe_file(path, data)
            return
        # renamed when complete, so that a reader never sees half a file; `parts` skips this prefix.
        # Of two compactions at once each has its own
        folder, _, name = path.rpartition("/")
        unfinished = f"{folder}/{_UNFINISHED}{name}.{self._own}"
        write_file(self.files, unfinished, data)
        move_file(self.files, unfinished, path)

    def _move(self, path: str, target: str) -> None:
        make_parent(self.files, target)
        move_file(self.files, path, target)


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
    names = sorted(_name(str(path)) for path in found)
    return [name.removeprefix("service=") for name in names if name.startswith("service=")]


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _as_text(data: bytes) -> dict[str, str]:
    try:
        return {"line": data.decode()}
    except UnicodeDecodeError:
        return {"line_base64": b64encode(data).decode()}
