"""The task's side of a delivery: a process apart that outlives a task that is killed.

It alone gets the W&B key, on its standard input, where it is also told what to deliver and how
much time is left; what it makes of these lines is in `signals`. It writes down beside what it
delivers how far it came, so whoever waits for it need not hear from it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey

logger = logging.getLogger(__name__)

# the key, and by what a process of wandb finds the service of its parent
_NOT_INHERITED = ("WANDB_API_KEY", "WANDB_SERVICE")
# a cluster's secrets that Flyte mounts as variables
_SECRET_PREFIX = "_FSEC_"  # noqa: S105 - how the names of some variables begin


class WorkerProcess:
    """A process that delivers one folder while it is written.

    Args:
        module: What it runs, as `python -m` does.
        key: The W&B key.
        timeout_s: Seconds that it may take after the task, should it never be told when that is.
        settings: What else the module needs to know, as JSON data.
    """

    def __init__(self, module: str, key: ApiKey, *, timeout_s: float, **settings: Any) -> None:
        self._module = module
        self._key = key
        self._settings = {"timeout_s": timeout_s, **settings}
        self._folder: Path | None = None
        self._process = self._start()

    @classmethod
    def try_start(
        cls, module: str, key: ApiKey, *, timeout_s: float, **settings: Any
    ) -> WorkerProcess | None:
        """The process; None if the machine has no process or memory left, which is logged."""
        try:
            return cls(module, key, timeout_s=timeout_s, **settings)
        except OSError as error:
            logger.warning("W&B: cannot start the process that delivers (%s)", error)
            return None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def begin(self, folder: Path) -> None:
        """Say what is to be delivered."""
        self._folder = folder
        self._send({"folder": str(folder)})

    def finish(self, timeout_s: float, *, grace_s: float = 0.0) -> None:
        """Wait for the delivery, at most so many seconds; then end the process whatever it does.

        A process that died is replaced as long as there is time.

        Args:
            timeout_s: Seconds for the delivery.
            grace_s: More seconds, for the process to write down how far it came.
        """
        until = time.monotonic() + timeout_s
        if self._folder is not None:
            self._send({"timeout_s": timeout_s})
            self._wait(until + grace_s)
            if self._process.returncode and time.monotonic() < until:
                logger.warning("the process that delivers to W&B died; starting another")
                self.end()
                self._process = self._start()
                self.begin(self._folder)
                self._send({"timeout_s": until - time.monotonic()})
                self._wait(until + grace_s)
        self.end()

    def end(self) -> None:
        """End the process and all it started."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        end_group(self._process)

    def _start(self) -> subprocess.Popen[str]:
        # S603: our own module, nothing a user typed
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", self._module],
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        self._send({"key": self._key.reveal(), **self._settings})
        return self._process

    def _send(self, message: Mapping[str, Any]) -> None:
        with suppress(OSError, ValueError):  # a process that died is noticed when it is waited for
            stream = self._process.stdin
            if stream is not None:
                stream.write(json.dumps(message) + "\n")
                stream.flush()

    def _wait(self, until: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a process and all it started; it must lead a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def child_environment() -> dict[str, str]:
    """This process's environment for a child: no key, no service of wandb, our import path."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_INHERITED and not name.startswith(_SECRET_PREFIX)
    }
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
