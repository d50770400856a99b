"""The right to work on something in a store, held by one process at a time, and for a while only.

It is a small file that says who holds it and until when, by the clocks of those who ask for it: a
holder that died stands in nobody's way after that. Who takes it is decided by
`storage.compare_and_swap`.
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
    """The lease went to somebody else, because its time was over."""


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
            filesystem: Where it is.
            path: Its file.
            seconds: How long it is held, should the holder die.

        Returns:
            None if somebody else holds it.
        """
        data, version = read_file(filesystem, path)
        if _parsed(data).get("until", 0) > time.time():
            return None
        lease = cls(filesystem, path, seconds=seconds, token=uuid.uuid4().hex)
        if not replace_file(filesystem, path, lease._content(), version):
            return None
        if not is_guarded(filesystem):
            # two that write at the same moment both believe that it is theirs: the later has it
            time.sleep(_LOOK_AGAIN_S)
            if not lease.is_held:
                return None
        return lease

    @property
    def is_held(self) -> bool:
        """Whether nobody else has taken it since."""
        data, _ = read_file(self._files, self._path)
        return _parsed(data).get("token") == self._token

    def extend(self) -> None:
        """Hold it for its whole time again; before half of it is over, nothing is done.

        Raises:
            LeaseLostError: If somebody else holds it by now.
        """
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
        """Give it back, if it is still held."""
        if self.is_held:
            self._files.rm_file(self._path)

    def _content(self) -> bytes:
        self._half_over_at = time.monotonic() + self._seconds / 2
        return json.dumps({"token": self._token, "until": time.time() + self._seconds}).encode()


def _parsed(data: bytes | None) -> dict[str, Any]:
    """What a lease's file says; nothing if there is none, or half of one."""
    try:
        content = json.loads(data or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
