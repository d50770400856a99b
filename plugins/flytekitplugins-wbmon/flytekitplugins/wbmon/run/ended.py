"""The end of a run, however it was written: it is said that W&B has it, or the store gets it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.delivery.runs.store import keep_run
from flytekitplugins.wbmon.delivery.store import keep_in_time
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.flyte.termination import TERMINATING_TIMEOUT_S
from flytekitplugins.wbmon.run.init_arguments import run_url
from flytekitplugins.wbmon.run.offline_store import open_store, store_url
from flytekitplugins.wbmon.run.settings import RunSettings

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

STORE_FOLDER = "wandb-offline"
END_TIMEOUT_S = 5.0


class RunEnd:
    """What a task does with a run that is over.

    Args:
        settings: The arguments of `wandb_init`.
        identity: What is running.
    """

    def __init__(self, settings: RunSettings, identity: TaskIdentity) -> None:
        self._settings = settings
        self._store_url = store_url(settings.offline_store, identity)
        if self._store_url and settings.offline_store is None:
            self._store_url = f"{self._store_url}/{STORE_FOLDER}"

    def to_config(self) -> dict[str, str]:
        """Where the run will be found if it cannot be delivered; for its `flyte` config block."""
        return {"offline_store": self._store_url} if self._store_url else {}

    def timeout_s(self, *, is_terminating: bool) -> float:
        """Seconds that the delivery may take, and storing the run again."""
        allowed = self._settings.delivery_timeout_s
        return min(allowed, TERMINATING_TIMEOUT_S) if is_terminating else allowed

    def report(self, run: wandb.Run, reason: str, *, timeout_s: float) -> None:
        """Say in the log and on the Deck what became of a run, and keep it if it has to be.

        Args:
            run: It has ended.
            reason: Why W&B has not confirmed it; empty if it has.
            timeout_s: Longest time to store it.
        """
        if not reason:
            _say(f"delivered to W&B: {run_url(self._settings, run.id)}", level=logging.INFO)
            return
        _say(f"not delivered to W&B: {reason}")
        folder = Path(run.settings.sync_dir)
        if not self._store_url:
            _say(f"the run is kept in {folder}")
            return
        kept = keep_in_time(
            lambda: keep_run(folder, open_store(self._store_url)),
            url=self._store_url,
            folder=folder,
            timeout_s=timeout_s,
        )
        if kept.problem:
            _say(f"the run could not be stored, and is in {kept.place}: {kept.problem}")
        else:
            _say(f"the run is kept in {kept.place}; SyncOfflineRuns delivers it later")


def _say(text: str, level: int = logging.WARNING) -> None:
    logger.log(level, "W&B: %s", text)
    show_note(text)
