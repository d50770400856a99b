"""The report on the steps of chains and agents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from flytekitplugins.wbmon.reports.measurement import Measurement, number
from flytekitplugins.wbmon.reports.report import Report

_CHARTED_STEPS = 50
_NO_TRACE = "no trace in this window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step of one trace.

    Attributes:
        id: Of the step.
        trace_id: Of the whole.
        parent_id: Of the step around it; empty for the whole.
        name: What the step does.
        started_at: UTC.
        ended_at: None if it never ended.
        error: Class of its error; empty if none.
        tokens: Tokens it used itself, without the steps inside.
        fingerprint: Of its inputs: the same for a step that is asked the same again.
        has_output: Whether it gave anything back.
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
        """Of the step with all inside; `nan` if it never ended."""
        if self.ended_at is None:
            return math.nan
        return (self.ended_at - self.started_at).total_seconds() * 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """What one step did in all traces.

    Attributes:
        name: Of the step.
        n: Times it ran.
        n_traces: Traces it ran in.
        n_errors: Times it failed, for whatever reason.
        n_origin: Times it was where a failure began: it failed, and no step inside it did.
        latency_ms: `mean`, `p50`, `p95`, with the steps inside.
        own_ms: Mean without the steps inside.
        tokens: Mean of its own.
        errors: By class, where it was the origin.
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
    """What the steps of a window's traces did.

    Attributes:
        n_traces: Traces.
        n_failed: Traces that failed in the end.
        n_recovered: Traces in which a step failed and which succeeded all the same.
        n_looping: Traces in which a step was asked the same more often than allowed.
        n_dead_ends: Traces that stopped without a result and without an error.
        steps: By name, where failures begin first.
        loops: Steps that were asked the same again, with the traces they did it in.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "steps"

    n_traces: int
    n_failed: int
    n_recovered: int = 0
    n_looping: int = 0
    n_dead_ends: int = 0
    steps: tuple[StepSummary, ...] = ()
    loops: Mapping[str, int] = field(default_factory=dict)
    reason: str

    def absent(self, name: str) -> Measurement | None:
        """A step that did not run in this window."""
        stems = ("n.", "n_origin.", "error_rate.", "latency_ms.", "own_ms.", "tokens.")
        if not name.startswith(stems):
            return None
        count = name.startswith(("n.", "n_origin."))
        why = "the step did not run in this window"
        return number(*name.split("."), value=0.0 if count else math.nan, reason=why)

    def _measured(self) -> Iterable[Measurement]:
        yield number("n_traces", value=self.n_traces, prominence="history")
        for name in ("n_failed", "n_looping", "n_dead_ends"):
            yield number(name, value=getattr(self, name), higher_is_better=False)
        yield number("n_recovered", value=self.n_recovered)
        failed = self.n_failed / self.n_traces if self.n_traces else math.nan
        yield number(
            "error_rate",
            value=failed,
            higher_is_better=False,
            prominence="news",
            reason=_NO_TRACE,
        )
        for index, step in enumerate(self.steps):
            yield from step.measurements(is_charted=index < _CHARTED_STEPS)
