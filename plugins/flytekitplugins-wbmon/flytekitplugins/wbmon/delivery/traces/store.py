"""Where traces wait that no server has taken yet, and how they get there later."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from flytekitplugins.wbmon.delivery.traces.drain import drain_spool
from flytekitplugins.wbmon.delivery.traces.pending import DrainResult, count_confirmed
from flytekitplugins.wbmon.delivery.traces.spool import CONFIRMED, REJECTED, TARGET

logger = logging.getLogger(__name__)

FOLDER = "weave-traces"


class StoreResult(NamedTuple):
    """What became of the traces of a store.

    Attributes:
        n_spools: Spools found.
        n_delivered: Spools the server has all of; they are gone from the store.
        n_records: Records confirmed in this round.
        n_left: Records that wait on.
        n_rejected: Records the server refuses for good.
        reason: Why something waits on; empty otherwise.
    """

    n_spools: int
    n_delivered: int
    n_records: int
    n_left: int
    n_rejected: int
    reason: str


def keep_spool(folder: Path, store: str) -> str:
    """Copy a spool to a store.

    Args:
        folder: Of the spool.
        store: Path or fsspec URL.

    Returns:
        Where it is now.
    """
    files, root = _open(store)
    place = f"{root}/{FOLDER}/{folder.name}"
    files.makedirs(place, exist_ok=True)
    # what describes the spool goes last: a spool without it is not whole, and is left alone
    for path in sorted(folder.iterdir(), key=lambda each: each.name == TARGET):
        files.put_file(str(path), f"{place}/{path.name}")
    return f"{store.rstrip('/')}/{FOLDER}/{folder.name}"


def drain_store(
    store: str, *, api_key: str, deadline_s: float = 300.0, trace_url: str = ""
) -> StoreResult:
    """Send every spool of a store, oldest first; what the server confirmed whole is removed.

    Args:
        store: Path or fsspec URL, as given to `keep_spool`.
        api_key: Of W&B.
        deadline_s: Longest time for each spool.
        trace_url: Send there, wherever the traces were meant to go; empty keeps their target.
    """
    files, root = _open(store)
    found = sorted(
        files.glob(f"{root}/{FOLDER}/*/{TARGET}"),
        key=lambda path: json.loads(files.cat_file(path)).get("begun_at", 0.0),
    )
    results = []
    for path in found:
        place = str(path).rpartition("/")[0]
        results.append(_drain_one(files, place, api_key, deadline_s, trace_url))
    return StoreResult(
        n_spools=len(found),
        n_delivered=sum(result.is_complete for result, _ in results),
        n_records=sum(result.n_sent - before for result, before in results),
        n_left=sum(result.n_left for result, _ in results),
        n_rejected=sum(result.n_rejected for result, _ in results),
        reason=next((result.reason for result, _ in results if result.reason), ""),
    )


def _drain_one(
    files: Any, place: str, api_key: str, deadline_s: float, trace_url: str
) -> tuple[DrainResult, int]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in files.ls(place, detail=False):
            files.get_file(path, str(folder / str(path).rpartition("/")[2]))
        before = count_confirmed(folder)
        result = drain_spool(folder, api_key=api_key, deadline_s=deadline_s, trace_url=trace_url)
        if result.is_complete and not result.n_rejected:
            files.rm(place, recursive=True)
        else:
            for name in (CONFIRMED, REJECTED):
                if (folder / name).exists():
                    files.put_file(str(folder / name), f"{place}/{name}")
        return result, before


def _open(store: str) -> tuple[Any, str]:
    import fsspec

    files, root = fsspec.core.url_to_fs(store)
    return files, root.rstrip("/")
