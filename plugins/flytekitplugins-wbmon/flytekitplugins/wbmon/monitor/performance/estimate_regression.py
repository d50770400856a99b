"""Estimated loss of a regression model in a window whose labels are not yet known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.arguments import listed_columns
from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.data.columns import (
    NumberColumn,
    as_column,
    read_numbers,
    read_values,
)
from flytekitplugins.wbmon.data.names import plain_names
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.data.unreadable import Unreadable, unreadable_of
from flytekitplugins.wbmon.errors import ConfigError, DataError, InsufficientDataError
from flytekitplugins.wbmon.monitor.performance.baseline import estimate_of
from flytekitplugins.wbmon.monitor.performance.loss_model import LossModel
from flytekitplugins.wbmon.monitor.performance.measure import (
    announcements,
    metric_of,
    report_of,
)
from flytekitplugins.wbmon.monitor.performance.outcomes import Outcomes, read_regression
from flytekitplugins.wbmon.monitor.performance.part import PerformanceStatus
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.performance.settings import require_min_rows
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.stats.density_ratio import density_ratio, share_outside
from flytekitplugins.wbmon.stats.estimate import Estimate, undefined
from flytekitplugins.wbmon.stats.influence import effective_rows
from flytekitplugins.wbmon.stats.loss_model import FittedLoss, expected_loss, fit_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FEWEST = 100
_MOST_KEPT = 20_000  # rows of the reference that correct an estimate
_LEAST_ALIKE = 0.1  # of the reference
_MOST_OUTSIDE = 0.1  # of the window
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
    model = fit_loss_model(
        reference, label=label, prediction=prediction, features=features, weight=weight
    )
    return estimate_loss(data, model=model, min_rows=min_rows)


def fit_loss_model(
    reference: Any,
    *,
    label: str,
    prediction: str,
    features: Sequence[str] = (),
    weight: str | None = None,
) -> LossModel:
    """Learn from labelled rows how large the errors of a regression model will be.

    The model can be kept with the monitored model and applied to every window with `estimate_loss`:
    fitting takes seconds, applying it a fraction of one.

    Args:
        reference: Labelled rows that the monitored model was not trained on, in any form
            `check_performance` accepts.
        label: Column of the true values.
        prediction: Column of predicted values.
        features: Columns from which the loss can be predicted, such as the inputs of the monitored
            model; numbers or text. The prediction is always used in addition.
        weight: Column of row weights.

    Returns:
        The model, with what was measured in the reference.

    Raises:
        ConfigError: If a setting is of the wrong type.
        DataError: If a column is missing or of the wrong type, or a weight is neither 0 nor in
            [1e-100, 1e100].
        InsufficientDataError: If the reference has fewer than 100 labelled rows.
    """
    label, prediction, weight = str(label), str(prediction), as_column(weight)
    inputs = tuple(dict.fromkeys((*listed_columns("features", features), prediction)))
    past = read_values(reference, [label, *inputs, *([] if weight is None else [weight])])
    known = read_regression(past, label=label, prediction=prediction, weight=weight)
    if len(known.rows) < _FEWEST:
        raise InsufficientDataError(
            f"the reference must have {_FEWEST} labelled rows, found {len(known.rows)}"
        )
    words = {name: _words(past[name]) for name in inputs if _is_text(past[name])}
    columns = _features(past, inputs, words)
    known = replace(known, unreadable=known.unreadable.and_(_unreadable(columns, prediction)))
    rows = _matrix(columns)[known.rows]
    losses = _fit(known, rows)
    kept = np.arange(len(rows))
    if len(rows) > _MOST_KEPT:
        kept = np.sort(np.random.default_rng(0).choice(kept, _MOST_KEPT, replace=False))
    return LossModel(
        label=label,
        prediction=prediction,
        features=inputs,
        weight=weight or "",
        words=words,
        units={name: column.unit for name, column in columns.items() if column.unit},
        reference=report_of(known, task="regression", baseline=None, min_rows=1),
        rows=rows[kept],
        row_weight=known.weight[kept],
        losses={name: loss._replace(residual=loss.residual[kept]) for name, loss in losses.items()},
    )


def estimate_loss(data: Any, *, model: LossModel, min_rows: int = 30) -> PerformanceReport:
    """Estimate the errors of a regression model in a window without labels.

    Like `estimate_performance`, which refits the model of the loss for each window, and as blind to
    concept drift. Rows of the reference that are like those of the window correct the estimate. If
    they are so few that they are worth less than a tenth of the reference, or if more than a tenth
    of the window has a value of a feature that the reference does not reach (a word or code it does
    not have, a number out of its range, missing where it has all), the status is `insufficient`:
    the values have no interval and no verdict, and the reason says why. Combinations of values that
    are each known are not told apart.

    Args:
        data: The window, in any form `check_performance` accepts; it needs no label column.
        model: What `fit_loss_model` learned.
        min_rows: With fewer rows, the status is `insufficient` and there is no verdict.

    Returns:
        A report as that of `estimate_performance`: marked `estimated`, with the measured metrics of
        the reference as its baseline.

    Raises:
        ConfigError: If `model` is none, or `min_rows` is out of range.
        DataError: If a column is missing or of another type or unit than in the reference, or a
            weight is neither 0 nor in [1e-100, 1e100].
    """
    if not isinstance(model, LossModel):
        raise ConfigError(
            f"model must be a model of the loss, got {type(model).__name__}; make it with "
            "fit_loss_model(reference, ...), or read it with LossModel.load"
        )
    require_min_rows(min_rows)
    window = read_values(data, [*model.features, *([model.weight] if model.weight else [])])
    # the prediction stands in for the label that the window does not have; its loss is not used
    current = read_regression(
        window, label=model.prediction, prediction=model.prediction, weight=model.weight or None
    )
    _require_unit(model, current)
    expected: Mapping[str, Estimate] = {}
    unreadable = Unreadable(model.reference.n_unreadable, model.reference.unreadable)
    unreadable = unreadable.and_(current.unreadable)
    if len(current.rows):
        columns = _features(window, model.features, model.words)
        _require_units(model, columns)
        unreadable = unreadable.and_(_unreadable(columns, model.prediction))
        expected = _expected(model, _matrix(columns)[current.rows], current.weight)
    return _report(model, current, expected, min_rows, unreadable)


def _require_unit(model: LossModel, current: Outcomes) -> None:
    unit = model.reference.unit
    if len(current.rows) and unit != current.unit:
        raise DataError(
            f"prediction {quoted_name(model.prediction)} must be in the unit of the reference, "
            f"{unit or 'no unit'}; found {current.unit or 'no unit'}"
        )


def _require_units(model: LossModel, columns: Mapping[str, NumberColumn]) -> None:
    for name, column in columns.items():
        before = model.units.get(name, "")
        # a column without values has no unit
        if column.unit != before and not np.isnan(column.values).all():
            raise DataError(
                f"feature {quoted_name(name)} must be in the unit of the reference, "
                f"{before or 'no unit'}; found {column.unit or 'no unit'}"
            )


def _fit(known: Outcomes, rows: Floats) -> dict[str, FittedLoss]:
    off = np.abs(known.labels - known.predictions).astype(np.float64)
    if off.max() > _LARGEST:
        return {}
    return {
        name: fit_loss(rows, loss, known.weight) for name, loss in (("mae", off), ("mse", off**2))
    }


def _expected(model: LossModel, rows: Floats, weight: Floats) -> Mapping[str, Estimate]:
    if not model.losses:
        return dict.fromkeys(("mae", "rmse"), undefined(_TOO_LARGE))
    alike = model.row_weight * density_ratio(model.rows, rows, model.row_weight, weight)
    of_loss = {
        name: expected_loss(loss, alike, rows, weight) for name, loss in model.losses.items()
    }
    # the mean square is estimated and its root taken afterwards: RMSE itself is no mean over rows
    squares = of_loss.pop("mse")
    ends = (math.sqrt(squares.value), math.sqrt(squares.low), math.sqrt(squares.high))
    found = {**of_loss, "rmse": Estimate(*ends)}
    why = _unlike(model, alike, rows, weight)
    if not why:
        return found
    return {name: Estimate(each.value, reason=why) for name, each in found.items()}


def _unlike(model: LossModel, alike: Floats, rows: Floats, weight: Floats) -> str:
    """Why the reference says nothing of the errors of such rows; empty if it does."""
    outside = share_outside(model.rows, rows, weight)
    if outside > _MOST_OUTSIDE:
        return f"the reference has no rows like {outside:.0%} of these"
    n, before = effective_rows(alike), effective_rows(model.row_weight)
    if n >= _LEAST_ALIKE * before:
        return ""
    return f"the reference has few rows like these: {n:.3g} of {before:.5g} in effect"


def _report(
    model: LossModel,
    current: Outcomes,
    expected: Mapping[str, Estimate],
    min_rows: int,
    unreadable: Unreadable,
) -> PerformanceReport:
    n, unit = len(current.rows), model.reference.unit
    is_known = any(not math.isnan(each.low) for each in expected.values())
    status: PerformanceStatus = "ok" if n >= min_rows and is_known else "insufficient"
    why = "how large the labels are is not known without them" if n else "no row to estimate"
    metrics = {
        name: metric_of(
            name,
            expected.get(name, undefined(why)),
            n,
            estimate_of(metric),
            decide=status == "ok",
        )
        for name, metric in model.reference.metrics.items()
    }
    mae, before = metrics["mae"], model.reference
    report = PerformanceReport(
        task="regression",
        status=status,
        n_rows=current.n_rows,
        n_labelled=0,
        n_missing_prediction=current.n_rows - n,
        metrics=metrics,
        estimated=True,
        reason="; ".join(
            [
                *([f"a verdict needs {min_rows} rows, {n} have a prediction"] * (0 < n < min_rows)),
                f"none of {current.n_rows} rows has a prediction, a verdict needs {min_rows} rows"
                if not n
                else f"estimated without labels: mean absolute error {mae.value:.4g}"
                f"{f' {unit}' if unit else ''} expected of {n} rows, by a model of the loss of "
                f"{before.n_labelled - before.n_missing_prediction} labelled rows",
                *([mae.reason] if n and mae.reason else []),
                "blind to a change of what the features mean",
            ]
        ),
        unit=unit,
        n_unreadable=unreadable.n,
        unreadable=unreadable.examples,
    )
    return replace(report, reason="; ".join([report.reason, *announcements(report)]))


def _unreadable(columns: Mapping[str, NumberColumn], prediction: str) -> Unreadable:
    """What could not be read in the features; the prediction is counted with the outcomes."""
    return unreadable_of({n: each.unreadable for n, each in columns.items() if n != prediction})


def _is_text(column: pa.ChunkedArray) -> bool:
    return kind_of(value_type(column.type)) == "text"


def _words(column: pa.ChunkedArray) -> tuple[str, ...]:
    return tuple(sorted({word for word in plain_names(column).to_pylist() if word is not None}))


def _features(
    table: pa.Table, names: Sequence[str], words: Mapping[str, tuple[str, ...]]
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


def _values(column: pa.ChunkedArray, name: str, words: tuple[str, ...] | None) -> NumberColumn:
    if words is not None and _is_text(column):
        # the codes of the reference in both windows, or the trees would read other values
        places = {word: float(place) for place, word in enumerate(words)}
        texts = plain_names(column).to_pylist()
        ranks = [places.get(text, math.nan) for text in texts]
        return NumberColumn(np.array(ranks, dtype=np.float64), unit="")
    if words is not None and kind_of(value_type(column.type)) == "empty":
        return NumberColumn(np.full(len(column), math.nan), unit="")
    if words is None and kind_of(value_type(column.type)) in _NUMBERS:
        return read_numbers(column, name)
    raise DataError(
        f"feature {quoted_name(name)} must hold numbers or text, and the same in both "
        "windows; found "
        f"{column.type}"
    )
