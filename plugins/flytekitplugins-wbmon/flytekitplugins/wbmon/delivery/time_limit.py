"""A time limit for a call that has none of its own, such as those of the libraries of stores."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NoThreadError(RuntimeError):
    """The operating system gives this process no further thread."""


def call_in_time(call: Callable[[], T], timeout_s: float) -> T:
    """Call a function, and give up waiting for it after a time.

    Args:
        call: Runs in a thread, and goes on there if the time is over: nothing can stop it.
        timeout_s: Time limit in seconds.

    Returns:
        What the function returned; what it raises is raised here.

    Raises:
        TimeoutError: If the time is over.
        NoThreadError: If no thread can be started.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            done.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)

    # with the caller's context, because flytekit's settings for a store are in it; a daemon,
    # because the process must be able to exit while the call hangs
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThreadError(
            f"this process must be able to start a thread: {error}; see its limits on processes "
            "and memory"
        ) from error
    thread.join(max(0.0, timeout_s))
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    return done[0]
