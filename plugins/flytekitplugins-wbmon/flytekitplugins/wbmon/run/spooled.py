"""What becomes of a run beside its task: it is delivered, or kept to be delivered later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path, wait_for_end
from flytekitplugins.wbmon.delivery.runs.wandb_internals import UnsupportedWandbError
from flytekitplugins.wbmon.delivery.runs.worker_process import WorkerProcess
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.init_arguments import run_url
from flytekitplugins.wbmon.run.settings import RunSettings

if TYPE_CHECKING:
    import wandb
    from flytekitplugins.wbmon.delivery.runs.store import OfflineStore
    from flytekitplugins.wbmon.run.log_flusher import LogFlusher

logger = logging.getLogger(__name__)

STORE_FOLDER = "wandb-offline"
END_TIMEOUT_S = 5.0
# Kubernetes kills a pod 30 s after it told it to stop; storing the run needs some of them
_HURRIED_TIMEOUT_S = 10.0


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
        self._folder = Path()
        self._url = ""
        self._store_url = _store_url(settings, identity)
        self._deliverer: WorkerProcess | None = None
        self._flusher: LogFlusher | None = None

    def open(self, arguments: Mapping[str, Any]) -> wandb.Run:
        """Start the run, and the process that delivers it.

        Args:
            arguments: Of `wandb.init`.
        """
        if self._key is not None:
            # first, so that both processes load wandb at the same time
            self._deliverer = _start(self._settings, self._key)
        run = client.start_offline_run(arguments)
        self._note(run)
        self._flusher = client.flush_every_second(run)
        if self._deliverer is not None:
            self._deliverer.begin(self._folder)
        return run

    def to_config(self) -> dict[str, str]:
        """Where the run will be found if it cannot be delivered; for its `flyte` config block."""
        return {"offline_store": self._store_url} if self._store_url else {}

    def flush(self) -> None:
        """Bring what the run has logged to disk now, where wandb does not do it by itself."""
        if self._flusher is not None:
            self._flusher.flush()

    def abandon(self) -> None:
        """Give up delivering the run."""
        if self._flusher is not None:
            self._flusher.stop()
        if self._deliverer is not None:
            self._deliverer.abandon()

    def end(self, run: wandb.Run, exit_code: int, *, is_terminating: bool = False) -> None:
        """End the run, wait for its delivery as long as it may take, keep what is not confirmed.

        Args:
            run: What `open` returned.
            exit_code: 0 for success.
            is_terminating: The process was told to stop, and will be killed before long.
        """
        timeout_s = self._settings.delivery_timeout_s
        if is_terminating:
            timeout_s = min(timeout_s, _HURRIED_TIMEOUT_S)
        try:
            reason = self._deliver(run, exit_code, timeout_s)
        except UnsupportedWandbError as error:
            self.abandon()
            reason = str(error)
        if not reason:
            tell(f"delivered to W&B: {self._url}", level=logging.INFO)
            return
        tell(f"not delivered to W&B: {reason}")
        if self._store_url:
            tell(_put_in_time(self._store_url, self._folder, timeout_s))
        else:
            tell(f"the run is kept in {self._folder}")

    def _deliver(self, run: wandb.Run, exit_code: int, timeout_s: float) -> str:
        """End the run and deliver it; why that was not confirmed, empty if it was."""
        if self._flusher is not None:
            self._flusher.stop()
        run.finish(exit_code=exit_code)
        wait_for_end(log_path(self._folder), END_TIMEOUT_S)
        if self._deliverer is None:
            return "it is an offline run"
        progress = self._deliverer.finish(timeout_s)
        return "" if progress.is_confirmed else progress.reason

    def _note(self, run: wandb.Run) -> None:
        self._folder = Path(run.settings.sync_dir)
        self._url = run_url(self._settings, run.id)


def _start(settings: RunSettings, key: ApiKey) -> WorkerProcess | None:
    try:
        return WorkerProcess(
            key, api_host=settings.resolved_api_host, timeout_s=settings.delivery_timeout_s
        )
    except OSError as error:  # no process or memory left; the run is kept
        logger.warning("W&B: cannot start the process that delivers (%s)", error)
        return None


def _store_url(settings: RunSettings, identity: TaskIdentity) -> str:
    if settings.offline_store is not None:
        return settings.offline_store.rstrip("/")
    if identity.is_local:
        return ""
    from flytekit import current_context

    return f"{current_context().raw_output_prefix.rstrip('/')}/{STORE_FOLDER}"


def _put_in_time(url: str, folder: Path, timeout_s: float) -> str:
    from flytekitplugins.wbmon.delivery.runs.store import OfflineStore

    store, done = OfflineStore(url), list[str]()
    worker = threading.Thread(target=_put, args=(store, folder, done), daemon=True)
    worker.start()
    worker.join(timeout_s)
    return done[0] if done else f"storing the run in {url} took too long; it is in {folder}"


def _put(store: OfflineStore, folder: Path, done: list[str]) -> None:
    try:
        done.append(f"the run is kept in {store.put(folder)}; SyncOfflineRuns delivers it later")
    except Exception as error:  # noqa: BLE001 - any file system's errors; the task is done
        done.append(f"the run could not be stored in {store.url} ({error}); it is in {folder}")


def tell(text: str, level: int = logging.WARNING) -> None:
    """Say something of the run in the log and on the task's Deck."""
    logger.log(level, "W&B: %s", text)
    show_note(text)
