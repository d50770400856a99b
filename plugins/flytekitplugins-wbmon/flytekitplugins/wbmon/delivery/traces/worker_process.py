"""A spool on its way: the process that sends it, its deadline, and where the rest is kept."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.traces.pending import DrainResult
from flytekitplugins.wbmon.delivery.traces.spool import CONFIRMED, RESULT
from flytekitplugins.wbmon.delivery.traces.store import keep_spool

logger = logging.getLogger(__name__)

_GRACE_S = 1.0


class TraceWorkerProcess:
    """Sends a spool from a process apart, which outlives a task that is killed.

    Args:
        folder: Of the spool.
        api_key: Of W&B; handed over on the process's input, never in its environment.
        timeout_s: Longest time after the task.
    """

    def __init__(self, folder: Path, api_key: ApiKey, *, timeout_s: float) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        # S603: our own module, nothing a user typed
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "flytekitplugins.wbmon.delivery.traces.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )
        told = {"api_key": api_key.reveal(), "deadline_s": timeout_s}
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()

    def finish(self) -> DrainResult:
        """Wait until the spool is sent, no longer than allowed."""
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(self._timeout_s + _GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            return DrainResult(**json.loads((self._folder / RESULT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return DrainResult(0, 1, reason=f"the sender did not end within {self._timeout_s:g} s")


def deliver_or_keep(
    folder: Path, result: DrainResult, store: str | None, *, level: int = logging.WARNING
) -> str:
    """Clear a spool that has arrived away, or keep it where it can be sent later.

    Args:
        folder: Of the spool.
        result: What its delivery came to.
        store: Path or URL for what is left; None leaves it where it is.
        level: Of the log line that says where the rest is.

    Returns:
        Where the rest is; empty if nothing is left.
    """
    if result.is_complete and not result.n_rejected:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        return ""
    place = str(folder)
    if store is not None:
        try:
            place = keep_spool(folder, store)
        except Exception as error:  # noqa: BLE001 - any file system; the folder is still there
            logger.warning(
                "the offline store cannot be reached (%s: %s)", type(error).__name__, error
            )
    refused = f", {result.n_rejected} are refused" if result.n_rejected else ""
    logger.log(
        level, "traces: %d records wait in %s (%s); Weave has %d%s",
        result.n_left, place, result.reason or CONFIRMED, result.n_sent, refused,
    )  # fmt: skip
    return place


def _environment() -> dict[str, str]:
    """The sender's environment: ours, without W&B's key, and with our import path."""
    hidden = ("WANDB_API_KEY",)
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
