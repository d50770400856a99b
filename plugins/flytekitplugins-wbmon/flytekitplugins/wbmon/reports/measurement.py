"""One number of a report, with what rules, charts and the history of windows need to use it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from flytekitplugins.wbmon.reports.verdict import MetricVerdict

Prominence = Literal["rule", "chart", "history", "news"]

_PROMINENCES: tuple[Prominence, ...] = ("rule", "chart", "history", "news")
_DERIVED = ("low", "high", "baseline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number of a report.

    Attributes:
        path: Its name in parts, such as `("effect_size", "amount")`. Joined by dots it is the name
            in a rule, by slashes that in W&B.
        value: The number; 0 or 1 for a gate, `nan` where it is undefined.
        kind: The kind of the report, the first word of the address; set by `Report.measurements`.
        low: Lower end of its confidence interval; `nan` without one.
        high: Upper end of it.
        baseline: What it is compared with; `nan` without one.
        higher_is_better: The direction; None where neither side is the worse one.
        verdict: Of the value against its baseline; None for a number that has none.
        is_gate: Whether the number is a yes (1) or a no (0).
        unit: `ms`, `s`, `h`, `USD`, `bits`, `rows/s` …; empty for counts, shares and scores.
        prominence: Who gets it beside rules: `chart` is logged to W&B, `history` is also kept with
            the window and drawn on the index page, `news` is also mentioned when it has changed.
        reason: Why the value is undefined; for a gate, what it means.
    """

    path: tuple[str, ...]
    value: float
    kind: str = ""
    low: float = math.nan
    high: float = math.nan
    baseline: float = math.nan
    higher_is_better: bool | None = None
    verdict: MetricVerdict | None = None
    is_gate: bool = False
    unit: str = ""
    prominence: Prominence = "chart"
    reason: str = ""

    @property
    def name(self) -> str:
        """Its name within the report, as rules write it."""
        return ".".join(self.path)

    @property
    def address(self) -> str:
        """What a rule calls it: `<kind>.<name>`."""
        return f"{self.kind}.{self.name}"

    @property
    def metric(self) -> str:
        """What W&B calls it: the address with slashes between its parts."""
        return "/".join((self.kind, *self.path))

    def is_at_least(self, prominence: Prominence) -> bool:
        """Whether it is as prominent as that, or more."""
        return _PROMINENCES.index(self.prominence) >= _PROMINENCES.index(prominence)

    def derived(self) -> list[Measurement]:
        """The ends of its interval and its baseline, where it has them, as numbers of their own."""
        return [
            replace(
                number(*self.path, end, value=value, unit=self.unit, prominence=self.prominence),
                kind=self.kind,
                higher_is_better=self.higher_is_better,
            )
            for end in _DERIVED
            if not math.isnan(value := getattr(self, end))
        ]


def number(*path: str, value: float, **fields: Any) -> Measurement:
    """A measurement; `fields` are those of `Measurement`."""
    return Measurement(path=path, value=float(value), **fields)


def gate(
    *path: str, value: bool | None, reason: str, prominence: Prominence = "chart"
) -> Measurement:
    """A measurement of a yes-or-no question where yes is the bad answer; None for unknown."""
    known = math.nan if value is None else float(value)
    return Measurement(path=path, value=known, is_gate=True, prominence=prominence, reason=reason)
