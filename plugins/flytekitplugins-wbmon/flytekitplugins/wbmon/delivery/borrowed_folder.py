"""A stored folder while one process delivers it: a local copy, the original, and the lease."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.delivery.stored_folder import (
    LEFT,
    StoredFolder,
    check_names,
    checksum,
)
from flytekitplugins.wbmon.delivery.time_limit import call_in_time
from flytekitplugins.wbmon.errors import DataError, PublishError
from flytekitplugins.wbmon.storage.compare_and_swap import Version, read_file, replace_file
from flytekitplugins.wbmon.storage.guard import is_disk
from flytekitplugins.wbmon.storage.lease import Lease, LeaseLostError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

LEASE = "lease.json"
# what was delivered is noted also when the time for the delivery is over
_LAST_S = 5.0


class BusyError(PublishError):
    """Another process is delivering the folder now."""


class GoneError(PublishError):
    """Another process has just delivered the folder."""


class BorrowedFolder:
    """A local copy of a stored folder, and the operations on the original.

    Args:
        filesystem: File system of the store.
        stored: The folder in the store.
        lease: The lease on it.
        folder: The local copy.
        changing: Names of the files that record the progress of the delivery.
        timeout_s: Time limit for all of the delivery, in seconds.

    Attributes:
        folder: The local copy.
    """

    def __init__(
        self,
        filesystem: AbstractFileSystem,
        stored: StoredFolder,
        lease: Lease,
        *,
        folder: Path,
        changing: Collection[str],
        timeout_s: float,
    ) -> None:
        self.folder = folder
        self._files = filesystem
        self._stored = stored
        self._lease = lease
        self._changing = changing
        self._until = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._given_up = threading.Event()
        self._saved: dict[str, Version] = {}

    def until(self) -> float:
        """Time on the clock of `time.monotonic()` at which the delivery must have stopped.

        It is in the past as soon as another process may hold the lease.
        """
        return min(self._until, self._lease.held_until)

    def fetch(self) -> None:
        """Copy the folder from the store.

        Raises:
            GoneError: If the folder is no longer in the store.
            DataError: If a file is missing or differs from what was stored.
            PublishError: If the store takes longer than the time limit.
            StorageError: If the store cannot be reached.
        """
        try:
            self._in_time(self._fetch, least_s=0.0)
        finally:
            self._given_up.set()

    def save_progress(self) -> None:
        """Write the progress of the delivery to the store.

        Raises:
            LeaseLostError: If another process holds the lease by now, or may do so.
            PublishError: If the store does not answer in time.
            StorageError: If the store cannot be reached.
        """
        self._in_time(self._lease.renew)
        for name in self._changing:
            if (self.folder / name).exists():
                data = (self.folder / name).read_bytes()
                self._in_time(partial(self._replace, name, data))

    def remove(self) -> None:
        """Delete the original from the store, once it is delivered; raises as `save_progress`."""
        self._in_time(self._lease.renew)
        # no renewal may make the lease again when it is deleted
        self._lease.stop_renewal()
        # the marker first: without it nobody delivers the rest again if this process dies here
        self._in_time(lambda: self._files.rm_file(f"{self._stored.path}/{self._stored.marker}"))
        try:
            self._in_time(self._delete)
        except Exception as error:  # noqa: BLE001 - any file system; nobody sends what is left
            logger.warning("files of %s, which is delivered, are left: %s", self._stored.url, error)

    def give_back(self) -> None:
        """Release the lease."""
        try:
            self._in_time(self._lease.release)
        except Exception as error:  # noqa: BLE001 - any file system; it ends by itself
            logger.warning("%s is kept from others until its lease is over: %s",
                           self._stored.url, error)  # fmt: skip

    def _in_time(self, call: Callable[[], None], *, least_s: float = _LAST_S) -> None:
        left = max(least_s, self._until - time.monotonic())
        try:
            call_in_time(call, left)
        except TimeoutError as error:
            raise PublishError(
                f"the store must answer within the {self._timeout_s:g} s that the delivery of "
                f"{self._stored.url} is given, and did not ({error})"
            ) from None

    def _fetch(self) -> None:
        stored, changing = self._stored, set(self._changing)
        there = {path.removeprefix(f"{stored.path}/") for path in self._files.find(stored.path)}
        there = {name for name in there if not _is_of_lease(name)}
        if stored.marker not in there:
            if not there:
                self._delete()  # our lease alone made it again
            raise GoneError("somebody else has just delivered it")
        names = (there if stored.files is None else set(stored.files)) - changing
        check_names(names)
        for name in sorted(names):
            if name not in there:
                raise DataError(f"{stored.url}/{name} is missing. {LEFT}")
            self._download(name)
        # a file that records progress may not exist yet: it is never required
        for name in changing:
            data, self._saved[name] = read_file(self._files, f"{stored.path}/{name}")
            if data is not None:
                (self.folder / name).write_bytes(data)

    def _download(self, name: str) -> None:
        if self._given_up.is_set():
            raise TimeoutError
        stored, path = self._stored, self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files.get_file(f"{stored.path}/{name}", str(path))
        expected = (stored.files or {}).get(name)
        if expected is not None and (path.stat().st_size, checksum(path)) != expected:
            raise DataError(
                f"{stored.url}/{name} must be {expected[0]} bytes with SHA-256 "
                f"{expected[1][:12]}…; what is there is something else. {LEFT}"
            )

    def _replace(self, name: str, data: bytes) -> None:
        path, before = f"{self._stored.path}/{name}", self._saved.get(name, Version())
        # compared with what we read or wrote last: a process that was held up and has lost the
        # lease without knowing never overwrites the progress of the next one
        if not replace_file(self._files, path, data, before):
            raise LeaseLostError(
                f"{self._stored.url}/{name} must be changed by one process only, and was changed "
                "by another"
            )
        self._saved[name] = read_file(self._files, path)[1]

    def _delete(self) -> None:
        if is_disk(self._files):
            self._files.rm(self._stored.path, recursive=True)
            return
        # `rm` would expand `*`, `?` and `[` in the name
        for path in self._files.find(self._stored.path):
            self._files.rm_file(path)


def _is_of_lease(name: str) -> bool:
    """Whether a file is the lease, or the lock that a local disk needs beside such files."""
    return name == LEASE or (name.startswith(".") and name.endswith(".lock"))
