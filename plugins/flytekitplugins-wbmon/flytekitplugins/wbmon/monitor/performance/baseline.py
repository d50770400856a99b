"""What a window is compared with: the metrics of another window, or known values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeAlias

import numpy as np

from flytekitplugins.wbmon.monitor.performance.part import Metric
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.names import listed_names
from flytekitplugins.wbmon.stats.classification import (
    Confusion,
    class_metrics,
    macro_classes,
    macro_f1,
    macro_precision,
    macro_recall,
)
from flytekitplugins.wbmon.stats.estimate import Estimate, undefined

ClassMeans: TypeAlias = Mapping[str, Mapping[str, float]]
"""By metric, the classes that it is a mean over, each with its value; empty of two classes."""

_MACRO = {"precision": macro_precision, "recall": macro_recall, "f1": macro_f1}
_AREAS = ("roc_auc", "pr_auc")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The estimates by metric that a window is compared with.

    Attributes:
        estimates: Those of the whole baseline.
        classes: Its classes, of a report of more than two.
        counts: Its rows by true and predicted class, likewise.
        means: The classes that its metrics are means over, likewise.
    """

    estimates: Mapping[str, Estimate]
    classes: tuple[str, ...] = ()
    counts: Confusion | None = None
    means: ClassMeans = field(default_factory=dict)

    @classmethod
    def of_report(cls, report: PerformanceReport) -> Baseline:
        """That of a measured window."""
        estimates = {name: estimate_of(metric) for name, metric in report.metrics.items()}
        counts = _counts(report)
        return cls(estimates, report.classes, counts, class_means(report.classes, counts))

    def of(self, name: str, means: ClassMeans) -> Estimate | None:
        """The estimate that a metric of a window is compared with; None without one.

        A mean over classes is compared with the mean over the same classes. A class that the
        baseline has no row of counts as it is in the window, as nothing is known of it.

        Args:
            name: Name of the metric.
            means: The classes that the window's metrics are means over.
        """
        whole, over = self.estimates.get(name), means.get(name)
        if whole is None or over is None or self.counts is None:
            return whole
        own = self.means[name]
        if name in _AREAS:
            return whole if own.keys() == over.keys() else _of_others(whole, own, over)
        # reports of earlier releases took what is undefined for 0
        if own and own.keys() == over.keys() and math.isclose(fmean(own.values()), whole.value):
            return whole
        common = [code for code, each in enumerate(self.classes) if each in own and each in over]
        if not common:
            return undefined("it has no row of the classes of this window")
        part = _scaled(_MACRO[name](self.counts, np.array(common)), self._widening(name, whole))
        share = len(common) / len(over)
        unknown = sum(value for each, value in over.items() if each not in own) / len(over)
        value, low, high = (share * each + unknown for each in part[:3])
        return Estimate(value, low, high, whole.reason)

    def _widening(self, name: str, whole: Estimate) -> float:
        """How much wider an interval is than of independent rows that weigh the same."""
        if self.counts is None or math.isnan(whole.low):
            return math.nan
        alike = _MACRO[name](self.counts)
        return (whole.high - whole.low) / (alike.high - alike.low)


def class_means(classes: tuple[str, ...], confusion: Confusion | None) -> ClassMeans:
    """The classes that the metrics of more than two are means over, each with its value.

    That of an area under a curve is `nan`: only which classes they are is known.
    """
    if confusion is None or len(classes) <= 2:  # noqa: PLR2004 - binary
        return {}
    each, over = class_metrics(confusion), macro_classes(confusion)
    means = {
        name: {classes[code]: getattr(each[code], name).value for code in codes}
        for name, codes in over.items()
    }
    areas = {classes[code]: math.nan for code in over["recall"]}
    return means | dict.fromkeys(_AREAS, areas)


def estimate_of(metric: Metric) -> Estimate:
    """The estimate that a metric records, such as of a baseline."""
    return Estimate(metric.value, metric.low, metric.high, metric.reason)


def _counts(report: PerformanceReport) -> Confusion | None:
    """The measured rows by true and predicted class, each as heavy as another."""
    cells = np.array(report.confusion, dtype=np.float64)
    if len(report.classes) <= 2 or not cells.sum() > 0:  # noqa: PLR2004 - binary
        return None
    cells *= (report.n_labelled - report.n_missing_prediction) / cells.sum()
    return Confusion(cells, cells)


def _of_others(whole: Estimate, own: Mapping[str, float], over: Mapping[str, float]) -> Estimate:
    # the areas of single classes are not kept
    names = [each for each in {**own, **over} if (each in own) != (each in over)]
    why = f"its classes are others, {listed_names(names)} in one window only"
    return Estimate(whole.value, reason=why)


def _scaled(part: Estimate, widening: float) -> Estimate:
    """An estimate of rows that weigh the same, as long as if they weighed what they do."""
    value, low, high, _ = part
    low, high = value - widening * (value - low), value + widening * (high - value)
    return Estimate(value, max(0.0, low), min(1.0, high))
