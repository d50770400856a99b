"""Delivering, later, the runs that wait in an offline store."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.deliver import RunDelivery
from flytekitplugins.wbmon.delivery.runs.package import PackedRun
from flytekitplugins.wbmon.delivery.runs.store import OfflineStore
from flytekitplugins.wbmon.errors import DataError

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
    store: OfflineStore,
    *,
    api_host: str,
    key: ApiKey,
    timeout_s: float = 60.0,
) -> tuple[SyncedRun, ...]:
    """Deliver every run of a store, oldest first, each of its rows, artifacts and alerts once.

    A run is removed from the store when W&B has confirmed it. A run that somebody else is
    delivering is left to them.

    Args:
        store: Where the runs wait.
        api_host: URL of the W&B API.
        key: The W&B key.
        timeout_s: Seconds for each run.
    """
    deliver = _deliverer(store, api_host=api_host, key=key, timeout_s=timeout_s)
    return tuple(deliver(url, packed) for url, packed in store.list_runs())


def _deliverer(
    store: OfflineStore, *, api_host: str, key: ApiKey, timeout_s: float
) -> Callable[[str, PackedRun], SyncedRun]:
    def deliver(url: str, packed: PackedRun) -> SyncedRun:
        reason = _deliver_leased(
            store, url, packed, api_host=api_host, key=key, timeout_s=timeout_s
        )
        if reason:
            logger.warning("%s stays in the store: %s", url, reason)
        return SyncedRun(
            url=url,
            path=f"{packed.entity}/{packed.project}/runs/{packed.run_id}",
            n_rows=packed.n_rows,
            is_delivered=not reason,
            reason=reason,
        )

    return deliver


def _deliver_leased(
    store: OfflineStore,
    url: str,
    packed: PackedRun,
    *,
    api_host: str,
    key: ApiKey,
    timeout_s: float,
) -> str:
    token = store.acquire(url, seconds=timeout_s + _LEASE_MARGIN_S)
    if token is None:
        return "somebody else is delivering it now"
    try:
        with tempfile.TemporaryDirectory(prefix="wandb-sync-") as folder:
            return _deliver(
                store, url, packed, Path(folder), api_host=api_host, key=key, timeout_s=timeout_s
            )
    except (DataError, OSError) as error:
        return str(error)
    finally:
        store.release(url, token)


def _deliver(
    store: OfflineStore,
    url: str,
    packed: PackedRun,
    folder: Path,
    *,
    api_host: str,
    key: ApiKey,
    timeout_s: float,
) -> str:
    store.fetch(url, packed, folder)
    until = time.monotonic() + timeout_s
    delivery = RunDelivery(
        folder, api_host=api_host, key=key, has_ended=lambda: True, until=lambda: until
    )
    progress = delivery.run(live=False)
    if not progress.is_confirmed:
        store.save_ledger(url, folder)
        return progress.reason
    store.remove(url)
    return ""
