"""A lease: the right of one process at a time to work on something in a store, for a limited time.

It is a small file with the holder's token and the time until which the lease is valid, so a holder
that died blocks the others no longer than that. Times are compared with the local clock of each
process. `storage.compare_and_swap` decides who gets the lease.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import PublishError
from flytekitplugins.wbmon.storage.compare_and_swap import is_guarded, read_file, replace_file

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_LOOK_AGAIN_S = 0.3


class LeaseLostError(PublishError):
    """The lease expired, and another process has taken it."""


class Lease:
    """A lease that is held; made by `acquire`."""

    def __init__(
        self, filesystem: AbstractFileSystem, path: str, *, seconds: float, token: str
    ) -> None:
        self._files = filesystem
        self._path = path
        self._seconds = seconds
        self._token = token
        self._half_over_at = 0.0

    @classmethod
    def acquire(cls, filesystem: AbstractFileSystem, path: str, *, seconds: float) -> Lease | None:
        """Take the lease.

        Args:
            filesystem: File system of the lease's file.
            path: Path of the lease's file.
            seconds: Time until the lease expires unless it is extended.

        Returns:
            The lease; None if another process holds it.
        """
        data, version = read_file(filesystem, path)
        if _parsed(data).get("until", 0) > time.time():
            return None
        lease = cls(filesystem, path, seconds=seconds, token=uuid.uuid4().hex)
        if not replace_file(filesystem, path, lease._content(), version):
            return None
        if not is_guarded(filesystem):
            # two simultaneous writers both succeed; after a pause, the later one finds its token
            time.sleep(_LOOK_AGAIN_S)
            if not lease.is_held:
                return None
        return lease

    @property
    def is_held(self) -> bool:
        """Whether no other process has taken the lease since."""
        data, _ = read_file(self._files, self._path)
        return _parsed(data).get("token") == self._token

    def extend(self) -> None:
        """Renew the lease for its full time; does nothing before half of the time has passed.

        Raises:
            LeaseLostError: If another process holds the lease by now.
        """
        # called in loops: most calls must not cost a request to the store
        if time.monotonic() < self._half_over_at:
            return
        data, version = read_file(self._files, self._path)
        is_ours = _parsed(data).get("token") == self._token
        if not is_ours or not replace_file(self._files, self._path, self._content(), version):
            raise LeaseLostError(
                f"the lease {self._path} must be held while its folder is worked on, but it was "
                f"over after {self._seconds:g} s and somebody else has taken it; they go on"
            )

    def release(self) -> None:
        """Release the lease, if it is still held."""
        if self.is_held:
            self._files.rm_file(self._path)

    def _content(self) -> bytes:
        # wall-clock time for other processes, the monotonic clock for this one
        self._half_over_at = time.monotonic() + self._seconds / 2
        return json.dumps({"token": self._token, "until": time.time() + self._seconds}).encode()


def _parsed(data: bytes | None) -> dict[str, Any]:
    """The content of a lease's file; empty if there is no file or it is not valid JSON."""
    try:
        content = json.loads(data or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
