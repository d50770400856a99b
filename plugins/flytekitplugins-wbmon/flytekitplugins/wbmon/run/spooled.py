"""A run that the task writes to disk while a separate process delivers it to W&B."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.process import WorkerProcess
from flytekitplugins.wbmon.delivery.runs.claim import ENTRY
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.flyte.identity import TaskIdentity, is_exclusive
from flytekitplugins.wbmon.flyte.termination import terminating_until
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.ended import FINISH_TIMEOUT_S, RunEnd
from flytekitplugins.wbmon.run.log_calls import logged_by
from flytekitplugins.wbmon.run.outcome import TaskOutcome
from flytekitplugins.wbmon.run.settings import RunSettings

if TYPE_CHECKING:
    import wandb
    from flytekitplugins.wbmon.run.log_flusher import LogFlusher

WORKER = "flytekitplugins.wbmon.delivery.runs.worker"


class SpooledRun:
    """Delivers a run while it is written; an unconfirmed run goes to the offline store.

    Args:
        settings: The arguments of `wandb_init`.
        identity: Identity of the running task.
        key: The W&B key; if None the run is stored and not delivered.
        store_at: Returns the time on the clock of `time.monotonic()` at which a run that has an
            offline store and is not confirmed goes there, if that is sooner than the time limit of
            the delivery. It is asked again and again.

    Attributes:
        folder: The run's folder, once it is open.
    """

    def __init__(
        self,
        settings: RunSettings,
        identity: TaskIdentity,
        key: ApiKey | None,
        *,
        store_at: Callable[[], float] = lambda: float("inf"),
    ) -> None:
        self._settings = settings
        self._key = key
        self._store_at = store_at
        self._end = RunEnd(settings, identity, has_key=key is not None)
        # a run that others may write is sent by one process at a time
        self._writer = "" if is_exclusive(settings.id, identity) else uuid.uuid4().hex
        self._worker: WorkerProcess | None = None
        self._flusher: LogFlusher | None = None
        self.folder = Path()

    def open(self, arguments: Mapping[str, Any]) -> wandb.Run:
        """Start the run and the process that delivers it.

        Args:
            arguments: The arguments of `wandb.init`.
        """
        if self._key is not None:
            # started before the run, so that both processes import wandb at the same time
            self._worker = WorkerProcess.try_start(
                WORKER,
                self._key,
                timeout_s=self._settings.delivery_timeout_s,
                api_host=self._settings.resolved_api_host,
                writer=self._writer,
            )
        run = client.start_offline_run(arguments)
        # once: wandb works it out from the local time, and the task may set another time zone
        self.folder = Path(run.settings.sync_dir)
        self._flusher = client.flush_every_second(run)
        if self._worker is not None:
            self._worker.begin(self.folder)
        self._end.begin(self.folder, is_delivered=self._worker is not None)
        return run

    def to_config(self) -> dict[str, str]:
        """Entries for the `flyte` block of the run's config: the offline store, the writer."""
        return {**self._end.to_config(), **({ENTRY: self._writer} if self._writer else {})}

    def flush(self) -> None:
        """Write what the run has logged to disk now, for releases of wandb that do not do so."""
        if self._flusher is not None:
            self._flusher.flush()

    def abandon(self) -> None:
        """Stop delivering, for a run that could not be opened."""
        if self._flusher is not None:
            self._flusher.stop()
        if self._worker is not None:
            self._worker.end()

    def end(self, run: wandb.Run, outcome: TaskOutcome) -> None:
        """End the run, wait for its delivery up to the time limit, and store it if unconfirmed.

        Args:
            run: The run that `open` returned.
            outcome: The outcome of the task.
        """
        tally = tally_of(run, outcome)
        try:
            # before `finish`, after which wandb accepts no records
            if self._flusher is not None:
                self._flusher.stop()
            finished = self._end.finish(run, self.folder, outcome, timeout_s=FINISH_TIMEOUT_S)
            tally = replace(tally, is_whole=finished.is_whole)
            reason = self._deliver(tally)
        except Exception as error:  # noqa: BLE001 - whatever it is, what is on disk is stored
            self.abandon()
            reason = str(error)
        except BaseException:
            self.abandon()
            self._end.report(run, self.folder, "its delivery was interrupted", tally)
            raise
        self._end.report(run, self.folder, reason, tally)

    def _deliver(self, tally: RunTally) -> str:
        """Deliver an ended run; return why it is not confirmed, or an empty text if it is."""
        if self._worker is None:
            return "it is an offline run" if self._key is None else "no process could be started"
        began = time.monotonic()
        has_store = bool(self._end.to_config())
        self._worker.finish(
            self._settings.delivery_timeout_s,
            until=lambda: min(
                terminating_until(began), self._store_at() if has_store else float("inf")
            ),
            tally=tally.to_dict(),
        )
        # the worker writes its progress to a file, which is valid even if the worker was killed
        progress = DeliveryProgress.load(self.folder)
        return "" if progress.is_confirmed else progress.reason


def tally_of(run: wandb.Run, outcome: TaskOutcome) -> RunTally:
    """What the task can say of its run at its end."""
    n_rows, failed = logged_by(run)
    return RunTally(
        exit_code=outcome.exit_code, summary=outcome.summary, n_rows=n_rows, failed=failed
    )
