"""Estimated loss of a regression model in a window whose labels are not yet known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import large_strings
from flytekitplugins.wbmon.data.columns import (
    float_values,
    is_class_name,
    is_number,
    read_columns,
)
from flytekitplugins.wbmon.errors import DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.measure import metric_of, report_of
from flytekitplugins.wbmon.monitor.performance.outcomes import Outcomes, read_regression
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport, PerformanceStatus
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.stats.estimate import Estimate, undefined
from flytekitplugins.wbmon.stats.loss_model import expected_loss, fit_loss_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FEWEST = 100


def estimate_values(
    data: Any,
    *,
    reference: Any,
    label: str,
    prediction: str,
    features: Sequence[str],
    weight: str | None,
    min_rows: int,
) -> PerformanceReport:
    """The regression case of `estimate_performance`, which documents the arguments."""
    inputs = list(dict.fromkeys((*features, prediction)))
    weights = [] if weight is None else [weight]
    past = read_columns(reference, [label, *inputs, *weights])
    known = read_regression(past, label=label, prediction=prediction, weight=weight)
    if len(known.rows) < _FEWEST:
        raise InsufficientDataError(
            f"the reference must have {_FEWEST} labelled rows, found {len(known.rows)}"
        )
    window = read_columns(data, [*inputs, *weights])
    # the prediction stands in for the label that the window does not have; its loss is not used
    current = read_regression(window, label=prediction, prediction=prediction, weight=weight)
    words = {name: _words(past[name]) for name in inputs if is_class_name(past[name].type)}
    expected: Mapping[str, Estimate] = {}
    # without a row to predict, the models of the loss need not be fitted
    if len(current.rows):
        expected = _expected(
            known,
            _matrix(past, inputs, words)[known.rows],
            current,
            _matrix(window, inputs, words)[current.rows],
        )
    return _report(known, current, expected, min_rows)


def _expected(
    known: Outcomes, past: Floats, current: Outcomes, window: Floats
) -> Mapping[str, Estimate]:
    off = np.abs(known.labels - known.predictions).astype(np.float64)
    of_loss = {
        name: expected_loss(fit_loss_model(past, loss, known.weight), window, current.weight)
        for name, loss in (("mae", off), ("mse", off**2))
    }
    # the mean square is estimated and its root taken afterwards: RMSE itself is no mean over rows
    squares = of_loss.pop("mse")
    ends = (math.sqrt(squares.value), math.sqrt(squares.low), math.sqrt(squares.high))
    return {**of_loss, "rmse": Estimate(*ends)}


def _report(
    known: Outcomes, current: Outcomes, expected: Mapping[str, Estimate], min_rows: int
) -> PerformanceReport:
    baseline = report_of(known, task="regression", baseline={}, min_rows=min_rows).metrics
    n = len(current.rows)
    status: PerformanceStatus = "ok" if n >= min_rows else "insufficient"
    why = "how far the labels spread is not known without them" if n else "no row to estimate"
    metrics = {
        name: metric_of(
            name,
            expected.get(name, undefined(why)),
            n,
            Estimate(metric.value, metric.low, metric.high),
            decide=status == "ok",
        )
        for name, metric in baseline.items()
    }
    return PerformanceReport(
        task="regression",
        status=status,
        n_rows=current.n_rows,
        n_labelled=0,
        n_missing_prediction=current.n_rows - n,
        metrics=metrics,
        estimated=True,
        reason=(
            f"estimated without labels: mean absolute error {metrics['mae'].value:.4g} expected of "
            f"{n} rows, by a model of the loss of {len(known.rows)} labelled rows; blind to a "
            "change of what the features mean"
        ),
    )


def _words(column: pa.ChunkedArray) -> list[str]:
    return sorted({word for word in large_strings(column).to_pylist() if word is not None})


def _matrix(table: pa.Table, names: Sequence[str], words: Mapping[str, list[str]]) -> Floats:
    """The columns as numbers; shape `(n, d)`.

    Text is encoded by its rank among the sorted distinct values of the reference, `nan` if the
    reference does not have the value.
    """
    return np.column_stack([_values(table[name], name, words.get(name)) for name in names])


def _values(column: pa.ChunkedArray, name: str, words: list[str] | None) -> Floats:
    if words is not None and is_class_name(column.type):
        # the codes of the reference in both windows, or the trees would read other values
        places = {word: float(place) for place, word in enumerate(words)}
        texts = large_strings(column).to_pylist()
        return np.array([places.get(text, math.nan) for text in texts], dtype=np.float64)
    if words is None and is_number(column.type):
        values = float_values(column)
        return np.where(np.isfinite(values), values, math.nan)
    raise DataError(
        f"feature {quoted_name(name)} must hold numbers or text, and the same in both "
        "windows; found "
        f"{column.type}"
    )
