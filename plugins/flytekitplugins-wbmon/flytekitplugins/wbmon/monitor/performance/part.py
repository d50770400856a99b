"""Metrics with their intervals, and the parts of a window that have them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.names import shown_name
from flytekitplugins.wbmon.reports.failures import FAILED_ALLOWED
from flytekitplugins.wbmon.reports.verdict import MetricVerdict
from flytekitplugins.wbmon.stats.evidence import normal_distance

PerformanceStatus = Literal["ok", "insufficient", "no_labels"]

_FEWEST = 30  # labelled rows of a part of which it is told that it has no predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(ByContent):
    """One measured quantity with its confidence interval.

    Attributes:
        name: As in scikit-learn: `accuracy`, `roc_auc`, `log_loss`, `mae` …
        value: The measurement; `nan` if undefined in this window (`reason` says why).
        low: Lower end of the 95 % interval; `nan` if it has none.
        high: Upper end of the 95 % interval.
        n: Number of labelled rows that the value is based on.
        higher_is_better: Whether a higher value is better.
        baseline: The value of the baseline window; `nan` without one.
        change_low: Lower end of the 95 % interval of the change; `nan` without a baseline.
        change_high: Upper end of that interval.
        p_value: Two-sided p-value of the hypothesis of no change; `nan` without a baseline.
        verdict: `worse` or `better` if the whole interval of the change lies on that side of 0.
        reason: Why the value is undefined, or has no interval or no verdict; empty otherwise.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int
    higher_is_better: bool
    baseline: float = math.nan
    change_low: float = math.nan
    change_high: float = math.nan
    p_value: float = math.nan
    verdict: MetricVerdict = "unknown"
    reason: str = ""

    @property
    def change(self) -> float:
        """Value minus baseline; `nan` without a baseline."""
        return self.value - self.baseline

    @property
    def standard_errors_worse(self) -> float:
        """The change towards the worse side, in standard errors of the change; `nan` without one.

        Positive if it is worse; within ±37, beyond which a normal tail is no number.
        """
        worse = -self.change if self.higher_is_better else self.change
        return math.copysign(normal_distance(self.p_value / 2), worse)

    @property
    def loss(self) -> float:
        """How much worse than the baseline, as a share of it: 0.05 is the familiar 5 % drop."""
        if not self.baseline:
            return math.nan
        worse = -self.change if self.higher_is_better else self.change
        return worse / abs(self.baseline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(ByContent):
    """A segment of the window, measured separately.

    Attributes:
        by: The column that defines the segment.
        value: What its rows have in common: a value, a range, or a time.
        status: As in `PerformanceReport`; a segment that is too small is measured but gets no
            verdict.
        n_rows: Number of rows in the segment.
        n_labelled: Number of these with a label.
        metrics: Metrics of the segment, each compared with the rest of the window.
        verdict: Verdict on the ranking metric, corrected for the number of segments.
    """

    by: str
    value: str
    status: PerformanceStatus
    n_rows: int
    n_labelled: int
    metrics: Mapping[str, Metric]
    verdict: MetricVerdict = "unknown"

    @property
    def n_measured(self) -> int:
        """Number of its labelled rows that have a prediction."""
        return max((metric.n for metric in self.metrics.values()), default=0)

    @property
    def lacks_predictions(self) -> bool:
        """Whether labelled rows without a prediction are too many for the others to stand for."""
        n_missing = self.n_labelled - self.n_measured
        return self.n_labelled >= _FEWEST and n_missing > (FAILED_ALLOWED * self.n_labelled)

    @property
    def missing(self) -> str:
        """How many of its labelled rows have no prediction, in words."""
        name = f"{shown_name(self.by)} {shown_name(self.value)}"
        return f"{self.n_labelled - self.n_measured:,} of {self.n_labelled:,} rows of {name}"
