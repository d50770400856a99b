"""The offline store: folders with undelivered runs and traces, on any file system.

    {store}/…/{folder}/manifest.json    written last: without it the folder is incomplete
                       lease.json       which process is delivering the folder
                       …                the files; the manifest has their sizes and checksums

`delivery.runs` and `delivery.traces` decide what a folder holds and how it is sent. Files that
record the progress of the delivery change, so they have no checksum.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
import logging
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flytekitplugins.wbmon.errors import DataError, PublishError
from flytekitplugins.wbmon.storage.filesystem import (
    make_parent,
    move_file,
    open_filesystem,
    write_file,
)
from flytekitplugins.wbmon.storage.guard import is_disk, is_object_store, without_secrets
from flytekitplugins.wbmon.storage.lease import Lease

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
LEASE = "lease.json"
# on a local disk, which has no conditional write, the lease has a lock file beside it
_LEASE_FILES = {LEASE, f".{LEASE}.lock"}
_CHUNK = 1024 * 1024
_LEFT = "Nothing of it is sent, and it is left where it is"


class BusyError(PublishError):
    """Another process is delivering the folder now."""


class GoneError(PublishError):
    """Another process has just delivered the folder."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BorrowedFolder:
    """A local copy of a stored folder, and the operations on the original.

    Attributes:
        folder: The local copy.
        save_progress: Writes the progress of the delivery to the store and extends the lease;
            raises if another process holds the lease by now, or if the store cannot be reached.
        remove: Deletes the original from the store, once it is delivered.
    """

    folder: Path
    save_progress: Callable[[], None]
    remove: Callable[[], None]


class Kept(NamedTuple):
    """Where undelivered data is kept.

    Attributes:
        place: URL in the store, or local path; empty if nothing is left to deliver.
        problem: Why the data is not in the store; empty if it is.
    """

    place: str
    problem: str = ""


