"""Compare-and-swap of small files: replace a file only if it is unchanged since it was read.

The guarantee depends on the store:

- local disk: one writer at a time (an advisory lock beside the file), and a rename, so a reader
  never sees half a file. NFS must support `flock`.
- S3 and stores with its protocol: a conditional put (`If-Match`, `If-None-Match`), decided by the
  server. A server that ignores these headers gives no guarantee.
- any other store: the content is compared right before it is written. If two writers do so within
  the same milliseconds, both succeed and the later one wins.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.storage.filesystem import open_filesystem, write_file
from flytekitplugins.wbmon.storage.guard import protocols

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_PRECONDITION = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Identifies the content that was read.

    Attributes:
        digest: SHA-256 of the content as hex digits; empty if there was no file.
        etag: The entity tag of the store; empty where the store has none.
    """

    digest: str = ""
    etag: str = ""


def read_file(filesystem: AbstractFileSystem, path: str) -> tuple[bytes | None, Version]:
    """The content and version of a file; the content is None if there is no file."""
    # s3fs caches listings, and another process may have written since
    filesystem.invalidate_cache()
    try:
        # the tag first: if the file changes in between, the tag is too old and a put is refused
        etag = _etag(filesystem, path) if _is_s3(filesystem) else ""
        data = bytes(filesystem.cat_file(path))
    except FileNotFoundError:
        return None, Version()
    return data, Version(digest=hashlib.sha256(data).hexdigest(), etag=etag)


def replace_file(filesystem: AbstractFileSystem, path: str, data: bytes, version: Version) -> bool:
    """Write `data` if the file still has the given version.

    Args:
        filesystem: The file system.
        path: Path of the file.
        data: The new content.
        version: The version that `read_file` returned.

    Returns:
        False if the file was changed in between; nothing is written then.
    """
    if _is_local(filesystem):
        return _replace_local(filesystem, path, data, version)
    if _is_s3(filesystem):
        return _replace_s3(filesystem, path, data, version)
    return _replace_unguarded(filesystem, path, data, version)


def is_draft(name: str, of: str) -> bool:
    """Whether a file is what a killed writer left of one that is called `of`, on a local disk."""
    return re.fullmatch(rf"\.{re.escape(of)}\.[0-9a-f]{{32}}", name) is not None


def is_guarded(filesystem: AbstractFileSystem) -> bool:
    """Whether one of two simultaneous writers is refused, so that the swap is atomic."""
    return _is_local(filesystem) or _is_s3(filesystem)


def _is_local(filesystem: AbstractFileSystem) -> bool:
    return "file" in protocols(filesystem)


def _is_s3(filesystem: AbstractFileSystem) -> bool:
    return "s3" in protocols(filesystem)


def _replace_local(
    filesystem: AbstractFileSystem, path: str, data: bytes, version: Version
) -> bool:
    place = Path(open_filesystem(path, filesystem=filesystem)[1])
    place.parent.mkdir(parents=True, exist_ok=True)
    # a lock file of its own, which stays: the file itself is replaced, and a lock on a file that
    # was replaced or deleted keeps nobody out
    with _locked(place.with_name(f".{place.name}.lock")):
        if read_file(filesystem, path)[1].digest != version.digest:
            return False
        # in the same folder, because a rename is atomic only within one file system
        draft = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
        with draft.open("xb") as file:  # a new file: nobody can have made it a link to another
            file.write(data)
        draft.replace(place)
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # imported here: Windows has no such module
    import fcntl

    # closing the file releases the lock; no link is followed, which would lead to another file
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _replace_s3(filesystem: AbstractFileSystem, path: str, data: bytes, version: Version) -> bool:
    condition = {"IfMatch": version.etag} if version.etag else {"IfNoneMatch": "*"}
    try:
        filesystem.pipe_file(path, data, **condition)
    except Exception as error:
        if not _is_refusal(error):
            raise
        # boto3 repeats a put whose response was lost; the repeated put finds the file that the
        # first one wrote and is refused, although the write has succeeded
        return read_file(filesystem, path)[1].digest == hashlib.sha256(data).hexdigest()
    return True


def _is_refusal(error: Exception) -> bool:
    """Whether the server refused the write because of its condition, and did not fail."""
    causes = list(_causes(error))
    codes = {getattr(each, "response", {}).get("Error", {}).get("Code") for each in causes}
    if "NoSuchBucket" in codes:
        return False
    is_other = any(isinstance(each, (FileExistsError, FileNotFoundError)) for each in causes)
    return is_other or not codes.isdisjoint(_PRECONDITION)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _etag(filesystem: AbstractFileSystem, path: str) -> str:
    return str(filesystem.info(path)["ETag"])


def _replace_unguarded(
    filesystem: AbstractFileSystem, path: str, data: bytes, version: Version
) -> bool:
    if read_file(filesystem, path)[1].digest != version.digest:
        return False
    write_file(filesystem, path, data)
    return True
