"""Reads predictions and labels, checks them, and encodes classes as integers for the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.class_codes import (
    CodedColumn,
    class_name,
    class_order,
    code_column,
    recode,
)
from flytekitplugins.wbmon.data.columns import float_values, is_number, read_columns
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Mask = NDArray[np.bool_]

Score = str | Sequence[str] | Mapping[Any, str] | None

# tolerances: float32 arithmetic can leave [0, 1] slightly, and rounded probabilities miss the sum 1
_EDGE = 1e-6
_SUM = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """The rows of a window that can be measured: with label, prediction and positive weight.

    Attributes:
        n_rows: Number of rows of the window, whether they can be measured or not.
        n_labelled: Number of rows with a label and positive weight.
        labels: True values, or codes into `classes`; shape `(n,)`.
        predictions: Predicted values, or codes into `classes`; shape `(n,)`.
        probabilities: Probability of each class, shape `(n, k)`; None if there are none.
        weight: Row weights; shape `(n,)`.
        rows: Position of each measured row in the window; shape `(n,)`.
        labelled: Positions of the labelled rows in the window; shape `(n_labelled,)`.
        classes: Class names in the order of the codes, the positive class last if there are two;
            empty for regression.
    """

    n_rows: int
    labels: Floats | Codes
    predictions: Floats | Codes
    probabilities: Floats | None = None
    weight: Floats
    rows: Codes
    labelled: Codes
    classes: tuple[str, ...] = ()

    @property
    def n_labelled(self) -> int:
        """Number of rows with a label and positive weight, measured or not."""
        return len(self.labelled)

    def part(self, inside: Mask) -> Outcomes:
        """The outcomes of some rows of the window.

        Args:
            inside: Which rows of the window to keep; shape `(n_rows,)`. The positions in `rows`
                and `labelled` still refer to the whole window.
        """
        kept = inside[self.rows]
        return replace(
            self,
            n_rows=int(inside.sum()),
            labels=self.labels[kept],
            predictions=self.predictions[kept],
            probabilities=None if self.probabilities is None else self.probabilities[kept],
            weight=self.weight[kept],
            rows=self.rows[kept],
            labelled=self.labelled[inside[self.labelled]],
        )


def read_regression(
    data: Any, *, label: str, prediction: str, weight: str | None = None
) -> Outcomes:
    """Read true and predicted values; an infinite value counts as missing.

    Args:
        data: Data in any form `open_source` accepts.
        label: Column of the true values.
        prediction: Column of the predicted values.
        weight: Column of row weights.

    Raises:
        DataError: If a column is missing or not numeric, or a weight is not finite and `>= 0`.
    """
    table = read_columns(data, _named(label, prediction, weight))
    truth, predicted = (_numbers(table, name) for name in (label, prediction))
    return _measurable(
        truth, predicted, _weights(table, weight), np.isfinite(truth), np.isfinite(predicted)
    )


def read_classification(
    data: Any,
    *,
    label: str,
    prediction: str,
    score: Score = None,
    threshold: float = 0.5,
    weight: str | None = None,
    positive: Any = None,
    classes: Sequence[str] = (),
) -> Outcomes:
    """Read true classes, predicted classes and probabilities.

    Args:
        data: Data in any form `open_source` accepts.
        label: Column of the true class: text, integers or booleans.
        prediction: Column of the predicted class; with two classes it may be a column of floats,
            the probability of the positive class.
        score: Probabilities in addition to predicted classes: the column of the positive class, or
            one column per class in the sorted order of the classes, or a mapping class -> column.
        threshold: Probability from which a row is predicted positive.
        weight: Column of row weights.
        positive: The positive class of two; the last in sorted order if None.
        classes: Classes that are known to exist, such as those of a baseline.

    Raises:
        DataError: If a column is missing or of the wrong type, a probability is outside [0, 1], or
            the score columns do not fit the classes.
    """
    table = read_columns(data, _named(label, prediction, *score_columns(score), weight))
    truth = code_column(table, label)
    known = [*classes, *(map(class_name, score) if isinstance(score, Mapping) else ())]
    if score is None and _holds_probabilities(table, prediction, truth):
        names = class_order(truth, known, positive)
        probabilities = _probabilities(table, [prediction])
        sure = ~np.isnan(probabilities[:, 1])
        # rows with a nan score get class 0 here and are dropped by `sure`
        decided = np.where(probabilities[:, 1] >= threshold, 1, 0)
    else:
        predicted = code_column(table, prediction)
        _require_same_kind(table, label, prediction, truth, predicted)
        names = class_order(truth, [*known, *predicted.names], positive)
        probabilities = _probabilities(table, _columns_by_class(score, names))
        decided = recode(predicted, names)
        sure = (decided >= 0) & ~np.isnan(probabilities).any(axis=1)
    labels = recode(truth, names)
    outcomes = _measurable(labels, decided, _weights(table, weight), labels >= 0, sure)
    kept = probabilities[outcomes.rows] if probabilities.shape[1] else None
    return replace(outcomes, probabilities=kept, classes=names)


def score_columns(score: Any) -> list[str]:
    """The column names in a `score` argument."""
    if score is None:
        return []
    if isinstance(score, Mapping):
        return [str(name) for name in score.values()]
    is_several = isinstance(score, Sequence) and not isinstance(score, str)
    return [str(name) for name in score] if is_several else [str(score)]


def _named(*columns: str | None) -> list[str]:
    return [name for name in columns if name is not None]


def _measurable(
    truth: Any, predicted: Any, weight: Floats, has_label: Mask, has_prediction: Mask
) -> Outcomes:
    """The outcomes of the rows that can be measured, without classes and probabilities."""
    # a row of weight 0 stands for no row of the population
    labelled = has_label & (weight > 0)
    usable = labelled & has_prediction
    return Outcomes(
        n_rows=len(weight),
        labels=truth[usable],
        predictions=predicted[usable],
        weight=weight[usable],
        rows=np.flatnonzero(usable),
        labelled=np.flatnonzero(labelled),
    )


def _numbers(table: pa.Table, name: str) -> Floats:
    kind = table.schema.field(name).type
    if not is_number(kind):
        raise DataError(f"column {quoted_name(name)} must be numeric, found {kind}")
    return float_values(table[name])


def _weights(table: pa.Table, name: str | None) -> Floats:
    if name is None:
        return np.ones(table.num_rows)
    weight = _numbers(table, name)
    wrong = int((~np.isfinite(weight) | (weight < 0)).sum())
    if wrong:
        raise DataError(
            f"weights must be finite and >= 0; column {quoted_name(name)} has {wrong} rows "
            "that are not"
        )
    return weight


def _require_same_kind(
    table: pa.Table, label: str, prediction: str, truth: CodedColumn, predicted: CodedColumn
) -> None:
    if truth.is_numeric != predicted.is_numeric and truth.names and predicted.names:
        raise DataError(
            f"label {quoted_name(label)} and prediction {quoted_name(prediction)} must hold "
            "the same classes; found "
            f"{table.schema.field(label).type} such as {quoted_name(truth.names[0])} against "
            f"{table.schema.field(prediction).type} such as {quoted_name(predicted.names[0])}"
        )


def _holds_probabilities(table: pa.Table, prediction: str, truth: CodedColumn) -> bool:
    kind = table.schema.field(prediction).type
    if not (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return False
    if len(truth.names) <= 2:  # noqa: PLR2004 - binary
        return True
    values = float_values(table[prediction])
    if (values[np.isfinite(values)] % 1 == 0).all():
        return False  # class codes: pandas stores integers as floats if one of them is missing
    raise DataError(
        f"prediction {quoted_name(prediction)} is a column of probabilities, which needs "
        "labels of two "
        f"classes; found {len(truth.names)}. Give the predicted class as `prediction` and one "
        "probability column a class as `score`"
    )


def _columns_by_class(score: Score, names: tuple[str, ...]) -> list[str]:
    columns = score_columns(score)
    if isinstance(score, Mapping):
        by_name = {class_name(name): column for name, column in zip(score, columns, strict=True)}
        lacking = [name for name in names if name not in by_name]
        if lacking:
            raise DataError(
                f"score must name a column for each class, found none for {listed_names(lacking)}"
            )
        return [by_name[name] for name in names]
    if len(columns) == 1 and len(names) == 2:  # noqa: PLR2004 - binary
        return columns
    if columns and len(columns) != len(names):
        raise DataError(
            f"score must have one column for each of the {len(names)} classes "
            f"({listed_names(names)}), or the positive class's column if they are two; got "
            f"{len(columns)}. Where a window may lack a class, give a mapping class -> column"
        )
    return columns


def _probabilities(table: pa.Table, columns: list[str]) -> Floats:
    values = [_probability(table, name) for name in columns]
    if len(values) == 1:
        return np.column_stack([1 - values[0], values[0]])
    if not values:
        # a matrix without columns: `any` over its columns is False, so no row counts as missing
        return np.empty((table.num_rows, 0))
    stacked = np.column_stack(values)
    # a comparison with nan is False, so rows with a missing probability are not reported
    off = np.abs(stacked.sum(axis=1) - 1) > _SUM
    if off.any():
        raise DataError(
            f"probabilities of a row must add up to 1 over {listed_names(columns)}; "
            f"{int(off.sum())} rows do not, the first is row {int(off.argmax())}"
        )
    return stacked


def _probability(table: pa.Table, name: str) -> Floats:
    values = _numbers(table, name)
    outside = (values < -_EDGE) | (values > 1 + _EDGE)
    if outside.any():
        raise DataError(
            f"probabilities must be in [0, 1]; column {quoted_name(name)} has "
            f"{int(outside.sum())} rows "
            f"outside, such as {values[outside][0]:g}"
        )
    return np.clip(values, 0.0, 1.0)
