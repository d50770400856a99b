"""A run that its task writes to disk, and a process apart delivers meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.process import WorkerProcess
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path, wait_for_end
from flytekitplugins.wbmon.delivery.runs.wandb_internals import UnsupportedWandbError
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.ended import END_TIMEOUT_S, RunEnd
from flytekitplugins.wbmon.run.settings import RunSettings

if TYPE_CHECKING:
    import wandb
    from flytekitplugins.wbmon.run.log_flusher import LogFlusher

WORKER = "flytekitplugins.wbmon.delivery.runs.worker"


class SpooledRun:
    """Delivers a run while it is written; what W&B has not confirmed goes to the offline store.

    Args:
        settings: The arguments of `wandb_init`.
        identity: What is running.
        key: The W&B key; without one the run is only kept.
    """

    def __init__(self, settings: RunSettings, identity: TaskIdentity, key: ApiKey | None) -> None:
        self._settings = settings
        self._key = key
        self._end = RunEnd(settings, identity)
        self._worker: WorkerProcess | None = None
        self._flusher: LogFlusher | None = None

    def open(self, arguments: Mapping[str, Any]) -> wandb.Run:
        """Start the run, and the process that delivers it.

        Args:
            arguments: Of `wandb.init`.
        """
        if self._key is not None:
            # first, so that both processes load wandb at the same time
            self._worker = WorkerProcess.try_start(
                WORKER,
                self._key,
                timeout_s=self._settings.delivery_timeout_s,
                api_host=self._settings.resolved_api_host,
            )
        run = client.start_offline_run(arguments)
        self._flusher = client.flush_every_second(run)
        if self._worker is not None:
            self._worker.begin(Path(run.settings.sync_dir))
        return run

    def to_config(self) -> dict[str, str]:
        """Where the run will be found if it cannot be delivered; for its `flyte` config block."""
        return self._end.to_config()

    def flush(self) -> None:
        """Bring what the run has logged to disk now, where wandb does not do it by itself."""
        if self._flusher is not None:
            self._flusher.flush()

    def abandon(self) -> None:
        """Give up delivering the run."""
        if self._flusher is not None:
            self._flusher.stop()
        if self._worker is not None:
            self._worker.end()

    def end(self, run: wandb.Run, exit_code: int, *, is_terminating: bool = False) -> None:
        """End the run, wait for its delivery as long as it may take, keep what is not confirmed.

        Args:
            run: What `open` returned.
            exit_code: 0 for success.
            is_terminating: The process was told to stop, and will be killed before long.
        """
        timeout_s = self._end.timeout_s(is_terminating=is_terminating)
        try:
            reason = self._deliver(run, exit_code, timeout_s)
        except UnsupportedWandbError as error:
            self.abandon()
            reason = str(error)
        self._end.report(run, reason, timeout_s=timeout_s)

    def _deliver(self, run: wandb.Run, exit_code: int, timeout_s: float) -> str:
        """End the run and deliver it; why that was not confirmed, empty if it was."""
        if self._flusher is not None:
            self._flusher.stop()
        run.finish(exit_code=exit_code)
        folder = Path(run.settings.sync_dir)
        wait_for_end(log_path(folder), END_TIMEOUT_S)
        if self._worker is None:
            return "it is an offline run"
        self._worker.finish(timeout_s)
        progress = DeliveryProgress.load(folder)
        return "" if progress.is_confirmed else progress.reason
