"""Measures the time of stages within a request.

Nested stages do not count twice, so the stages and the uncovered time (`other`) add up to the
latency of the request.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.context import Block, innermost, leave
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request

if TYPE_CHECKING:
    from typing_extensions import Self


class _Run(Block):
    """One run of a stage."""

    __slots__ = ("begin", "inner_ms", "outer", "request", "token")

    request: Request | None
    outer: _Run | None
    token: Token[_Run | None]
    begin: float
    inner_ms: float


_AROUND: ContextVar[_Run | None] = ContextVar("wbmon_stage", default=None)


class Stage:
    """A context manager that adds its time to a stage of the current request, if there is one.

    One object may be entered again, also within itself and in several threads.

    Args:
        name: Name of the stage in `stage_ms`.
    """

    __slots__ = ("_name", "_others", "_run")

    def __init__(self, name: str) -> None:
        self._name = name
        self._run: _Run | None = None
        self._others: list[_Run] | None = None

    def __enter__(self) -> Self:
        run = _Run()
        run.inner_ms = 0.0
        run.request = innermost(CURRENT)
        run.outer = innermost(_AROUND)
        run.token = _AROUND.set(run)
        if self._run is not None:
            self._others = [*(self._others or ()), self._run]
        self._run = run
        run.begin = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end = perf_counter()
        run, self._run = self._run, None
        if self._others:
            run = self._one_of([*self._others, *([run] if run else ())])
        if run is None:
            return
        spent_ms = (end - run.begin) * 1e3
        leave(_AROUND, run.token, run)
        request, outer = run.request, run.outer
        # an outer stage of another request (one request served within another) loses no time
        if outer is not None and outer.request is request:
            outer.inner_ms += spent_ms
        if request is not None:
            request.add_stage(self._name, spent_ms - run.inner_ms)

    def _one_of(self, runs: list[_Run]) -> _Run:
        """The run that ends: this context's, or, if it began in another one, the last."""
        here = _AROUND.get()
        run = here if here in runs else runs[-1]
        self._others = [each for each in runs if each is not run]
        return run
