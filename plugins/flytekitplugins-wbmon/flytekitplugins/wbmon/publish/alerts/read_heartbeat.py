"""Reads when a monitor last reported, from its state file, and when its data last arrived."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.monitor.alerts.heartbeat import Heartbeat
from flytekitplugins.wbmon.monitor.alerts.history import newest_night
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# limits the number of requests
_MAX_DEPTH = 6


def read_heartbeat(*, at: datetime, watched_uri: str = "", data_uri: str = "") -> Heartbeat:
    """Read the times of the newest report and the newest data.

    If a place cannot be read, its time is None and the error is in `problem`.

    Args:
        at: The time from which ages are counted, with a time zone.
        watched_uri: State file of the monitor; empty if no report is expected.
        data_uri: Folder of the data; empty if no data are expected.
    """
    reported_at, data_at, data, problems = None, None, data_uri, []
    if watched_uri:
        try:
            reported_at = _last_report(watched_uri, filesystem_of_task(watched_uri), at)
        except Exception as error:  # noqa: BLE001 - any store; a monitor not seen is not alive
            problems.append(f"{watched_uri}: {type(error).__name__}: {error}")
    if data_uri:
        try:
            data_at, data = newest_file(data_uri, filesystem_of_task(data_uri))
        except Exception as error:  # noqa: BLE001 - any store; data not seen are not there
            problems.append(f"{data_uri}: {type(error).__name__}: {error}")
    return Heartbeat(
        at=at,
        reported_at=reported_at,
        data_at=data_at,
        watches_report=bool(watched_uri),
        watches_data=bool(data_uri),
        data=data,
        problem="; ".join(problems),
    )


def newest_file(uri: str, filesystem: AbstractFileSystem) -> tuple[datetime | None, str]:
    """Find the newest file below a folder.

    Only the last partition is listed, that is at each level the last folder by name, numbers in
    names by their size. It is the newest one for names such as `dt=2026-02-13`, `dt=2026-2-9` or
    `hour=9`. Hidden folders, Hive's partition without a value, and hidden and empty files are
    skipped.

    Args:
        uri: Path or URL of the folder.
        filesystem: The file system of the folder.

    Returns:
        The time at which the file was written and its path. None and the listed folder if there is
        no file.
    """
    folder = uri.rstrip("/")
    for _ in range(_MAX_DEPTH):
        entries = _listed(filesystem, folder)
        # one request per level, where a listing of the whole table may need very many
        folders = [str(entry["name"]) for entry in entries if _is_partition(entry)]
        if not folders:
            break
        folder = max(folders, key=_by_number)
    else:
        # folders at every level: the entries are folders, and no file was reached
        entries = []
    written = [
        (_written_at(filesystem, entry), str(entry["name"])) for entry in entries if _counts(entry)
    ]
    return max(written) if written else (None, folder)


def _last_report(uri: str, filesystem: AbstractFileSystem, at: datetime) -> datetime | None:
    # a window dated in the future would be a sign of life until then
    now = max(at, datetime.now(timezone.utc))
    newest = newest_night(MemoryFile(uri, filesystem).read().history, now)
    return None if newest is None else newest.at


def _listed(filesystem: AbstractFileSystem, folder: str) -> Sequence[dict[str, Any]]:
    # fsspec caches listings and would not show files that arrived since the last one
    filesystem.invalidate_cache()
    try:
        listed: Sequence[dict[str, Any]] = filesystem.ls(folder, detail=True)
    except FileNotFoundError:
        return ()
    return listed


def _is_partition(entry: dict[str, Any]) -> bool:
    # such as `_temporary`, `.spark-staging` and `dt=__HIVE_DEFAULT_PARTITION__`
    name = str(entry["name"]).rstrip("/").rpartition("/")[2]
    is_hidden = name.startswith((".", "_")) or name.endswith("=__HIVE_DEFAULT_PARTITION__")
    return entry["type"] == "directory" and not is_hidden


def _by_number(name: str) -> list[tuple[str, int, str]]:
    """A key by which `dt=2026-2-13` comes after `dt=2026-2-9`, and `hour=10` after `hour=9`."""
    parts = re.split(r"([0-9]+)", name.rstrip("/"))
    # words and numbers in turn; more digits are the larger number, without zeros in front
    numbers = [part.lstrip("0") for part in parts[1::2]]
    return [*zip(parts[::2], [*map(len, numbers), -1], [*numbers, ""], strict=True)]


def _counts(entry: dict[str, Any]) -> bool:
    # `_SUCCESS` and the like are markers, and a file that is being written may still be empty
    name = str(entry["name"]).rpartition("/")[2]
    return entry["type"] == "file" and bool(entry["size"]) and not name.startswith((".", "_"))


def _written_at(filesystem: AbstractFileSystem, entry: dict[str, Any]) -> datetime:
    at: datetime = filesystem.modified(entry["name"])
    # a file system may return a naive time, which is taken as UTC
    return at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
