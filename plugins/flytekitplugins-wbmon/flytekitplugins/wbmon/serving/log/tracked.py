"""Wraps a function so that each of its calls is logged as a request."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from flytekitplugins.wbmon.context import restore
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request, current_request

P = ParamSpec("P")
R = TypeVar("R")


class RequestLog(Protocol):
    """What a wrapper needs of the prediction log."""

    def enter(self, request: Request) -> None:
        """Count a request that begins."""

    def leave(self, request: Request) -> None:
        """Count a request's response as sent."""

    def finish(self, request: Request) -> None:
        """Count a finished request."""


def tracked(log: RequestLog, route: str, function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function of any kind so that each call runs within a request.

    The request of a coroutine, a generator of either kind, or a future of asyncio lasts until its
    end, whether a function of that kind gives it or any other that is called, such as a plain
    decorator around one or an object with an `async def __call__`.

    Args:
        log: The prediction log.
        route: Name of the function in the log.
        function: The function to wrap.

    Raises:
        ConfigError: If it is a `staticmethod` or `classmethod`, which is none.
    """
    if isinstance(function, staticmethod | classmethod):
        raise ConfigError(
            f"track must get a function, got a {type(function).__name__}; put @log.track below "
            f"@{type(function).__name__}"
        )
    begin = functools.partial(_begun, log, route)
    # of an object that is called, its class has the function
    kinds = function, type(function).__call__
    for is_of_kind, wrap in _KINDS.items():
        if any(map(is_of_kind, kinds)):
            return cast("Callable[P, R]", wrap(log, begin, function))
    return _plain(log, begin, function)


def _plain(
    log: RequestLog, begin: Callable[[], Request], function: Callable[P, R]
) -> Callable[P, R]:
    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        request = begin()
        try:
            with _current(request):
                result = function(*args, **kwargs)
        except BaseException as error:
            _end(log, request, error)
            raise
        if type(result) in _LATER:
            return cast("R", _followed(log, request, result))
        if hasattr(type(result), "_asyncio_future_blocking"):
            cast("Any", result).add_done_callback(functools.partial(_end_with_future, log, request))
        else:
            _end(log, request)
        return result

    return called


def _followed(log: RequestLog, request: Request, result: Any) -> Any:
    """What was only begun, wrapped so that the request lasts until its end."""
    wrap = _LATER[type(result)]
    followed = wrap(log, lambda: request, lambda: result)()
    # one that nobody awaits or reads is never run, and would be in flight for ever
    weakref.finalize(followed, _drop, log, request).atexit = False
    return followed


def _drop(log: RequestLog, request: Request) -> None:
    if not request.is_over:
        _end(log, request, GeneratorExit())


def _end_with_future(log: RequestLog, request: Request, future: Any) -> None:
    from asyncio import CancelledError

    _end(log, request, CancelledError() if future.cancelled() else future.exception())


def _coroutine(
    log: RequestLog, begin: Callable[[], Request], function: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        with _open(log, begin) as request, _current(request):
            return await function(*args, **kwargs)

    return awaited


def _generator(
    log: RequestLog, begin: Callable[[], Request], function: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def streamed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with _open(log, begin) as request:
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
    log: RequestLog, begin: Callable[[], Request], function: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def streamed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _open(log, begin) as request:
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


def _begun(log: RequestLog, route: str) -> Request:
    request = Request(route=route)
    log.enter(request)
    return request


def _end(log: RequestLog, request: Request, error: BaseException | None = None) -> None:
    if error is not None:
        request.end_with(error, around=current_request())
    request.latency_ms = request.elapsed_ms()
    log.leave(request)
    log.finish(request)


@contextmanager
def _open(log: RequestLog, begin: Callable[[], Request]) -> Iterator[Request]:
    """A request that lasts for the block, which makes it the current one where it is."""
    request = begin()
    try:
        yield request
    except BaseException as error:
        _end(log, request, error)
        raise
    _end(log, request)


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


_KINDS: Mapping[Callable[[Any], bool], Callable[..., Callable[..., Any]]] = {
    inspect.iscoroutinefunction: _coroutine,
    inspect.isgeneratorfunction: _generator,
    inspect.isasyncgenfunction: _async_generator,
}
# what a plain function may give that is only begun
_LATER: Mapping[type, Callable[..., Callable[..., Any]]] = {
    CoroutineType: _coroutine,
    GeneratorType: _generator,
    AsyncGeneratorType: _async_generator,
}
