"""The segments of one process: written to a local folder, and uploaded if the log is at a URL."""

from __future__ import annotations

import tempfile
from hashlib import blake2b
from pathlib import Path
from threading import RLock
from typing import Any

from flytekitplugins.wbmon.storage.lifetime import patiently
from flytekitplugins.wbmon.storage.segments.layout import local_root
from flytekitplugins.wbmon.storage.segments.upload import ORPHAN_AFTER_S, Uploader
from flytekitplugins.wbmon.storage.segments.writer import SegmentWriter


class SegmentLog:
    """Appends lines to the segments of one process. It is thread-safe; a fork needs a new one.

    Args:
        destination: Path or fsspec URL of the log. For a URL, sealed segments are uploaded from
            `spool` and deleted there after the size of the copy was checked.
        service: Name of the service.
        instance: A name that is never used again, see `unique_instance`.
        max_bytes: Size in bytes at which a segment is sealed.
        max_age_s: Age in seconds at which a segment is sealed.
        spool: Local folder for segments that wait for upload, for one destination only; by default
            below the system's temporary folder.
        filesystem: An fsspec file system with the caller's credentials, for a URL.
    """

    def __init__(
        self,
        destination: str,
        service: str,
        instance: str,
        *,
        max_bytes: int,
        max_age_s: float,
        spool: str | None = None,
        filesystem: Any = None,
    ) -> None:
        local = local_root(destination)
        root = local or Path(spool or _default_spool(destination))
        self._lock = RLock()
        self._writer = SegmentWriter(
            root, service, instance, max_bytes=max_bytes, max_age_s=max_age_s
        )
        self._uploader: Uploader | None = None
        self._is_finished = False
        if local is None:
            self._uploader = Uploader(
                self._writer.sealed_folder,
                destination,
                service,
                # a segment that a living process still writes to is never as old as this
                orphan_after_s=max(ORPHAN_AFTER_S, 2 * max_age_s),
                seal_if_due=self.seal_if_due,
                filesystem=filesystem,
            )

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
        self._is_finished = False
        with self._lock:
            self._writer.append(data, now, tail=tail)

    def seal_if_due(self, now: float) -> None:
        """Seal the segment if it is due, and start its upload."""
        with self._lock:
            is_sealed = self._writer.seal_if_due(now)
        if is_sealed:
            self.send()

    def seal(self) -> None:
        """Seal the segment, so that it can be uploaded and read as a whole."""
        with patiently(self._lock):
            self._writer.seal()

    def send(self) -> None:
        """Start uploading sealed segments, also those that an earlier process left in the spool."""
        if self._uploader is not None:
            self._uploader.wake()

    def finish_sending(self, timeout_s: float) -> None:
        """Upload sealed segments for at most `timeout_s` seconds; the rest stays in the spool.

        What could not be sent then is not tried again before something is appended.
        """
        if self._uploader is not None and not self._is_finished:
            self._uploader.close(timeout_s)
            self._is_finished = True

    def abandon(self) -> None:
        """In a forked child: leave the segment to the parent."""
        self._writer.abandon()


def _default_spool(destination: str) -> Path:
    # everything in a spool goes to one destination, whichever process left it there
    place = blake2b(destination.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / "wbmon-spool" / place
