"""A folder in a store that is written in steps, by a process that may die after any of them.

    {folder}/growing.json    in place of the manifest while the folder grows; rewritten by each step
             lease.json      held by the process that writes; a folder whose writer died is free
             …               the files; none of them is changed once it is there

The last step replaces `growing.json` by a manifest. Whoever finds both believes the manifest, so a
write that was delayed on its way to the store does no harm.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE, BusyError
from flytekitplugins.wbmon.delivery.stored_folder import GROWING, MANIFEST, checksum
from flytekitplugins.wbmon.errors import WbmonError
from flytekitplugins.wbmon.storage.filesystem import make_parent, move_file, write_file
from flytekitplugins.wbmon.storage.guard import is_disk, is_object_store
from flytekitplugins.wbmon.storage.lease import Lease

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

# longer than the pauses of a process that is alive: a slow store, a call that holds Python's lock
LEASE_S = 120.0


class GrowingFolder:
    """A folder that one process writes; made by `OfflineStore.grow`.

    Args:
        filesystem: File system of the store.
        path: Path of the folder within it.
        url: URL of the folder.
    """

    def __init__(self, filesystem: AbstractFileSystem, *, path: str, url: str) -> None:
        self.url = url
        self._files = filesystem
        self._path = path
        self._sums: dict[str, tuple[int, str]] = {}
        self._lease: Lease | None = None
        self._renew_at = 0.0

    def add(self, name: str, source: bytes | Path) -> None:
        """Store a file, unless it is there already.

        Args:
            name: Its name in the folder.
            source: Its content, or its local path.

        Raises:
            StorageError: If the store cannot be reached.
        """
        if name in self._sums:
            return
        place = f"{self._path}/{name}"
        if isinstance(source, bytes):
            write_file(self._files, place, source)
            self._sums[name] = len(source), hashlib.sha256(source).hexdigest()
            return
        described = source.stat().st_size, checksum(source)
        make_parent(self._files, place)
        self._files.put_file(str(source), place)
        self._sums[name] = described

    def mark(self, about: Mapping[str, Any]) -> None:
        """Note what was stored so far, so that another process finds it if this one dies.

        Args:
            about: Further content of the note, as JSON data.

        Raises:
            BusyError: If another process has the folder.
            LeaseLostError: If another process has taken the folder meanwhile.
            StorageError: If the store cannot be reached.
        """
        if self._lease is None:
            self._lease = Lease.acquire(self._files, f"{self._path}/{LEASE}", seconds=LEASE_S)
            if self._lease is None:
                raise BusyError(f"somebody else works on {self.url}")
            self._renew_at = time.monotonic() + LEASE_S / 2
        self.keep()
        self._write(GROWING, about)

    def keep(self) -> None:
        """Renew the lease, at most every minute; raises as `mark` does."""
        if self._lease is not None and time.monotonic() > self._renew_at:
            self._lease.renew()
            self._renew_at = time.monotonic() + LEASE_S / 2

    def close(self, about: Mapping[str, Any], *, changing: Mapping[str, bytes]) -> None:
        """Write the manifest: the folder is whole, and may be delivered by anybody.

        Args:
            about: Further content of the manifest, as JSON data.
            changing: Content of the files that record the progress of the delivery, by name.

        Raises:
            LeaseLostError: If another process has taken the folder meanwhile.
            StorageError: If the store cannot be reached.
        """
        if self._lease is not None:
            self._lease.renew()
        for name, data in changing.items():
            write_file(self._files, f"{self._path}/{name}", data)
        # last, so that its presence shows that all other files are there
        self._write(MANIFEST, about)
        if self._lease is None:
            return
        try:
            self._files.rm_file(f"{self._path}/{GROWING}")
            self._lease.release()
        except (WbmonError, OSError) as error:
            logger.debug("%s is stored, but its lease is not released: %s", self.url, error)

    def remove(self) -> None:
        """Delete the folder, whose content was delivered; raises as `close` does."""
        notes: tuple[str, ...] = ()
        if self._lease is not None:
            self._lease.renew()
            # first: without it nobody delivers what is left if this process dies here
            with suppress(FileNotFoundError):  # the store has taken the lease, and no note
                self._files.rm_file(f"{self._path}/{GROWING}")
            notes = (LEASE,)
        if is_disk(self._files):
            # there may be a beginning of a lease that could not be written
            with suppress(FileNotFoundError):
                self._files.rm(self._path, recursive=True)
            return
        for name in (*self._sums, *notes):
            self._files.rm_file(f"{self._path}/{name}")

    def _write(self, name: str, about: Mapping[str, Any]) -> None:
        data = json.dumps({"format": 1, **about, "files": self._sums}).encode()
        place = f"{self._path}/{name}"
        if is_object_store(self._files):  # an upload to an object store is atomic
            write_file(self._files, place, data)
        else:  # rename, so that a process that dies leaves all of it or nothing
            write_file(self._files, f"{place}.new", data)
            move_file(self._files, f"{place}.new", place)
