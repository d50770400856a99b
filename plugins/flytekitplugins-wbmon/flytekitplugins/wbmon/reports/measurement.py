"""One number of a report, with what a rule needs to judge it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flytekitplugins.wbmon.reports.verdict import MetricVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One number of a report, with what a rule needs to judge it.

    Attributes:
        name: The address without the report's name.
        value: The number; 0 or 1 for a gate, `nan` where undefined.
        low: Lower end of its interval; `nan` without one.
        high: Upper end of its interval.
        baseline: Of a metric; `nan` without one.
        higher_is_better: The direction; None where neither side is the worse one.
        verdict: Of a metric against its baseline.
        is_gate: Whether the number is a yes (1) or no (0).
        reason: Why the value is undefined; for a gate, what it says.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    baseline: float = math.nan
    higher_is_better: bool | None = None
    verdict: MetricVerdict | None = None
    is_gate: bool = False
    reason: str = ""


def gate(name: str, value: bool | None, reason: str) -> Observation:
    """A yes or no; None where neither can be said."""
    number = math.nan if value is None else float(value)
    return Observation(name=name, value=number, is_gate=True, reason=reason)


def number(name: str, value: float, reason: str = "") -> Observation:
    """A number without an interval, a baseline or a direction."""
    return Observation(name=name, value=float(value), reason=reason)
