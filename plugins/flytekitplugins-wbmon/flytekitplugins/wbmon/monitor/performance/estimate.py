"""How good a model probably is while the labels of the window are not there yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.columns import is_class_name, read_columns
from flytekitplugins.wbmon.errors import ConfigError, DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.estimate_regression import estimate_values
from flytekitplugins.wbmon.monitor.performance.measure import metric_of, report_of
from flytekitplugins.wbmon.monitor.performance.outcomes import (
    Outcomes,
    Score,
    read_classification,
    score_columns,
)
from flytekitplugins.wbmon.monitor.performance.report import (
    EstimateCheck,
    PerformanceReport,
    PerformanceStatus,
    Task,
)
from flytekitplugins.wbmon.stats.estimate import Z95, Estimate
from flytekitplugins.wbmon.stats.label_free import expect, expected_metrics, fit_calibrator
from flytekitplugins.wbmon.stats.label_free_classes import (
    expect_classes,
    expected_class_metrics,
    fit_calibrators,
)

_TRUTH = "label that is not there"
_FEWEST_OF_A_CLASS = 20


def estimate_performance(  # noqa: PLR0913 - one keyword a column
    data: Any,
    *,
    reference: Any,
    label: str,
    prediction: str,
    task: Task = "classification",
    score: Score = None,
    features: Sequence[str] = (),
    threshold: float = 0.5,
    weight: str | None = None,
    positive: Any = None,
    min_rows: int = 30,
) -> PerformanceReport:
    """Estimate a model's metrics in a window without labels.

    Classification: the scores are calibrated on a labelled reference window; each metric is then
    what the window's calibrated scores lead one to expect. Regression: a model of the loss, fitted
    on the reference, says what the window's rows lead one to expect. Both are held against the
    reference.

    The estimate follows a change of the data: more hard cases, another mix of similar rows. It must
    fail, and say that all is well, where

    - the relation of features to labels changed (concept drift): only labels show that;
    - the labels of similar rows have another share than before for a reason that no score sees;
    - a classifier meets rows unlike any of the reference, and is sure of them without reason;
    - the reference are rows that the model was trained on: their scores are too good.

    Args:
        data: The window, as `check_performance` takes it; needs no label column.
        reference: Labelled rows that the model was not trained on, the more the better.
        label: Column of the truth in the reference.
        prediction: Column of predicted classes or values, or of the positive class's probability.
        task: `classification` or `regression`.
        score: Beside predicted classes, their probabilities: the positive class's column, one
            column a class in sorted order, or class -> column.
        features: Of a regression: the columns that tell where it errs, such as the model's inputs;
            numbers or text. The prediction is one of them in any case.
        threshold: Probability from which a row is predicted positive.
        weight: Column of row weights, in both windows.
        positive: The positive class of two; the last in sorted order if None.
        min_rows: Rows below which the status is `insufficient` and no verdict is given.

    Returns:
        A report marked `estimated`, its baseline the reference's measured metrics. Give it as
        `estimate` to `check_performance` when the labels have come.

    Raises:
        ConfigError: If the task is neither.
        DataError: If a column is missing or of the wrong type, or there are no probabilities.
        InsufficientDataError: If the reference has fewer than 20 labelled rows of a class, or 100
            of a regression.
    """
    if task not in get_args(Task):
        raise ConfigError(f"task must be 'classification' or 'regression', got {task!r}")
    if task == "regression":
        return estimate_values(
            data,
            reference=reference,
            label=label,
            prediction=prediction,
            features=features,
            weight=weight,
            min_rows=min_rows,
        )
    columns: dict[str, Any] = {
        "prediction": prediction,
        "score": score,
        "threshold": threshold,
        "weight": weight,
    }
    known = read_classification(reference, label=label, positive=positive, **columns)
    _require_reference(known)
    current = _without_labels(data, known.classes, columns)
    n = len(current.rows)
    baseline = report_of(known, task=task, baseline={}, min_rows=min_rows).metrics
    expected = _expected(known, current) if n else {}
    status: PerformanceStatus = "ok" if n >= min_rows else "insufficient"
    metrics = {
        name: metric_of(
            name,
            expected.get(name, Estimate(np.nan, reason="no row could be estimated")),
            n,
            Estimate(metric.value, metric.low, metric.high),
            decide=status == "ok",
        )
        for name, metric in baseline.items()
    }
    return PerformanceReport(
        task=task,
        status=status,
        n_rows=current.n_rows,
        n_labelled=0,
        n_missing_prediction=current.n_rows - n,
        metrics=metrics,
        classes=known.classes,
        estimated=True,
        reason=(
            f"estimated without labels: accuracy {metrics['accuracy'].value:.4g} expected of {n} "
            f"rows, from scores calibrated on {len(known.rows)} labelled rows; blind to a change "
            "of what the scores mean"
        ),
    )


def compare_estimate(
    estimate: PerformanceReport, measured: PerformanceReport
) -> tuple[EstimateCheck, ...]:
    """What was estimated of a window, beside what its labels say now.

    Where labels came for some rows only, what they say varies more than that of all would, and the
    interval is widened by `sqrt(n_rows / n_labelled)`.

    Args:
        estimate: From `estimate_performance`.
        measured: From `check_performance`, of the same window.

    Raises:
        ConfigError: If the first is no estimate, or they are of two tasks.
    """
    if not estimate.estimated or estimate.task != measured.task:
        raise ConfigError(
            "the estimate must be a report of estimate_performance of the same task; got a "
            f"{'estimated' if estimate.estimated else 'measured'} {estimate.task} for a "
            f"{measured.task}"
        )
    widened = math.sqrt(1 / measured.coverage) if measured.n_labelled else math.nan
    return tuple(
        _estimates(name, metric.value, estimate, widened)
        for name, metric in measured.metrics.items()
        if name in estimate.metrics
    )


def _estimates(
    name: str, value: float, estimate: PerformanceReport, widened: float
) -> EstimateCheck:
    expected = estimate.metrics[name]
    low = expected.value - widened * (expected.value - expected.low)
    high = expected.value + widened * (expected.high - expected.value)
    reach = high - expected.value if value > expected.value else expected.value - low
    away = abs(value - expected.value)
    z = Z95 * away / reach if reach > 0 else (math.inf if away > 0 else 0.0)
    if math.isnan(value) or math.isnan(expected.low):
        z = math.nan
    return EstimateCheck(
        name=name,
        expected=expected.value,
        low=low,
        high=high,
        value=value,
        p_value=math.erfc(z / math.sqrt(2)),
        higher_is_better=expected.higher_is_better,
    )


def _expected(known: Outcomes, current: Outcomes) -> Mapping[str, Estimate]:
    reference, scores = _require_scores(known), _require_scores(current)
    decided = current.predictions.astype(np.int64)
    labels = known.labels.astype(np.int64)
    if len(known.classes) == 2:  # noqa: PLR2004 - binary
        calibrator = fit_calibrator(labels == 1, reference[:, 1], known.weight)
        return expected_metrics(expect(calibrator, scores[:, 1], decided == 1, current.weight))
    calibrators = fit_calibrators(labels, reference, known.weight)
    return expected_class_metrics(expect_classes(calibrators, scores, decided, current.weight))


def _require_scores(outcomes: Outcomes) -> np.ndarray[Any, Any]:
    if outcomes.probabilities is None or len(outcomes.classes) < 2:  # noqa: PLR2004 - one is sure
        raise DataError(
            "an estimate without labels needs two classes or more and the probability of each, as "
            f"`prediction` or `score`; found classes {', '.join(outcomes.classes) or 'none'}"
        )
    return outcomes.probabilities


def _require_reference(known: Outcomes) -> None:
    _require_scores(known)
    counts = np.bincount(known.labels.astype(np.int64), minlength=len(known.classes))
    if counts.min() < _FEWEST_OF_A_CLASS:
        rarest = known.classes[int(counts.argmin())]
        raise InsufficientDataError(
            f"the reference must have {_FEWEST_OF_A_CLASS} labelled rows of each class, found "
            f"{int(counts.min())} of {rarest!r} among {len(known.rows)}"
        )


def _without_labels(data: Any, classes: Sequence[str], columns: dict[str, Any]) -> Outcomes:
    names = [columns["prediction"], *score_columns(columns["score"])]
    table = read_columns(data, [*names, *([columns["weight"]] if columns["weight"] else [])])
    # every row stands in as labelled, so that it is read, checked and coded as the reference was
    numeric = all(name.lstrip("-").isdigit() for name in classes)
    if is_class_name(table.schema.field(columns["prediction"]).type):
        numeric = False
    stand_in = pa.array([int(classes[0]) if numeric else classes[0]] * table.num_rows)
    table = table.append_column(_TRUTH, stand_in)
    positive = classes[-1] if len(classes) == 2 else None  # noqa: PLR2004 - binary
    return read_classification(table, label=_TRUTH, positive=positive, classes=classes, **columns)
