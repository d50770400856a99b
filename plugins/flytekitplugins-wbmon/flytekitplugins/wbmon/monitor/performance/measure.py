"""Computes a report from outcomes: each metric with its interval, compared with a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from flytekitplugins.wbmon.monitor.performance.baseline import Baseline, class_means
from flytekitplugins.wbmon.monitor.performance.calibration_report import Calibration, ReliabilityBin
from flytekitplugins.wbmon.monitor.performance.metrics import (
    HEAVY,
    HIGHER_IS_BETTER,
    confusion_of,
    losses_of,
    measure_classes,
    measure_values,
    n_of,
    values_of,
)
from flytekitplugins.wbmon.monitor.performance.outcomes import Outcomes
from flytekitplugins.wbmon.monitor.performance.part import (
    Metric,
    PerformanceStatus,
)
from flytekitplugins.wbmon.monitor.performance.powered import labels_differ_by, powered_metrics
from flytekitplugins.wbmon.monitor.performance.report import (
    PerformanceReport,
    Task,
)
from flytekitplugins.wbmon.names import listed_names, quoted_name
from flytekitplugins.wbmon.reports.verdict import MetricVerdict
from flytekitplugins.wbmon.stats import classification, regression
from flytekitplugins.wbmon.stats.calibration import (
    calibration_curve,
    calibration_error_by_chance,
    expected_calibration_error,
    spiegelhalter_z,
)
from flytekitplugins.wbmon.stats.estimate import Estimate, difference, p_value_of_zero, undefined

_ALPHA = 0.05
_FAR = 4.0  # standard errors that chance does not explain
_CHANCE = 0.5  # ROC AUC of scores that say nothing


def report_of(
    outcomes: Outcomes, *, task: Task, baseline: Baseline | None, min_rows: int
) -> PerformanceReport:
    """Compute the metrics of outcomes and compare them with a baseline.

    Args:
        outcomes: The rows, as `read_classification` or `read_regression` returns them.
        task: `classification` or `regression`.
        baseline: What its metrics are compared with; None without a baseline.
        min_rows: With fewer measured rows, no verdict is given.

    Returns:
        The report, without segments and chunks.
    """
    n = len(outcomes.rows)
    status, why = _status(outcomes, min_rows)
    confusion = confusion_of(outcomes) if task == "classification" and n else None
    is_regression, is_ok = task == "regression", status == "ok"
    measured = measure_values(outcomes) if is_regression else measure_classes(outcomes, confusion)
    powered = powered_metrics(outcomes, measured)
    measured |= powered.metrics
    proxies = outcomes.proxies if powered.gains else None
    means = class_means(outcomes.classes, confusion) if baseline else {}
    metrics = {
        name: metric_of(
            name,
            estimate,
            n_of(name, outcomes),
            baseline.of(name, means) if baseline else None,
            decide=is_ok,
        )
        for name, estimate in measured.items()
    }
    report = PerformanceReport(
        task=task,
        status=status,
        n_rows=outcomes.n_rows,
        n_labelled=outcomes.n_labelled,
        n_missing_prediction=outcomes.n_labelled - n,
        metrics=metrics,
        classes=outcomes.classes,
        confusion=() if confusion is None else _cells(confusion, len(outcomes.classes)),
        per_class={} if confusion is None else _per_class(outcomes.classes, confusion),
        reason=why,
        calibration=_calibration(outcomes),
        prediction_is=outcomes.meaning.prediction_is,
        positive=outcomes.meaning.positive,
        positive_from=outcomes.meaning.positive_from,
        unit=outcomes.unit,
        n_unreadable=outcomes.unreadable.n,
        unreadable=outcomes.unreadable.examples,
        n_clusters=0 if outcomes.cluster is None else len(np.unique(outcomes.cluster)),
        proxy=proxies.name if proxies else "",
        n_proxy=proxies.n_beside(outcomes.rows) if proxies else 0,
        proxy_gain=powered.gains,
        proxy_difference=labels_differ_by(outcomes) if powered.gains else math.nan,
        loss_tail_share=_tail_share(outcomes) if is_regression else math.nan,
    )
    said = [why or _summary(report), *announcements(report), *_of_proxies(outcomes, report)]
    return replace(report, reason="; ".join(said))


def announcements(report: PerformanceReport) -> Iterator[str]:
    """What a report must say beside its finding: what was guessed, and what could not be read."""
    if report.n_unreadable:
        values = "value" if report.n_unreadable == 1 else "values"
        yield (
            f"{report.n_unreadable} unreadable {values} taken for missing "
            f"({', '.join(report.unreadable)})"
        )
    is_measured = report.status != "no_labels"
    if is_measured and report.prediction_is == "class" and len(report.classes) == 1:
        yield f"{quoted_name(report.classes[0])} is the only class, and counts as the positive one"
    if is_measured and report.positive_from == "order":
        yield report.positive_class
    if report.status == "ok" and (absent := _not_labelled(report)):
        alone = ", which alone can change accuracy"
        means = "; precision, recall and f1 are means over the others, in the baseline too"
        is_binary = len(report.classes) == 2  # noqa: PLR2004
        yield f"no row is labelled {listed_names(absent)}{alone}{'' if is_binary else means}"
    if is_measured and report.loss_tail_share > HEAVY:
        yield (
            f"the largest 1 % of squared errors carry {report.loss_tail_share:.0%} of them: look "
            "at those rows, and believe mae rather than rmse"
        )
    if report.proxy_gain:
        best = max(report.proxy_gain, key=lambda name: report.proxy_gain[name])
        yield (
            f"{', '.join(report.proxy_gain)} also from proxy {quoted_name(report.proxy)} of "
            f"{report.n_proxy} rows without a label, for {best} worth "
            f"{report.proxy_gain[best]:.2g} times the labels; the labelled rows must be a random "
            "sample of all"
        )
        if abs(report.proxy_difference) > _FAR:
            yield (
                f"which they are not: their proxies differ from the others' by "
                f"{abs(report.proxy_difference):.2g} standard errors"
            )
    mape, mae = report.metrics.get("mape"), report.metrics.get("mae")
    if is_measured and mape and mae and mape.n < mae.n:
        yield f"mape leaves out {mae.n - mape.n} of {mae.n} rows, whose label is 0"
    auc = report.metrics.get("roc_auc")
    # four standard errors below chance: two would be said of one useless model in forty
    if auc is not None and report.positive and 2 * auc.high - auc.value < _CHANCE:
        other = quoted_name(report.classes[0])
        yield f"roc_auc {auc.value:.4g} is clearly below 0.5: {other} may be meant by the scores"


def _of_proxies(outcomes: Outcomes, report: PerformanceReport) -> Iterator[str]:
    """What there is to say of proxies that do not count."""
    proxies = outcomes.proxies
    if proxies is None or report.status == "no_labels":
        return
    n, n_odd = int(proxies.known.sum()), int(proxies.odd.sum())
    name = quoted_name(proxies.name)
    if n_odd:
        kind = "classes of the labels" if outcomes.classes else "numbers"
        yield (
            f"proxies {name} must be {kind}: {n_odd} of {n + n_odd} are none and do not count, "
            f"such as {proxies.example}"
        )
    if not n:
        yield f"no proxy {name} counts"
    elif not report.proxy_gain:
        yield f"{n} proxies {name} make no metric more certain than {len(outcomes.rows)} labels do"


def metric_of(
    name: str, estimate: Estimate, n: int, baseline: Estimate | None, *, decide: bool
) -> Metric:
    """The record of a metric: its estimate, and the change from the baseline.

    Args:
        name: Name of the metric, a key of `HIGHER_IS_BETTER`.
        estimate: Its estimate in this window.
        n: Number of rows it was computed from.
        baseline: Its estimate in the baseline window; None without a baseline.
        decide: Whether there are enough rows for a verdict.
    """
    higher = HIGHER_IS_BETTER[name]
    # without a baseline the change is nan, and so are its interval and p-value
    change = difference(estimate, baseline or undefined("no baseline"))
    reason = estimate.reason
    if not reason and baseline and baseline.reason:
        reason = f"the baseline has no interval: {baseline.reason}"
    return Metric(
        name=name,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=n,
        higher_is_better=higher,
        baseline=baseline.value if baseline else math.nan,
        change_low=change.low,
        change_high=change.high,
        p_value=p_value_of_zero(change),
        verdict=_verdict(change, higher_is_better=higher) if decide else "unknown",
        reason=reason,
    )


def _not_labelled(report: PerformanceReport) -> list[str]:
    return [name for name, found in report.per_class.items() if not found["support"] > 0]


def _tail_share(outcomes: Outcomes) -> float:
    return regression.loss_tail_share(losses_of(values_of(outcomes))["rmse"], outcomes.weight)


def _status(outcomes: Outcomes, min_rows: int) -> tuple[PerformanceStatus, str]:
    n = len(outcomes.rows)
    if outcomes.n_labelled == 0:
        return "no_labels", f"none of {outcomes.n_rows} rows has a label"
    if outcomes.probabilities is not None and len(outcomes.classes) == 1:
        return "insufficient", (
            f"all labels are {quoted_name(outcomes.classes[0])} and nothing says whether that "
            "is the positive class; pass positive= to check_performance"
        )
    if n < min_rows:
        n_missing = outcomes.n_labelled - n
        missing = f"; {n_missing} of {outcomes.n_labelled} labelled rows have no prediction"
        few = f"{n} rows could be measured, a verdict needs {min_rows}"
        return "insufficient", few + missing * (n_missing > 0)
    return "ok", ""


def _cells(confusion: classification.Confusion, n_classes: int) -> tuple[tuple[float, ...], ...]:
    """The sums of weights, of the classes that have a name."""
    return tuple(map(tuple, confusion.weight[:n_classes, :n_classes].tolist()))


def _calibration(outcomes: Outcomes) -> Calibration | None:
    scores = outcomes.probabilities
    if scores is None or not len(outcomes.rows) or len(outcomes.classes) == 1:
        return None
    if scores.shape[1] == 2:  # noqa: PLR2004 - binary
        happened, score = outcomes.labels == 1, scores[:, 1]
    else:
        # top-label calibration: the probability of the most likely class
        happened, score = outcomes.labels == scores.argmax(axis=1), scores.max(axis=1)
    by = outcomes.weight, outcomes.cluster
    curve = calibration_curve(happened, score, *by)
    z = spiegelhalter_z(happened, score, *by)
    p_value = math.erfc(abs(z) / math.sqrt(2))  # two-sided, of a standard normal variable
    return Calibration(
        error=expected_calibration_error(curve),
        error_by_chance=calibration_error_by_chance(curve),
        p_value=p_value,
        # nan compares as False: without a p-value nothing is said
        too_sure=z > 0 if p_value < _ALPHA else None,
        bins=tuple(
            ReliabilityBin(
                score=each.score,
                share=each.share,
                share_low=each.low,
                share_high=each.high,
                weight=each.weight,
            )
            for each in curve
        ),
    )


def _verdict(change: Estimate, *, higher_is_better: bool) -> MetricVerdict:
    if math.isnan(change.low):
        return "unknown"
    if change.low <= 0 <= change.high:
        return "ok"
    return "better" if (change.low > 0) == higher_is_better else "worse"


def _per_class(
    classes: tuple[str, ...], confusion: classification.Confusion
) -> dict[str, dict[str, float]]:
    found = classification.class_metrics(confusion)
    return {
        name: {
            "precision": each.precision.value,
            "recall": each.recall.value,
            "f1": each.f1.value,
            "support": support,
        }
        # a matrix of one class has a row and a column for the other one, which has no name
        for name, each, support in zip(
            classes, found, confusion.weight.sum(axis=1).tolist(), strict=False
        )
    }


def _summary(report: PerformanceReport) -> str:
    worse = [metric for metric in report.metrics.values() if metric.verdict == "worse"]
    if worse:
        parts = ", ".join(
            f"{m.name} {_value(m, report)} against {_in_unit(m.baseline, report.unit_of(m.name))}"
            for m in worse
        )
        if report.worse:
            return f"worse than the baseline: {parts}"
        return f"not clearly worse; {parts} may be chance among {len(report.metrics)} metrics"
    first = next(iter(report.metrics.values()))
    ends = "" if math.isnan(first.low) else f" [{first.low:.4g}, {first.high:.4g}]"
    return f"{first.name} {_value(first, report)}{ends} on {first.n} {_measured_rows(report)}"


def _measured_rows(report: PerformanceReport) -> str:
    if not report.n_missing_prediction:
        return f"labelled rows of {report.n_rows}"
    return f"of {report.n_labelled} labelled rows, the others have no prediction"


def _value(metric: Metric, report: PerformanceReport) -> str:
    return _in_unit(metric.value, report.unit_of(metric.name))


def _in_unit(value: float, unit: str) -> str:
    return f"{value:.4g} {unit}" if unit else f"{value:.4g}"
