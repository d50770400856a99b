"""The offline store: folders with undelivered runs and traces, on any file system.

    {store}/…/{folder}/manifest.json    written last: without it the folder is incomplete
                       lease.json       which process is delivering the folder
                       …                the files; the manifest has their sizes and checksums

`delivery.runs` and `delivery.traces` decide what a folder holds and how it is sent. Files that
record the progress of the delivery change, so they have no checksum.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE, BorrowedFolder, BusyError
from flytekitplugins.wbmon.delivery.growing_folder import GrowingFolder
from flytekitplugins.wbmon.delivery.stored_folder import (
    LEFT,
    MANIFEST,
    StoredFolder,
    describe_folder,
    refuse_links,
)
from flytekitplugins.wbmon.delivery.time_limit import NoThreadError, call_in_time
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.filesystem import (
    open_filesystem,
)
from flytekitplugins.wbmon.storage.guard import is_object_store, without_secrets
from flytekitplugins.wbmon.storage.lease import Lease

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# renewed every quarter of it
LEASE_S = 60.0


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
        stored = self.grow(name)
        for file, path in sources.items():
            if file not in changing:
                stored.add(file, path)
        stored.close(
            about,
            changing={file: sources[file].read_bytes() for file in changing if file in sources},
        )
        return stored.url

    def grow(self, name: str) -> GrowingFolder:
        """A new folder that is written in steps.

        Args:
            name: Its path below the store.
        """
        return GrowingFolder(self._files, path=f"{self._root}/{name}", url=f"{self.url}/{name}")

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
            paths = self._files.find(self._root, detail=True)
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
        found = [self._describe(path, paths[path]) for path in markers]
        ours = {_parent(path) for path in paths if is_sought(path) and not _is_manifest(path)}
        return [
            stored
            for stored in found
            if stored is not None and (not stored.problem or stored.path in ours)
        ]

    @contextmanager
    def borrow(
        self,
        stored: StoredFolder,
        *,
        timeout_s: float,
        changing: Collection[str],
        lease_s: float = LEASE_S,
    ) -> Iterator[BorrowedFolder]:
        """Copy a folder to the local disk, and hold a lease on it meanwhile.

        Args:
            stored: A folder from `find`.
            timeout_s: Time limit for all of the delivery, in seconds; copying is a part of it.
            changing: As for `put`.
            lease_s: Duration of the lease in seconds, after which another process may take the
                folder if this one dies; a thread renews it.

        Raises:
            BusyError: If another process holds the lease.
            GoneError: If the folder is no longer in the store.
            DataError: If a file is missing or differs from what was stored.
            PublishError: If the store takes longer than the time limit.
            StorageError: If the store cannot be reached.
        """
        if stored.problem:
            raise DataError(f"{stored.problem}. {LEFT}")
        refuse_links(self._files, stored, root=self._root)
        lease = Lease.acquire(self._files, f"{stored.path}/{LEASE}", seconds=lease_s)
        if lease is None:
            raise BusyError("somebody else is delivering it now")
        with (
            # what a fetch that hangs still writes must not fail the removal
            tempfile.TemporaryDirectory(prefix="wbmon-sync-", ignore_cleanup_errors=True) as folder,
            lease.renewed(),
        ):
            borrowed = BorrowedFolder(
                self._files,
                stored,
                lease,
                folder=Path(folder),
                changing=changing,
                timeout_s=timeout_s,
            )
            try:
                borrowed.fetch()
                yield borrowed
            finally:
                borrowed.give_back()

    def _describe(self, marker: str, info: Mapping[str, Any]) -> StoredFolder | None:
        url = f"{self.url}{_parent(marker).removeprefix(self._root)}"
        return describe_folder(self._files, marker, url=url, info=info)


def keep_in_time(put: Callable[[], str], *, url: str, folder: Path, timeout_s: float) -> Kept:
    """Store a folder within a time limit; never raises.

    Args:
        put: Stores the folder and returns its URL; runs in a thread.
        url: URL of the store, for the message.
        folder: The local folder, which stays where it is if storing fails.
        timeout_s: Time limit in seconds.

    Returns:
        The URL in the store; the local folder with the reason if storing failed or took too long;
        no place if the local folder was deleted.
    """
    try:
        return Kept(call_in_time(put, timeout_s))
    except TimeoutError as error:
        why = (
            f"{error}; see that it is up and can be reached from here, or give it more time by "
            "delivery_timeout_s"
        )
    except NoThreadError as error:
        return Kept(str(folder), str(error))
    except Exception as error:  # noqa: BLE001 - any file system; the task is done
        if not folder.is_dir():
            return Kept("", f"{folder} must stay until it is stored, and was deleted")
        why = f"{type(error).__name__}: {error}"
    shown = without_secrets(url)
    return Kept(str(folder), f"the offline store {shown} must take what is put there; {why}")


def _is_manifest(path: str) -> bool:
    return path.endswith(f"/{MANIFEST}")


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
