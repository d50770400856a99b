"""Clean exit of a task that is terminated by a spot preemption, a timeout or an abort.

By default SIGTERM ends Python without running any `finally`. The handler here turns the signal into
a `SystemExit` with status 143, which is the status that a shell reports for SIGTERM.
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
    """The process received SIGTERM."""

    def __init__(self) -> None:
        super().__init__(SIGTERM_STATUS)

    def __str__(self) -> str:
        return "the task was told to stop (SIGTERM)"


class _Handler:
    """The one SIGTERM handler of the process, shared by blocks that may overlap in any order.

    The first block installs it. The last one to end restores the previous handler and passes on a
    signal that arrived meanwhile. It must be the last, because the previous handler may end the
    process before other blocks have finished their work.

    A forked child is not the task, so there the previous handler is restored at once. The signal is
    blocked during the fork: Python loses a handled signal that arrives before the child is ready,
    and a process pool would then wait for its worker forever.
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
        """Handle SIGTERM until the matching `leave`."""
        if signal.getsignal(signal.SIGTERM) is not self:
            self._previous = signal.signal(signal.SIGTERM, self)
        self._blocks.append(before)

    def leave(self, before: Callable[[], None] | None) -> None:
        """End a block; a handler that the block itself installed stays in place."""
        if before not in self._blocks:  # entered in the parent, before a fork
            return
        self._blocks.remove(before)
        if self._blocks:
            return
        installed: object = signal.getsignal(signal.SIGTERM)
        if installed is self:
            signal.signal(signal.SIGTERM, self._previous)
        heard, self._heard = self._heard, None
        # SIG_DFL is not callable: then the `SystemExit` on its way ends the process
        if heard is not None and callable(self._previous):
            self._previous(*heard)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._heard = number, frame
        # inner blocks first, as their `finally` clauses run
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
    """Leave the block with `SystemExit(143)` on SIGTERM.

    The previous handler is called after the block has ended, and restored. The block has no effect
    outside the main thread, where Python allows no handler, or if SIGTERM is ignored.

    Args:
        before: Called in the handler, for work that the `finally` of the block cannot do because
            it runs in another thread.

    Raises:
        TerminatedError: On SIGTERM inside the block.
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
