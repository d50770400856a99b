"""Clean exit of a task that is terminated by a spot preemption, a timeout, an abort or Ctrl-C.

By default SIGTERM ends Python without running any `finally`. The handler here turns the signal into
a `SystemExit` with status 143, which is the status that a shell reports for SIGTERM.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGTERM_STATUS = 128 + signal.SIGTERM
# Kubernetes kills a pod 30 s after it told it to stop; to store what is left needs some of them
TERMINATING_TIMEOUT_S = 10.0

# whoever presses Ctrl-C again waits for this; an end that nothing holds up takes a second
INTERRUPTED_TIMEOUT_S = 3.0

Before = Callable[[BaseException], None]


class TerminatedError(SystemExit):
    """The process received SIGTERM.

    Args:
        status: Exit status of the process.
    """

    def __init__(self, status: int = SIGTERM_STATUS) -> None:
        super().__init__(status)

    def __str__(self) -> str:
        return "the task was told to stop (SIGTERM)"


class _Handler:
    """The one SIGTERM handler of the process, shared by blocks that may overlap in any order.

    The first block installs it, and the last one to end restores the previous handler.

    A previous handler is called at once, and decides: if it raises, that ends the blocks; if it
    returns, it has told the body to stop, which then goes on until it returns. Without one, the
    handler ends the blocks with `TerminatedError`. It raises once only, so that the `finally`
    clauses that follow are not cut short. While a block holds it back, it only notes the signal.

    A forked child is not the task, so there the previous handler is restored at once. The signal is
    blocked during the fork: Python loses a handled signal that arrives before the child is ready,
    and a process pool would then wait for its worker forever.
    """

    def __init__(self) -> None:
        self._blocks: list[Before | None] = []
        self._previous: Any = signal.SIG_DFL
        self._n_holding = 0
        self._held_back: tuple[int, FrameType | None] | None = None
        self._fork = threading.local()
        self.heard_at: float | None = None
        os.register_at_fork(
            before=self._hold_back,
            after_in_parent=self._let_through,
            after_in_child=self._forget,
        )

    def enter(self, before: Before | None) -> None:
        """Handle SIGTERM until the matching `leave`."""
        installed: object = signal.getsignal(signal.SIGTERM)
        if installed is not self:
            self._previous = signal.signal(signal.SIGTERM, self)
        self._blocks.append(before)

    def leave(self, before: Before | None, *, is_failing: bool) -> None:
        """End a block; a handler that the block itself installed stays in place.

        Args:
            before: As given to `enter`.
            is_failing: Whether an exception is on its way, which also ends what is outside.
        """
        if before not in self._blocks:  # entered in the parent, before a fork
            return
        self._blocks.remove(before)
        if self._blocks:
            return
        installed: object = signal.getsignal(signal.SIGTERM)
        if installed is self:
            signal.signal(signal.SIGTERM, self._previous)
        held_back, self._held_back, self.heard_at = self._held_back, None, None
        if held_back is None:
            return
        if callable(self._previous):
            self._previous(*held_back)
        elif not is_failing:
            raise TerminatedError

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Only note SIGTERM in the block, also where the body has installed another handler."""
        own: Any = signal.signal(signal.SIGTERM, self)
        self._n_holding += 1
        try:
            yield
        finally:
            self._n_holding -= 1
            signal.signal(signal.SIGTERM, own)
            if own is not self and self._held_back is not None:
                self._held_back = None
                signal.raise_signal(signal.SIGTERM)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        is_first = self.heard_at is None
        self.heard_at = self.heard_at or time.monotonic()
        if self._n_holding:
            self._held_back = number, frame
        elif callable(self._previous):  # SIG_DFL is not
            self._ask_previous(number, frame)
        elif is_first:
            error = TerminatedError()
            self.end_blocks(error)
            raise error

    def _ask_previous(self, number: int, frame: FrameType | None) -> None:
        try:
            self._previous(number, frame)
        except BaseException as error:
            self.end_blocks(error)
            raise

    def end_blocks(self, error: BaseException) -> None:
        """Call what was to be done before the blocks end."""
        self.heard_at = self.heard_at or time.monotonic()
        with self.hold():
            # inner blocks first, as their `finally` clauses run
            for before in reversed(self._blocks):
                if before is not None:
                    before(error)

    def _hold_back(self) -> None:
        self._fork.mask = None
        if self._blocks:
            self._fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def _let_through(self) -> None:
        if self._fork.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._fork.mask)

    def _forget(self) -> None:
        installed: object = signal.getsignal(signal.SIGTERM)
        if installed is self:
            signal.signal(signal.SIGTERM, self._previous)
        self._blocks, self._n_holding, self._held_back, self.heard_at = [], 0, None, None
        self._let_through()


