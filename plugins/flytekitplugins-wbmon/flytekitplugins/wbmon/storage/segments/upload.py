"""Uploads sealed segments; the local copy is deleted only after the uploaded one was checked."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from typing import Any

from flytekitplugins.wbmon.storage.filesystem import make_parent, open_filesystem
from flytekitplugins.wbmon.storage.guard import without_secrets
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX, is_of_this_host, segment_folder
from flytekitplugins.wbmon.storage.segments.owner import has_dead_writer
from flytekitplugins.wbmon.warn import warn

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
ORPHAN_AFTER_S = 3600.0
_QUIET_S = 300.0
_LAST_WORD_S = 15.0


class Uploader:
    """Uploads the sealed segments of a folder, also those that an earlier process left there.

    A killed process also leaves its open segment. That is sealed too: when nobody holds its lock
    any more (and it has been quiet for five minutes, if it is not of this host), or it has not been
    written to for `orphan_after_s` seconds.

    Args:
        folder: Local folder of sealed segments.
        destination: fsspec URL of the log.
        service: Name of the service.
        orphan_after_s: Seconds without a write after which an open segment is taken for that of a
            dead process; must be more than the age at which segments are sealed.
        seal_if_due: Called from time to time with the current time, so that a segment is sealed at
            its age even if no rows arrive.
        filesystem: An fsspec file system with the caller's credentials. The separate process that
            uploads the rest at exit uses the credentials of the environment.
    """

    def __init__(
        self,
        folder: Path,
        destination: str,
        service: str,
        *,
        orphan_after_s: float = ORPHAN_AFTER_S,
        seal_if_due: Callable[[float], None] | None = None,
        filesystem: Any = None,
    ) -> None:
        self._folder = folder
        self._open_folder = folder.parent.parent / "open" / service
        self._place = (destination, service, str(orphan_after_s))
        self._target = segment_folder(destination, "sealed", service)
        self._shown = without_secrets(self._target)
        self._orphan_after_s = orphan_after_s
        self._seal_if_due, self._filesystem = seal_if_due, filesystem
        self._wake = threading.Event()
        self._deadline: float | None = None
        self._pause_s = _PAUSE_S
        self._thread: threading.Thread | None = None
        self.n_sent = self.n_failed = 0

    def wake(self) -> None:
        """Wake the upload thread; the first call starts it."""
        # it has ended if the log was closed before
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="wbmon-upload", daemon=True)
            self._thread.start()
        self._wake.set()

    def close(self, timeout_s: float) -> bool:
        """Upload the segments that wait, for at most `timeout_s` seconds.

        Args:
            timeout_s: Seconds to wait; the rest stays in the folder for the next process.

        Returns:
            Whether no segment is left.
        """
        is_exit = _is_exit()
        self._deadline = monotonic() + (0.0 if is_exit else timeout_s)
        if not is_exit or (self._thread is not None and self._thread.is_alive()):
            self.wake()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if is_exit and self._is_waiting():
            self._send_apart()
        return not self._is_waiting()

    def send_waiting(self) -> bool:
        """Upload the segments that wait now; returns whether all of them were uploaded."""
        self._seal_orphans()
        return self._send_all()

    def _is_waiting(self) -> bool:
        return any(self._folder.glob(f"*{SUFFIX}"))

    def _send_apart(self) -> None:
        """Upload the rest in a separate process.

        When the interpreter exits, thread pools accept no more work, and remote file systems need
        one.
        """
        code = (
            "import json, sys; from flytekitplugins.wbmon.storage.segments.upload import main; "
            "main(json.load(sys.stdin))"
        )
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", code],
                # not as arguments, which every user of the machine can read: a URL may hold keys
                input=json.dumps([str(self._folder), *self._place]).encode(),
                # the package may have been found by a path that only this process has set
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdout=subprocess.DEVNULL,
                timeout=_LAST_WORD_S,
                check=False,
            )
        if self._is_waiting():
            warn(
                logger,
                "segments are kept in %s, they could not be sent to %s",
                self._folder, self._shown,
            )  # fmt: skip

    def _run(self) -> None:
        while True:
            self._seal_old()
            is_done = self.send_waiting()
            is_last = self._deadline is not None
            # a segment may have been sealed while others were sent
            if is_last and (not self._is_waiting() or monotonic() >= (self._deadline or 0.0)):
                return
            pause = _LONGEST_PAUSE_S if is_done else self._pause_s
            if self._deadline is not None:
                pause = min(pause, 0.2)
            self._wake.wait(pause)
            self._wake.clear()

    def _seal_old(self) -> None:
        if self._seal_if_due is not None:
            # the disk may be full; it is tried again at the next round
            with suppress(OSError):
                self._seal_if_due(time())

    def _seal_orphans(self) -> None:
        for path in self._open_folder.glob(f"*{SUFFIX}"):
            # another worker of this host may move the same file first
            with suppress(OSError):
                quiet_s = time() - path.stat().st_mtime
                # of others quiet as well: a lock may not be seen from other hosts
                can_tell = is_of_this_host(path.name) or quiet_s > _QUIET_S
                if quiet_s > self._orphan_after_s or (can_tell and has_dead_writer(path)):
                    self._folder.mkdir(parents=True, exist_ok=True)
                    path.rename(self._folder / path.name)

    def _send_all(self) -> bool:
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                self._send(path)
            except Exception as error:  # noqa: BLE001 - every file system has errors of its own
                if not path.exists():
                    continue  # another process of this host has sent it
                if _is_exit():
                    return False
                self.n_failed += 1
                if self.n_failed == 1:
                    warn(
                        logger,
                        "%s is kept here, it could not be sent to %s (%s: %s)",
                        path, self._shown, type(error).__name__, error,
                    )  # fmt: skip
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
                return False
            self._pause_s = _PAUSE_S
        return True

    def _send(self, path: Path) -> None:
        url = f"{self._target}/{path.name}"
        files, target = open_filesystem(url, filesystem=self._filesystem)
        size = path.stat().st_size
        make_parent(files, target)
        files.put_file(str(path), target)
        # or the size may come from a cached listing and not from the store
        files.invalidate_cache(target)
        found = files.info(target)["size"]
        if found != size:
            raise OSError(f"{target} must have {size} bytes, found {found}")
        path.unlink()
        self.n_sent += 1


def _is_exit() -> bool:
    """Whether the interpreter is exiting: the main thread has ended, and exit handlers run."""
    return not threading.main_thread().is_alive()


def main(arguments: list[str]) -> None:
    """Upload the segments of a folder; `arguments` are those of `Uploader`, in order, as texts."""
    folder, destination, service, orphan_after_s = arguments
    orphan_age = float(orphan_after_s)
    Uploader(Path(folder), destination, service, orphan_after_s=orphan_age).send_waiting()
