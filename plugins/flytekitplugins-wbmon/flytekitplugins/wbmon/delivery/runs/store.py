"""Runs in an offline store: storing them, and finding them again."""

from __future__ import annotations

import hashlib
import logging
import platform
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from flytekitplugins.wbmon.delivery.runs.package import PackedRun, pack
from flytekitplugins.wbmon.delivery.runs.progress import FILE_NAME as PROGRESS
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path, read_records
from flytekitplugins.wbmon.delivery.runs.wandb_internals import UnsupportedWandbError
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.stored_folder import StoredFolder
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.room import folder_with_room

logger = logging.getLogger(__name__)

CHANGING = (PROGRESS,)
# of a folder whose manifest is damaged
_UNKNOWN = PackedRun(
    entity="", project="", run_id="", started_at="", n_rows=0, n_alerts=0, n_artifacts=0,
    exit_code=None,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run in a store: its folder there, and its description."""

    stored: StoredFolder
    run: PackedRun


def keep_run(folder: Path, store: OfflineStore, tally: RunTally | None = None) -> str:
    """Store a run's folder.

    What is written for that is written where there is room, which may not be in the folder.

    Args:
        folder: The run's folder.
        store: The store.
        tally: What the task told of its end, if it has ended.

    Returns:
        URL of the stored folder.

    Raises:
        DataError: If the folder does not hold exactly one log.
        StorageError: If the store cannot be reached.
        OSError: If no disk has room for a copy of the log.
    """
    place = folder_with_room(folder, n_bytes=log_path(folder).stat().st_size)
    with tempfile.TemporaryDirectory(prefix="wbmon-pack-", dir=place) as scratch:
        run, sources = pack(folder, Path(scratch), tally or RunTally())
        return store.put(stored_name(folder), sources, run.to_dict(), changing=CHANGING)


def stored_name(folder: Path) -> str:
    """The name of a run's folder in a store, the same whenever the folder is stored.

    It is `{name of the folder}-{writer}`: wandb names the folder by the run's id and the second in
    which it began, which two pods may share, and neither may overwrite the other's run.
    """
    log = log_path(folder)
    writer = f"{platform.node()} {folder.resolve()} {log.stat().st_ino} {_started_ns(log)}"
    return f"{folder.name}-{hashlib.sha256(writer.encode()).hexdigest()[:8]}"


def _started_ns(log: Path) -> int:
    """When the run of a log began, in nanoseconds; 0 if the log cannot be read."""
    with suppress(UnsupportedWandbError, DataError):
        for record in read_records(log):
            if record.HasField("run"):
                return int(record.run.start_time.ToNanoseconds())
    return 0


def find_runs(store: OfflineStore) -> list[StoredRun]:
    """Every run below the store, oldest first; those with a damaged manifest before all.

    Raises:
        StorageError: If the store cannot be reached.
    """
    found = []
    for stored in store.find(is_sought=lambda path: path.endswith(".wandb")):
        if "kind" in stored.about:
            continue  # not a run: manifests of runs have never had a `kind`
        if stored.problem:
            found.append(StoredRun(stored=stored, run=_UNKNOWN))
            continue
        try:
            found.append(StoredRun(stored=stored, run=PackedRun.from_dict(stored.about)))
        except KeyError as error:
            logger.warning("%s is no run and is left alone: its manifest has no %s",
                           stored.url, error)  # fmt: skip
        except TypeError as error:
            problem = f"{stored.url}/{stored.marker} must describe a run, and is damaged: {error}"
            found.append(StoredRun(stored=replace(stored, problem=problem), run=_UNKNOWN))
    return sorted(found, key=lambda each: (each.run.started_at, each.stored.url))
