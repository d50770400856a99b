"""A lease: the right of one process at a time to work on something in a store, for a limited time.

It is a small file with the holder's token and the time until which the lease is valid. A thread
renews it while its holder lives, so a holder that died blocks the others no longer than that, and
work that takes long loses it to nobody. `storage.compare_and_swap` decides who gets the lease.

Clocks of different machines disagree, so the time in the file is only a hint. A lease that is over
by the clock of a process is taken only if it is not renewed while that process watches it. A holder
measures by its own clock alone: at `held_until`, well before the others may take the lease, it must
have stopped what it does, whether or not it can reach the store.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import PublishError
from flytekitplugins.wbmon.storage.compare_and_swap import is_guarded, read_file, replace_file
from flytekitplugins.wbmon.warn import warn

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.3
# shares of the lease's time: between renewals, of a watch, and until its holder must have stopped
_RENEWED_EVERY = 0.25
_WATCHED_FOR = 0.4
_HELD_FOR = 0.75
# anybody may have written the file: longer ones are not believed
_MAX_S = 24 * 3600.0
_MAX_WATCHED_S = 120.0


class LeaseLostError(PublishError):
    """The lease expired, and another process has taken it or may do so."""


class Lease:
    """A lease that is held; made by `acquire`."""

    def __init__(
        self, filesystem: AbstractFileSystem, path: str, *, seconds: float, token: str
    ) -> None:
        self._files = filesystem
        self._path = path
        self._seconds = seconds
        self._token = token
        self._held_until = -math.inf
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @classmethod
    def acquire(cls, filesystem: AbstractFileSystem, path: str, *, seconds: float) -> Lease | None:
        """Take the lease.

        Args:
            filesystem: File system of the lease's file.
            path: Path of the lease's file.
            seconds: Time until the lease expires unless it is renewed.

        Returns:
            The lease; None if another process holds it.
        """
        data, version = read_file(filesystem, path)
        found = _parsed(data)
        if _is_valid(found) or _is_renewed(filesystem, path, found):
            return None
        lease = cls(filesystem, path, seconds=seconds, token=uuid.uuid4().hex)
        began = time.monotonic()
        if not replace_file(filesystem, path, lease._content(), version):
            return None
        lease._held_until = began + seconds * _HELD_FOR
        if not is_guarded(filesystem):
            # two simultaneous writers both succeed; after a pause, the later one finds its token
            time.sleep(_LOOK_AGAIN_S)
            if not lease.is_held:
                return None
        return lease

    @property
    def is_held(self) -> bool:
        """Whether no other process has taken the lease since; asks the store."""
        data, _ = read_file(self._files, self._path)
        return _parsed(data).get("token") == self._token

    @property
    def held_until(self) -> float:
        """Time on the clock of `time.monotonic()` at which the holder must have stopped its work.

        Each renewal moves it on. It is in the past if another process has taken the lease.
        """
        return self._held_until

    def check(self) -> None:
        """Raise if another process may hold the lease by now; asks the clock and not the store.

        Raises:
            LeaseLostError: If that is so.
        """
        if time.monotonic() >= self._held_until:
            raise self._lost()

    def renew(self) -> None:
        """Renew the lease for its full time.

        Raises:
            LeaseLostError: If another process holds the lease by now.
        """
        with self._lock:
            self._renew()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease in a thread, until the block ends or the lease is lost."""
        # a daemon: a store that hangs must not keep the process alive
        thread = threading.Thread(target=self._keep_renewing, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stop_renewal()

    def stop_renewal(self) -> None:
        """End the renewal; what is left of the lease's time remains."""
        self._stopped.set()
        with self._lock:
            pass  # a renewal that is under way is over now

    def release(self) -> None:
        """Release the lease, if it is still held."""
        self.stop_renewal()
        if self.is_held:
            self._files.rm_file(self._path)

    def _keep_renewing(self) -> None:
        while not self._stopped.wait(self._seconds * _RENEWED_EVERY):
            with self._lock:
                if self._stopped.is_set() or not self._is_renewed():
                    return

    def _is_renewed(self) -> bool:
        try:
            self._renew()
        except LeaseLostError:
            return False
        except Exception as error:  # noqa: BLE001 - any file system; it is tried again
            warn(logger, "the lease %s cannot be renewed: %s", self._path, error)
        return True

    def _renew(self) -> None:
        began = time.monotonic()
        data, version = read_file(self._files, self._path)
        is_ours = _parsed(data).get("token") == self._token
        if not is_ours or not replace_file(self._files, self._path, self._content(), version):
            self._held_until = -math.inf
            raise self._lost()
        self._held_until = began + self._seconds * _HELD_FOR

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(
            f"the lease {self._path} must be held while its folder is worked on, but it was not "
            f"renewed within {self._seconds:g} s and somebody else may have taken it; they go on"
        )

    def _content(self) -> bytes:
        # `seconds` tells others how long to watch; the renewal changes the content each time
        content = {
            "token": self._token,
            "until": time.time() + self._seconds,
            "seconds": self._seconds,
            "renewal": uuid.uuid4().hex,
        }
        return json.dumps(content).encode()


def _is_valid(found: dict[str, Any]) -> bool:
    """Whether a lease is valid by this machine's clock."""
    left = _number(found, "until") - time.time()
    # one that is valid for longer than it can be was dated by a clock that is ahead
    return 0 < left <= min(_number(found, "seconds", _MAX_S), _MAX_S)


def _is_renewed(filesystem: AbstractFileSystem, path: str, found: dict[str, Any]) -> bool:
    """Whether the holder of a lease that seems to be over renews it; watches it for some time."""
    # leases of release 0.3 and before do not say how long they last, and are not watched
    watched_s = min(_number(found, "seconds"), _MAX_WATCHED_S) * _WATCHED_FOR
    until = time.monotonic() + watched_s
    while time.monotonic() < until:
        time.sleep(watched_s / 10)
        if _parsed(read_file(filesystem, path)[0]) != found:
            return True
    return False


def _number(found: dict[str, Any], name: str, default: float = 0.0) -> float:
    value = found.get(name)
    try:
        number = float(value) if isinstance(value, (int, float)) else default
    except OverflowError:
        return default
    return number if math.isfinite(number) else default


def _parsed(data: bytes | None) -> dict[str, Any]:
    """The content of a lease's file; empty if there is no file or it is not valid JSON."""
    try:
        content = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
