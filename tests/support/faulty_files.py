"""A file system whose writes are slow, hang or fail, as a file says; `faulty://` in URLs.

register(control)  # in the process that writes; the file says `slow`, `hang`, `fail`, or nothing
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

PROTOCOL = "faulty"
SLOW_S = 2.0


class FaultyFiles(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The local disk behind a bad connection."""

    protocol = PROTOCOL
    control = Path()

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "auto_mkdir": True})

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(LocalFileSystem._strip_protocol(str(path).removeprefix(f"{PROTOCOL}://")))

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        """Write a small file."""
        self._suffer()
        super().pipe_file(path, value, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        """Write a copy of a local file."""
        self._suffer()
        super().put_file(lpath, rpath, **options)

    def _suffer(self) -> None:
        mode = self.control.read_text() if self.control.is_file() else ""
        if mode == "slow":
            time.sleep(SLOW_S)
        if mode == "fail":
            raise PermissionError("planned fault")
        while mode == "hang" and self.control.read_text() == mode:
            time.sleep(0.05)


def register(control: Path) -> None:
    """Make the file system known to fsspec in this process."""
    FaultyFiles.control = control
    fsspec.register_implementation(PROTOCOL, FaultyFiles)
