"""Measures the time of stages within a request.

The time of a stage is what no stage within it takes, and `other` is the time of the request that no
stage covers. So the stages and `other` add up to the latency of the request; of stages side by
side, as of tasks, each has its own time, and their sum is larger.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.serving.log.covered_time import CoveredTime
from flytekitplugins.wbmon.serving.log.request import Request, current_request, request_within

if TYPE_CHECKING:
    from typing_extensions import Self

_AROUND: ContextVar[Stage | None] = ContextVar("wbmon_stage", default=None)


class Stage:
    """A context manager that adds its time to a stage of the current request, if there is one.

    Args:
        log: The log whose nearest request it is a stage of; without one, of the current request.
        name: Name of the stage in `stage_ms`.
    """

    __slots__ = ("_begin", "_inner", "_log", "_name", "_outer", "_request", "_token")

    def __init__(self, log: object, name: str) -> None:
        self._log, self._name = log, name
        self._inner: CoveredTime | None = None
        self._request: Request | None = None
        self._outer: CoveredTime | None = None
        self._token: Token[Stage | None] | None = None
        self._begin = 0.0

    def __enter__(self) -> Self:
        request = self._request = request_within(self._log) or current_request()
        outer = _AROUND.get()
        self._token = _AROUND.set(self)
        self._begin = now = perf_counter()
        if request is None:
            return self
        if request.covered is None:
            request.covered = CoveredTime()
        request.covered.begin(now)
        # an outer stage of another request (one request served within another) loses no time
        if outer is not None and outer._request is request:  # noqa: SLF001 - of this class
            self._outer = outer.begin_inner(now)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        now = perf_counter()
        if self._token is not None:
            _AROUND.reset(self._token)
        request = self._request
        if request is None:
            return
        if request.covered is not None:
            request.covered.end(now)
        if self._outer is not None:
            self._outer.end(now)
        inner_s = 0.0 if self._inner is None else self._inner.until(now)
        request.add_stage(self._name, max(0.0, now - self._begin - inner_s) * 1e3)

    def begin_inner(self, now: float) -> CoveredTime:
        """Begin a stage within this one, which loses its time; seconds by the monotonic clock."""
        if self._inner is None:
            self._inner = CoveredTime()
        self._inner.begin(now)
        return self._inner
