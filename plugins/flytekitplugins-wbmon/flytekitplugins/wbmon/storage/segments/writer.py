"""Append-only files of rows: what is written survives the process, and a full file moves on whole.

A segment is `open` while it is written and `sealed` by a rename when it is large, old, from
yesterday (UTC), or when the log is closed. Each process has its own, so workers never share one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from flytekitplugins.wbmon.storage.segments.layout import SUFFIX, segment_folder

_DAY_S = 86_400


class SegmentWriter:
    """Writes one process's segments, one after the other.

    Args:
        root: Folder of the log.
        service: The service.
        instance: The instance; with the process id it must be unique for ever.
        max_bytes: Size at which a segment is sealed.
        max_age_s: Age at which it is.
    """

    def __init__(
        self, root: Path, service: str, instance: str, *, max_bytes: int, max_age_s: float
    ) -> None:
        self._open_folder = Path(segment_folder(str(root), "open", service))
        self.sealed_folder = Path(segment_folder(str(root), "sealed", service))
        self._stem = f"{instance}-{os.getpid()}"
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self._file = -1
        self._path = self._open_folder
        self._size = 0
        self._began_at = 0.0
        self._n_segments = 0

    def append(self, data: bytes, now: float) -> None:
        """Write whole lines; all of them or, after an error, none.

        Args:
            data: Lines, each with its newline.
            now: Seconds since 1970.

        Raises:
            OSError: If the disk is full or gone; the next call tries again.
        """
        self.seal_if_due(now)
        if self._file < 0:
            self._begin(now)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except BaseException:  # a signal's, too: the rest of the line will never come
            self._cut()
            raise
        self._size += written

    def seal_if_due(self, now: float) -> bool:
        """Seal the segment if its time has come; whether it had."""
        if self._file < 0:
            return False
        is_due = (
            self._size >= self._max_bytes
            or now - self._began_at >= self._max_age_s
            or now // _DAY_S != self._began_at // _DAY_S
        )
        if is_due:
            self.seal()
        return is_due

    def seal(self) -> None:
        """Close the segment, and rename it so that it may be read as a whole."""
        if self._file < 0:
            return
        os.close(self._file)
        self._file = -1
        self.sealed_folder.mkdir(parents=True, exist_ok=True)
        # a reader takes a segment that nobody wrote to for long for that of a dead process
        with suppress(FileNotFoundError):
            self._path.rename(self.sealed_folder / self._path.name)

    def abandon(self) -> None:
        """In a forked child: leave the segment to the parent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self, now: float) -> None:
        self._open_folder.mkdir(parents=True, exist_ok=True)
        self._path = self._open_folder / f"{self._stem}-{self._n_segments:06d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL
        self._file = os.open(self._path, flags, 0o640)
        self._n_segments += 1
        self._size, self._began_at = 0, now

    def _cut(self) -> None:
        """Take back the beginning of a line that could not be written whole."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            # the reader drops a torn line; the rest goes into another file
            self.seal()
