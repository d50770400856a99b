"""The report of a performance check: the quality of a model in one window, against labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.performance.calibration_report import Calibration
from flytekitplugins.wbmon.monitor.performance.estimate_check import EstimateCheck
from flytekitplugins.wbmon.monitor.performance.part import (
    Metric,
    Part,
    PerformanceStatus,
)
from flytekitplugins.wbmon.names import listed_names, quoted_name
from flytekitplugins.wbmon.reports.failures import FAILED_ALLOWED
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.stats.evidence import normal_distance, simes_p_value
from flytekitplugins.wbmon.stats.tail_probabilities import normal_sf

Task = Literal["classification", "regression"]
Every = Literal["hour", "day", "week", "month"]
PredictionIs = Literal["", "class", "probability"]
PositiveFrom = Literal["", "setting", "baseline", "convention", "order"]

_ALPHA = 0.05
_OF_UNIT = ("mae", "rmse")
_POSITIVE_FROM = {
    "": "",
    "setting": "as set",
    "baseline": "as in the baseline",
    "convention": "by convention",
    "order": "last in order; pass positive= if it is another",
}
_SHOWN_PARTS = 3
_NEEDS = {"worse": "a baseline (baseline=)", "overestimated": "an estimate (estimate=)"}
# numbers that a report has only of a window with labels
_LABELLED_ONLY = (
    "calibration_error", "calibration_error_by_chance", "calibration_p_value", "n_worse_segments",
    "support",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceReport(Report):
    """What a performance check measured over one window.

    Attributes:
        task: What was measured.
        status: `no_labels` if no row has a label, `insufficient` if too few rows could be measured
            for a verdict; the metrics keep their names, with `nan` where nothing could be measured.
        n_rows: Number of rows in the window.
        n_labelled: Number of rows with a label.
        n_missing_prediction: Number of labelled rows not measured, because they have no prediction.
        metrics: Metrics by name, the most important first.
        classes: Classes in the order of `confusion`; the positive one is the last of two.
        confusion: Sum of weights by true class (rows) and predicted class (columns).
        per_class: Precision, recall, F1 and number of labelled rows of each class.
        reason: One sentence: what was found.
        calibration: Calibration of the probabilities; None without probabilities.
        segments: Segments of the window by the values of columns, worst first.
        chunks: Segments of the window by time, in order.
        estimated: Whether the metrics are estimates without labels.
        estimates: Earlier estimates without labels, compared with the measured metrics.
        prediction_is: What the prediction column of a classification holds: `class`, or
            `probability` of the positive class; empty for a regression.
        positive: The positive class of two; empty without one.
        positive_from: Why it is that class: `setting`, `baseline`, `convention` (1 of 0 and 1, true
            of false and true), or `order`, where nothing says it and the last in order was taken.
        unit: Unit of the values of a regression, and so of `mae` and `rmse`: `s` for durations.
        n_unreadable: Values of labels, predictions, scores and times that cannot be read, such as
            `n/a` among numbers; they count as missing.
        unreadable: At most three of them.
        n_clusters: Number of clusters of the measured rows; 0 if rows are taken as independent.
        proxy: Column that stands in for labels that are missing; empty without one.
        n_proxy: Number of rows without a label that count by their proxy.
        proxy_gain: By metric, how many times as many labels alone would have as short an interval.
        proxy_difference: z statistic of the mean proxy of labelled rows against that of the others;
            far from 0 if the labelled rows are no random sample.
        baseline_unusable: Why the baseline that was given is none: it has no verdict of its own.
        loss_tail_share: Share of the squared errors of a regression that the largest 1 % of rows
            carry; `nan` for a classification.
    """

    KIND: ClassVar[str] = "performance"
    VOLUMES: ClassVar[tuple[str, ...]] = ("n_rows", "n_labelled")

    task: Task
    status: PerformanceStatus
    n_rows: int
    n_labelled: int
    n_missing_prediction: int = 0
    metrics: Mapping[str, Metric]
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[float, ...], ...] = ()
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reason: str
    calibration: Calibration | None = None
    segments: tuple[Part, ...] = ()
    chunks: tuple[Part, ...] = ()
    estimated: bool = False
    estimates: tuple[EstimateCheck, ...] = ()
    prediction_is: PredictionIs = ""
    positive: str = ""
    positive_from: PositiveFrom = ""
    unit: str = ""
    n_unreadable: int = 0
    unreadable: tuple[str, ...] = ()
    n_clusters: int = 0
    proxy: str = ""
    n_proxy: int = 0
    proxy_gain: Mapping[str, float] = field(default_factory=dict)
    proxy_difference: float = math.nan
    loss_tail_share: float = math.nan
    baseline_unusable: str = ""

    @property
    def positive_class(self) -> str:
        """The positive class and where it is known from, in words; empty without one."""
        if not self.positive:
            return ""
        return f"positive class {quoted_name(self.positive)} ({_POSITIVE_FROM[self.positive_from]})"

    def unit_of(self, metric: str) -> str:
        """The unit of a metric; empty for counts, shares and scores."""
        return self.unit if metric in _OF_UNIT else ""

    @property
    def overestimated(self) -> bool:
        """Whether the estimate without labels was too good beyond chance: concept drift, likely.

        For all `k` metrics together, a p-value must be at most `0.05 / k` (Bonferroni).
        """
        known = [each for each in self.estimates if each.held is not None]
        return any(each.is_overestimated and each.p_value * len(known) <= _ALPHA for each in known)

    @property
    def coverage(self) -> float:
        """Labelled rows over all rows; `nan` for an empty window."""
        return self.n_labelled / self.n_rows if self.n_rows else math.nan

    @property
    def worse(self) -> bool:
        """Whether the model is worse than its baseline, by any metric, beyond chance.

        One metric alone is called `worse` by chance in 2.5 % of windows, so for all `k` of them
        together a p-value must be at most `0.05 / k` (Bonferroni).
        """
        tested = sum(not math.isnan(metric.p_value) for metric in self.metrics.values())
        return any(
            metric.verdict == "worse" and not metric.p_value * tested > _ALPHA
            for metric in self.metrics.values()
        )

    @property
    def kind(self) -> str:
        """`estimate` without labels: it and the truth that comes later are two lines of a chart."""
        return "estimate" if self.estimated else self.KIND

    @property
    def missing_prediction_share(self) -> float:
        """Rows without a prediction over those that were to be measured, or estimated; in [0, 1].

        `nan` if there are none.
        """
        return self.n_missing_prediction / self._n_expected if self._n_expected else math.nan

    @property
    def _n_expected(self) -> int:
        return self.n_rows if self.estimated else self.n_labelled

    @property
    def _lacks_predictions(self) -> bool:
        return self.missing_prediction_share > FAILED_ALLOWED

    @property
    def _has_baseline(self) -> bool:
        known = any(not math.isnan(metric.baseline) for metric in self.metrics.values())
        return known or bool(self.baseline_unusable)

    @property
    def unmeasured(self) -> str:
        """Why there is no verdict: no labels, too few rows, or no metric with an interval."""
        if self.status != "ok":
            return self.reason
        if self.baseline_unusable:
            return f"there is nothing to compare with: {self.baseline_unusable}"
        if self._lacks_predictions:
            n, of = f"{self.n_missing_prediction:,}", f"{self._n_expected:,}"
            rows = "rows" if self.estimated else "labelled rows"
            return f"{n} of {of} {rows} have no prediction; the others do not stand for them"
        if silent := [part for part in (*self.segments, *self.chunks) if part.lacks_predictions]:
            return "no prediction for " + ", ".join(part.missing for part in silent[:_SHOWN_PARTS])
        compared = [each for each in self.metrics.values() if not math.isnan(each.baseline)]
        if not compared or any(each.verdict != "unknown" for each in compared):
            return ""
        first = compared[0]
        why = first.reason or "it has no interval"
        return f"no metric can be held against its baseline; {first.name}: {why}"

    def absent(self, name: str) -> Measurement | None:
        """A metric of a class that is not in the window, or what no night without labels has.

        Raises:
            ConfigError: If it is about a comparison with what was not given.
        """
        if name in _NEEDS:
            raise ConfigError(f"{self.kind}.{name} needs {_NEEDS[name]}, and the check got none")
        stem, _, label = name.partition(".")
        whole = self.metrics.get(stem)
        is_undefined = whole is not None and math.isnan(whole.value)
        is_labelled_only = stem in _LABELLED_ONLY and self.status != "ok"
        if label and any(stem in metrics for metrics in self.per_class.values()):
            known = listed_names(self.per_class)
            why = f"no row of the window is of class {quoted_name(label)}; it has {known}"
            return number(stem, label, value=math.nan, reason=why)
        if not is_undefined and not is_labelled_only:
            return None
        why = (whole.reason if whole else "") or self.reason
        return number(*((stem, label) if label else (stem,)), value=math.nan, reason=why)

    def _measured(self) -> Iterable[Measurement]:
        is_known = self.status == "ok"
        yield from (self._of_metric(metric) for metric in self.metrics.values())
        is_compared = is_known and any(m.verdict != "unknown" for m in self.metrics.values())
        # the rows that are left can be bad enough, and cannot be good enough
        is_compared = is_compared and (self.worse or not self._lacks_predictions)
        far = [m.standard_errors_worse for m in self.metrics.values() if not math.isnan(m.p_value)]
        if self._has_baseline:
            yield gate(
                "worse",
                value=self.worse if is_compared else None,
                reason=self.unmeasured or self.reason,
                p_value=simes_p_value([normal_sf(each) for each in far]),
                distance=max(far, default=math.nan),
            )
        yield number(
            "coverage",
            value=self.coverage,
            higher_is_better=True,
            prominence="news",
            reason="the window has no rows",
        )
        yield number("n_rows", value=self.n_rows, prominence="history")
        yield number("n_labelled", value=self.n_labelled, prominence="history")
        yield number(
            "n_missing_prediction", value=self.n_missing_prediction, higher_is_better=False
        )
        yield number(
            "missing_prediction_share",
            value=self.missing_prediction_share,
            higher_is_better=False,
            reason="no row was to be measured",
        )
        yield number("n_unreadable", value=self.n_unreadable, higher_is_better=False)
        if self.task == "regression" and not self.estimated:
            yield number(
                "loss_tail_share",
                value=self.loss_tail_share,
                higher_is_better=False,
                reason=self.reason if self.status != "ok" else "no error is above 0",
            )
        for name, gain in self.proxy_gain.items():
            yield number("proxy_gain", name, value=gain, higher_is_better=True, prominence="rule")
        yield from self._of_estimates()
        yield from self._of_parts()

    def _of_metric(self, metric: Metric) -> Measurement:
        is_known = self.status == "ok"
        return number(
            metric.name,
            value=metric.value if is_known else math.nan,
            low=metric.low,
            high=metric.high,
            baseline=metric.baseline,
            higher_is_better=metric.higher_is_better,
            verdict=metric.verdict,
            unit=self.unit_of(metric.name),
            prominence="news",
            reason=metric.reason if is_known else self.reason,
            p_value=normal_sf(metric.standard_errors_worse),
            distance=metric.standard_errors_worse,
        )

    def _of_estimates(self) -> Iterable[Measurement]:
        if self.estimated or not self.estimates:
            return
        is_known = any(each.held is not None for each in self.estimates)
        why = "its estimate without labels" if is_known else "no label to compare the estimate with"
        # one-sided: an estimate that is too low is no fault
        p_values = [
            each.p_value / 2 if each.is_overestimated else 1 - each.p_value / 2
            for each in self.estimates
        ]
        p_value = simes_p_value(p_values)
        yield gate(
            "overestimated",
            value=self.overestimated if is_known else None,
            reason=why,
            p_value=p_value,
            distance=normal_distance(p_value),
        )

    def _of_parts(self) -> Iterable[Measurement]:
        is_known = self.status == "ok"
        if self.calibration is not None:
            found = self.calibration
            for name, value, better in (
                ("calibration_error", found.error, False),
                ("calibration_error_by_chance", found.error_by_chance, None),
                ("calibration_p_value", found.p_value, True),
            ):
                yield number(
                    name,
                    value=value if is_known else math.nan,
                    higher_is_better=better,
                    reason=self.reason,
                )
        if self.segments:
            n_worse = sum(part.verdict == "worse" for part in self.segments)
            yield number("n_worse_segments", value=n_worse, higher_is_better=False)
        for label, values in self.per_class.items():
            for name, value in values.items():
                yield number(
                    name,
                    label,
                    value=value if is_known else math.nan,
                    higher_is_better=True if name in ("precision", "recall", "f1") else None,
                    prominence="rule",
                    reason=self.reason,
                )
