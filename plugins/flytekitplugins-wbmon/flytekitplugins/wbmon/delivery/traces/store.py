"""Traces in an offline store: storing a spool, finding it again, and sending it later."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from flytekitplugins.wbmon.delivery.borrowed_folder import GoneError
from flytekitplugins.wbmon.delivery.store import Kept, OfflineStore, keep_in_time
from flytekitplugins.wbmon.delivery.stored_folder import StoredFolder
from flytekitplugins.wbmon.delivery.traces.drain import SpoolDrain, read_target
from flytekitplugins.wbmon.delivery.traces.pending import DrainResult, count_confirmed
from flytekitplugins.wbmon.delivery.traces.spool import (
    CONFIRMED,
    RECORDS,
    REJECTED,
    TARGET,
    Target,
)
from flytekitplugins.wbmon.errors import DataError, WbmonError
from flytekitplugins.wbmon.storage.json_text import read_json

logger = logging.getLogger(__name__)

FOLDER = "weave-traces"
KIND = "traces"
_UNKNOWN = Target(entity="", project="", trace_url="")  # of a spool whose manifest is damaged
CHANGING = (CONFIRMED, REJECTED)


class StoreResult(NamedTuple):
    """Result of sending the traces of a store.

    Attributes:
        n_spools: Number of spools found.
        n_delivered: Number of spools that the server has completely; these were removed.
        n_records: Number of records confirmed in this round.
        n_left: Number of records that are still to be sent.
        n_rejected: Number of records that the server rejected for good.
        left: Why records of a spool are left, by the spool's URL.
    """

    n_spools: int
    n_delivered: int
    n_records: int
    n_left: int
    n_rejected: int
    left: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpool:
    """A spool in a store: its folder there, and the target of its records."""

    stored: StoredFolder
    target: Target


def keep_spool(folder: Path, store: OfflineStore) -> str:
    """Store a spool.

    Returns:
        URL of the stored folder.

    Raises:
        StorageError: If the store cannot be reached.
    """
    # the target is in the manifest: a `target.json` would mark a spool of release 0.2
    about = {"kind": KIND, **asdict(read_target(folder))}
    names = [name for name in (RECORDS, *CHANGING) if (folder / name).exists()]
    sources = {name: folder / name for name in names}
    return store.put(f"{FOLDER}/{folder.name}", sources, about, changing=CHANGING)


def clear_or_keep(
    folder: Path,
    result: DrainResult,
    open_store: Callable[[], OfflineStore] | None,
    *,
    url: str,
    timeout_s: float,
    level: int = logging.WARNING,
) -> Kept:
    """Delete a spool that was delivered completely, or store it so that it can be sent later.

    Args:
        folder: Folder of the spool.
        result: Result of its delivery.
        open_store: Opens the store; None leaves the spool where it is.
        url: URL of the store, for messages.
        timeout_s: Time limit for storing, in seconds.
        level: Level of the log message that says where undelivered records are.

    Returns:
        Where the undelivered records are; its `place` is empty if there are none.
    """
    if _is_whole(result):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        return Kept("")
    kept = Kept(str(folder))
    if open_store is not None:
        kept = keep_in_time(
            lambda: keep_spool(folder, open_store()), url=url, folder=folder, timeout_s=timeout_s
        )
    if kept.problem:
        logger.warning("traces could not be stored: %s", kept.problem)
    refused = f", {result.n_rejected} are refused" if result.n_rejected else ""
    logger.log(
        level, "traces: %d records wait in %s (%s); Weave has %d%s",
        result.n_left, kept.place, result.reason or CONFIRMED, result.n_sent, refused,
    )  # fmt: skip
    return kept


def find_spools(store: OfflineStore) -> list[StoredSpool]:
    """Every spool below the store, oldest first, those of release 0.2 included.

    Spools with a damaged manifest come before all.

    Raises:
        StorageError: If the store cannot be reached.
    """
    found = []
    for stored in store.find(
        is_sought=lambda path: path.endswith(f"/{RECORDS}"), unsigned=_marks_spool
    ):
        if stored.problem:
            found.append(StoredSpool(stored=stored, target=_UNKNOWN))
            continue
        if stored.marker != TARGET and stored.about.get("kind") != KIND:
            continue
        try:
            target = _read_target(stored.about)
        except TypeError as error:
            logger.warning("%s is no spool of traces and is left alone: %s", stored.url, error)
            continue
        found.append(StoredSpool(stored=stored, target=target))
    return sorted(found, key=lambda each: (each.target.begun_at, each.stored.url))


def drain_store(
    store: OfflineStore,
    *,
    api_key: str,
    deadline_s: float = 300.0,
    trace_url: str = "",
    known_url: str = "",
) -> StoreResult:
    """Send every spool of a store, oldest first; a spool that the server confirmed is removed.

    A spool that is damaged, or that another process is sending, is left where it is.

    Args:
        store: The store.
        api_key: The W&B key.
        deadline_s: Time limit for each spool, in seconds.
        trace_url: Trace server to send to; each spool's own target if empty.
        known_url: The only server of a spool's own that is sent the key; any if empty.

    Returns:
        Counts over all spools, without those that another process has just delivered.

    Raises:
        StorageError: If the store cannot be reached.
    """
    results: dict[str, tuple[DrainResult, int]] = {}
    for spool in find_spools(store):
        url = spool.stored.url
        try:
            _check_server(spool, known_url if not trace_url else "")
            results[url] = _drain_one(store, spool, api_key, deadline_s, trace_url)
        except GoneError:
            continue
        except Exception as error:  # noqa: BLE001 - whatever is in one spool, the next is tried
            # n_records is -1 for a spool that was never closed; at least one record is left
            n_left = max(1, spool.target.n_records)
            is_plain = isinstance(error, (WbmonError, OSError))
            reason = str(error) if is_plain else f"{type(error).__name__}: {error}"
            results[url] = DrainResult(0, n_left, reason=reason), 0
        reason = results[url][0].reason
        if reason:
            logger.warning("%s stays in the store: %s", url, reason)
    found = [result for result, _ in results.values()]
    return StoreResult(
        n_spools=len(found),
        n_delivered=sum(_is_whole(result) for result in found),
        n_records=sum(result.n_sent - before for result, before in results.values()),
        n_left=sum(result.n_left for result in found),
        n_rejected=sum(result.n_rejected for result in found),
        left={url: result.reason for url, (result, _) in results.items() if result.reason},
    )


def _drain_one(
    store: OfflineStore, spool: StoredSpool, api_key: str, deadline_s: float, trace_url: str
) -> tuple[DrainResult, int]:
    with store.borrow(spool.stored, timeout_s=deadline_s, changing=CHANGING) as borrowed:
        folder = borrowed.folder
        (folder / TARGET).write_text(json.dumps(asdict(spool.target)), encoding="utf-8")
        if spool.stored.files is None:
            _check_lines(folder, spool)
        # the result counts earlier rounds too
        before = count_confirmed(folder)
        drain = SpoolDrain(
            folder,
            api_key=api_key,
            trace_url=trace_url,
            on_progress=borrowed.save_progress,
            until=borrowed.until,
        )
        result = drain.run(deadline_s=deadline_s)
        if _is_whole(result):
            borrowed.remove()
        return result, before


def _check_server(spool: StoredSpool, known_url: str) -> None:
    """Raise if a spool names another server than the one that may be sent the key."""
    # whoever can write to the store could have the key sent to a server of their own
    named = spool.target.trace_url.rstrip("/")
    if known_url and not spool.stored.problem and named != known_url.rstrip("/"):
        raise DataError(
            f"traces of a store must be for the server of the node, {known_url}, and are for "
            f"{named}; give the node the trace_host or api_host to which they are to be sent"
        )


def _is_whole(result: DrainResult) -> bool:
    """Whether the server has every record; a spool with rejected ones is kept, to be looked at."""
    return result.is_complete and not result.n_rejected


def _check_lines(folder: Path, spool: StoredSpool) -> None:
    """Raise if the lines of a spool without checksums are damaged or not all there."""
    expected = spool.target.n_records
    try:
        with (folder / RECORDS).open("rb") as file:
            n_lines = sum(1 for line in file if read_json(line))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{spool.stored.url}/{RECORDS} must be lines of JSON: {error}. Nothing of it is sent, "
            "and it is left where it is"
        ) from error
    if expected not in (-1, n_lines):
        raise DataError(
            f"{spool.stored.url}/{RECORDS} must hold {expected} records, found {n_lines}. "
            "Nothing of it is sent, and it is left where it is"
        )


def _marks_spool(path: str) -> bool:
    """Whether a path is the file that release 0.2 wrote last of a spool, in place of a manifest."""
    *_, folder, _, name = ("", "", *path.split("/"))
    return name == TARGET and folder == FOLDER


def _read_target(about: Mapping[str, Any]) -> Target:
    """The target that a manifest describes.

    Raises:
        TypeError: If an entry is missing or not of its type.
    """
    target = Target(
        **{each.name: about[each.name] for each in fields(Target) if each.name in about}
    )
    texts = (target.entity, target.project, target.trace_url)
    if not all(type(text) is str for text in texts):
        raise TypeError("entity, project and trace_url must be text")
    if type(target.n_records) is not int or type(target.begun_at) not in (int, float):
        raise TypeError("n_records and begun_at must be numbers")
    return target
