"""The task's side of a delivery: a separate worker process, which survives if the task is killed.

Only the worker gets the W&B key, on its standard input. The same input tells it what to deliver
and how much time is left; `signals` reads these lines. The worker writes its progress to a file
beside the data, so the task needs no answer from it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.folders import writable_folders
from flytekitplugins.wbmon.privacy.secrets import MIN_SECRET_LENGTH, mounted_variables
from flytekitplugins.wbmon.storage.room import temporary_folder, working_folder

logger = logging.getLogger(__name__)

_POLL_S = 0.2
# the key, and the address of the parent's wandb service, which the child must not share
_NOT_INHERITED = ("WANDB_API_KEY", "WANDB_SERVICE")


# the standard inputs of the workers
_INPUTS: WeakSet[IO[str]] = WeakSet()


def _let_go_of_inputs() -> None:
    """In a forked child: a worker is told by the end of its input that the task is gone."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in _INPUTS:
        with suppress(ValueError):  # closed
            # not `close`, which would wait for a thread of the parent that is writing
            os.dup2(null, stream.fileno(), inheritable=False)
    os.close(null)


os.register_at_fork(after_in_child=_let_go_of_inputs)


class WorkerProcess:
    """A process that delivers one folder while the task writes to it.

    Args:
        module: Name of the module that it runs, as with `python -m`.
        key: The W&B key.
        timeout_s: Seconds that it may go on after the task's process is gone, if `finish` was
            never called.
        settings: Further settings of the module, as JSON data.
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
        """Start the process.

        Returns:
            None if the operating system cannot start a process, for example for lack of memory;
            this is logged, because a run must not fail for it.
        """
        try:
            return cls(module, key, timeout_s=timeout_s, **settings)
        except OSError as error:
            logger.warning("W&B: cannot start the process that delivers (%s)", error)
            return None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def begin(self, folder: Path) -> None:
        """Send the worker the folder to deliver."""
        self._folder = folder
        self._send({"folder": str(folder)})

    def finish(
        self,
        timeout_s: float,
        *,
        grace_s: float = 0.0,
        until: Callable[[], float] = lambda: float("inf"),
        **told: Any,
    ) -> None:
        """Wait for the delivery, then end the process in any case.

        A process that has died is replaced once, if there is time left.

        Args:
            timeout_s: Time limit of the delivery, in seconds.
            grace_s: Further seconds for the process to save its progress.
            until: Returns the time on the clock of `time.monotonic()` at which to give up, if it
                is sooner. It is asked again and again.
            told: What the process must know of the end of the task, as JSON data.
        """
        time_limit = time.monotonic() + timeout_s

        def left_s() -> float:
            return min(time_limit, until()) - time.monotonic()

        if self._folder is not None:
            self._send({"timeout_s": left_s(), **told})
            self._wait(lambda: left_s() + grace_s)
            # None is still running, 0 is done; a signal gives a negative number
            if self._process.returncode and left_s() > 0:
                logger.warning("the process that delivers to W&B died; starting another")
                self.end()
                self._process = self._start()
                self.begin(self._folder)
                self._send({"timeout_s": left_s(), **told})
                self._wait(lambda: left_s() + grace_s)
        self.end()

    def end(self) -> None:
        """Kill the process and all processes that it started."""
        with suppress(OSError):  # closing flushes, which fails if the process is dead
            if self._process.stdin is not None:
                self._process.stdin.close()
        end_group(self._process)

    def _start(self) -> subprocess.Popen[str]:
        # S603: our own module, nothing a user typed
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", self._module],
            env=child_environment(self._key),
            # the working directory of the task may have been deleted
            cwd=working_folder() or temporary_folder(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # signals to the task's process group do not reach it, and `end_group` can kill its own
            start_new_session=True,
            text=True,
        )
        if self._process.stdin is not None:
            _INPUTS.add(self._process.stdin)
        self._send({"key": self._key.reveal(), **self._settings})
        return self._process

    def _send(self, message: Mapping[str, Any]) -> None:
        with suppress(OSError, ValueError):  # a process that died is noticed when it is waited for
            stream = self._process.stdin
            if stream is not None:
                stream.write(json.dumps(message) + "\n")
                stream.flush()

    def _wait(self, left_s: Callable[[], float]) -> None:
        while (left := left_s()) > 0:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(min(left, _POLL_S))
                return


def end_group(process: subprocess.Popen[Any]) -> None:
    """Kill a process and all processes that it started.

    Args:
        process: Must be the leader of its own session, or else the caller's group is killed.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def child_environment(key: ApiKey) -> dict[str, str]:
    """This process's environment without secrets and wandb's service, with its import path.

    The folders of wandb that cannot be written to are replaced.

    Args:
        key: The W&B key; a variable of any name that holds it is left out.
    """
    mounted = mounted_variables()
    # `Secret(env_var=…)` gives the same value again under a name of its own
    secrets = {value for value in mounted.values() if len(value) >= MIN_SECRET_LENGTH}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_INHERITED
        and name not in mounted
        and value not in secrets
        and key.reveal() not in value
    }
    # an empty entry would mean the child's working directory
    path = os.pathsep.join(path for path in sys.path if path)
    return {**kept, **writable_folders(), "PYTHONPATH": path}
