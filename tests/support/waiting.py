"""Waiting for what is to come, with a deadline that no healthy machine needs."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    """Ask again and again until something is so.

    Raises:
        AssertionError: If it did not come to be in time.
    """
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, f"it did not come to be within {timeout_s:g} s"
        time.sleep(0.05)
