"""Estimated loss of a regression model in a window whose labels are not yet known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.data.columns import (
    NumberColumn,
    read_numbers,
    read_values,
)
from flytekitplugins.wbmon.data.names import plain_names
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.data.unreadable import Unreadable, unreadable_of
from flytekitplugins.wbmon.errors import DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.measure import (
    announcements,
    estimate_of,
    metric_of,
    report_of,
)
from flytekitplugins.wbmon.monitor.performance.outcomes import (
    Outcomes,
    read_regression,
)
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport, PerformanceStatus
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.stats.estimate import Estimate, undefined
from flytekitplugins.wbmon.stats.loss_model import expected_loss, fit_loss_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FEWEST = 100
# the model of the squared error takes its square again
_LARGEST = 1e50
_TOO_LARGE = "errors of the reference are too large to be estimated"
_NUMBERS = ("number", "boolean", "duration", "empty")


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
    past = read_values(reference, [label, *inputs, *weights])
    known = read_regression(past, label=label, prediction=prediction, weight=weight)
    if len(known.rows) < _FEWEST:
        raise InsufficientDataError(
            f"the reference must have {_FEWEST} labelled rows, found {len(known.rows)}"
        )
    window = read_values(data, [*inputs, *weights])
    # the prediction stands in for the label that the window does not have; its loss is not used
    current = read_regression(window, label=prediction, prediction=prediction, weight=weight)
    _require_unit(known, current, prediction)
    words = {name: _words(past[name]) for name in inputs if _is_text(past[name])}
    unreadable = known.unreadable.and_(current.unreadable)
    expected: Mapping[str, Estimate] = {}
    # without a row to predict, the models of the loss need not be fitted
    if len(current.rows):
        before, now = (_features(table, inputs, words) for table in (past, window))
        for table in (before, now):
            of_inputs = {n: each.unreadable for n, each in table.items() if n != prediction}
            unreadable = unreadable.and_(unreadable_of(of_inputs))
        expected = _expected(
            known, _matrix(before)[known.rows], current, _matrix(now)[current.rows]
        )
    return _report(known, current, expected, min_rows, unreadable)


def _require_unit(known: Outcomes, current: Outcomes, prediction: str) -> None:
    if len(current.rows) and known.unit != current.unit:
        units = [each.unit or "no unit" for each in (known, current)]
        raise DataError(
            f"prediction {quoted_name(prediction)} must be in the unit of the reference, "
            f"{units[0]}; found {units[1]}"
        )


def _expected(
    known: Outcomes, past: Floats, current: Outcomes, window: Floats
) -> Mapping[str, Estimate]:
    off = np.abs(known.labels - known.predictions).astype(np.float64)
    if off.max() > _LARGEST:
        return dict.fromkeys(("mae", "rmse"), undefined(_TOO_LARGE))
    of_loss = {
        name: expected_loss(fit_loss_model(past, loss, known.weight), window, current.weight)
        for name, loss in (("mae", off), ("mse", off**2))
    }
    # the mean square is estimated and its root taken afterwards: RMSE itself is no mean over rows
    squares = of_loss.pop("mse")
    ends = (math.sqrt(squares.value), math.sqrt(squares.low), math.sqrt(squares.high))
    return {**of_loss, "rmse": Estimate(*ends)}


def _report(
    known: Outcomes,
    current: Outcomes,
    expected: Mapping[str, Estimate],
    min_rows: int,
    unreadable: Unreadable,
) -> PerformanceReport:
    baseline = report_of(known, task="regression", baseline={}, min_rows=min_rows).metrics
    n = len(current.rows)
    status: PerformanceStatus = "ok" if n >= min_rows else "insufficient"
    why = "how large the labels are is not known without them" if n else "no row to estimate"
    metrics = {
        name: metric_of(
            name,
            expected.get(name, undefined(why)),
            n,
            estimate_of(metric),
            decide=status == "ok",
        )
        for name, metric in baseline.items()
    }
    unit = f" {known.unit}" if known.unit else ""
    report = PerformanceReport(
        task="regression",
        status=status,
        n_rows=current.n_rows,
        n_labelled=0,
        n_missing_prediction=current.n_rows - n,
        metrics=metrics,
        estimated=True,
        reason=(
            f"estimated without labels: mean absolute error {metrics['mae'].value:.4g}{unit} "
            f"expected of {n} rows, by a model of the loss of {len(known.rows)} labelled rows; "
            "blind to a change of what the features mean"
        ),
        unit=known.unit,
        n_unreadable=unreadable.n,
        unreadable=unreadable.examples,
    )
    return replace(report, reason="; ".join([report.reason, *announcements(report)]))


def _is_text(column: pa.ChunkedArray) -> bool:
    return kind_of(value_type(column.type)) == "text"


def _words(column: pa.ChunkedArray) -> list[str]:
    return sorted({word for word in plain_names(column).to_pylist() if word is not None})


def _features(
    table: pa.Table, names: Sequence[str], words: Mapping[str, list[str]]
) -> dict[str, NumberColumn]:
    """The columns as numbers.

    Text is encoded by its rank among the sorted distinct values of the reference, `nan` if the
    reference does not have the value.
    """
    return {name: _values(table[name], name, words.get(name)) for name in names}


def _matrix(features: Mapping[str, NumberColumn]) -> Floats:
    """The features side by side, `nan` where one is missing or infinite; shape `(n, d)`."""
    values = np.column_stack([each.values for each in features.values()])
    return np.where(np.isfinite(values), values, math.nan)


def _values(column: pa.ChunkedArray, name: str, words: list[str] | None) -> NumberColumn:
    if words is not None and _is_text(column):
        # the codes of the reference in both windows, or the trees would read other values
        places = {word: float(place) for place, word in enumerate(words)}
        texts = plain_names(column).to_pylist()
        ranks = [places.get(text, math.nan) for text in texts]
        return NumberColumn(np.array(ranks, dtype=np.float64), unit="")
    if words is None and kind_of(value_type(column.type)) in _NUMBERS:
        return read_numbers(column, name)
    raise DataError(
        f"feature {quoted_name(name)} must hold numbers or text, and the same in both "
        "windows; found "
        f"{column.type}"
    )
