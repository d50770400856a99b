"""A task that is told to stop (spot preemption, timeout, abort) ends its run before it goes.

Python dies of SIGTERM without running a `finally`. The handler here turns the signal into a
`SystemExit` with status 143, which is what a shell reports for SIGTERM.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGTERM_STATUS = 128 + signal.SIGTERM


class TerminatedError(SystemExit):
    """The process was told to stop."""

    def __init__(self) -> None:
        super().__init__(SIGTERM_STATUS)

    def __str__(self) -> str:
        return "the task was told to stop (SIGTERM)"


@contextmanager
def exit_on_sigterm(before: Callable[[], None] | None = None) -> Iterator[None]:
    """Leave the block by `SystemExit(143)` when SIGTERM comes.

    Whoever handled the signal before is called first, and again handles it afterwards. Nothing
    changes outside the main thread, where Python allows no handler, or where SIGTERM is ignored.

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

    def leave(number: int, frame: FrameType | None) -> None:
        if before is not None:
            before()
        if callable(previous):
            previous(number, frame)
        raise TerminatedError

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, previous)
