"""How good a model probably is while the labels of the window are not there yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.errors import DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.measuring import metric_of, report_of
from flytekitplugins.wbmon.monitor.outcome_columns import read_columns
from flytekitplugins.wbmon.monitor.outcomes import Outcomes, read_classification
from flytekitplugins.wbmon.records.performance import PerformanceReport, PerformanceStatus
from flytekitplugins.wbmon.stats.estimate import Estimate
from flytekitplugins.wbmon.stats.label_free import expect, expected_metrics, fit_calibrator

_TRUTH = "label that is not there"
_FEWEST_OF_A_CLASS = 20


def estimate_performance(  # noqa: PLR0913 - one keyword a column
    data: Any,
    *,
    reference: Any,
    label: str,
    prediction: str,
    score: str | None = None,
    threshold: float = 0.5,
    weight: str | None = None,
    positive: Any = None,
    min_rows: int = 30,
) -> PerformanceReport:
    """Estimate a binary classifier's metrics in a window without labels.

    The scores are calibrated on a labelled reference window; each metric is then what the window's
    calibrated scores lead one to expect, held against the reference. The estimate follows a change
    of the data (more hard cases, another share of positives among similar rows). It must fail where
    the relation of features to labels changed: only labels show that.

    Args:
        data: The window, as `check_performance` takes it; needs no label column.
        reference: Labelled rows that the model was not trained on, the more the better.
        label: Column of the truth in the reference.
        prediction: Column of predicted classes, or of the positive class's probability.
        score: Beside predicted classes, the positive class's probability column.
        threshold: Probability from which a row is predicted positive.
        weight: Column of row weights, in both windows.
        positive: The positive class; the last in sorted order if None.
        min_rows: Rows below which the status is `insufficient` and no verdict is given.

    Returns:
        A report marked `estimated`, its baseline the reference's measured metrics.

    Raises:
        DataError: If a column is missing or of the wrong type, or there are not two classes.
        InsufficientDataError: If the reference has fewer than 20 labelled rows of a class.
    """
    columns: dict[str, Any] = {
        "prediction": prediction,
        "score": score,
        "threshold": threshold,
        "weight": weight,
    }
    known = read_classification(reference, label=label, positive=positive, **columns)
    scores = _require_scores(known)
    happened = known.labels == 1
    if min(happened.sum(), (~happened).sum()) < _FEWEST_OF_A_CLASS:
        raise InsufficientDataError(
            f"the reference must have {_FEWEST_OF_A_CLASS} labelled rows of each class, found "
            f"{int(happened.sum())} of {known.classes[1]!r} among {len(happened)}"
        )
    calibrator = fit_calibrator(happened, scores, known.weight)
    current = _without_labels(data, known.classes, columns)
    n = len(current.rows)
    rows = expect(calibrator, _require_scores(current), current.predictions == 1, current.weight)
    baseline = report_of(known, task="classification", baseline={}, min_rows=min_rows).metrics
    expected = expected_metrics(rows) if n else {}
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
        task="classification",
        status=status,
        n_rows=current.n_rows,
        n_labelled=0,
        n_missing_prediction=current.n_rows - n,
        metrics=metrics,
        classes=known.classes,
        estimated=True,
        reason=_reason(metrics["accuracy"].value, n, len(known.rows)),
    )


def _reason(accuracy: float, n: int, n_reference: int) -> str:
    return (
        f"estimated without labels: accuracy {accuracy:.4g} expected of {n} rows, from scores "
        f"calibrated on {n_reference} labelled rows; blind to a change of what the scores mean"
    )


def _require_scores(outcomes: Outcomes) -> np.ndarray[Any, Any]:
    if outcomes.probabilities is None or len(outcomes.classes) != 2:  # noqa: PLR2004 - binary
        raise DataError(
            "an estimate without labels needs two classes and the probability of one of them, as "
            f"`prediction` or `score`; found classes {', '.join(outcomes.classes) or 'none'}"
        )
    return outcomes.probabilities[:, 1]


def _without_labels(data: Any, classes: Sequence[str], columns: dict[str, Any]) -> Outcomes:
    names = [columns[name] for name in ("prediction", "score", "weight") if columns[name]]
    table = read_columns(data, names)
    # every row stands in as labelled, so that it is read, checked and coded as the reference was
    numeric = all(name.lstrip("-").isdigit() for name in classes)
    stand_in = pa.array([int(classes[0]) if numeric else classes[0]] * table.num_rows)
    table = table.append_column(_TRUTH, stand_in)
    return read_classification(
        table, label=_TRUTH, positive=classes[-1], classes=classes, **columns
    )
