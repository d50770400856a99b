"""Small things that servers in tests need."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


def free_port() -> int:
    """A port on the loopback device that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_so: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    """Ask again and again until something is so.

    Raises:
        AssertionError: If it did not come to be in time.
    """
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, f"it did not come to be within {timeout_s:g} s"
        time.sleep(0.1)
