"""A folder in an offline store: what its manifest says, and whether that can be believed.

Whoever can write to the store can write anything into it. So nothing that a stored folder names may
lie outside of the folder, neither where it is read nor where it is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.guard import is_disk

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MANIFEST = "manifest.json"
# in place of the manifest while a folder is written in steps
GROWING = "growing.json"
LEFT = "Nothing of it is sent, and it is left where it is"
_CHUNK = 1024 * 1024
# that of an artifact of a hundred thousand files has about 20 MiB
_MAX_MANIFEST_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFolder:
    """A folder in a store.

    Attributes:
        url: URL of the folder.
        path: Its path within the file system.
        marker: Name of the file whose presence shows that the folder is complete.
        about: Content of that file, without `files`.
        files: Size in bytes and SHA-256 of each file, by name; None for a folder without a
            manifest, such as the traces of release 0.2.
        problem: Why the marker cannot be read; empty if it can.
    """

    url: str
    path: str
    marker: str
    about: Mapping[str, Any]
    files: Mapping[str, tuple[int, str]] | None
    problem: str = ""


def describe_folder(
    filesystem: AbstractFileSystem, marker: str, *, url: str, info: Mapping[str, Any]
) -> StoredFolder | None:
    """Read the marker of a folder.

    Args:
        filesystem: File system of the store.
        marker: Path of the marker.
        url: URL of the folder.
        info: What the listing of the store says of the marker.

    Returns:
        The folder, with a `problem` if the marker cannot be read; None if it is gone meanwhile.
    """
    path, _, name = marker.rpartition("/")
    about: dict[str, Any] = {}
    files, problem = None, ""
    try:
        _check_marker(info)
        about = dict(json.loads(filesystem.cat_file(marker)))
        sums = about.pop("files") if name in (MANIFEST, GROWING) else None
        files = sums and {file: (int(size), str(sha)) for file, (size, sha) in sums.items()}
        check_names(files or ())
    except FileNotFoundError:
        return None  # delivered meanwhile
    except Exception as error:  # noqa: BLE001 - anybody may have written anything there
        why = error if isinstance(error, DataError) else type(error).__name__
        problem = f"{url}/{name} must describe what is stored there, and is damaged: {why}. {LEFT}"
    return StoredFolder(url=url, path=path, marker=name, about=about, files=files, problem=problem)


def _check_marker(info: Mapping[str, Any]) -> None:
    if info.get("islink"):
        raise DataError("it is a link to another file")
    if (info.get("size") or 0) > _MAX_MANIFEST_BYTES:
        raise DataError(f"it has {info['size']} bytes")


def check_names(names: Iterable[str]) -> None:
    """Check the names of files in a folder.

    Raises:
        DataError: If one is not the plain path of a file below the folder.
    """
    for name in names:
        if not is_below(name):
            raise DataError(f"it must name files below its folder, got {name!r}")


def is_below(name: str) -> bool:
    """Whether a name is the plain relative path of a file below a folder."""
    path = PurePath(name)  # of this system: only on Windows does a backslash separate folders
    try:
        is_possible = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
    is_plain = bool(path.parts) and path.as_posix() == name.replace(os.sep, "/")
    return is_possible and is_plain and not path.anchor and ".." not in path.parts


def refuse_links(filesystem: AbstractFileSystem, stored: StoredFolder, *, root: str) -> None:
    """Refuse a folder on a disk from which a link or a device leads to something else.

    Args:
        filesystem: File system of the store.
        stored: The folder.
        root: Path of the store.

    Raises:
        DataError: If there is one.
    """
    if not is_disk(filesystem):
        return
    above = Path(stored.path).relative_to(root).parts
    parents = [Path(root, *above[:depth]) for depth in range(1, len(above) + 1)]
    inside = [
        Path(folder, name)
        for folder, folders, files in os.walk(stored.path)
        for name in (*folders, *files)
    ]
    for path in (*parents, *inside):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue  # delivered meanwhile
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise DataError(
                f"{path} must be a file or folder of its own, and no link or device. {LEFT}"
            )


def checksum(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
