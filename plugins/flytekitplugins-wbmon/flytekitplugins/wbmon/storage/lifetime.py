"""Closes logs before their process ends, also by SIGTERM, and resets them in a forked child."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol
from weakref import WeakSet


class Lock(Protocol):
    """A lock of `threading`."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool:
        """Whether the lock was acquired in time."""

    def release(self) -> None:
        """Release the lock."""


class Log(Protocol):
    """A log that lives as long as its process."""

    def close(self, timeout: float = ...) -> object:
        """Write the remaining rows within `timeout` seconds."""

    def begin_anew(self) -> None:
        """In a forked child: drop the parent's rows and files, which the parent writes itself."""


# weak, so that a log that nobody uses any more can be collected
_OPEN: WeakSet[Log] = WeakSet()
_CLOSING = threading.Event()
_FOLLOWED: list[int] = []
_PATIENCE_S = 10.0
_LOCK_PATIENCE_S = 0.2


def follow_process(log: Log) -> None:
    """Close a log when the interpreter exits or SIGTERM arrives; reset it in a forked child.

    SIGTERM still ends the process. A handler is installed only if there is none, since a server
    with a handler of its own is expected to close the log itself, and only from the main thread.
    """
    _OPEN.add(log)
    # Python refuses to set a signal handler in any other thread
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _close_and_die)


def close_first() -> None:
    """At the exit of the interpreter, close the logs before what was registered until now ends.

    A module that is loaded late registers after this one, and ends before it: so does wandb, and a
    sink could not write its last row.
    """
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def close_with_child() -> None:
    """Close the logs of a child of `multiprocessing`, which runs no handlers of `atexit`."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is None or multiprocessing.parent_process() is None:
        return
    from multiprocessing.util import Finalize

    # once in each process: several logs may begin, and a child may have children
    if [os.getpid()] != _FOLLOWED:
        _FOLLOWED[:] = [os.getpid()]
        # bounded, because the parent waits for it
        Finalize(None, _close_all, (_PATIENCE_S,), exitpriority=0)


@contextmanager
def patiently(lock: Lock) -> Iterator[None]:
    """Hold the lock if it is free within 0.2 s, and go on without it otherwise.

    A signal handler may have interrupted the thread that owns the lock; that thread cannot release
    it before the handler returns, so waiting for it would never end.
    """
    has_lock = lock.acquire(timeout=_LOCK_PATIENCE_S)
    try:
        yield
    finally:
        if has_lock:
            lock.release()


def _close_all(timeout_s: float | None = None) -> None:
    for log in list(_OPEN):
        if timeout_s is None:
            log.close()
        else:
            log.close(timeout_s)


def _begin_all_anew() -> None:
    for log in list(_OPEN):
        log.begin_anew()


def _close_and_die(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
    # the interrupted code may hold any lock, so the logs are closed in another thread, and the
    # process ends after a limited time in any case; a second signal does not wait at all
    if not _CLOSING.is_set():
        _CLOSING.set()
        done = threading.Event()
        # not `threading.Thread`, whose start takes locks that the interrupted code may hold
        _thread.start_new_thread(_close_apart, (done,))
        done.wait(_PATIENCE_S)
    # the default action, so that the parent process sees a death by SIGTERM
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _close_apart(done: threading.Event) -> None:
    try:
        _close_all()
    finally:
        done.set()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_begin_all_anew)
