"""Sealed segments to where they are to be kept; a copy here stays until the copy there is seen."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from time import monotonic
from typing import Any

from flytekitplugins.wbmon.records.prediction import segment_folder

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


def local_root(destination: str) -> Path | None:
    """The folder that a destination names, or None if it is elsewhere."""
    if destination.startswith("file://"):
        return Path(destination.removeprefix("file://"))
    return None if "://" in destination else Path(destination)


class Uploader:
    """Sends the sealed segments of a folder, also those that an earlier process left there.

    Args:
        folder: Where sealed segments are.
        destination: fsspec URL of the log.
        service: The service.
    """

    def __init__(self, folder: Path, destination: str, service: str) -> None:
        self._folder = folder
        self._target = segment_folder(destination, "sealed", service)
        self._wake = threading.Event()
        self._deadline: float | None = None
        self._pause_s = _PAUSE_S
        self._thread: threading.Thread | None = None
        self.n_sent = self.n_failed = 0

    def wake(self) -> None:
        """Say that there may be something to send; the first call starts the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wbmon-upload", daemon=True)
            self._thread.start()
        self._wake.set()

    def close(self, timeout_s: float) -> bool:
        """Send what is there until the time is up; whether nothing is left.

        Args:
            timeout_s: Seconds to wait; what is left stays in the folder for the next process.
        """
        self._deadline = monotonic() + timeout_s
        self.wake()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not any(self._folder.glob("*.jsonl"))

    def _run(self) -> None:
        while True:
            is_done = self._send_all()
            if self._deadline is not None and (is_done or monotonic() >= self._deadline):
                return
            pause = _LONGEST_PAUSE_S if is_done else self._pause_s
            if self._deadline is not None:
                pause = min(pause, 0.2)
            self._wake.wait(pause)
            self._wake.clear()

    def _send_all(self) -> bool:
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                self._send(path)
            except Exception as error:  # noqa: BLE001 - every file system has errors of its own
                self.n_failed += 1
                if self.n_failed == 1:
                    logger.warning(
                        "prediction log: %s is kept here, it could not be sent to %s (%s: %s)",
                        path, self._target, type(error).__name__, error,
                    )  # fmt: skip
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
                return False
            self._pause_s = _PAUSE_S
        return True

    def _send(self, path: Path) -> None:
        from fsspec.core import url_to_fs

        files: Any
        files, target = url_to_fs(f"{self._target}/{path.name}")
        files.makedirs(target.rpartition("/")[0], exist_ok=True)
        files.put_file(str(path), target)
        files.invalidate_cache(target)
        size = files.info(target)["size"]
        if size != path.stat().st_size:
            raise OSError(f"{target} must have {path.stat().st_size} bytes, found {size}")
        path.unlink()
        self.n_sent += 1
