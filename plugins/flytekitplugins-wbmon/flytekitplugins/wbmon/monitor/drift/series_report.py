"""What a drift check found in the windows of one table, one after another."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.monitor.drift.report import DISTANCES, DriftReport
from flytekitplugins.wbmon.names import window_name
from flytekitplugins.wbmon.reports.failures import FAILED_ALLOWED
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report

_OF_WINDOWS = (
    *("drifted", "share_drifted", "n_drifted", "n_tested"),
    *("n_reference", "n_current", "volume_ratio"),
    *("effect_size", "effect_low", "statistic", "p_value", "q_value"),
    *("missing_current", "missing_reference", "unreadable_current", "unreadable_reference"),
    *DISTANCES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDrift(ByContent):
    """One window of a series: rows of a span of time, of a segment, or of both.

    Attributes:
        start: First moment of the span, UTC; None if the series is not cut by time.
        end: First moment after the span.
        segment: The value of the segment column; empty if the series is not cut by one.
        report: Results of the drift check of the window.
    """

    start: datetime | None
    end: datetime | None
    segment: str
    report: DriftReport

    def measurements(self) -> Iterable[Measurement]:
        """Its numbers: `window.<name>`, then the segment if there is one, then the feature."""
        place = (self.segment,) if self.segment else ()
        for each in self.report.headline():
            path = ("window", *each.path, *place)
            yield replace(each, path=path, prominence="rule")
        for feature in self.report.features.values():
            for each in feature.measurements(is_charted=False):
                name, *whose = each.path
                yield replace(each, path=("window", name, *place, *whose))


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSeries(Report):
    """Windows of one table, each checked for drift; ordered by segment, then by time.

    Attributes:
        windows: One entry for each span and segment that has rows.
        n_undated: Number of rows in no window, because their time is missing or cannot be read.
        n_without_segment: Number of other rows in no window, because their segment is missing or
            blank.
    """

    KIND: ClassVar[str] = "drift_series"

    windows: tuple[WindowDrift, ...]
    n_undated: int = 0
    n_without_segment: int = 0

    @property
    def drifted(self) -> bool:
        """Whether any window drifted."""
        return any(window.report.drifted for window in self.windows)

    @property
    def n_drifted(self) -> int:
        """Number of windows that drifted."""
        return sum(window.report.drifted for window in self.windows)

    def effect_sizes(self, feature: str) -> tuple[float, ...]:
        """Effect size of one feature in each window; `nan` where it was not tested."""
        return tuple(
            window.report.features[feature].effect_size
            if feature in window.report.features
            else math.nan
            for window in self.windows
        )

    @property
    def newest(self) -> tuple[WindowDrift, ...]:
        """The windows of the newest span, one for each segment that has rows in it."""
        last = max((window.start for window in self.windows if window.start), default=None)
        return tuple(window for window in self.windows if window.start == last)

    @property
    def unmeasured(self) -> str:
        """Why no window is known, which of the newest are not, or that many rows are in none."""
        lost = (
            f"{self.n_undated:,} rows have no time that can be read, {self.n_without_segment:,} no "
            "segment"
        )
        if not self.windows:
            return f"no window has rows; {lost}"
        told = [
            f"{window_name(window.start, window.segment)}: {window.report.unmeasured}"
            for window in self.newest
            if window.report.unmeasured
        ]
        n_lost = self.n_undated + self.n_without_segment
        n_rows = n_lost + sum(window.report.n_current for window in self.windows)
        if n_lost > FAILED_ALLOWED * n_rows:
            told.append(f"{n_lost:,} of {n_rows:,} rows are in no window: {lost}")
        return "; ".join(told)

    def absent(self, name: str) -> Measurement | None:
        """A number of a segment that has no row tonight, or of no window at all."""
        stem, _, rest = name.partition(".")
        what, _, whose = rest.partition(".")
        if stem != "window" or what not in _OF_WINDOWS:
            return None
        if not whose and any(each.segment for each in self.windows):
            # a mistake: it must say of which segment
            return None
        place = [whose] if whose else []
        for each in self.newest:
            segment, dot = each.segment, "." if each.segment else ""
            if f"{whose}.".startswith(f"{segment}{dot}"):
                absent = each.report.absent(f"{what}.{whose.removeprefix(segment + dot)}")
                return absent and replace(absent, path=("window", what, *place))
        return number("window", what, *place, value=math.nan, reason="no row of the newest window")

    def _measured(self) -> Iterable[Measurement]:
        known = [window for window in self.windows if window.report.answered]
        share = self.n_drifted / len(known) if known else math.nan
        none = "no window has enough rows"
        of_windows = f"{self.n_drifted} of {len(known)} windows drifted"
        yield gate(
            "drifted",
            value=self.drifted if known else None,
            reason=of_windows if known else none,
        )
        yield number("n_windows", value=len(self.windows))
        yield number("n_undated", value=self.n_undated)
        yield number("n_without_segment", value=self.n_without_segment)
        for name, value in (("n_drifted", self.n_drifted), ("share_drifted", share)):
            yield number(
                name,
                value=value if known else math.nan,
                higher_is_better=False,
                prominence="history",
                reason=none,
            )
        for window in self.newest:
            yield from window.measurements()
