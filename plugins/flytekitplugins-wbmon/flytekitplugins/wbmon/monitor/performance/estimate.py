"""Estimated performance of a model in a window whose labels are not yet known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flytekitplugins.wbmon.arguments import listed_columns
from flytekitplugins.wbmon.data.columns import as_column
from flytekitplugins.wbmon.data.uuids import value_name
from flytekitplugins.wbmon.errors import ConfigError, DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.baseline import Baseline, ClassMeans
from flytekitplugins.wbmon.monitor.performance.estimate_check import EstimateCheck
from flytekitplugins.wbmon.monitor.performance.estimate_regression import estimate_values
from flytekitplugins.wbmon.monitor.performance.meaning import Meaning
from flytekitplugins.wbmon.monitor.performance.measure import (
    announcements,
    metric_of,
    report_of,
)
from flytekitplugins.wbmon.monitor.performance.metrics import carried_by_few
from flytekitplugins.wbmon.monitor.performance.outcomes import (
    Outcomes,
    Score,
    read_classification,
)
from flytekitplugins.wbmon.monitor.performance.part import PerformanceStatus
from flytekitplugins.wbmon.monitor.performance.report import (
    PerformanceReport,
    PredictionIs,
    Task,
)
from flytekitplugins.wbmon.monitor.performance.settings import (
    require_prediction_is,
    require_rule,
    require_task,
)
from flytekitplugins.wbmon.stats.estimate import Z95, Estimate, undefined
from flytekitplugins.wbmon.stats.label_free import expect, expected_metrics, fit_calibrator
from flytekitplugins.wbmon.stats.label_free_classes import (
    expect_classes,
    expected_class_metrics,
    expected_classes,
    fit_calibrators,
)

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
    prediction_is: PredictionIs | None = None,
) -> PerformanceReport:
    """Estimate a model's metrics in a window without labels.

    Classification: the scores are calibrated on a labelled reference window, and the estimate of a
    metric is its expected value under the calibrated scores of the window. Regression: a model of
    the loss is fitted on the reference, and predicts the loss of the rows of the window. The
    estimates are compared with the metrics of the reference.

    The estimate follows a change in the distribution of the rows (covariate shift), such as a
    larger share of difficult cases. It fails, and shows no loss of performance, if

    - the relation between features and labels changed (concept drift), which only labels can show;
    - the share of positives among similar rows changed for a reason that the scores do not reflect;
    - rows are unlike all rows of the reference, and the classifier is overconfident on them;
    - the model was trained on the reference, so that its scores there are too good.

    Args:
        data: The window, in any form `check_performance` accepts; it needs no label column.
        reference: Labelled rows that the model was not trained on; more rows give shorter
            intervals.
        label: Column of the true classes or values in the reference.
        prediction: Column of predicted classes or values, or of the positive class's probability.
        task: `classification` or `regression`.
        score: Probabilities in addition to predicted classes: the column of the positive class, or
            one column per class in the sorted order of the classes, or a mapping class -> column.
        features: For regression, columns from which the loss can be predicted, such as the inputs
            of the model; numbers or text. The prediction is always used in addition.
        threshold: Probability from which a row is predicted positive.
        weight: Column of row weights, in both windows.
        positive: The positive class of two; as in `check_performance` if None.
        min_rows: With fewer rows, the status is `insufficient` and there is no verdict.
        prediction_is: What `prediction` holds: `class`, or `probability` of the positive class; as
            in `check_performance` if None. What it is in the reference it is in the window.

    Returns:
        A report marked `estimated`, with the measured metrics of the reference as its baseline. It
        can be passed as `estimate` to `check_performance` when the labels are known. Its
        unreadable values are those of both windows.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range.
        DataError: If a column is missing or of the wrong type, there are no probabilities, or a
            weight is neither 0 nor in [1e-100, 1e100].
        InsufficientDataError: If the reference has fewer than 20 labelled rows of a class, or 100
            of a regression.
    """
    require_task(task)
    require_rule(threshold, min_rows)
    require_prediction_is(prediction_is)
    label, prediction, weight = str(label), str(prediction), as_column(weight)
    features = listed_columns("features", features)
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
    said = Meaning(prediction_is=prediction_is or "")
    if positive is not None:
        said = said._replace(positive=value_name(positive), positive_from="setting")
    known = read_classification(reference, label=label, meaning=said, **columns)
    _require_reference(known)
    # as the reference was read, the positive class last: sorting could exchange the two
    meaning = known.meaning._replace(is_closed=True)
    current = read_classification(data, label=None, meaning=meaning, **columns)
    n = len(current.rows)
    before = report_of(known, task=task, baseline=None, min_rows=min_rows)
    expected, means = _expected(known, current) if n else ({}, {})
    baseline = Baseline.of_report(before)
    status: PerformanceStatus = "ok" if n >= min_rows else "insufficient"
    metrics = {
        name: metric_of(
            name,
            expected.get(name, undefined(_unknown(name, n))),
            n,
            baseline.of(name, means),
            decide=status == "ok",
        )
        for name in before.metrics
    }
    unreadable = current.unreadable.and_(known.unreadable)
    report = PerformanceReport(
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
            if n
            else f"none of {current.n_rows} rows has a prediction and scores, a verdict needs "
            f"{min_rows} of them"
        ),
        prediction_is=known.meaning.prediction_is,
        positive=known.meaning.positive,
        positive_from=known.meaning.positive_from,
        n_unreadable=unreadable.n,
        unreadable=unreadable.examples,
    )
    few = [f"a verdict needs {min_rows} rows, {n} have scores"] if 0 < n < min_rows else []
    return replace(report, reason="; ".join([*few, report.reason, *announcements(report)]))


def compare_estimate(
    estimate: PerformanceReport, measured: PerformanceReport
) -> tuple[EstimateCheck, ...]:
    """Compare the estimated metrics of a window with the values measured later.

    If only some rows have a label, the measured value has a larger sampling error than that of all
    rows would have, and the interval of the estimate is widened by `sqrt(n_rows / n_labelled)`.

    Args:
        estimate: The report of `estimate_performance`.
        measured: The report of `check_performance` for the same window.

    Returns:
        One comparison for each metric that both reports have.

    Raises:
        ConfigError: If the first report is not an estimate, or the reports are of different tasks
            or in different units.
    """
    if not isinstance(estimate, PerformanceReport):
        raise ConfigError(
            f"the estimate must be a report of estimate_performance, got {estimate!r}"
        )
    if not estimate.estimated or estimate.task != measured.task:
        raise ConfigError(
            "the estimate must be a report of estimate_performance of the same task; got a "
            f"{'estimated' if estimate.estimated else 'measured'} {estimate.task} for a "
            f"{measured.task}"
        )
    if measured.n_labelled and estimate.unit != measured.unit:
        raise ConfigError(
            f"the estimate must be in the unit of the window; it is in {estimate.unit or 'no unit'}"
            f", the window in {measured.unit or 'no unit'}"
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
    # the interval may be asymmetric: its half on the side of the measured value counts
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


def _expected(known: Outcomes, current: Outcomes) -> tuple[Mapping[str, Estimate], ClassMeans]:
    """The expected metrics, and the classes that they are means over, without their values."""
    reference, scores = _require_scores(known), _require_scores(current)
    decided = current.predictions.astype(np.int64)
    labels = known.labels.astype(np.int64)
    if len(known.classes) == 2:  # noqa: PLR2004 - binary
        calibrator = fit_calibrator(labels == 1, reference[:, 1], known.weight)
        rows = expect(calibrator, scores[:, 1], decided == 1, current.weight)
        return _unless_few(expected_metrics(rows), current), {}
    calibrators = fit_calibrators(labels, reference, known.weight)
    likely = expect_classes(calibrators, scores, decided, current.weight)
    over = expected_classes(likely)
    over |= dict.fromkeys(("roc_auc", "pr_auc"), over["recall"])
    means = {
        name: {known.classes[code]: math.nan for code in codes} for name, codes in over.items()
    }
    return _unless_few(expected_class_metrics(likely), current), means


def _unless_few(expected: Mapping[str, Estimate], current: Outcomes) -> Mapping[str, Estimate]:
    """The estimates, without intervals where a few heavy rows make them."""
    why = carried_by_few(current.weight)
    if not why:
        return expected
    return {
        name: each if each.reason else Estimate(each.value, reason=why)
        for name, each in expected.items()
    }


def _unknown(name: str, n: int) -> str:
    return f"{name} is not estimated without labels" if n else "no row could be estimated"


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
