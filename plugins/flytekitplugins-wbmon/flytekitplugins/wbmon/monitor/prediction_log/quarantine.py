"""What of a log cannot be read: put aside, counted and not deleted.

So nothing is lost, and whoever reads the rest gets through. It lies in
`{destination}/quarantine/service={service}/`:

    {segment}.jsonl                 the lines of a segment that are no rows, each with its place
    {table}/dt={day}/{file}         a part or a manifest that cannot be read, or a folder
"""

from __future__ import annotations

import logging
from base64 import b64encode
from contextlib import suppress
from itertools import count
from uuid import uuid4

from flytekitplugins.wbmon.monitor.prediction_log.schema import TABLES, RowKind
from flytekitplugins.wbmon.monitor.prediction_log.segments import Segment
from flytekitplugins.wbmon.monitor.prediction_log.store import LogStore, name_of
from flytekitplugins.wbmon.storage.compare_and_swap import read_file
from flytekitplugins.wbmon.storage.segments.json_lines import to_line
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX

logger = logging.getLogger(__name__)


class LogQuarantine:
    """The quarantine of one service's log.

    Args:
        store: The log's file system.
        service: Name of the service.

    Attributes:
        folder: Where it is.
        damaged: What could not be read and was put aside, or is missing, by its name.
    """

    def __init__(self, store: LogStore, service: str) -> None:
        self._store = store
        self.folder = f"{store.root}/quarantine/service={service}"
        self.damaged: list[str] = []

    def put_aside(self, kind: RowKind, day: str, path: str) -> None:
        """Move a file out of the way of those who read a day's folder."""
        place = _place(kind, day, name_of(path))
        with suppress(FileNotFoundError):  # another compaction has done so
            self._store.move(path, self._free(place))
            self._count(place, "cannot be read, and is put aside")

    def put_aside_folder(self, kind: RowKind, day: str, path: str) -> None:
        """Move what is no file, such as a folder or a link, out of their way; unless it is empty.

        Readers of a day's folder would read what is in it, or follow it.
        """
        place = _place(kind, day, name_of(path))
        with suppress(FileNotFoundError):  # another compaction has done so
            if self._store.move_folder(path, self._free(place)):
                self._count(place, "is no file, and is put aside")

    def put_aside_lines(self, segment: Segment) -> None:
        """Keep the lines of a segment that are no rows; a second call writes the same.

        Those of another segment of the same name stay.
        """
        if not segment.refused:
            return
        rows = (
            {"segment": segment.name, "offset": line.offset, "reason": line.reason}
            | _as_text(line.data)
            for line in sorted(segment.refused)
        )
        data = b"".join(map(to_line, rows))
        self._make_way(segment.name)
        for number in count():
            path = f"{self.folder}/{segment.name}{f'.{number}' if number else ''}{SUFFIX}"
            known = read_file(self._store.files, path)[0]
            if known is None:
                self._store.put(path, data)
            if known in (None, data):
                return

    def count_missing(self, kind: RowKind, day: str, name: str) -> None:
        """Count a part that is not there."""
        self._count(_place(kind, day, name), "is missing")

    def of_day(self, kind: RowKind, day: str) -> list[str]:
        """Paths of the files of a day that were put aside."""
        folder = f"{self.folder}/{TABLES[kind]}/dt={day}"
        return [path for path, _ in self._store.list(folder)]

    def _free(self, place: str) -> str:
        """A path in the quarantine where nothing is, so that what was put aside before stays."""
        self._make_way(place)
        paths = (f"{self.folder}/{place}{f'.{number}' if number else ''}" for number in count())
        return next(path for path in paths if not self._store.files.exists(path))

    def _make_way(self, place: str) -> None:
        """Give a file another name that lies where a folder of the quarantine must be."""
        if not self._store.has_folders:
            return
        files, folder = self._store.files, self._store.root
        for name in f"{self.folder}/{place}".removeprefix(f"{folder}/").split("/")[:-1]:
            folder = f"{folder}/{name}"
            if files.exists(folder) and not files.isdir(folder):
                self._store.move(folder, f"{folder}.{uuid4().hex[:8]}")
                self._count(folder, "must be a folder, and has another name now")

    def _count(self, place: str, why: str) -> None:
        logger.warning("%s %s", place, why)
        self.damaged.append(place)


def _place(kind: RowKind, day: str, name: str) -> str:
    return f"{TABLES[kind]}/dt={day}/{name}"


def _as_text(data: bytes) -> dict[str, str]:
    try:
        return {"line": data.decode()}
    except UnicodeDecodeError:
        return {"line_base64": b64encode(data).decode()}
