"""A task that is told to stop (spot preemption, timeout, abort) ends its run before it goes.

Python dies of SIGTERM without running a `finally`. The handler here turns the signal into a
`SystemExit` with status 143, which is what a shell reports for SIGTERM.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGTERM_STATUS = 128 + signal.SIGTERM
# Kubernetes kills a pod 30 s after it told it to stop; to store what is left needs some of them
TERMINATING_TIMEOUT_S = 10.0


class TerminatedError(SystemExit):
    """The process was told to stop."""

    def __init__(self) -> None:
        super().__init__(SIGTERM_STATUS)

    def __str__(self) -> str:
        return "the task was told to stop (SIGTERM)"


class _Handler:
    """The process has one SIGTERM handler, and its blocks may overlap: coroutines end in any order.

    The first block installs it. The last one to end puts back what was there before, and hands a
    signal that came meanwhile on to it: whoever it was may end the process, which must not happen
    before the blocks have done their work.

    A forked child is not the task: there the signal does what it did before the blocks. It is held
    back around the fork, since Python forgets a signal for which it has a handler and that comes
    before the child is ready, and a pool then waits for its worker for ever.
    """

    def __init__(self) -> None:
        self._blocks: list[Callable[[], None] | None] = []
        self._previous: Any = signal.SIG_DFL
        self._heard: tuple[int, FrameType | None] | None = None
        self._held = threading.local()
        os.register_at_fork(
            before=self._hold_back,
            after_in_parent=self._let_through,
            after_in_child=self._forget,
        )

    def enter(self, before: Callable[[], None] | None) -> None:
        """Hear SIGTERM until the matching `leave`."""
        if signal.getsignal(signal.SIGTERM) is not self:
            self._previous = signal.signal(signal.SIGTERM, self)
        self._blocks.append(before)

    def leave(self, before: Callable[[], None] | None) -> None:
        """End a block; a handler that was set inside of one stays."""
        if before not in self._blocks:  # those of a parent process
            return
        self._blocks.remove(before)
        if self._blocks:
            return
        installed: object = signal.getsignal(signal.SIGTERM)
        if installed is self:
            signal.signal(signal.SIGTERM, self._previous)
        heard, self._heard = self._heard, None
        if heard is not None and callable(self._previous):
            self._previous(*heard)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._heard = number, frame
        for before in reversed(self._blocks):
            if before is not None:
                before()
        raise TerminatedError

    def _hold_back(self) -> None:
        self._held.mask = None
        if self._blocks:
            self._held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def _let_through(self) -> None:
        if self._held.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._held.mask)

    def _forget(self) -> None:
        installed: object = signal.getsignal(signal.SIGTERM)
        if installed is self:
            signal.signal(signal.SIGTERM, self._previous)
        self._blocks, self._heard = [], None
        self._let_through()


_HANDLER = _Handler()


@contextmanager
def exit_on_sigterm(before: Callable[[], None] | None = None) -> Iterator[None]:
    """Leave the block by `SystemExit(143)` when SIGTERM comes.

    Whoever handled the signal before is called when the block has ended, and again handles it
    afterwards. Nothing changes outside the main thread, where Python allows no handler, or where
    SIGTERM is ignored.

    Args:
        before: Called in the handler, for work that the block's own `finally` cannot do because
            it runs in another thread.
    """
    previous = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    # None: installed by C code that cannot be put back
    if not is_main or previous is None or previous == signal.SIG_IGN:
        yield
        return
    _HANDLER.enter(before)
    try:
        yield
    finally:
        _HANDLER.leave(before)
