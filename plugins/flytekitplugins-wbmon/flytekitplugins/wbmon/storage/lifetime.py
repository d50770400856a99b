"""Logs are closed before their process goes, also by SIGTERM, and begin anew in a forked child."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol
from weakref import WeakSet


class Lock(Protocol):
    """Of `threading`."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool:
        """Whether it was had in time."""

    def release(self) -> None:
        """Give it back."""


class Log(Protocol):
    """What lives as long as its process."""

    def close(self) -> object:
        """Write what is left."""

    def begin_anew(self) -> None:
        """Leave everything that belongs to the parent process to it."""


_OPEN: WeakSet[Log] = WeakSet()
_CLOSING = threading.Event()
_PATIENCE_S = 10.0
_LOCK_PATIENCE_S = 0.2


def follow_process(log: Log) -> None:
    """Close a log when the interpreter ends or SIGTERM comes; begin it anew in a forked child.

    SIGTERM keeps its effect. A handler is only installed where there is none (a server that has
    its own is asked to close the log in its own way), and only from the main thread.
    """
    _OPEN.add(log)
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _close_and_die)


@contextmanager
def patiently(lock: Lock) -> Iterator[None]:
    """With the lock, or without if its owner keeps it: a signal may have interrupted that."""
    has_lock = lock.acquire(timeout=_LOCK_PATIENCE_S)
    try:
        yield
    finally:
        if has_lock:
            lock.release()


def _close_all() -> None:
    for log in list(_OPEN):
        log.close()


def _begin_all_anew() -> None:
    for log in list(_OPEN):
        log.begin_anew()


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


atexit.register(_close_all)
os.register_at_fork(after_in_child=_begin_all_anew)
