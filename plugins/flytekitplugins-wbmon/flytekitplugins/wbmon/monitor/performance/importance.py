"""Importance of the features for a model, for the ranking of features in a drift report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.arguments import listed_columns
from flytekitplugins.wbmon.data.arrow import bool_array
from flytekitplugins.wbmon.data.batches import (
    BatchKind,
    batch_for,
    batch_kind,
    predicted_columns,
)
from flytekitplugins.wbmon.data.class_codes import CodedColumn, code_column
from flytekitplugins.wbmon.data.columns import (
    NumberColumn,
    as_column,
    float_values,
    is_number,
    read_numbers,
)
from flytekitplugins.wbmon.data.objects import as_text
from flytekitplugins.wbmon.data.open import Data, open_values
from flytekitplugins.wbmon.data.plain import plain_column
from flytekitplugins.wbmon.data.sources import known_names
from flytekitplugins.wbmon.data.systematic_sample import spread_rows
from flytekitplugins.wbmon.data.uuids import value_name
from flytekitplugins.wbmon.errors import (
    ConfigError,
    DataError,
    InsufficientDataError,
    ScoringError,
    error_message,
    error_type,
)
from flytekitplugins.wbmon.monitor.performance.meaning import NOTHING_KNOWN, complete
from flytekitplugins.wbmon.monitor.performance.settings import (
    require_features,
    require_shuffles,
)
from flytekitplugins.wbmon.monitor.profiles.build import unknown_columns
from flytekitplugins.wbmon.names import listed_names, quoted_name
from flytekitplugins.wbmon.stats.class_losses import log_loss
from flytekitplugins.wbmon.stats.ranking import roc_auc
from flytekitplugins.wbmon.stats.regression import mean_absolute_error, root_mean_squared_error

Metric = Literal["roc_auc", "log_loss", "accuracy", "mae", "rmse"]

logger = logging.getLogger(__name__)

_OF_CLASSES = ("accuracy", "mae", "rmse")
_CLASSES = "; choose metric='accuracy' for classes"

Model: TypeAlias = Any
"""A predict function as `score_batches` takes it, or an object with `predict`."""

Score: TypeAlias = Callable[[pa.Table], float]


def permutation_importance(  # noqa: PLR0913 - one keyword a setting
    model: Model,
    data: Data,
    *,
    features: Sequence[str],
    label: str | None = None,
    metric: Metric | None = None,
    kind: BatchKind | None = None,
    n_repeats: int = 5,
    seed: int = 0,
    max_rows: int = 5_000,
    positive: Any = None,
) -> dict[str, float]:
    """Permutation importance of each feature: the loss when its values are shuffled.

    With labels, the loss is the decrease of a metric. Without labels it is the change of the
    predictions: the mean absolute difference of numbers, or the share of rows whose class changes.
    The result can be used as `DriftRule.importance`.

    Correlated features share their importance: if one of them is shuffled, the model can still use
    the other, so both can look unimportant. Shuffling also creates combinations of values that do
    not occur in the data, for which predictions can be arbitrary.

    Args:
        model: A function that takes a batch and returns its predictions, in any form
            `score_batches` accepts; or a model with `predict_proba` or `predict`.
        data: Rows like those that the model receives, in any form `profile_data` accepts.
        features: The input columns of the model, in their order; each is shuffled in turn.
        label: The column of the true classes or values; rows without a label are left out.
        metric: With labels: `roc_auc` or `log_loss` (for two classes), `accuracy`, `mae` or `rmse`;
            by default `roc_auc`.
        kind: Type of the function's argument; None takes it from the annotation of its first
            parameter.
        n_repeats: Number of shuffles of each column, over which the loss is averaged.
        seed: Seed of the shuffles; the same seed gives the same result.
        max_rows: Maximum number of rows, taken at regular intervals.
        positive: The class whose score the model gives; None for 1 of 0 and 1, true of false and
            true, else the last in sorted order, which is logged.

    Returns:
        A weight in [0, 1] for each feature: its mean loss divided by the largest, so the most
        important feature has 1. A negative loss (an improvement by chance) counts as 0. A
        feature of which the metric is undefined has 1, and so have all if no shuffle changes
        anything.

    Raises:
        ConfigError: If a setting is out of range or the model cannot be called.
        DataError: If a column does not exist, the metric does not fit the label, or the model does
            not return one row for each input row.
        InsufficientDataError: If fewer than two rows are left, or labels of one class where the
            metric is of two.
        ScoringError: If the model raises; the cause is its exception.

    References:
        Breiman (2001), Random forests, section 10. Fisher, Rudin & Dominici (2019), All models are
        wrong, but many are useful.
    """
    from sklearn.inspection import permutation_importance as shuffle_each

    features, label = listed_columns("features", features), as_column(label)
    require_features(features)
    require_shuffles(n_repeats, seed, max_rows)
    _require_metric(metric, label)
    given, truth = _rows(data, features, label, metric, max_rows)
    call = _callable(model, wants_classes=metric in _OF_CLASSES)
    # methods of model objects are not annotated with a batch type; scikit-learn's accept DataFrames
    predict = _Predict(call, kind or (batch_kind(call) if call is model else "pandas"), given)
    if truth is None:
        score = _change(predict(given))
    else:
        score = _metric(truth, label or "", metric, positive)
    # row numbers instead of values: scikit-learn would convert a table of mixed types to one array
    positions = np.repeat(np.arange(given.num_rows)[:, None], len(features), axis=1)
    found = shuffle_each(
        predict,
        positions,
        None,
        scoring=lambda shuffled, x, _: score(shuffled.at(x)),
        n_repeats=n_repeats,
        random_state=seed,
    )
    return _weights(features, found.importances_mean)


class _Predict:
    """An estimator for scikit-learn whose input are row numbers, one for each feature.

    Scikit-learn shuffles these integers. The model receives a batch made of the values at these
    rows, in the same form as in a scoring task.
    """

    def __init__(self, call: Callable[[Any], Any], kind: BatchKind, given: pa.Table) -> None:
        self._call, self._kind, self._given = call, kind, given

    def fit(self, *_: Any) -> _Predict:
        """Do nothing; scikit-learn requires an estimator with `fit`."""
        return self

    def at(self, positions: NDArray[np.int64]) -> pa.Table:
        """Predictions for rows that combine values of different rows of the data.

        Args:
            positions: For each new row and each feature, the row to take the value from; shape
                `(n, d)`.
        """
        columns = [
            column.take(pa.array(positions[:, i])) for i, column in enumerate(self._given.columns)
        ]
        return self(pa.table(columns, names=self._given.column_names))

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predictions for a table, as a table of one or more columns."""
        batch = batch_for(table, self._kind)
        try:
            output = self._call(batch)
        # any exception of the user's code: the error must say that the model raised it
        except Exception as error:
            raised = f"{error_type(error)}: {error_message(error)}"
            raise ScoringError(f"the model raised {raised}") from error
        try:
            return predicted_columns(output, table)
        except DataError as error:
            raise DataError(f"the model's answer cannot be used: {error}") from error


