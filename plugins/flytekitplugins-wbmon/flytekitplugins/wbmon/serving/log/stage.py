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
from flytekitplugins.wbmon.serving.log.request import Request, current_request

if TYPE_CHECKING:
    from typing_extensions import Self


class _Run(Block):
    """One run of a stage."""

    request: Request | None
    outer: _Run | None
    token: Token[_Run | None]
    begin: float
    inner_ms = 0.0


_AROUND: ContextVar[_Run | None] = ContextVar("wbmon_stage", default=None)


class Stage:
    """A context manager that adds its time to a stage of the current request, if there is one.

    One object may be entered again, also within itself and in several threads.

    Args:
        name: Name of the stage in `stage_ms`.
    """

    __slots__ = ("_name", "_runs")

    def __init__(self, name: str) -> None:
        self._name = name
        self._runs: list[_Run] = []

    def __enter__(self) -> Self:
        run = _Run()
        run.request = current_request()
        run.outer = innermost(_AROUND)
        run.token = _AROUND.set(run)
        self._runs.append(run)
        run.begin = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        run = self._ended()
        spent_ms = (perf_counter() - run.begin) * 1e3
        leave(_AROUND, run.token, run)
        request, outer = run.request, run.outer
        # an outer stage of another request (one request served within another) loses no time
        if outer is not None and outer.request is request:
            outer.inner_ms += spent_ms
        if request is not None:
            request.add_stage(self._name, spent_ms - run.inner_ms)

    def _ended(self) -> _Run:
        """The run that ends: this context's, or, if it began in another one, the last."""
        here = _AROUND.get()
        if here is None or here not in self._runs:
            return self._runs.pop()
        self._runs.remove(here)
        return here
