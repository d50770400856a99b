"""How good a model was in one window: labels against predictions, each metric with its interval."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.outcomes import (
    Outcomes,
    Score,
    read_classification,
    read_regression,
)
from flytekitplugins.wbmon.records.performance import (
    Metric,
    MetricVerdict,
    PerformanceReport,
    PerformanceStatus,
    Task,
)
from flytekitplugins.wbmon.stats import classification, regression
from flytekitplugins.wbmon.stats.estimate import Estimate, difference, p_value_of_zero, undefined

if TYPE_CHECKING:
    Baseline = PerformanceReport | Mapping[str, float] | None
    Measured = dict[str, Estimate]

_HIGHER_IS_BETTER = {
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "roc_auc": True,
    "log_loss": False,
    "brier": False,
    "mae": False,
    "rmse": False,
    "r2": True,
}
_OF_CLASSES = ("accuracy", "precision", "recall", "f1")
_OF_PROBABILITIES = ("roc_auc", "log_loss", "brier")
_OF_VALUES = ("mae", "rmse", "r2")


def check_performance(  # noqa: PLR0913 - one keyword a column
    data: Any,
    *,
    task: Task,
    label: str,
    prediction: str,
    score: Score = None,
    threshold: float = 0.5,
    weight: str | None = None,
    baseline: Baseline = None,
    positive: Any = None,
    min_rows: int = 30,
) -> PerformanceReport:
    """Measure a window's predictions against its labels.

    Rows without a label are counted and left out, so are labelled rows without a prediction (or
    with an infinite one). Classification is binary if there are two classes; otherwise precision,
    recall and F1 are plain means over the classes of the window, and AUC is one against the rest.
    Intervals hold with 95 %. Values agree with scikit-learn, except that a metric without a single
    row behind it (precision if nothing was predicted positive) is `nan` with a reason.

    Args:
        data: Parquet by path or URI, a pandas or polars frame, an Arrow table or dataset. Only the
            named columns are read.
        task: `classification` or `regression`.
        label: Column of the truth.
        prediction: Column of predicted classes or values; for two classes it may be a column of
            floats, the probability of the positive class.
        score: Beside predicted classes: the positive class's probability column, or a column a
            class in the sorted order of the classes, or a mapping class -> column.
        threshold: Probability from which a row is predicted positive; in [0, 1].
        weight: Column of row weights, such as the `sample_weight` of a sampled log.
        baseline: An earlier report, or values by metric (taken as exactly known). A metric is
            `worse` if the whole interval of its change is.
        positive: The positive class of two; the last in sorted order if None.
        min_rows: Measured rows below which the status is `insufficient` and no verdict is given.

    Raises:
        ConfigError: If the task, threshold or a baseline metric is unknown or out of range.
        DataError: If a column is missing or of the wrong type, or a probability outside [0, 1].
    """
    if task not in get_args(Task):
        raise ConfigError(f"task must be 'classification' or 'regression', got {task!r}")
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold must be a probability in [0, 1], got {threshold}")
    known = _known_baseline(baseline, task)
    if task == "regression":
        outcomes = read_regression(data, label=label, prediction=prediction, weight=weight)
    else:
        outcomes = read_classification(
            data,
            label=label,
            prediction=prediction,
            score=score,
            threshold=threshold,
            weight=weight,
            positive=positive,
            classes=baseline.classes if isinstance(baseline, PerformanceReport) else (),
        )
    return report_of(outcomes, task=task, baseline=known, min_rows=min_rows)


def report_of(
    outcomes: Outcomes, *, task: Task, baseline: Mapping[str, Estimate], min_rows: int
) -> PerformanceReport:
    """Measure outcomes that are already read, and hold them against a baseline."""
    n = len(outcomes.rows)
    status, why = _status(outcomes, min_rows)
    confusion = _confusion(outcomes) if task == "classification" and n else None
    if task == "regression":
        measured = _measure_values(outcomes)
    else:
        measured = _measure_classes(outcomes, confusion)
    metrics = {
        name: _metric(name, estimate, n, baseline.get(name), decide=status == "ok")
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
        confusion=() if confusion is None else tuple(map(tuple, confusion.weight.tolist())),
        per_class={} if confusion is None else _per_class(outcomes.classes, confusion),
        reason=why,
    )
    return report if why else replace(report, reason=_summary(report))


def _known_baseline(baseline: Baseline, task: Task) -> dict[str, Estimate]:
    if baseline is None:
        return {}
    if isinstance(baseline, PerformanceReport):
        if baseline.task != task:
            raise ConfigError(
                f"the baseline must be of the same task; it is a {baseline.task}, this a {task}"
            )
        return {
            name: Estimate(metric.value, metric.low, metric.high)
            for name, metric in baseline.metrics.items()
        }
    names = _OF_VALUES if task == "regression" else (*_OF_CLASSES, *_OF_PROBABILITIES)
    for name in baseline:
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"baseline of a {task} must name metrics of {', '.join(names)}; got {name!r}{hint}"
            )
    return {name: Estimate(float(value)) for name, value in baseline.items()}


def _status(outcomes: Outcomes, min_rows: int) -> tuple[PerformanceStatus, str]:
    n = len(outcomes.rows)
    if outcomes.n_labelled == 0:
        return "no_labels", f"none of {outcomes.n_rows} rows has a label"
    if outcomes.probabilities is not None and len(outcomes.classes) == 1:
        return "insufficient", (
            f"all labels are {outcomes.classes[0]!r} and nothing says whether that is the positive "
            "class; pass positive= to check_performance"
        )
    if n < min_rows:
        return "insufficient", f"{n} rows could be measured, a verdict needs {min_rows}"
    return "ok", ""


def _confusion(outcomes: Outcomes) -> classification.Confusion:
    return classification.confusion_matrix(
        outcomes.labels.astype(np.int64),
        outcomes.predictions.astype(np.int64),
        max(len(outcomes.classes), 2),
        outcomes.weight,
    )


def _measure_values(outcomes: Outcomes) -> Measured:
    labels, predictions = (
        values.astype(np.float64, copy=False) for values in (outcomes.labels, outcomes.predictions)
    )
    columns = labels, predictions, outcomes.weight
    if not len(outcomes.rows):
        return {name: undefined("no row could be measured") for name in _OF_VALUES}
    return {
        "mae": regression.mean_absolute_error(*columns),
        "rmse": regression.root_mean_squared_error(*columns),
        "r2": regression.r2_score(*columns),
    }


def _measure_classes(outcomes: Outcomes, confusion: classification.Confusion | None) -> Measured:
    names = _OF_CLASSES if outcomes.probabilities is None else (*_OF_CLASSES, *_OF_PROBABILITIES)
    unsure = outcomes.probabilities is not None and len(outcomes.classes) == 1
    if confusion is None or unsure:
        return {name: undefined("no row could be measured") for name in names}
    if len(outcomes.classes) <= 2:  # noqa: PLR2004 - binary
        code = len(outcomes.classes) - 1
        measured = {
            "accuracy": classification.accuracy(confusion),
            "precision": _explained(classification.precision(confusion, code), "predicted"),
            "recall": _explained(classification.recall(confusion, code), "labelled"),
            "f1": _explained(classification.f1(confusion, code), "labelled or predicted"),
        }
    else:
        measured = _measure_macro(confusion)
    return measured | _measure_probabilities(outcomes)


def _explained(estimate: Estimate, what: str) -> Estimate:
    return undefined(f"no row is {what} positive") if math.isnan(estimate.value) else estimate


def _measure_macro(confusion: classification.Confusion) -> Measured:
    seen = np.flatnonzero(confusion.weight.sum(axis=0) + confusion.weight.sum(axis=1))
    inside = classification.Confusion(*(cells[np.ix_(seen, seen)] for cells in confusion))
    return {
        "accuracy": classification.accuracy(inside),
        "precision": classification.macro_precision(inside),
        "recall": classification.macro_recall(inside),
        "f1": classification.macro_f1(inside),
    }


def _measure_probabilities(outcomes: Outcomes) -> Measured:
    scores, weight = outcomes.probabilities, outcomes.weight
    if scores is None:
        return {}
    labels = outcomes.labels.astype(np.int64)
    if scores.shape[1] == 2:  # noqa: PLR2004 - binary
        auc = classification.roc_auc(labels == 1, scores[:, 1], weight)
    else:
        auc = classification.roc_auc_one_vs_rest(labels, scores, weight)
    return {
        "roc_auc": auc,
        "log_loss": classification.log_loss(labels, scores, weight),
        "brier": classification.brier_score(labels, scores, weight),
    }


def _metric(
    name: str, estimate: Estimate, n: int, baseline: Estimate | None, *, decide: bool
) -> Metric:
    higher = _HIGHER_IS_BETTER[name]
    change = difference(estimate, baseline or undefined("no baseline"))
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
        reason=estimate.reason,
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
    return {
        name: {
            "precision": classification.precision(confusion, code).value,
            "recall": classification.recall(confusion, code).value,
            "f1": classification.f1(confusion, code).value,
            "support": float(confusion.weight[code].sum()),
        }
        for code, name in enumerate(classes)
    }


def _summary(report: PerformanceReport) -> str:
    worse = [metric for metric in report.metrics.values() if metric.verdict == "worse"]
    if worse:
        parts = ", ".join(f"{m.name} {m.value:.4g} against {m.baseline:.4g}" for m in worse)
        if report.worse:
            return f"worse than the baseline: {parts}"
        return f"not clearly worse; {parts} may be chance among {len(report.metrics)} metrics"
    first = next(iter(report.metrics.values()))
    return (
        f"{first.name} {first.value:.4g} [{first.low:.4g}, {first.high:.4g}] on {first.n} "
        f"labelled rows of {report.n_rows}"
    )
