"""Delivering, later, the runs that wait in an offline store."""

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

_LEASE_MARGIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedRun:
    """What became of one stored run.

    Attributes:
        url: Where it is, or was, stored.
        path: `entity/project/runs/id`, as in the URL of the run's page.
        n_rows: Rows of history.
        is_delivered: Whether W&B confirmed everything; then it is no longer stored.
        reason: Why it is still there.
    """

    url: str
    path: str
    n_rows: int
    is_delivered: bool
    reason: str = ""


def sync_store(
    store: OfflineStore, *, api_host: str, key: ApiKey, timeout_s: float = 60.0
) -> tuple[SyncedRun, ...]:
    """Deliver every run of a store, oldest first, each of its rows, artifacts and alerts once.

    A run is removed from the store when W&B has confirmed it. A run that somebody else is
    delivering is left to them.

    Args:
        store: Where the runs wait.
        api_host: URL of the W&B API.
        key: The W&B key.
        timeout_s: Seconds for each run.

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
    """Deliver a run; why it is still in the store, empty if it is not."""
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
        return progress.reason


def _described(stored: StoredRun, reason: str) -> SyncedRun:
    url, run = stored.stored.url, stored.run
    if reason:
        logger.warning("%s stays in the store: %s", url, reason)
    return SyncedRun(
        url=url,
        path=f"{run.entity}/{run.project}/runs/{run.run_id}",
        n_rows=run.n_rows,
        is_delivered=not reason,
        reason=reason,
    )
