"""Wraps a function so that each of its calls is logged as a request."""

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
    """Wrap a function or coroutine function so that each call runs within a request.

    Args:
        request: Makes the context manager of one request.
        function: The function to wrap.
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
