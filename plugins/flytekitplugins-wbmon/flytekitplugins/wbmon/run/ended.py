"""The offline store of a run in either delivery mode, and the report of its delivery."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.delivery.runs.pending_log import lost_of, read_content
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress, note_lost
from flytekitplugins.wbmon.delivery.runs.stash_thread import StashThread
from flytekitplugins.wbmon.delivery.runs.store import keep_run
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.runs.transaction_log import has_ended, log_path
from flytekitplugins.wbmon.delivery.runs.wandb_internals import UnsupportedWandbError
from flytekitplugins.wbmon.delivery.store import OfflineStore, keep_in_time
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.flyte.termination import TERMINATING_TIMEOUT_S, is_terminating
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run.closed_stderr import log_safely
from flytekitplugins.wbmon.run.finish import Finished, finish_in_time
from flytekitplugins.wbmon.run.init_arguments import run_url
from flytekitplugins.wbmon.run.offline_store import open_store, store_url
from flytekitplugins.wbmon.run.outcome import TaskOutcome
from flytekitplugins.wbmon.run.settings import RunSettings
from flytekitplugins.wbmon.storage.guard import without_secrets
from flytekitplugins.wbmon.storage.room import discard_scratch

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

STORE_FOLDER = "wandb-offline"
# wandb needs some milliseconds to finish an offline run; after this time it will not do so
FINISH_TIMEOUT_S = 10.0


class RunEnd:
    """Reports whether an ended run was delivered, and stores it if it was not.

    Args:
        settings: The arguments of `wandb_init`.
        identity: Identity of the running task.
        has_key: Whether there is a key, and so a server that the run is for, also if it was not
            named.
    """

    def __init__(self, settings: RunSettings, identity: TaskIdentity, *, has_key: bool) -> None:
        self._settings = settings
        self._api_host = settings.resolved_api_host if has_key else settings.named_api_host
        self._store_url = store_url(settings.offline_store, identity)
        self._stash: StashThread | None = None
        # a folder of its own only below the raw output, which also holds the task's other files
        if self._store_url and settings.offline_store is None:
            self._store_url = f"{self._store_url}/{STORE_FOLDER}"

    def to_config(self) -> dict[str, str]:
        """The URL of the offline store, as an entry for the `flyte` block of the run's config."""
        return {"offline_store": without_secrets(self._store_url)} if self._store_url else {}

    def begin(self, folder: Path, *, is_delivered: bool) -> None:
        """Store what waits for W&B while the task works, as its container may be killed.

        Args:
            folder: The folder of a run that has just begun.
            is_delivered: Whether a process delivers the run meanwhile.
        """
        if not self._store_url:
            return
        try:
            self._stash = StashThread(
                folder, self._open_store, is_delivered=is_delivered, api_host=self._api_host
            )
        except (DataError, RuntimeError) as error:  # no log, no further thread
            logger.warning("W&B: the run is not stored before its end: %s", error)

    def finish(
        self, run: wandb.Run, folder: Path, outcome: TaskOutcome, *, timeout_s: float
    ) -> Finished:
        """Finish the run in bounded time, and report what went wrong; see `finish_in_time`.

        Args:
            run: An open run.
            folder: The run's folder.
            outcome: The outcome of the task.
            timeout_s: Time limit in seconds for wandb.
        """
        finished = finish_in_time(run, folder, outcome, timeout_s)
        if finished.problem:
            _say(f"{finished.problem}; what was logged last may be lost")
        return finished

    def report(self, run: wandb.Run, folder: Path, reason: str, tally: RunTally) -> None:
        """Report the outcome in the log and on the Deck, and store the run if it is not delivered.

        Args:
            run: The run, after it has ended.
            folder: The run's folder.
            reason: Why W&B has not confirmed the run; empty if it has.
            tally: How the task ended and what it has logged.
        """
        if reason:
            _say(f"not delivered to W&B: {reason}")
            self._keep(folder, tally)
        lost = _lost(folder)
        if lost:
            _say(f"the run lacks something that was logged: {lost}")
        if not reason:
            place = run_url(self._settings, run.id)
            _say(
                f"W&B has the rest of the run: {place}" if lost else f"delivered to W&B: {place}",
                level=logging.INFO,
            )
            discard_scratch(folder)
            if self._stash is not None:
                self._stash.remove()

    def _keep(self, folder: Path, tally: RunTally) -> None:
        if not self._store_url:
            _note_lost(folder, tally)
            _say(f"the run is kept in {folder}")
            return
        timeout_s = self._settings.delivery_timeout_s
        if is_terminating():
            timeout_s = min(timeout_s, TERMINATING_TIMEOUT_S)
        # the store is opened inside the time limit too, because that may already hang
        kept = keep_in_time(
            lambda: self._store(folder, tally, timeout_s),
            url=self._store_url,
            folder=folder,
            timeout_s=timeout_s,
        )
        if kept.problem:
            _note_lost(folder, tally)
            where = f"could not be stored, and is in {kept.place}" if kept.place else "is lost"
            _say(f"the run {where}: {kept.problem}")
        else:
            _say(f"the run is kept in {kept.place}; SyncOfflineRuns delivers it later")

    def _store(self, folder: Path, tally: RunTally, timeout_s: float) -> str:
        if self._stash is None:
            return keep_run(folder, self._open_store, tally, api_host=self._api_host)
        # a step that is under way may end; if the store hangs, another attempt may not
        return self._stash.finish(tally, timeout_s=timeout_s / 2)

    def _open_store(self) -> OfflineStore:
        return open_store(self._store_url)


def _note_lost(folder: Path, tally: RunTally) -> None:
    # nobody else has read the log; to read a long one takes seconds
    with suppress(UnsupportedWandbError, DataError, OSError):
        log = log_path(folder)
        if tally.is_whole and not tally.failed and has_ended(log):
            return
        note_lost(folder, lost_of(folder, read_content(folder), tally))


def _lost(folder: Path) -> str:
    """What the run lacks, as those who have read its log have noted."""
    try:
        return DeliveryProgress.load(folder).lost
    except DataError:
        return ""


def _say(text: str, level: int = logging.WARNING) -> None:
    # an answer of the server or of a store may repeat what it was sent
    shown = SecretRedactor().value(text)
    with log_safely():
        logger.log(level, "W&B: %s", shown)
    show_note(shown)