def _require_metric(metric: str | None, label: str | None) -> None:
    if metric is not None and metric not in get_args(Metric):
        raise ConfigError(f"metric must be one of {', '.join(get_args(Metric))}; got {metric!r}")
    if metric is not None and label is None:
        raise ConfigError(f"metric {metric!r} needs the truth; name its column with label=")


def _rows(
    data: Data, features: Sequence[str], label: str | None, metric: Metric | None, max_rows: int
) -> tuple[pa.Table, pa.ChunkedArray | None]:
    """The features as they are stored, and the labels in their plain form."""
    names = list(dict.fromkeys([*features, *([label] if label is not None else [])]))
    source = open_values(data, naming=names).source
    unknown = [name for name in names if name not in source.names]
    if unknown and source.n_rows == 0:
        raise InsufficientDataError("there must be at least two rows, found 0")
    if unknown:
        raise DataError(unknown_columns("features and label", unknown, known_names(source)))
    rows = spread_rows(source, names, max_rows)
    given = pa.table([as_text(rows.column(name)) for name in features], names=list(features))
    truth = None
    if label is not None:
        truth = plain_column(rows.column(label))
        labelled = bool_array(_is_labelled(truth, label, metric))
        given, truth = given.filter(labelled), truth.filter(labelled)
    if given.num_rows < 2:  # noqa: PLR2004 - one row cannot be shuffled
        of = "" if label is None else f" with a value of {quoted_name(label)}"
        raise InsufficientDataError(f"there must be at least two rows{of}, found {given.num_rows}")
    return given, truth


def _is_labelled(truth: pa.ChunkedArray, label: str, metric: Metric | None) -> NDArray[np.bool_]:
    if metric in ("mae", "rmse"):
        return ~np.isnan(_label_values(truth, label).values)
    return _classes(truth, label, metric).codes >= 0


def _classes(truth: pa.ChunkedArray, label: str, metric: Metric | None) -> CodedColumn:
    try:
        return code_column(truth, label)
    except DataError as error:
        wanted = "classes" if metric == "accuracy" else "two classes"
        raise DataError(
            f"{_words(metric)} needs labels of {wanted}: {error}; choose metric='mae' or 'rmse' "
            "for numbers"
        ) from error


def _label_values(truth: pa.ChunkedArray, label: str) -> NumberColumn:
    return _quantities(truth, label, "mae and rmse need numbers or durations", _CLASSES)


def _quantities(column: pa.ChunkedArray, name: str, need: str, hint: str = "") -> NumberColumn:
    """Numbers, their texts, or durations in seconds, as `check_performance` reads them."""
    try:
        return read_numbers(plain_column(column), name)
    except DataError as error:
        raise DataError(f"{need}: {error}{hint}") from error


def _words(metric: Metric | None) -> str:
    return metric or "the default metric, roc_auc,"


def _callable(model: Model, *, wants_classes: bool) -> Callable[[Any], Any]:
    names = ("predict",) if wants_classes else ("predict_proba", "predict")
    methods = (getattr(model, name, None) for name in names)
    call: Callable[[Any], Any] | None = (
        model if callable(model) else next((method for method in methods if method), None)
    )
    if call is None:
        raise ConfigError(
            "the model must be a predict function or have predict_proba or predict, got "
            f"{type(model).__name__}; wrap it: lambda batch: …"
        )
    return call


