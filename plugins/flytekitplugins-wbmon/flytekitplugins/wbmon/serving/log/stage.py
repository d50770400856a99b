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

from flytekitplugins.wbmon.context import Block, innermost, leave
from flytekitplugins.wbmon.serving.log.covered_time import CoveredTime
from flytekitplugins.wbmon.serving.log.request import Request, current_request, request_within

if TYPE_CHECKING:
    from typing_extensions import Self


class _Run(Block):
    """One run of a stage.

    Args:
        request: The request that it is a stage of.
        begin: When it began; seconds by the monotonic clock.

    Attributes:
        inner: The time that stages within it cover.
        outer: The stage around it, of the same request.
        token: What ends it.
    """

    outer: _Run | None = None
    token: Token[_Run | None]

    def __init__(self, request: Request | None, begin: float) -> None:
        self.request, self._begin = request, begin
        self.inner = CoveredTime()

    def enter(self) -> None:
        """Begin to cover time of the request, and of the stage around this one."""
        request = self.request
        if request is None:
            return
        if request.covered is None:
            request.covered = CoveredTime()
        request.covered.begin(self._begin)
        if self.outer is not None:
            self.outer.inner.begin(self._begin)

    def own_s(self, now: float) -> float:
        """End it; returns the seconds that no stage within it covered."""
        if self.request is not None and self.request.covered is not None:
            self.request.covered.end(now)
            if self.outer is not None:
                self.outer.inner.end(now)
        return max(0.0, now - self._begin - self.inner.until(now))


_AROUND: ContextVar[_Run | None] = ContextVar("wbmon_stage", default=None)


class Stage:
    """A context manager that adds its time to a stage of the current request, if there is one.

    One object may be entered again, also within itself and in several threads.

    Args:
        log: The log whose nearest request it is a stage of; without one, of the current request.
        name: Name of the stage in `stage_ms`.
    """

    __slots__ = ("_log", "_name", "_runs")

    def __init__(self, log: object, name: str) -> None:
        self._log, self._name = log, name
        self._runs: list[_Run] = []

    def __enter__(self) -> Self:
        outer = innermost(_AROUND)
        run = _Run(request_within(self._log) or current_request(), perf_counter())
        run.token = _AROUND.set(run)
        self._runs.append(run)
        # an outer stage of another request (one request served within another) loses no time
        if outer is not None and run.request is outer.request:
            run.outer = outer
        run.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        now = perf_counter()
        run = self._ended()
        leave(_AROUND, run.token, run)
        if run.request is not None:
            run.request.add_stage(self._name, run.own_s(now) * 1e3)

    def _ended(self) -> _Run:
        """The run that ends: this context's, or, if it began in another one, the last."""
        here = _AROUND.get()
        if here is None or here not in self._runs:
            return self._runs.pop()
        self._runs.remove(here)
        return here
