"""Wraps a function so that each of its calls is logged as a request."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from flytekitplugins.wbmon.context import restore
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request, current_request

P = ParamSpec("P")
R = TypeVar("R")


class RequestLog(Protocol):
    """What a wrapper needs of the prediction log."""

    def request(self, route: str) -> AbstractContextManager[Request]:
        """Log the block as one request."""

    def enter(self, request: Request) -> None:
        """Count a request that begins."""

    def leave(self, request: Request) -> None:
        """Count a request's response as sent."""

    def finish(self, request: Request) -> None:
        """Count a finished request."""


def tracked(log: RequestLog, route: str, function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function of any kind so that each call runs within a request.

    Args:
        log: The prediction log.
        route: Name of the function in the log.
        function: The function to wrap: a plain one, a coroutine function, or a generator of
            either kind, whose request ends with its last value.

    Raises:
        ConfigError: If it is a `staticmethod` or `classmethod`, which is none.
    """
    if isinstance(function, staticmethod | classmethod):
        raise ConfigError(
            f"track must get a function, got a {type(function).__name__}; put @log.track below "
            f"@{type(function).__name__}"
        )
    if inspect.isgeneratorfunction(function):
        return cast("Callable[P, R]", _generator(log, route, function))
    if inspect.isasyncgenfunction(function):
        return cast("Callable[P, R]", _async_generator(log, route, function))
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            with log.request(route):
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", awaited)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with log.request(route):
            return function(*args, **kwargs)

    return called


def _generator(log: RequestLog, route: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def streamed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with _stream(log, route) as request:
            steps = function(*args, **kwargs)
            resume = functools.partial(next, steps)
            while True:
                with _current(request):
                    try:
                        given = resume()
                    except StopIteration as stop:
                        return stop.value
                _note_chunk(request)
                try:
                    resume = functools.partial(steps.send, (yield given))
                except GeneratorExit:
                    with _current(request):
                        steps.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - whatever its reader throws into it
                    resume = functools.partial(steps.throw, error)

    return streamed


def _async_generator(
    log: RequestLog, route: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def streamed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _stream(log, route) as request:
            steps = function(*args, **kwargs)
            resume: Callable[[], Awaitable[Any]] = steps.__anext__
            while True:
                with _current(request):
                    try:
                        given = await resume()
                    except StopAsyncIteration:
                        return
                _note_chunk(request)
                try:
                    resume = functools.partial(steps.asend, (yield given))
                except GeneratorExit:
                    with _current(request):
                        await steps.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - whatever its reader throws into it
                    resume = functools.partial(steps.athrow, error)

    return streamed


@contextmanager
def _stream(log: RequestLog, route: str) -> Iterator[Request]:
    """The request of a generator, which is the current one only while a step of it runs."""
    request = Request(route=route)
    log.enter(request)
    try:
        yield request
    except BaseException as error:
        request.end_with(error, around=current_request())
        raise
    finally:
        request.latency_ms = request.elapsed_ms()
        log.leave(request)
        log.finish(request)


@contextmanager
def _current(request: Request) -> Iterator[None]:
    # set and reset around each step: in between, the reader's own request is the current one
    token = CURRENT.set(request)
    try:
        yield
    finally:
        restore(CURRENT, token)


def _note_chunk(request: Request) -> None:
    if request.first_chunk_ms is None:
        request.first_chunk_ms = request.elapsed_ms()
