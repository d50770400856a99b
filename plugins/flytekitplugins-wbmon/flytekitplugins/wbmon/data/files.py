"""The files of a folder, local or remote, that hold data."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.filesystem import is_local, open_filesystem


class DataFile(NamedTuple):
    """One file.

    Attributes:
        path: Its path or URL.
        folders: Those between the folder asked for and the file.
        open: Opens it for reading.
    """

    path: str
    folders: tuple[str, ...]
    open: Callable[[], Any]


def list_files(location: str, filesystem: Any) -> list[DataFile]:
    """The file itself, or all files below a folder but for names with a dot or underscore in front.

    Args:
        location: A path or fsspec URL.
        filesystem: The fsspec file system of a URL; None to make one.

    Raises:
        DataError: If there is nothing.
    """
    if is_local(location):
        found = _list_local(location.removeprefix("file://"))
    else:
        found = _list_remote(location, filesystem)
    if not found:
        raise DataError(f"data must be Parquet, but the folder {location!r} holds no data files")
    return found


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
    if not paths and not filesystem.exists(root):
        raise _missing(location)
    found = []
    for path in paths:
        parts = tuple(path.removeprefix(root).strip("/").split("/"))
        if path == root or _is_data(parts):
            opener = _remote_opener(filesystem, path)
            found.append(DataFile(filesystem.unstrip_protocol(path), parts[:-1], opener))
    return found


def _missing(location: str) -> DataError:
    return DataError(f"data must exist, but there is no file or folder {location!r}")


def _is_data(parts: Sequence[str]) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)


def _local_opener(path: Path) -> Callable[[], Any]:
    return lambda: pa.memory_map(str(path)) if path.stat().st_size else io.BytesIO()


def _remote_opener(filesystem: Any, path: str) -> Callable[[], Any]:
    return lambda: filesystem.open(path, "rb")
