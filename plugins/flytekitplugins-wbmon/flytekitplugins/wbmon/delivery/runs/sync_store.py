"""Later delivery of the runs that wait in an offline store."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.deliver import RunDelivery
from flytekitplugins.wbmon.delivery.runs.store import CHANGING, StoredRun, find_runs
from flytekitplugins.wbmon.delivery.store import GoneError, OfflineStore
from flytekitplugins.wbmon.errors import WbmonError

logger = logging.getLogger(__name__)

# for copying the run from the store and for the last request, which may outlast the time limit
_LEASE_MARGIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedRun:
    """Result of the delivery of one stored run.

    Attributes:
        url: URL in the store, also if the run has been removed from there.
        path: `entity/project/runs/id`, as in the URL of the run's page.
        n_rows: Number of rows of history.
        is_delivered: Whether W&B confirmed everything, and the run was removed from the store.
        reason: Why the run is still in the store; empty if it is not.
    """

    url: str
    path: str
    n_rows: int
    is_delivered: bool
    reason: str = ""


def sync_store(
    store: OfflineStore, *, api_host: str, key: ApiKey, timeout_s: float = 60.0
) -> tuple[SyncedRun, ...]:
    """Deliver every run of a store, oldest first; each row, artifact and alert is sent once.

    A run is removed from the store when W&B has confirmed it. A run that another process is
    delivering is left to that process.

    Args:
        store: The store.
        api_host: URL of the W&B API.
        key: The W&B key.
        timeout_s: Time limit for each run, in seconds.

    Returns:
        The result of each run, in order; without runs that another process has just delivered.

    Raises:
        StorageError: If the store cannot be reached.
    """
    synced = []
    for stored in find_runs(store):
        try:
            reason = _deliver(store, stored, api_host=api_host, key=key, timeout_s=timeout_s)
        except GoneError:
            continue
        except (WbmonError, OSError) as error:
            reason = str(error)
        synced.append(_described(stored, reason))
    return tuple(synced)


def _deliver(
    store: OfflineStore, stored: StoredRun, *, api_host: str, key: ApiKey, timeout_s: float
) -> str:
    """Deliver a run; returns why it is still in the store, empty if it is not."""
    lease_s = timeout_s + _LEASE_MARGIN_S
    with store.borrow(stored.stored, seconds=lease_s, changing=CHANGING) as borrowed:
        until = time.monotonic() + timeout_s
        delivery = RunDelivery(
            borrowed.folder,
            api_host=api_host,
            key=key,
            has_ended=lambda: True,
            until=lambda: until,
            on_progress=borrowed.save_progress,
        )
        progress = delivery.run(live=False)
        if progress.is_confirmed:
            borrowed.remove()
            if progress.lost:
                logger.warning("%s was delivered without what its task could not write: %s",
                               stored.stored.url, progress.lost)  # fmt: skip
        return progress.reason


def _described(stored: StoredRun, reason: str) -> SyncedRun:
    url, run = stored.stored.url, stored.run
    if reason:
        logger.warning("%s stays in the store: %s", url, reason)
    return SyncedRun(
        url=url,
        path="" if stored.stored.problem else f"{run.entity}/{run.project}/runs/{run.run_id}",
        n_rows=run.n_rows,
        is_delivered=not reason,
        reason=reason,
    )
