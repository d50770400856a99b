"""Reads predictions and labels, checks them, and encodes classes as integers for the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.class_codes import CodedColumn, class_order, recode
from flytekitplugins.wbmon.data.columns import NumberColumn, read_numbers, read_values
from flytekitplugins.wbmon.data.unreadable import Unreadable, unreadable_of
from flytekitplugins.wbmon.data.uuids import value_name
from flytekitplugins.wbmon.data.weights import check_weights
from flytekitplugins.wbmon.data.whole import exact_differences
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.class_columns import (
    read_classes,
    require_same_kind,
)
from flytekitplugins.wbmon.monitor.performance.meaning import (
    NOTHING_KNOWN,
    Meaning,
    all_classes,
    complete,
    prediction_is,
    require_classes,
    require_positive,
)
from flytekitplugins.wbmon.monitor.performance.proxies import Proxies
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
ALL_READ = Unreadable()


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
        cluster: Cluster of each row, such as its customer, codes `>= 0`; shape `(n,)`; None if rows
            are independent.
        proxies: Losses by a stand-in for the label, of all rows with a prediction; None without.
        rows: Position of each measured row in the window; shape `(n,)`.
        labelled: Positions of the labelled rows in the window; shape `(n_labelled,)`.
        classes: Class names in the order of the codes, the positive class last if there are two;
            empty for regression.
        meaning: What the window was read as.
        whole: Of whole numbers that floats would round, how far each label is above the least, and
            its error, label minus prediction; shape `(n, 2)`; None where floats hold them.
        unit: Unit of the values of a regression: `s` for durations, else empty.
        unreadable: Values that could not be read, in the whole window.
    """

    n_rows: int
    labels: Floats | Codes
    predictions: Floats | Codes
    probabilities: Floats | None = None
    weight: Floats
    cluster: Codes | None = None
    proxies: Proxies | None = None
    rows: Codes
    labelled: Codes
    classes: tuple[str, ...] = ()
    meaning: Meaning = NOTHING_KNOWN
    whole: Floats | None = None
    unit: str = ""
    unreadable: Unreadable = ALL_READ

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
            whole=None if self.whole is None else self.whole[kept],
            weight=self.weight[kept],
            cluster=None if self.cluster is None else self.cluster[kept],
            proxies=None if self.proxies is None else self.proxies.part(inside),
            rows=self.rows[kept],
            labelled=self.labelled[inside[self.labelled]],
        )


def read_regression(
    data: Any, *, label: str, prediction: str, weight: str | None = None
) -> Outcomes:
    """Read true and predicted values; an infinite value counts as missing. Durations are seconds.

    Args:
        data: Data in any form `open_values` accepts.
        label: Column of the true values.
        prediction: Column of the predicted values.
        weight: Column of row weights.

    Raises:
        DataError: If a column is missing or not numeric, if one holds durations and the other plain
            numbers, or a weight is not finite and `>= 0`.
    """
    table = read_values(data, _named(label, prediction, weight))
    truth = read_numbers(table[label], label)
    # labels that are no numbers are those of another column, predictions may all have failed
    predicted = read_numbers(table[prediction], prediction, may_fail=True)
    if truth.is_known and predicted.is_known and truth.unit != predicted.unit:
        kinds = [f"{'durations' if each.unit else 'plain numbers'}" for each in (truth, predicted)]
        raise DataError(
            f"label {quoted_name(label)} and prediction {quoted_name(prediction)} must be "
            f"in one unit; found {kinds[0]} against {kinds[1]}: convert both to "
            "durations, or both to numbers of one unit"
        )
    outcomes = _measurable(
        truth.values,
        predicted.values,
        _weights(table, weight),
        np.isfinite(truth.values),
        np.isfinite(predicted.values),
    )
    unreadable = unreadable_of({label: truth.unreadable, prediction: predicted.unreadable})
    # a column without any value is of no unit beside one that has some
    first, second = sorted((truth, predicted), key=lambda each: not each.is_known)
    unit = first.unit if first.is_known else first.unit or second.unit
    whole = exact_differences(table[label], table[prediction])
    if whole is not None:
        # a number that was text among numbers is not among them
        whole = None if np.isnan(whole[outcomes.rows]).any() else whole[outcomes.rows]
    return replace(outcomes, whole=whole, unit=unit, unreadable=unreadable)