class OfflineStore:
    """A store of folders that wait for delivery.

    Args:
        url: A path, or any URL that fsspec supports.
        filesystem: File system to use; if None, it is opened from the URL and the environment.

    Raises:
        StorageError: If it cannot be opened.
    """

    def __init__(self, url: str, *, filesystem: AbstractFileSystem | None = None) -> None:
        self.url = without_secrets(url.rstrip("/"))
        self._files, root = open_filesystem(url.rstrip("/"), filesystem=filesystem)
        self._root = root.rstrip("/")

    def put(
        self,
        name: str,
        sources: Mapping[str, Path],
        about: Mapping[str, Any],
        *,
        changing: Collection[str] = (),
    ) -> str:
        """Store a folder.

        Args:
            name: Its path below the store.
            sources: Local path of each file, by its name in the folder.
            about: Further content of the manifest, as JSON data.
            changing: Names of the files that record the progress of the delivery; they get no
                checksum.

        Returns:
            URL of the stored folder.

        Raises:
            StorageError: If the store cannot be reached.
        """
        sums = {
            file: (path.stat().st_size, checksum(path))
            for file, path in sources.items()
            if file not in changing
        }
        manifest = {"format": 1, **about, "files": sums}
        for file, path in sources.items():
            self._upload(path, f"{self._root}/{name}/{file}")
        # last, so that its presence shows that all other files are there
        self._write_manifest(f"{self._root}/{name}/{MANIFEST}", json.dumps(manifest).encode())
        return f"{self.url}/{name}"

    def _write_manifest(self, path: str, data: bytes) -> None:
        if is_object_store(self._files):  # an upload to an object store is atomic
            write_file(self._files, path, data)
        else:  # rename, so that a process that dies leaves all of it or nothing
            write_file(self._files, f"{path}.new", data)
            move_file(self._files, f"{path}.new", path)

    def find(
        self,
        *,
        is_sought: Callable[[str], bool] = lambda _: True,
        unsigned: Callable[[str], bool] = lambda _: False,
    ) -> list[StoredFolder]:
        """Find every complete folder below the store, and those whose manifest is damaged.

        Args:
            is_sought: Whether a file of this path is only in folders of the kind that is sought;
                of a damaged manifest that is all there is to tell.
            unsigned: Whether the file at a path marks a complete folder that has no manifest.

        Raises:
            FileNotFoundError: If the bucket of the store does not exist.
            StorageError: If the store cannot be reached.
        """
        # fsspec caches listings; another process may have added or removed folders since
        self._files.invalidate_cache()
        try:
            paths = self._files.find(self._root)
        except FileNotFoundError:
            bucket = self._root.partition("/")[0]
            if is_object_store(self._files) and not self._files.exists(bucket):
                raise  # a folder that nobody has made yet is empty, a bucket must be there
            return []
        signed = {_parent(path) for path in paths if _is_manifest(path)}
        markers = [
            path
            for path in paths
            if _is_manifest(path) or (unsigned(path) and _parent(path) not in signed)
        ]
        found = [self._describe(path) for path in markers]
        ours = {_parent(path) for path in paths if is_sought(path) and not _is_manifest(path)}
        return [
            stored
            for stored in found
            if stored is not None and (not stored.problem or stored.path in ours)
        ]

    @contextmanager
    def borrow(
        self, stored: StoredFolder, *, seconds: float, changing: Collection[str]
    ) -> Iterator[BorrowedFolder]:
        """Copy a folder to the local disk, and hold a lease on it meanwhile.

        Args:
            stored: A folder from `find`.
            seconds: Duration of the lease, after which another process may take the folder if this
                one dies; it starts again whenever progress is saved.
            changing: As for `put`.

        Raises:
            BusyError: If another process holds the lease.
            GoneError: If the folder is no longer in the store.
            DataError: If a file is missing or differs from what was stored.
            StorageError: If the store cannot be reached.
        """
        if stored.problem:
            raise DataError(f"{stored.problem}. {_LEFT}")
        lease = Lease.acquire(self._files, f"{stored.path}/{LEASE}", seconds=seconds)
        if lease is None:
            raise BusyError("somebody else is delivering it now")
        try:
            with tempfile.TemporaryDirectory(prefix="wbmon-sync-") as folder:
                self._fetch(stored, Path(folder), changing)
                yield BorrowedFolder(
                    folder=Path(folder),
                    save_progress=lambda: self._save(stored, Path(folder), changing, lease),
                    remove=lambda: self._remove(stored),
                )
        finally:
            self._give_back(stored, lease)

    def _give_back(self, stored: StoredFolder, lease: Lease) -> None:
        try:
            lease.release()
        except Exception as error:  # noqa: BLE001 - any file system; it ends by itself
            logger.warning("%s is kept from others until its lease is over: %s", stored.url, error)

    def _describe(self, marker: str) -> StoredFolder | None:
        path = _parent(marker)
        url, name = f"{self.url}{path.removeprefix(self._root)}", marker.removeprefix(f"{path}/")
        about: dict[str, Any] = {}
        files, problem = None, ""
        try:
            about = dict(json.loads(self._files.cat_file(marker)))
            sums = about.pop("files") if _is_manifest(marker) else None
            files = sums and {file: (int(size), str(sha)) for file, (size, sha) in sums.items()}
        except FileNotFoundError:
            return None  # delivered meanwhile
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problem = f"{url}/{name} must describe what is stored there, and is damaged: {error}"
        return StoredFolder(
            url=url, path=path, marker=name, about=about, files=files, problem=problem
        )

    def _fetch(self, stored: StoredFolder, folder: Path, changing: Collection[str]) -> None:
        there = {path.removeprefix(f"{stored.path}/") for path in self._files.find(stored.path)}
        if stored.marker not in there:
            if there <= _LEASE_FILES:
                self._delete(stored.path)  # our lease alone made it again
            raise GoneError("somebody else has just delivered it")
        names = there - _LEASE_FILES if stored.files is None else set(stored.files)
        # a file that records progress may not exist yet: it is never required, but copied if there
        for name in (names - set(changing)) | (there & set(changing)):
            path = _below(folder, name, stored.url)
            if name not in there:
                raise DataError(f"{stored.url}/{name} is missing. {_LEFT}")
            self._download(f"{stored.path}/{name}", path)
        for name, expected in (stored.files or {}).items():
            if name in changing:
                continue
            found = (folder / name).stat().st_size, checksum(folder / name)
            if found != expected:
                raise DataError(
                    f"{stored.url}/{name} must be {expected[0]} bytes with SHA-256 "
                    f"{expected[1][:12]}…; what is there is something else. {_LEFT}"
                )

    def _save(
        self, stored: StoredFolder, folder: Path, changing: Collection[str], lease: Lease
    ) -> None:
        # first: raises if the lease is lost, so that we never overwrite another's progress
        lease.extend()
        for name in changing:
            if not (folder / name).exists():
                continue
            target = f"{stored.path}/{name}"
            if is_object_store(self._files):  # an upload to an object store is atomic
                self._upload(folder / name, target)
            else:  # rename, so that a process that dies leaves the old file or the new one
                self._upload(folder / name, f"{target}.new")
                move_file(self._files, f"{target}.new", target)

    def _remove(self, stored: StoredFolder) -> None:
        # the marker first: without it nobody delivers the rest again if this process dies here
        self._files.rm_file(f"{stored.path}/{stored.marker}")
        try:
            self._delete(stored.path)
        except Exception as error:  # noqa: BLE001 - any file system; nobody sends what is left
            logger.warning("files of %s, which is delivered, are left: %s", stored.url, error)

    def _delete(self, folder: str) -> None:
        if is_disk(self._files):
            self._files.rm(folder, recursive=True)
            return
        # `rm` would expand `*`, `?` and `[` in the name
        for path in self._files.find(folder):
            self._files.rm_file(path)

    def _download(self, path: str, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        self._files.get_file(path, str(to))

    def _upload(self, path: Path, to: str) -> None:
        make_parent(self._files, to)
        self._files.put_file(str(path), to)


def keep_in_time(put: Callable[[], str], *, url: str, folder: Path, timeout_s: float) -> Kept:
    """Store a folder within a time limit; never raises.

    Args:
        put: Stores the folder and returns its URL; runs in a thread.
        url: URL of the store, for the message.
        folder: The local folder, which stays where it is if storing fails.
        timeout_s: Time limit in seconds.

    Returns:
        The URL in the store; the local folder with the reason if storing failed or took too long.
    """
    done: list[Kept] = []

    def failed(why: str) -> Kept:
        shown = without_secrets(url)
        return Kept(str(folder), f"the offline store {shown} must take what is put there; {why}")

    def work() -> None:
        try:
            done.append(Kept(put()))
        except Exception as error:  # noqa: BLE001 - any file system; the task is done
            done.append(failed(f"{type(error).__name__}: {error}"))

    # with the caller's context, because flytekit's settings for a store are in it; a daemon,
    # because fsspec gives no way to stop a call that hangs and the task must be able to exit
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), daemon=True)
    thread.start()
    thread.join(timeout_s)
    return (
        done[0]
        if done
        else failed(
            f"no answer within {timeout_s:g} s; see that it is up and can be reached from here, or "
            "give it more time by delivery_timeout_s"
        )
    )


def _is_manifest(path: str) -> bool:
    return path.endswith(f"/{MANIFEST}")


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def checksum(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _below(folder: Path, name: str, url: str) -> Path:
    """Local path for a file of a stored folder; an error if it lies outside of the local copy."""
    path = folder / name
    # anyone who can write to the store can write `../` into a manifest
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"the manifest of {url} must name files below it, got {name!r}. {_LEFT}")
    return path
