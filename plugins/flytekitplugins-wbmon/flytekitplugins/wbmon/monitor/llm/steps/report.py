"""The report on the steps of chains and agents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.reports.measurement import Measurement, number
from flytekitplugins.wbmon.reports.report import Report

_CHARTED_STEPS = 50
_NO_TRACE = "no trace in this window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step of one trace.

    Attributes:
        id: Id of the step.
        trace_id: Id of its trace.
        parent_id: Id of the step that called it; empty for the root.
        name: Name of the step.
        started_at: Start time, UTC.
        ended_at: End time; None if it never ended.
        error: Class of its error; empty if none.
        tokens: Number of tokens used by the step itself, without its child steps.
        fingerprint: Hash of its inputs, which is equal for repeated calls with the same inputs.
        has_output: Whether it returned anything.
    """

    id: str
    trace_id: str
    parent_id: str = ""
    name: str
    started_at: datetime
    ended_at: datetime | None = None
    error: str = ""
    tokens: float = 0.0
    fingerprint: str = ""
    has_output: bool = True

    @property
    def latency_ms(self) -> float:
        """Time of the step with its child steps; `nan` if it never ended."""
        if self.ended_at is None:
            return math.nan
        return (self.ended_at - self.started_at).total_seconds() * 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary(ByContent):
    """Summary of one step over all traces.

    Attributes:
        name: Name of the step.
        n: Number of calls.
        n_traces: Number of traces with the step.
        n_errors: Number of calls that failed, for any reason.
        n_origin: Number of calls in which a failure began: the call failed, and no child step did.
        latency_ms: Time of a call with its child steps: `mean`, `p50`, `p95`.
        own_ms: Mean time of a call without its child steps.
        tokens: Mean number of tokens of a call without its child steps.
        errors: Number of failures that began in the step, by class of the error.
    """

    name: str
    n: int
    n_traces: int
    n_errors: int = 0
    n_origin: int = 0
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    own_ms: float = math.nan
    tokens: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)

    def measurements(self, *, is_charted: bool) -> Iterable[Measurement]:
        """The numbers of the step, each named after it.

        Args:
            is_charted: Whether the main ones go to W&B.
        """
        shown = "chart" if is_charted else "rule"
        yield number("n", self.name, value=self.n, prominence="rule")
        yield number(
            "n_origin", self.name, value=self.n_origin, higher_is_better=False, prominence="rule"
        )
        yield number(
            "error_rate",
            self.name,
            value=self.n_errors / self.n if self.n else math.nan,
            higher_is_better=False,
            prominence=shown,
        )
        timings = {f"latency_ms.{name}": value for name, value in self.latency_ms.items()}
        for name, value in (timings | {"own_ms": self.own_ms}).items():
            yield number(
                *name.split("."),
                self.name,
                value=value,
                higher_is_better=False,
                unit="ms",
                prominence=shown if name == "latency_ms.p95" else "rule",
                reason="the step never ended",
            )
        yield number("tokens", self.name, value=self.tokens, prominence="rule")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport(Report):
    """Summary of the steps in the traces of a window.

    Attributes:
        n_traces: Number of traces.
        n_failed: Number of traces that failed.
        n_recovered: Number of traces in which a step failed but which ended without an error.
        n_looping: Number of traces in which a step was called with the same inputs more often than
            allowed.
        n_dead_ends: Number of traces without a result and without an error.
        n_unfinished: Number of these that never ended: killed, or still running.
        steps: Summaries by name; the steps in which most failures begin come first.
        loops: For each step that looped, by name, the number of traces in which it did.
        start_at: Begin of the window; None if it has none.
        end_at: End of the window; None if it has none.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "steps"
    VOLUMES: ClassVar[tuple[str, ...]] = ("n_traces",)

    n_traces: int
    n_failed: int
    n_recovered: int = 0
    n_looping: int = 0
    n_dead_ends: int = 0
    n_unfinished: int = 0
    steps: tuple[StepSummary, ...] = ()
    loops: Mapping[str, int] = field(default_factory=dict)
    start_at: datetime | None = None
    end_at: datetime | None = None
    reason: str

    def absent(self, name: str) -> Measurement | None:
        """A step that did not run in this window."""
        stems = ("n.", "n_origin.", "error_rate.", "latency_ms.", "own_ms.", "tokens.")
        if not name.startswith(stems):
            return None
        count = name.startswith(("n.", "n_origin."))
        why = "the step did not run in this window"
        return number(*name.split("."), value=0.0 if count else math.nan, reason=why)

    @property
    def unmeasured(self) -> str:
        """That there is no trace whose end is known; empty if there is."""
        if self.n_unfinished < self.n_traces:
            return ""
        return f"none of {self.n_traces} traces ended" if self.n_traces else _NO_TRACE

    def _measured(self) -> Iterable[Measurement]:
        yield number("n_traces", value=self.n_traces, prominence="history")
        for name in ("n_failed", "n_looping", "n_dead_ends", "n_unfinished"):
            yield number(name, value=getattr(self, name), higher_is_better=False)
        yield number("n_recovered", value=self.n_recovered)
        n_ended = self.n_traces - self.n_unfinished
        yield number(
            "error_rate",
            value=self.n_failed / n_ended if n_ended else math.nan,
            higher_is_better=False,
            prominence="news",
            reason=self.unmeasured,
        )
        yield number(
            "dead_end_rate",
            value=self.n_dead_ends / self.n_traces if self.n_traces else math.nan,
            higher_is_better=False,
            reason=_NO_TRACE,
        )
        for index, step in enumerate(self.steps):
            yield from step.measurements(is_charted=index < _CHARTED_STEPS)
