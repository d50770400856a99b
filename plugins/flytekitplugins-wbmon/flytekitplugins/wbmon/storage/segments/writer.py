"""Writes segments: append-only files, so rows that are written survive the death of the process.

A segment is `open` while it is written. It is `sealed` by a rename when it is large or old enough,
at midnight UTC, and when the log is closed. Each process has its own, so workers never share one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from flytekitplugins.wbmon.storage.segments.layout import SUFFIX, segment_folder
from flytekitplugins.wbmon.storage.segments.owner import lock_segment

_DAY_S = 86_400


class SegmentWriter:
    """Writes the segments of one process, one after the other. It is not thread-safe.

    Args:
        root: Local folder of the log.
        service: Name of the service.
        instance: Name of the writer; together with the process id it must never be used again.
        max_bytes: Size in bytes at which a segment is sealed.
        max_age_s: Age in seconds at which a segment is sealed.
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
        """Append whole lines: all of them, or none if there is an error.

        Args:
            data: Lines, each ending with a newline.
            now: Current time; seconds since 1970.

        Raises:
            OSError: If the disk is full or unavailable; the next call tries again.
        """
        self.seal_if_due(now)
        if self._file < 0:
            self._begin(now)
        written = 0
        try:
            while written < len(data):
                # a write may be partial, for example on a disk that is nearly full
                written += os.write(self._file, data[written:])
        except BaseException:  # also one raised by a signal handler: half a line must not stay
            self._cut()
            raise
        self._size += written

    def seal_if_due(self, now: float) -> bool:
        """Seal the segment if it is large or old enough; returns whether it was."""
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
        """Close the segment and move it to the sealed ones."""
        if self._file < 0:
            return
        os.close(self._file)
        self._file = -1
        self.sealed_folder.mkdir(parents=True, exist_ok=True)
        # a reader may have moved it already, if nobody wrote to it for so long that it looked dead
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
        # exclusive: a file of this name would be another writer's
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL
        self._file = os.open(self._path, flags, 0o640)
        lock_segment(self._file)
        self._n_segments += 1
        self._size, self._began_at = 0, now

    def _cut(self) -> None:
        """Remove the part of the lines that was written before the error."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            # readers skip the torn line; the next rows go into a new file
            self.seal()
