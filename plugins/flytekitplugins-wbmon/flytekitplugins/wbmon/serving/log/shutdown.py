"""Logs are closed before the process goes, also where SIGTERM would end it at once."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import threading
from types import FrameType
from typing import Protocol
from weakref import WeakSet


class Closable(Protocol):
    """What is closed."""

    def close(self) -> object:
        """Write what is left."""


_OPEN: WeakSet[Closable] = WeakSet()
_CLOSING = threading.Event()
_PATIENCE_S = 10.0


def close_at_exit(log: Closable) -> None:
    """Close a log when the interpreter ends or SIGTERM comes.

    SIGTERM keeps its effect. A handler is only installed where there is none (a server that has
    its own is asked to close the log in its own way), and only from the main thread.
    """
    if not _OPEN:
        atexit.register(_close_all)
    _OPEN.add(log)
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _close_and_die)


def _close_all() -> None:
    for log in list(_OPEN):
        log.close()


def _close_and_die(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
    # what this handler interrupts may hold any lock, so the logs are closed apart, and whatever
    # that waits for, the process goes; a second signal does not wait at all
    if not _CLOSING.is_set():
        _CLOSING.set()
        done = threading.Event()
        _thread.start_new_thread(_close_apart, (done,))
        done.wait(_PATIENCE_S)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _close_apart(done: threading.Event) -> None:
    try:
        _close_all()
    finally:
        done.set()
