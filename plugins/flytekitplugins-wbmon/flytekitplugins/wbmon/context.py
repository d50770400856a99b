"""Carries what is set around a block of code (call attributes, a request) into threads."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flytekitplugins.wbmon.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")

_LATER: tuple[Callable[[Any], bool], ...] = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


def with_context(function: Callable[P, R]) -> Callable[P, R]:
    """A function that runs with the context variables that are set here, in whichever thread.

    Python gives them to the coroutines and tasks that a block starts and to `asyncio.to_thread`,
    but before 3.14 neither to a `threading.Thread` nor to the threads of an executor.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> tenant = contextvars.ContextVar("tenant")
    >>> token = tenant.set("acme")
    >>> with ThreadPoolExecutor() as pool:
    ...     pool.submit(with_context(tenant.get)).result()
    'acme'

    Args:
        function: A plain function; it may run several times, and in several threads at once.

    Raises:
        ConfigError: If it is no function, or if it is a coroutine function or a generator, whose
            body runs later, in the context of who awaits or reads it.
    """
    if not callable(function):
        raise ConfigError(f"with_context must get a function, got {function!r}")
    # of an object that is called, its class has the function
    called = function if inspect.isroutine(function) else type(function).__call__
    if any(is_later(each) for is_later in _LATER for each in (function, called)):
        raise ConfigError(
            "with_context must get a plain function, got a coroutine function or a generator "
            f"({getattr(function, '__qualname__', function)}); wrap the function that the thread "
            "starts with, such as `lambda: asyncio.run(main())`"
        )
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # a copy each time, because a context can be entered only once at a time
        return context.copy().run(function, *args, **kwargs)

    return carried