def _change(before: pa.Table) -> Score:
    """A score that is 0 if the predictions do not change, and lower the more they change."""

    def score(after: pa.Table) -> float:
        return -sum(map(_difference, before.columns, after.columns))

    return score


def _difference(before: pa.ChunkedArray, after: pa.ChunkedArray) -> float:
    if all(is_number(each.type) or pa.types.is_duration(each.type) for each in (before, after)):
        moved = np.abs(float_values(after) - float_values(before))
        known = moved[~np.isnan(moved)]
        return float(known.mean()) if len(known) else 0.0
    pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
    return float(np.mean([a != b for a, b in pairs]))


def _metric(truth: pa.ChunkedArray, label: str, metric: Metric | None, positive: Any) -> Score:
    """A score from a metric against the labels; losses are negated, so that higher is better."""
    equal = np.ones(len(truth))
    if metric in ("mae", "rmse"):
        known = _label_values(truth, label)
        error = mean_absolute_error if metric == "mae" else root_mean_squared_error
        return lambda found: -error(known.values, _numbers(found, known.unit), equal).value
    classes = _classes(truth, label, metric)
    if metric == "accuracy":
        return lambda found: _accuracy(classes, label, found)
    if len(classes.names) != 2:  # noqa: PLR2004 - negative and positive
        raise (DataError if len(classes.names) > 2 else InsufficientDataError)(  # noqa: PLR2004
            f"{_words(metric)} needs labels of two classes, found {len(classes.names)}; choose "
            "metric='accuracy' for classes, 'mae' or 'rmse' for numbers"
        )
    is_positive = classes.codes == classes.names.index(_positive(classes, label, positive))
    if metric == "log_loss":
        return lambda found: -log_loss(is_positive.astype(int), _of_both(found), equal).value
    return lambda found: roc_auc(is_positive, _scores(found), equal).value


def _positive(classes: CodedColumn, label: str, positive: Any) -> str:
    if positive is not None:
        name = value_name(positive)
        if name not in classes.names:
            raise DataError(
                f"positive must be one of the classes {listed_names(classes.names)}; "
                f"got {quoted_name(name)}"
            )
        return name
    found = complete(NOTHING_KNOWN, classes.names)
    if found.positive_from == "order":
        logger.warning(
            "the positive class of %r is %r, the last in order; pass positive= if it is another",
            label,
            found.positive,
        )
    return found.positive


def _of_both(found: pa.Table) -> NDArray[np.float64]:
    scores = _scores(found)
    return np.column_stack([1 - scores, scores])


def _accuracy(classes: CodedColumn, label: str, found: pa.Table) -> float:
    (column,) = _columns(found, "accuracy", "one column, the predicted class", at_most=1)
    predicted = code_column(plain_column(column), "prediction")
    if predicted.names and predicted.kind != classes.kind:
        raise DataError(
            f"the model must return classes as those of {quoted_name(label)}, such as "
            f"{quoted_name(classes.names[0])}; got {column.type} such as "
            f"{quoted_name(predicted.names[0])}"
        )
    names = np.array([*predicted.names, ""], dtype=object)[predicted.codes]
    return float(np.mean(names == np.array(classes.names, dtype=object)[classes.codes]))


def _numbers(found: pa.Table, unit: str) -> NDArray[np.float64]:
    (column,) = _columns(found, "an error of numbers", "one column of numbers", at_most=1)
    read = _quantities(column, "prediction", "mae and rmse need numbers or durations", _CLASSES)
    if read.is_known and read.unit != unit:
        raise DataError(
            f"predictions must be in the unit of the labels, {unit or 'plain numbers'}; the model "
            f"returned {column.type}"
        )
    return read.values


def _scores(found: pa.Table) -> NDArray[np.float64]:
    """Scores of the positive class: the only column, or the second of two."""
    wanted = "the positive class's score in its only or second column"
    column = _columns(found, "roc_auc and log_loss", wanted, at_most=2)[-1]
    read = _quantities(column, "prediction", "roc_auc and log_loss need scores")
    if read.unit:
        raise DataError(f"roc_auc and log_loss need scores, the model returned {column.type}")
    return read.values


def _columns(found: pa.Table, what: str, wanted: str, *, at_most: int) -> list[pa.ChunkedArray]:
    if found.num_columns > at_most:
        raise DataError(
            f"{what} needs {wanted}; the model returned {found.num_columns} columns: give a "
            "function that returns it"
        )
    columns: list[pa.ChunkedArray] = found.columns
    return columns


def _weights(features: Sequence[str], losses: NDArray[np.float64]) -> dict[str, float]:
    lost = np.maximum(losses, 0.0)
    largest = float(np.nanmax(lost, initial=0.0))
    weights = lost / largest if largest > 0 else np.ones(len(lost))
    # a metric can be undefined for a shuffled column, and nothing says then that it matters less
    weights = np.nan_to_num(weights, nan=1.0)
    return {name: float(weight) for name, weight in zip(features, weights, strict=True)}
