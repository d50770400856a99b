"""Chains and agents: what their steps did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flytekitplugins.wbmon.reports.report import Report


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

    n_traces: int
    n_failed: int
    n_recovered: int = 0
    n_looping: int = 0
    n_dead_ends: int = 0
    steps: tuple[StepSummary, ...] = ()
    loops: Mapping[str, int] = field(default_factory=dict)
    reason: str
