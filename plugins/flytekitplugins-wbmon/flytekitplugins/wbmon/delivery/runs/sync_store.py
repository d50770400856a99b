"""Later delivery of the runs that wait in an offline store."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from flytekitplugins.wbmon.delivery.borrowed_folder import BusyError, GoneError
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.api import (
    KeyRefusedError,
    RunTarget,
    ServerRefusedError,
    WandbApi,
)
from flytekitplugins.wbmon.delivery.runs.dead_run import end_dead_run
from flytekitplugins.wbmon.delivery.runs.deliver import RunDelivery
from flytekitplugins.wbmon.delivery.runs.package import PackedRun
from flytekitplugins.wbmon.delivery.runs.store import CHANGING, StoredRun, find_runs
from flytekitplugins.wbmon.delivery.runs.stored_log import unpack_log
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.runs.transport import UnreachableError
from flytekitplugins.wbmon.delivery.runs.unpack import unpack
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.wandb_hosts import is_same_server
from flytekitplugins.wbmon.errors import PublishError, WbmonError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedRun:
    """Result of the delivery of one stored run.

    Attributes:
        url: URL in the store, also if the run has been removed from there.
        path: `entity/project/runs/id`, as in the URL of the run's page.
        n_rows: Number of rows of history.
        is_delivered: Whether W&B confirmed everything, and the run was removed from the store.
        reason: Why the run is still in the store; empty if it is not.
        lost: What the run's task logged and W&B will not have, because it could not be written to
            disk or is too large; empty if nothing.
    """

    url: str
    path: str
    n_rows: int
    is_delivered: bool
    reason: str = ""
    lost: str = ""


def sync_store(
    store: OfflineStore, *, api_host: str, key: ApiKey, timeout_s: float = 60.0
) -> tuple[SyncedRun, ...]:
    """Deliver every run of a store, oldest first; each row, artifact and alert is sent once.

    A run is removed from the store when W&B has confirmed it. A run that another process is
    delivering is left to that process. So is the run of a task that is at work, without a word. The
    run of a task whose container was killed is delivered as far as it was stored, as failed. If the
    server cannot be reached or refuses the key, the round ends, and all further runs are left for
    that reason. A run that is for another server than this is left in any case.

    Args:
        store: The store.
        api_host: URL of the W&B API.
        key: The W&B key.
        timeout_s: Time limit for each run in seconds, copying it from the store included.

    Returns:
        The result of each run, in order; without runs that another process has just delivered.

    Raises:
        StorageError: If the store cannot be reached.
    """
    this_round = _Round(store, api_host=api_host, key=key, timeout_s=timeout_s)
    synced = []
    for stored in find_runs(store):
        lost = ""
        try:
            reason, lost = this_round.deliver(stored)
        except GoneError:
            continue
        except BusyError as error:
            if stored.is_growing:
                continue  # its task is at work
            reason = str(error)
        except (WbmonError, OSError) as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - whatever is in one run, the next is tried
            reason = f"{type(error).__name__}: {error}"
        synced.append(_described(stored, reason, lost))
    return tuple(synced)


class _Round:
    """One round of deliveries, which ends early if the server is away."""

    def __init__(
        self, store: OfflineStore, *, api_host: str, key: ApiKey, timeout_s: float
    ) -> None:
        self._store = store
        self._api_host = api_host
        self._key = key
        self._timeout_s = timeout_s
        self._ended = ""
        self._has_waited = False

    def deliver(self, stored: StoredRun) -> tuple[str, str]:
        """Deliver a run; returns why it is still in the store, and what it lacks."""
        until = time.monotonic() + self._timeout_s
        problem = stored.stored.problem or self._elsewhere(stored.run)
        problem = problem or self._ended or self._probe(stored.run, until)
        if problem:
            return problem, ""
        left = until - time.monotonic()
        with self._store.borrow(stored.stored, timeout_s=left, changing=CHANGING) as borrowed:
            unpack(borrowed.folder, stored.stored.about)
            unpack_log(borrowed.folder, stored.run)
            if stored.is_growing:
                api = WandbApi(self._api_host, self._key, until=borrowed.until)
                end_dead_run(borrowed.folder, api)
            delivery = RunDelivery(
                borrowed.folder,
                api_host=self._api_host,
                key=self._key,
                has_ended=lambda: True,
                until=borrowed.until,
                # of a log that has no end
                tally=lambda: RunTally(exit_code=stored.run.exit_code),
                on_progress=borrowed.save_progress,
            )
            progress = delivery.run(live=False)
            if progress.is_confirmed:
                borrowed.remove()
            return progress.reason, progress.lost

    def _elsewhere(self, run: PackedRun) -> str:
        """Why the server of this round is not the one that the run is for; empty if it may be."""
        if not run.api_host or is_same_server(run.api_host, self._api_host):
            return ""
        return (
            f"it is for {run.api_host}, and this key is for {self._api_host}; deliver it with "
            "api_host= and the key of that server"
        )

    def _probe(self, run: PackedRun, until: float) -> str:
        """Ask the server for the run; returns why it is of no use to deliver it now."""
        api = WandbApi(self._api_host, self._key, until=lambda: until)
        target = RunTarget(entity=run.entity, project=run.project, run_id=run.run_id)
        try:
            api.find_run(target)
        except (KeyRefusedError, UnreachableError) as error:
            # so would be every other run, each after its time limit
            self._ended = str(error)
            return self._ended
        except ServerRefusedError as error:
            # of this run or its project; others may be accepted. One without an id is not known
            return str(error) if run.run_id else ""
        except PublishError as error:
            # a server that fails may recover: one run is given its time for that, not each
            if self._has_waited:
                return str(error)
            self._has_waited = True
        return ""


def _described(stored: StoredRun, reason: str, lost: str) -> SyncedRun:
    url, run = stored.stored.url, stored.run
    if reason:
        logger.warning("%s stays in the store: %s", url, reason)
    if lost:
        logger.warning("%s lacks something that its task logged: %s", url, lost)
    return SyncedRun(
        url=url,
        path="" if stored.stored.problem else f"{run.entity}/{run.project}/runs/{run.run_id}",
        n_rows=run.n_rows,
        is_delivered=not reason,
        reason=reason,
        lost=lost,
    )
