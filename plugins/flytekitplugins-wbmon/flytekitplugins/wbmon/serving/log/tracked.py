"""A function whose every call is a request of the log."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def tracked(
    request: Callable[[], AbstractContextManager[object]], function: Callable[P, R]
) -> Callable[P, R]:
    """A function or coroutine function that does what it did, within a request.

    Args:
        request: Begins a request, which the block ends.
        function: What is called.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            with request():
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", awaited)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with request():
            return function(*args, **kwargs)

    return called
