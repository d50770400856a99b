"""Tells the segments of living writers from those that a dead one left open.

A writer locks its open segment. The system lets go of the lock when the process dies, even if it
is killed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock_segment(file: int) -> None:
    """Lock a segment for as long as its file is open, where the file system has locks.

    Args:
        file: Descriptor of the file, which no other process inherits.
    """
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def has_dead_writer(path: Path) -> bool:
    """Whether it is certain that nobody writes to a segment any more.

    A file without content may be one that its writer is about to lock.
    """
    if fcntl is None:
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return path.stat().st_size > 0
    except OSError:
        return False
