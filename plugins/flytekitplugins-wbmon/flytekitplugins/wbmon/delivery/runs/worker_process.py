"""The task's side of delivery: start the deliverer, give it its time, and take what it says."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.sync_command import end_group, environment_without_service

logger = logging.getLogger(__name__)


class WorkerProcess:
    """A process apart that delivers one run; it alone holds the key.

    Args:
        key: The W&B key.
        api_host: URL of the W&B API.
        timeout_s: Seconds it may take after the task is done.
    """

    def __init__(self, key: ApiKey, *, api_host: str, timeout_s: float) -> None:
        self._hello = {"key": key.reveal(), "api_host": api_host, "timeout_s": timeout_s}
        self._folder: Path | None = None
        self._process = self._start()

    def begin(self, folder: Path) -> None:
        """Say where the run is written."""
        self._folder = folder
        self._tell({"folder": str(folder)})

    def finish(self, timeout_s: float) -> DeliveryProgress:
        """Wait for the delivery, at most so many seconds; then end the process whatever it does.

        A deliverer that was killed is replaced as long as there is time.
        """
        until = time.monotonic() + timeout_s
        folder = self._folder
        if folder is None:
            self.abandon()
            return DeliveryProgress(reason="the run was never opened")
        self._tell({"timeout_s": timeout_s})
        progress = self._wait(folder, until)
        if self._process.returncode and not progress.is_confirmed and time.monotonic() < until:
            logger.warning("the process that delivers to W&B died; starting another")
            end_group(self._process)
            self._process = self._start()
            self._tell({"folder": str(folder)})
            self._tell({"timeout_s": until - time.monotonic()})
            progress = self._wait(folder, until)
        self.abandon()
        return DeliveryProgress.load(folder)

    def abandon(self) -> None:
        """End the process and all it started."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        end_group(self._process)

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "flytekitplugins.wbmon.delivery.runs.worker"],
            env=environment_without_service(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        self._process = process
        self._tell(self._hello)
        return process

    def _tell(self, message: dict[str, object]) -> None:
        with suppress(OSError, ValueError):  # a process that died is noticed when it is waited for
            stream = self._process.stdin
            if stream is not None:
                stream.write(json.dumps(message) + "\n")
                stream.flush()

    def _wait(self, folder: Path, until: float) -> DeliveryProgress:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
        return DeliveryProgress.load(folder)
