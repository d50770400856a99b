"""Which folders of this machine can be written to, and have room.

A container may have a read-only root, a home that does not exist, or a disk that is full. What can
be written is found out by writing: permissions alone do not tell.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO, RawIOBase
from pathlib import Path

from flytekitplugins.wbmon.errors import StorageError

# a folder with less is avoided if another has more: what fills it takes the room from the task
SPARE_BYTES = 64 * 1024 * 1024
_PROBE_BYTES = 4096


def temporary_folder() -> Path:
    """A folder for temporary files that can be written to.

    The one that Python would choose, else the working directory, else `/dev/shm`, which is memory.

    Raises:
        StorageError: If there is none.
    """
    tried = tuple(_temporary_folders())
    for folder in tried:
        if not why_not_writable(folder):
            return folder
    raise StorageError(
        f"one of {', '.join(map(str, tried))} must be a folder that can be written to, and none "
        "is; mount a volume at one of them, or set TMPDIR to a folder that can be written to"
    )


def working_folder() -> Path | None:
    """The working directory; None if somebody has deleted it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def absolute_path(place: str) -> Path:
    """A path that stays what it is when the task changes or deletes its working directory.

    Args:
        place: A path; `~` is the home. A relative one is of the working directory, or of the folder
            for temporary files if somebody has deleted that.
    """
    path = Path(place).expanduser()
    return path if path.is_absolute() else (working_folder() or temporary_folder()) / path


def folder_with_room(*preferred: Path, n_bytes: int = 0) -> Path:
    """The first of some folders that has room for a file, else a temporary folder that has.

    Args:
        preferred: Folders that exist; those for temporary files are tried after them.
        n_bytes: Size of the file. Room to spare is asked for beyond that.

    Returns:
        The folder with the most room if none has enough.

    Raises:
        StorageError: If none of them can be written to.
    """
    found: list[tuple[int, Path]] = []
    for folder in (*preferred, *_temporary_folders()):
        if why_not_writable(folder):
            continue
        free = free_bytes(folder)
        if free >= n_bytes + SPARE_BYTES:
            return folder
        found.append((free, folder))
    if not found:
        return temporary_folder()  # raises, and says which folders were tried
    return max(found, key=lambda each: each[0])[1]


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written to the disk of a folder; 0 if it cannot be asked."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize


def why_not_writable(folder: Path, n_bytes: int = _PROBE_BYTES) -> str:
    """Why a file cannot be written in a folder; empty if it can.

    Args:
        folder: The folder; it is not made.
        n_bytes: Size of the file that is tried.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            # a disk that is nearly full takes a part of it, without an error
            if file.write(b"\0" * n_bytes) < n_bytes:
                return os.strerror(errno.ENOSPC)
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return ""


def scratch_folder(of: Path, *, n_bytes: int = 0) -> Path:
    """A folder elsewhere for files that belong to a folder whose disk has no room for them.

    Any process of the same user and machine finds it by `find_scratch`.

    Args:
        of: The folder.
        n_bytes: Size of the files.

    Raises:
        StorageError: If no folder for temporary files can be written to.
    """
    scratch = folder_with_room(n_bytes=n_bytes) / _scratch_name(of)
    scratch.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours(scratch):
        raise StorageError(f"{scratch} must be a folder of this user, and is not; remove it")
    return scratch


def find_scratch(of: Path, name: str) -> Path | None:
    """A file in the scratch folder of a folder; None if there is none."""
    for base in _temporary_folders():
        scratch = base / _scratch_name(of)
        if _is_ours(scratch) and (scratch / name).exists():
            return scratch / name
    return None


def discard_scratch(of: Path, name: str = "") -> None:
    """Remove a file of the scratch folder of a folder; without a name, all of it."""
    for base in _temporary_folders():
        scratch = base / _scratch_name(of)
        if not _is_ours(scratch):
            continue
        if name:
            (scratch / name).unlink(missing_ok=True)
        else:
            shutil.rmtree(scratch, ignore_errors=True)


def append_whole(file: RawIOBase | BytesIO, data: bytes) -> None:
    """Append all of some data to an unbuffered file, or nothing.

    Args:
        file: A file that is open for appending or writing, at its end.
        data: What to append.

    Raises:
        OSError: If the disk has no room. What it took of the data is removed, so that the next
            line or record does not begin in the middle of this one.
    """
    end = file.seek(0, os.SEEK_END)
    try:
        written = 0
        # a disk takes what it has room for, and refuses only the rest
        while written < len(data):
            written += file.write(data[written:]) or 0
    except OSError:
        file.truncate(end)
        file.seek(end)
        raise


def _scratch_name(of: Path) -> str:
    return f"wbmon-{hashlib.sha256(str(of.resolve()).encode()).hexdigest()[:16]}"


def _is_ours(folder: Path) -> bool:
    # anyone can make a folder of this name, or a link, where temporary files are
    try:
        state = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()


def _temporary_folders() -> Iterator[Path]:
    # the order of `tempfile`, which keeps its first choice for ever and tries no write of a block
    for name in ("TMPDIR", "TEMP", "TMP"):
        if os.environ.get(name):
            yield Path(os.environ[name])
    yield from map(Path, ("/tmp", "/var/tmp", "/usr/tmp"))  # noqa: S108 - only the names of folders
    with suppress(FileNotFoundError):  # a working directory that was removed
        yield Path.cwd()
    yield Path("/dev/shm")  # noqa: S108