class _Interrupt:
    """The handler of SIGINT during an end: it only notes that a signal has come."""

    def __init__(self) -> None:
        self.heard_at: float | None = None

    def __call__(self, *_: object) -> None:
        self.heard_at = self.heard_at or time.monotonic()


_HANDLER = _Handler()
_INTERRUPT = _Interrupt()


@contextmanager
def exit_on_sigterm(before: Before | None = None) -> Iterator[None]:
    """Leave the block with `SystemExit(143)` on SIGTERM, unless the user has a handler for it.

    A handler of the user decides, whether it was installed before the block or inside it. The block
    has no effect outside the main thread, where Python allows no handler, or if SIGTERM is ignored.

    Args:
        before: Called in the handler with the exception that is about to be raised, for work that
            the `finally` of the block cannot do because it runs in another thread.

    Raises:
        TerminatedError: On SIGTERM inside the block.
    """
    if not _is_main() or not _is_replaceable():
        yield
        return
    _HANDLER.enter(before)
    try:
        yield
    except BaseException as error:
        if not is_terminating() and _is_of_other_handler(error):
            _HANDLER.end_blocks(_reason(error))
        _HANDLER.leave(before, is_failing=True)
        raise
    _HANDLER.leave(before, is_failing=False)


@contextmanager
def hold_sigterm() -> Iterator[None]:
    """Let no SIGTERM interrupt the block; the enclosing `exit_on_sigterm` obeys it afterwards.

    Outside the main thread no signal can interrupt, and the block has no effect.
    """
    if not _is_main() or not _is_replaceable():
        yield
        return
    with _HANDLER.hold():
        yield


@contextmanager
def hold_sigint(leaving: BaseException | None = None) -> Iterator[None]:
    """Let no SIGINT interrupt the block, which is to be quick then; it is obeyed afterwards.

    So a user who presses Ctrl-C several times does not lose what the block stores. Outside the main
    thread no signal can interrupt, and the block has no effect.

    Args:
        leaving: The exception that is on its way. If it ends the process, as an earlier Ctrl-C
            does, the signal need not be obeyed, and does not take its place.
    """
    if not _is_main() or signal.getsignal(signal.SIGINT) in (None, signal.SIG_IGN):
        yield
        return
    own: Any = signal.signal(signal.SIGINT, _INTERRUPT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, own)
        if own is not _INTERRUPT and _INTERRUPT.heard_at is not None:
            _INTERRUPT.heard_at = None
            if not isinstance(leaving, (KeyboardInterrupt, SystemExit)):
                signal.raise_signal(signal.SIGINT)


def is_terminating() -> bool:
    """Whether the process has only seconds: SIGTERM has come, or SIGINT in a `hold_sigint`."""
    return _HANDLER.heard_at is not None or _INTERRUPT.heard_at is not None


def terminating_until(began: float) -> float:
    """Time at which the work of an end must be done because `is_terminating`; else infinity.

    A body that was told to stop may have taken its time to save what it had; then the end still
    gets `TERMINATING_TIMEOUT_S` of its own; less if it is a user who wants to leave.

    Args:
        began: When the work began, on the clock of `time.monotonic()`.
    """
    heard = (
        (_HANDLER.heard_at, TERMINATING_TIMEOUT_S),
        (_INTERRUPT.heard_at, INTERRUPTED_TIMEOUT_S),
    )
    limits = [max(at, began) + seconds for at, seconds in heard if at is not None]
    return min(limits, default=float("inf"))


def _is_of_other_handler(error: BaseException) -> bool:
    """Whether a handler has raised the error that the body installed, such as flytekit's own."""
    if isinstance(error, KeyboardInterrupt):
        return True
    code = getattr(signal.getsignal(signal.SIGTERM), "__code__", None)
    return any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))


def _reason(error: BaseException) -> BaseException:
    if isinstance(error, KeyboardInterrupt):
        return error
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return TerminatedError(error.code)
    return TerminatedError()


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_replaceable() -> bool:
    # None: installed by C code, and cannot be put back
    return signal.getsignal(signal.SIGTERM) not in (None, signal.SIG_IGN)
