"""Runs in an offline store: storing them, and finding them again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flytekitplugins.wbmon.delivery.runs.package import PackedRun
from flytekitplugins.wbmon.delivery.runs.progress import FILE_NAME as PROGRESS
from flytekitplugins.wbmon.delivery.runs.stash import RunStash
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.stored_folder import GROWING, StoredFolder

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

    @property
    def is_growing(self) -> bool:
        """Whether its task has not ended, or died before it could store all of it."""
        return self.stored.marker == GROWING


def keep_run(
    folder: Path,
    open_store: Callable[[], OfflineStore],
    tally: RunTally | None = None,
    *,
    api_host: str = "",
) -> str:
    """Store a run's folder.

    Args:
        folder: The run's folder.
        open_store: Opens the store.
        tally: What the task told of its end, if it has ended.
        api_host: URL of the W&B API that the run is for; empty for any.

    Returns:
        URL of the stored folder.

    Raises:
        DataError: If the folder does not hold exactly one log.
        StorageError: If the store cannot be reached.
    """
    return RunStash(folder, open_store, api_host=api_host).finish(tally or RunTally())


def find_runs(store: OfflineStore) -> list[StoredRun]:
    """Every run below the store, oldest first; those with a damaged manifest before all.

    Raises:
        StorageError: If the store cannot be reached.
    """
    found = []
    for stored in store.find(
        is_sought=lambda path: path.endswith((".wandb", f"/{PROGRESS}", f"/{GROWING}")),
        unsigned=lambda path: path.endswith(f"/{GROWING}"),
    ):
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
