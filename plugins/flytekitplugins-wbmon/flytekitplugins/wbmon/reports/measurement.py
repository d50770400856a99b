"""One number of a report, with what rules, charts and the history of windows need to use it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from flytekitplugins.wbmon.names import digest_of, shown_name
from flytekitplugins.wbmon.reports.verdict import MetricVerdict

Prominence = Literal["rule", "chart", "history", "news"]

_PROMINENCES: tuple[Prominence, ...] = ("rule", "chart", "history", "news")
_DERIVED = ("low", "high", "baseline")
# W&B takes these for levels of a name or for parts of a pattern; `~` begins what stands for them
_NOT_IN_METRICS = frozenset('~/.\\*"`<>')
_LOST_BLANKS = re.compile("^ | \\Z|(?<= ) ")
_LONGEST_PART = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number of a report.

    Attributes:
        path: Its name in parts, such as `("effect_size", "amount")`. Joined by dots it is the name
            in a rule, by slashes (each part as `metric_part` writes it) that in W&B.
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
        p_value: Probability that chance alone makes the number at least this bad; in [0, 1]. 0 if
            it cannot be chance, `nan` if nobody says.
        distance: How bad it is, in a unit that windows share (standard errors, share of rows): by
            it the window is compared with past ones. `nan` without a p-value.
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
    p_value: float = math.nan
    distance: float = math.nan

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
        return "/".join((self.kind, *map(metric_part, self.path)))

    @property
    def told(self) -> str:
        """Its name in a sentence: that of rules, on one line and cut."""
        return ".".join(map(shown_name, self.path))

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


@lru_cache(maxsize=65536)
def metric_part(name: str) -> str:
    """One part of the name of a metric in W&B, for example that of a column.

    Letters of any script, digits and most signs stay; `~` and two hexadecimal digits a byte stand
    for what W&B would take for something else, and for what cannot be seen. A long name is cut and
    ends in `~~` and a digest. So no two names become one, and what a name becomes does not depend
    on any other.
    """
    if not name:
        return "~empty"
    text = "".join(
        each if each.isprintable() and each not in _NOT_IN_METRICS else _bytes_of(each)
        for each in name
    )
    text = _LOST_BLANKS.sub("~20", text)
    if len(text) <= _LONGEST_PART:
        return text
    digest = digest_of(name, 12)
    return f"{text[: _LONGEST_PART - len(digest) - 2]}~~{digest}"


def _bytes_of(letter: str) -> str:
    return "".join(f"~{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))


def number(*path: str, value: float, **fields: Any) -> Measurement:
    """A measurement; `fields` are those of `Measurement`."""
    return Measurement(path=path, value=float(value), **fields)


def gate(*path: str, value: bool | None, reason: str, **fields: Any) -> Measurement:
    """A measurement of a yes-or-no question where yes is the bad answer; None for unknown.

    `fields` are those of `Measurement`.
    """
    known = math.nan if value is None else float(value)
    return Measurement(path=path, value=known, is_gate=True, reason=reason, **fields)
