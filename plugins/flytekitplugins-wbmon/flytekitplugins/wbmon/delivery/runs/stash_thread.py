"""Decides when a run goes to the offline store while its task is at work.

A container dies as one when it is killed hard, with the process that delivers and with the disk.
So what waits for W&B goes to the store every few seconds. What W&B has does not: of a run that is
delivered while it is written the store holds only a note that it exists, by which a run whose
container died is found and ended.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.receipt import Receipt
from flytekitplugins.wbmon.delivery.runs.stash import STEP_BYTES, RunStash
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.time_limit import call_in_time
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.lease import LeaseLostError

logger = logging.getLogger(__name__)

_POLL_S = 0.25
# a run that is shorter costs nothing
_FIRST_STEP_S = 5.0
_STEP_EVERY_S = 4.0
# with W&B healthy, `arrival` sees whatever is logged at W&B within 4 s and a moment
_PATIENCE_S = 5.0
# of a run that a store has from its task's first seconds on; it need not hold a row
_NOTE_BYTES = 64 * 1024
_REMOVE_S = 5.0
_MAX_SIZES = 1000


class StashThread:
    """A thread that keeps a run's copy in the store up to date; there is one for each run.

    A store that is slow or hangs delays this thread only. In a forked child nothing happens.

    Args:
        folder: The run's folder.
        open_store: Opens the store; called with the context of the caller, where flytekit's
            settings are.
        is_delivered: Whether a process delivers the run meanwhile; else all of it waits.
        api_host: URL of the W&B API that the run is for; empty for any.

    Raises:
        DataError: If the folder does not hold exactly one log.
    """

    def __init__(
        self,
        folder: Path,
        open_store: Callable[[], OfflineStore],
        *,
        is_delivered: bool,
        api_host: str = "",
    ) -> None:
        self._folder = folder
        self._log = log_path(folder)
        self._stash = RunStash(folder, open_store, api_host=api_host)
        self._patience_s = _PATIENCE_S if is_delivered else 0.0
        self._pid = os.getpid()
        self._is_over = threading.Event()
        self._begun_at = self._stepped_at = time.monotonic()
        # when the log had which size, since what W&B has of it
        self._sizes: list[tuple[float, int]] = []
        self._has_warned = False
        context = contextvars.copy_context()
        # a daemon: a store that hangs must not keep the process alive
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="wbmon-stash", daemon=True
        )
        self._thread.start()

    def finish(self, tally: RunTally, *, timeout_s: float) -> str:
        """Store all of the run; see `RunStash.finish`.

        Args:
            tally: What the task has logged, and its exit code.
            timeout_s: Time limit in seconds of a step that is under way.
        """
        self._stop(timeout_s)
        return self._stash.finish(tally)

    def remove(self) -> None:
        """Delete what is stored of a run that W&B has, in limited time; else the next sync does."""
        if os.getpid() != self._pid:
            return
        until = time.monotonic() + _REMOVE_S
        self._stop(_REMOVE_S)
        if not self._stash.is_begun:
            return
        try:
            call_in_time(self._stash.remove, until - time.monotonic())
        except Exception as error:  # noqa: BLE001 - any file system; the run is delivered
            logger.debug("W&B: the stored copy of a delivered run is left: %s", error)

    def _stop(self, timeout_s: float) -> None:
        self._is_over.set()
        self._thread.join(timeout_s)
        self._stash.close()

    def _run(self) -> None:
        pause_s = _POLL_S
        while not self._is_over.wait(pause_s):
            pause_s = _POLL_S if self._looks() else _STEP_EVERY_S

    def _looks(self) -> bool:
        """Look after the stored copy; return False if the store does not take it."""
        try:
            self._look()
        except LeaseLostError as error:
            logger.warning("W&B: the run is stored again when it ends: %s", error)
            self._is_over.set()
        except Exception as error:  # noqa: BLE001 - any file system; the task goes on
            self._warn(error)
            return False
        return True

    def _look(self) -> None:
        progress = self._progress()
        now, size = time.monotonic(), self._log.stat().st_size
        is_waiting = self._waiting_s(now, size, progress.arrived) > self._patience_s
        if now < self._begun_at + _FIRST_STEP_S:
            return
        left = size - self._stash.position
        is_due = (
            now >= self._stepped_at + _STEP_EVERY_S or left >= STEP_BYTES or self._stash.has_more
        )
        if is_waiting and is_due and (left or self._stash.has_more):
            self._step(progress, STEP_BYTES)
        elif not self._stash.is_begun:
            self._step(progress, _NOTE_BYTES)
        elif self._is_behind(progress):
            self._step(progress, 0)
        else:
            self._stash.skim(progress)
            self._stash.keep()

    def _step(self, progress: DeliveryProgress, most: int) -> None:
        self._stash.step(progress, most=most)
        self._stepped_at = time.monotonic()
        self._has_warned = False

    def _progress(self) -> DeliveryProgress:
        try:
            return DeliveryProgress.load(self._folder)
        except DataError:
            return DeliveryProgress()

    def _waiting_s(self, now: float, size: int, arrived: int) -> float:
        """Seconds since the oldest part of the log that has not arrived is on the disk."""
        if not self._sizes or size > self._sizes[-1][1]:
            self._sizes.append((now, size))
        while self._sizes and self._sizes[0][1] <= arrived:
            self._sizes.pop(0)
        if len(self._sizes) > _MAX_SIZES:  # only the oldest counts while it waits
            del self._sizes[1::2]
        return now - self._sizes[0][0] if self._sizes else 0.0

    def _is_behind(self, progress: DeliveryProgress) -> bool:
        """Whether the worker waits for the store to know its progress."""
        receipt = Receipt.load(self._folder)
        return receipt is not None and not receipt.covers(progress)

    def _warn(self, error: Exception) -> None:
        level = logging.DEBUG if self._has_warned else logging.WARNING
        self._has_warned = True
        logger.log(
            level,
            "W&B: what waits for W&B cannot be stored now, and is lost if the container is killed "
            "before it can: %s",
            error,
        )
