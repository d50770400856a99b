"""Listing of the data files below a local or remote folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.guard import without_secrets
from flytekitplugins.wbmon.storage.location import local_path


class DataFile(NamedTuple):
    """One data file.

    Attributes:
        path: Its path or URL.
        folders: Names of the folders between the listed folder and the file.
        open: Opens the file for reading in binary mode.
    """

    path: str
    folders: tuple[str, ...]
    open: Callable[[], Any]


def list_files(location: str, filesystem: Any) -> list[DataFile]:
    """The file itself, or all data files below a folder, sorted by path.

    Files and folders whose names start with a dot or an underscore are skipped.

    Args:
        location: A path or fsspec URL.
        filesystem: The fsspec file system of a URL; created from the URL if None.

    Returns:
        No file for a folder without data files, such as one that has only `_SUCCESS`. In a bucket a
        folder exists only as long as anything is in it.

    Raises:
        DataError: If the location is empty or does not exist.
    """
    path = local_path(location)
    if path == "":
        raise DataError("data must be a path, got an empty one, which would be the working folder")
    # local files are memory-mapped, which fsspec does not do
    return _list_remote(location, filesystem) if path is None else _list_local(path)


def _list_local(location: str) -> list[DataFile]:
    root = Path(location).expanduser()
    if not root.exists():
        raise _missing(location)
    if root.is_file():
        return [DataFile(str(root), (), _local_opener(root))]
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return [
        DataFile(str(path), path.relative_to(root).parts[:-1], _local_opener(path))
        for path in paths
        if _is_data(path.relative_to(root).parts)
    ]


def _list_remote(location: str, filesystem: Any) -> list[DataFile]:
    filesystem, root = open_filesystem(location, filesystem=filesystem)
    paths = sorted(filesystem.find(root))
    if not paths and not _exists(filesystem, root):
        raise _missing(without_secrets(location))
    found = []
    for path in paths:
        parts = tuple(path.removeprefix(root).strip("/").split("/"))
        # a file that the caller names is read even if its name starts with an underscore; an
        # empty object with a slash at the end is what a store, or who made it, keeps for a folder
        if path == root or (_is_data(parts) and not path.endswith("/")):
            opener = _remote_opener(filesystem, path)
            found.append(DataFile(filesystem.unstrip_protocol(path), parts[:-1], opener))
    return found


def _exists(filesystem: Any, root: str) -> bool:
    """As `exists` of fsspec, which however takes any failure of the store for a no."""
    try:
        filesystem.info(root)
    except FileNotFoundError:
        return False
    return True


def _missing(location: str) -> DataError:
    return DataError(f"data must exist, but there is no file or folder {location!r}")


def _is_data(parts: Sequence[str]) -> bool:
    # the convention of Spark and Hive for markers and unfinished files, such as `_SUCCESS`
    return not any(part.startswith((".", "_")) for part in parts)


def _local_opener(path: Path) -> Callable[[], Any]:
    # an empty file cannot be memory-mapped; as BytesIO it gets the usual "not Parquet" error
    return lambda: pa.memory_map(str(path)) if path.stat().st_size else io.BytesIO()


def _remote_opener(filesystem: Any, path: str) -> Callable[[], Any]:
    return lambda: filesystem.open(path, "rb")
