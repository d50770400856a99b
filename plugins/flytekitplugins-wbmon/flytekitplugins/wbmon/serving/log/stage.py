"""Measures the time of stages within a request.

Nested stages do not count twice, so the stages and the uncovered time (`other`) add up to the
latency of the request.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.serving.log.request import Request, current_request

if TYPE_CHECKING:
    from typing_extensions import Self

_AROUND: ContextVar[Stage | None] = ContextVar("wbmon_stage", default=None)


class Stage:
    """A context manager that adds its time to a stage of the current request, if there is one.

    Args:
        name: Name of the stage in `stage_ms`.
    """

    __slots__ = ("_begin", "_inner_ms", "_name", "_outer", "_request", "_token")

    def __init__(self, name: str) -> None:
        self._name = name
        self._inner_ms = 0.0
        self._request: Request | None = None
        self._outer: Stage | None = None
        self._token: Token[Stage | None] | None = None
        self._begin = 0.0

    def __enter__(self) -> Self:
        self._request = current_request()
        self._outer = _AROUND.get()
        self._token = _AROUND.set(self)
        self._begin = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        spent_ms = (perf_counter() - self._begin) * 1e3
        if self._token is not None:
            _AROUND.reset(self._token)
        # an outer stage of another request (one request served within another) loses no time
        if self._outer is not None and self._outer._request is self._request:  # noqa: SLF001 - of this class
            self._outer._inner_ms += spent_ms  # noqa: SLF001 - of this class
        if self._request is not None:
            self._request.add_stage(self._name, spent_ms - self._inner_ms)
