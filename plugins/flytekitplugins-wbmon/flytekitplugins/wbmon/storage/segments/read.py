"""Reads all segments of a log, also those that are still being written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from flytekitplugins.wbmon.errors import StorageError
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.guard import is_object_store
from flytekitplugins.wbmon.storage.segments.layout import SUFFIX, State, segment_folder

# in the order in which a segment goes through them
_STATES: tuple[State, ...] = ("open", "sealed", "compacted")


def read_segments(
    destination: str, service: str | None = None, *, filesystem: Any = None
) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of each segment; segments of one writer come in their order.

    A segment that is sealed or compacted while this reads is found in its new folder, and yielded
    once. A segment that is deleted in the meantime is skipped.

    Args:
        destination: Path or fsspec URL of the log.
        service: Read this service only; all services if None.
        filesystem: An fsspec file system with the caller's credentials, for a URL.

    Raises:
        FileNotFoundError: If the bucket of a URL does not exist.
        NotADirectoryError: If the destination is a file.
        StorageError: If the store cannot be reached.
    """
    files, root = open_filesystem(destination, filesystem=filesystem)
    files.invalidate_cache()
    # by name, so that a segment that moved between two listings is there once, at its later place
    places: dict[tuple[str, str], str] = {}
    for state in _STATES:
        parent = segment_folder(root, state, "").rstrip("/")
        for folder in _names(files, parent) if service is None else [service]:
            for name in _names(files, f"{parent}/{folder}"):
                if name.endswith(SUFFIX):
                    places[folder, name] = f"{parent}/{folder}/{name}"
    if not places:
        _require_folder(files, root)
    for (folder, name), path in sorted(places.items()):
        moved = [f"{segment_folder(root, state, folder)}/{name}" for state in _STATES[1:]]
        for place in (path, *moved):
            try:
                data = files.cat_file(place)
            except FileNotFoundError:
                continue
            yield place, data
            break


def _require_folder(files: Any, root: str) -> None:
    """Raise for a bucket that does not exist, and for a file; a new log has no folder yet."""
    if is_object_store(files):
        # who may not look at a bucket may still read a log in it
        with suppress(StorageError):
            files.info(root.partition("/")[0])
    elif files.isfile(root):
        raise NotADirectoryError(f"{root} must be the folder of a log, and is a file")


def _names(files: Any, folder: str) -> list[str]:
    try:
        found = files.ls(folder, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [str(path).rstrip("/").rpartition("/")[2] for path in found]
