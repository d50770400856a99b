"""The segments of one process: on a disk of its own, or from there to a URL."""

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
    """Appends lines for one process; threads may share it, a forked child needs its own.

    Args:
        destination: Path or fsspec URL of the log. To a URL, whole segments are sent from `spool`
            and kept there until the copy is seen.
        service: The service.
        instance: Must be unique for ever, see `unique_instance`.
        max_bytes: Size at which a segment is sealed.
        max_age_s: Age in seconds at which it is.
        spool: Folder for segments on their way to a URL, for one destination only; by default one
            below the folder for temporary files.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
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
        if local is None:
            self._uploader = Uploader(
                self._writer.sealed_folder,
                destination,
                service,
                # what another process may still write to is younger than that
                orphan_after_s=max(ORPHAN_AFTER_S, 2 * max_age_s),
                seal_if_due=self.seal_if_due,
                filesystem=filesystem,
            )

    def append(self, data: bytes, now: float) -> None:
        """Write whole lines; all of them or, after an error, none.

        Args:
            data: Lines, each with its newline.
            now: Seconds since 1970.

        Raises:
            OSError: If the disk is full or gone; the next call tries again.
        """
        self.seal_if_due(now)
        with self._lock:
            self._writer.append(data, now)

    def seal_if_due(self, now: float) -> None:
        """Seal the segment if its time has come, and have it sent."""
        with self._lock:
            is_sealed = self._writer.seal_if_due(now)
        if is_sealed:
            self.send()

    def seal(self) -> None:
        """Make the segment whole."""
        with patiently(self._lock):
            self._writer.seal()

    def send(self) -> None:
        """Have whole segments sent, also those that an earlier process left in the spool."""
        if self._uploader is not None:
            self._uploader.wake()

    def finish_sending(self, timeout_s: float) -> None:
        """Send what is whole until the time is up; what is left stays in the spool."""
        if self._uploader is not None:
            self._uploader.close(timeout_s)

    def abandon(self) -> None:
        """In a forked child: leave the segment to the parent."""
        self._writer.abandon()


def _default_spool(destination: str) -> Path:
    # what lies in a spool is sent to one place, whoever left it there
    place = blake2b(destination.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / "wbmon-spool" / place