def read_classification(
    data: Any,
    *,
    label: str | None,
    prediction: str,
    score: Score = None,
    threshold: float = 0.5,
    weight: str | None = None,
    meaning: Meaning = NOTHING_KNOWN,
) -> Outcomes:
    """Read true classes, predicted classes and probabilities.

    Args:
        data: Data in any form `open_values` accepts.
        label: Column of the true class: text, whole numbers, booleans or dates. None if there are
            no labels: the first known class then stands in for every one of them.
        prediction: Column of the predicted class; with two classes it may be a column of floats,
            the probability of the positive class.
        score: Probabilities in addition to predicted classes: the column of the positive class, or
            one column per class in the sorted order of the classes, or a mapping class -> column.
        threshold: Probability from which a row is predicted positive.
        weight: Column of row weights.
        meaning: What is known before the window is read, such as from a baseline.

    Returns:
        The outcomes, with what the window was read as.

    Raises:
        DataError: If a column is missing or of the wrong type, a probability is outside [0, 1], or
            the score columns do not fit the classes.
    """
    table = read_values(data, _named(label, prediction, *score_columns(score), weight))
    truth = (
        CodedColumn(meaning.classes[:1], np.zeros(table.num_rows, dtype=np.int64), "empty")
        if label is None
        else read_classes(table, label, prediction, meaning)
    )
    known = [*meaning.classes, *(map(value_name, score) if isinstance(score, Mapping) else ())]
    predicted = None
    is_class = score is not None
    if is_class or prediction_is(table, prediction, truth, known, meaning) == "class":
        predicted = read_classes(table, prediction, label or prediction, meaning)
        require_same_kind(table, label or "", prediction, truth, predicted)
        require_classes(prediction, truth, predicted, meaning)
        known += predicted.names
    require_positive(truth, known, meaning)
    # of a window without labels the predictions tell whether classes are numbers
    is_numeric = predicted.is_numeric if predicted and not truth.names else truth.is_numeric
    in_order = class_order(all_classes(truth, known, meaning), is_numeric=is_numeric)
    meaning = complete(meaning, in_order)
    names = meaning.classes
    if predicted is None:
        read = _probability_of_positive(table, prediction, names)
        # rows with a nan score get class 0 here and are dropped by `sure`
        decided = np.where(read.values[:, 1] >= threshold, 1, 0)
    else:
        read = _probabilities(table, _columns_by_class(score, in_order, names))
        decided = recode(predicted, names)
    # a matrix without columns: `any` over its columns is False, so no row counts as missing
    sure = (decided >= 0) & ~np.isnan(read.values).any(axis=1)
    labels = recode(truth, names)
    outcomes = _measurable(labels, decided, _weights(table, weight), labels >= 0, sure)
    of_classes = {label or "": truth.unreadable}
    if predicted is not None:
        of_classes[prediction] = predicted.unreadable
    return replace(
        outcomes,
        probabilities=read.values[outcomes.rows] if read.values.shape[1] else None,
        classes=names,
        meaning=meaning._replace(prediction_is="class" if predicted else "probability"),
        unreadable=unreadable_of(of_classes).and_(read.unreadable),
    )


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


def _weights(table: pa.Table, name: str | None) -> Floats:
    if name is None:
        return np.ones(table.num_rows)
    read = _plain_numbers(table, name, "weights")
    weight = read.values
    wrong = int((~np.isfinite(weight) | (weight < 0)).sum())
    if wrong:
        raise DataError(
            f"weights must be finite and >= 0; column {quoted_name(name)} has {wrong} rows "
            "that are not"
            + "".join(f", such as {quoted_name(text)}" for text in read.unreadable.examples[:1])
        )
    check_weights(weight, name)
    return weight


def _plain_numbers(table: pa.Table, name: str, what: str) -> NumberColumn:
    """Numbers that have no unit."""
    read = read_numbers(table[name], name, may_fail=what == "probabilities")
    if read.unit:
        raise DataError(f"{what} must be plain numbers; column {quoted_name(name)} holds durations")
    return read


def _columns_by_class(score: Score, in_order: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    """The score columns in the order of `names`; a sequence of them is in sorted order."""
    columns = score_columns(score)
    if isinstance(score, Mapping):
        by_name = {value_name(name): column for name, column in zip(score, columns, strict=True)}
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
    return [columns[in_order.index(name)] for name in names] if columns else []


class _Read(NamedTuple):
    """Probabilities of each class, and what could not be read; shape `(n, k)`."""

    values: Floats
    unreadable: Unreadable = Unreadable()


def _probability_of_positive(table: pa.Table, prediction: str, names: tuple[str, ...]) -> _Read:
    if len(names) > 2:  # noqa: PLR2004 - binary
        raise DataError(
            f"prediction {quoted_name(prediction)} is a column of probabilities, which needs "
            f"labels of two classes; found {len(names)}. Give the predicted class as "
            "`prediction` and one probability column a class as `score`"
        )
    return _probabilities(table, [prediction])


def _probabilities(table: pa.Table, columns: list[str]) -> _Read:
    if not columns:
        return _Read(np.empty((table.num_rows, 0)))
    each = {name: _probability(table, name) for name in columns}
    unreadable = unreadable_of({name: read.unreadable for name, read in each.items()})
    values = [each[name].values for name in columns]
    if len(values) == 1:
        return _Read(np.column_stack([1 - values[0], values[0]]), unreadable)
    stacked = np.column_stack(values)
    # a comparison with nan is False, so rows with a missing probability are not reported
    off = np.abs(stacked.sum(axis=1) - 1) > _SUM
    if off.any():
        raise DataError(
            f"probabilities of a row must add up to 1 over {listed_names(columns)}; "
            f"{int(off.sum())} rows do not, the first is row {int(off.argmax())}"
        )
    return _Read(stacked, unreadable)


def _probability(table: pa.Table, name: str) -> NumberColumn:
    read = _plain_numbers(table, name, "probabilities")
    # no probability is infinite: such a value costs itself
    is_infinite = np.isinf(read.values)
    infinite = Unreadable(int(is_infinite.sum()), ("inf",) if is_infinite.any() else ())
    values = np.where(is_infinite, np.nan, read.values)
    outside = (values < -_EDGE) | (values > 1 + _EDGE)
    if outside.any():
        raise DataError(
            f"probabilities must be in [0, 1]; column {quoted_name(name)} has "
            f"{int(outside.sum())} rows "
            f"outside, such as {values[outside][0]:g}"
        )
    return read._replace(
        values=np.clip(values, 0.0, 1.0), unreadable=read.unreadable.and_(infinite)
    )
