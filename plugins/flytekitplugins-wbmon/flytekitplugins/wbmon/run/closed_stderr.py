"""Logging while the task has closed its standard error.

`logging` then reports to `sys.stderr` that a handler has failed, and raises as that is closed too.
A warning of ours would fail the task, or keep its run from being stored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path


@contextmanager
def silence_closed_stderr() -> Iterator[None]:
    """Let nothing in the block fail because `sys.stderr` is closed."""
    if not getattr(sys.stderr, "closed", False):
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as null, redirect_stderr(null):
        yield


@contextmanager
def log_safely() -> Iterator[None]:
    """Let what is logged in the block raise nothing, also if a handler of the user's does."""
    with suppress(Exception), silence_closed_stderr():
        yield
