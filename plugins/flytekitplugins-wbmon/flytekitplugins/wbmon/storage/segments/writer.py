"""Writes segments: append-only files, so rows that are written survive the death of the process.

A segment is `open` while it is written. It is `sealed` by a rename when it is large or old enough,
at midnight UTC, and when the log is closed. Each process has its own, so workers never share one.

Behind its rows a segment may have a tail, which the next lines take the place of: what is counted
so far in a window that has not ended, and would die with the process.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flytekitplugins.wbmon.storage.segments.layout import SUFFIX, segment_folder
from flytekitplugins.wbmon.storage.segments.owner import lock_segment

_DAY_S = 86_400


@dataclass(slots=True)
class _Segment:
    """A segment that is being written.

    Attributes:
        file: Its descriptor.
        path: Where it is while it is open.
        began_at: Seconds since 1970.
        size: Bytes of its rows, without the tail.
        tail: The lines behind them.
    """

    file: int
    path: Path
    began_at: float
    size: int = 0
    tail: bytes = b""

    def write(self, lines: bytes, tail: bytes) -> None:
        """Write lines and a tail in the place of the tail of before: both, or neither."""
        before = len(self.tail)
        _write_at(self.file, self.size, lines + tail)
        self.size += len(lines)
        self.tail = tail
        if before > len(lines) + len(tail):
            os.ftruncate(self.file, self.size + len(tail))

    def mend(self) -> None:
        """After an error: take away what was written of the lines, and bring the tail back."""
        os.ftruncate(self.file, self.size)
        with suppress(OSError):  # the counts of some moments, which may be lost
            _write_at(self.file, self.size, self.tail)
            return
        self.tail = b""
        os.ftruncate(self.file, self.size)

    def cut_tail(self) -> None:
        """Take the tail away, since another segment has it."""
        with suppress(OSError):  # twice it is the same row, which readers see
            os.ftruncate(self.file, self.size)
        self.tail = b""

    def is_removed(self) -> bool:
        """Whether its file was deleted: what is written to it now, nobody will read."""
        return os.fstat(self.file).st_nlink == 0


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
        self._segment: _Segment | None = None
        self._n_segments = 0

    def append(self, data: bytes, now: float, *, tail: bytes = b"") -> None:
        """Append whole lines: all of them, or none if there is an error.

        Args:
            data: Lines, each ending with a newline.
            now: Current time; seconds since 1970.
            tail: Lines that the next call takes the place of.

        Raises:
            OSError: If the disk is full or unavailable, or the file was deleted; the next call
                tries again.
        """
        self.seal_if_due(now)
        segment = self._segment = self._segment or self._begin(now)
        try:
            segment.write(data, tail)
        except BaseException:  # also one raised by a signal handler: half a line must not stay
            self._mend(segment)
            raise
        if segment.is_removed():
            self.abandon()
            raise FileNotFoundError(f"{segment.path} was deleted while it was written")

    def seal_if_due(self, now: float) -> bool:
        """Seal the segment if it is large or old enough; returns whether it was."""
        segment = self._segment
        if segment is None or not self._is_due(segment, now):
            return False
        self._segment = None
        try:
            if segment.tail:
                # first, so that it is in one of them whenever the process dies
                self.append(b"", now, tail=segment.tail)
                segment.cut_tail()
        except OSError:
            # sealed with its tail, it would say less of the window than the next one does
            self._drop(self._segment)
            self._segment = segment
            return False
        self._seal(segment)
        return True

    def seal(self) -> None:
        """Close the segment and move it to the sealed ones."""
        segment, self._segment = self._segment, None
        if segment is not None:
            self._seal(segment)

    def abandon(self) -> None:
        """Leave the segment to others, such as the parent of a forked child."""
        segment, self._segment = self._segment, None
        if segment is not None:
            os.close(segment.file)

    def _is_due(self, segment: _Segment, now: float) -> bool:
        age_s = now - segment.began_at
        return (
            segment.size >= self._max_bytes
            # a clock that was put back must not keep it open
            or not 0 <= age_s < self._max_age_s
            or now // _DAY_S != segment.began_at // _DAY_S
        )

    def _seal(self, segment: _Segment) -> None:
        os.close(segment.file)
        self.sealed_folder.mkdir(parents=True, exist_ok=True)
        # a reader may have moved it already, if nobody wrote to it for so long that it looked dead
        with suppress(FileNotFoundError):
            segment.path.rename(self.sealed_folder / segment.path.name)

    def _drop(self, begun: _Segment | None) -> None:
        """Take away a segment that was begun and has no lines."""
        if begun is not None:
            os.close(begun.file)
            with suppress(OSError):
                begun.path.unlink()

    def _begin(self, now: float) -> _Segment:
        self._open_folder.mkdir(parents=True, exist_ok=True)
        path = self._open_folder / f"{self._stem}-{self._n_segments:06d}{SUFFIX}"
        # exclusive: a file of this name would be another writer's
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        lock_segment(file)
        self._n_segments += 1
        return _Segment(file, path, now)

    def _mend(self, segment: _Segment) -> None:
        try:
            segment.mend()
        except OSError:
            # readers put the torn line aside; the next rows go into a new file
            self.seal()


def _write_at(file: int, offset: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        # a write may be partial, for example on a disk that is nearly full
        written += os.pwrite(file, data[written:], offset + written)
