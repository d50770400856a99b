"""The file system of a log, whose files are complete or not there."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from flytekitplugins.wbmon.storage.filesystem import (
    make_parent,
    move_file,
    open_filesystem,
    write_file,
)
from flytekitplugins.wbmon.storage.guard import is_object_store

UNFINISHED = "_incomplete-"
"""What the name of a file begins with that is being written; no reader takes it for a part."""


class LogStore:
    """The file system of a log.

    Args:
        destination: Path or fsspec URL of the log.
        filesystem: The fsspec file system of the log, if the caller has one with credentials.

    Attributes:
        files: The fsspec file system.
        root: The log's place in it.
        has_folders: Whether folders are more than a part of a name.
    """

    def __init__(self, destination: str, filesystem: Any = None) -> None:
        self.files: Any
        self.files, self.root = open_filesystem(destination, filesystem=filesystem)
        self.has_folders = not is_object_store(self.files)
        self._own = uuid4().hex[:8]

    def list(self, folder: str) -> list[tuple[str, int | None]]:
        """What is in a folder by its name: paths with their sizes, None for what is no file.

        An empty object that a store, or who made a folder by hand, keeps for the folder is none.
        """
        # fsspec caches listings, and serving adds segments all the time
        self.files.invalidate_cache()
        try:
            found = self.files.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(
            (str(each["name"]), (each.get("size") or 0) if each["type"] == "file" else None)
            for each in found
            if self.has_folders or str(each["name"]).rstrip("/") != folder.rstrip("/")
        )

    def put(self, path: str, data: bytes) -> None:
        """Write a file that no reader sees half of."""
        if not self.has_folders:
            self.files.pipe_file(path, data)
            return
        # renamed when complete; of two compactions at once each has its own
        folder, _, name = path.rpartition("/")
        unfinished = f"{folder}/{UNFINISHED}{name}.{self._own}"
        write_file(self.files, unfinished, data)
        move_file(self.files, unfinished, path)

    def move(self, path: str, target: str) -> None:
        """Move a file to where there may be no folder yet.

        Raises:
            FileNotFoundError: If it is not there, since somebody else has moved it.
        """
        make_parent(self.files, target)
        move_file(self.files, path, target)

    def move_folder(self, path: str, target: str) -> bool:
        """Move a folder, a link or whatever is no file; whether there was anything.

        Where the store has no folders, what is moved are the files below.
        """
        if self.has_folders:
            make_parent(self.files, target)
            self.files.mv(path, target, recursive=True)
            return True
        found = [each for each in self.files.find(path) if not each.endswith("/")]
        for each in found:
            self.move(each, f"{target}{each.removeprefix(path.rstrip('/'))}")
        return bool(found)


def name_of(path: str) -> str:
    """The last part of a path.

    >>> name_of("log/dt=2026-03-01/part-0.parquet")
    'part-0.parquet'
    """
    return path.rstrip("/").rpartition("/")[2]
