"""The end of a run in either delivery mode: report the delivery, or store the undelivered run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.delivery.runs.store import keep_run
from flytekitplugins.wbmon.delivery.store import keep_in_time
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.flyte.termination import TERMINATING_TIMEOUT_S
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run.init_arguments import run_url
from flytekitplugins.wbmon.run.offline_store import open_store, store_url
from flytekitplugins.wbmon.run.settings import RunSettings
from flytekitplugins.wbmon.storage.guard import without_secrets

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

STORE_FOLDER = "wandb-offline"
# wandb writes the last record shortly after `finish` returns; this only limits the wait for it
END_TIMEOUT_S = 5.0


class RunEnd:
    """Reports whether an ended run was delivered, and stores it if it was not.

    Args:
        settings: The arguments of `wandb_init`.
        identity: Identity of the running task.
    """

    def __init__(self, settings: RunSettings, identity: TaskIdentity) -> None:
        self._settings = settings
        self._store_url = store_url(settings.offline_store, identity)
        # a folder of its own only below the raw output, which also holds the task's other files
        if self._store_url and settings.offline_store is None:
            self._store_url = f"{self._store_url}/{STORE_FOLDER}"

    def to_config(self) -> dict[str, str]:
        """The URL of the offline store, as an entry for the `flyte` block of the run's config."""
        return {"offline_store": without_secrets(self._store_url)} if self._store_url else {}

    def timeout_s(self, *, is_terminating: bool) -> float:
        """Time limit in seconds for the delivery, and again for storing the run.

        Args:
            is_terminating: The process received SIGTERM; the limit is then at most 10 s.
        """
        allowed = self._settings.delivery_timeout_s
        return min(allowed, TERMINATING_TIMEOUT_S) if is_terminating else allowed

    def report(self, run: wandb.Run, reason: str, *, timeout_s: float) -> None:
        """Report the outcome in the log and on the Deck, and store the run if it is not delivered.

        Args:
            run: The run, after it has ended.
            reason: Why W&B has not confirmed the run; empty if it has.
            timeout_s: Time limit in seconds for storing the run.
        """
        if not reason:
            _say(f"delivered to W&B: {run_url(self._settings, run.id)}", level=logging.INFO)
            return
        _say(f"not delivered to W&B: {reason}")
        folder = Path(run.settings.sync_dir)
        if not self._store_url:
            _say(f"the run is kept in {folder}")
            return
        # the store is opened inside the time limit too, because that may already hang
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
    # an answer of the server or of a store may repeat what it was sent
    shown = SecretRedactor().value(text)
    logger.log(level, "W&B: %s", shown)
    show_note(shown)
