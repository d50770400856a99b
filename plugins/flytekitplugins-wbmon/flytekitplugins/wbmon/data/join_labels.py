"""Join of labels that arrive days after their predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import dense_numbers, large_strings
from flytekitplugins.wbmon.data.columns import is_class_name, read_columns
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedLabels:
    """Predictions with their labels, and how many of each matched.

    Attributes:
        table: The predictions in their original order with the label column; null without a label.
        n_rows: Number of predictions.
        n_labelled: Predictions that have a label after the join.
        n_unmatched: Label keys that no prediction has.
        n_repeated: Labels that a later label of the same key replaced.
        n_revised: Those of the replaced labels whose value differs from the last one.
    """

    table: pa.Table
    n_rows: int
    n_labelled: int
    n_unmatched: int
    n_repeated: int
    n_revised: int

    @property
    def coverage(self) -> float:
        """Share of predictions that have a label; in [0, 1], `nan` without predictions."""
        return self.n_labelled / self.n_rows if self.n_rows else float("nan")


def join_labels(
    predictions: Any,
    labels: Any,
    *,
    label: str,
    on: str = "request_id",
    latest_by: str | None = None,
) -> JoinedLabels:
    """Join labels to predictions by a key; of several labels for one key, the last one is used.

    If the predictions already have the label column, new labels replace its values and the other
    rows keep theirs, so a window can be joined again each time labels arrive.

    Args:
        predictions: Any data that `open_source` accepts; all columns are kept.
        labels: Any data that `open_source` accepts, with the key and the label; other columns are
            not read.
        label: Name of the label column, in the labels and in the result.
        on: Name of the key column in both; rows without a key are never joined.
        latest_by: Column of the labels that orders several labels of one key, such as their time;
            row order if None.

    Returns:
        The joined table with its counts.

    Raises:
        ConfigError: If the key and the label are the same column.
        DataError: If a column is missing, or the keys or the labels have different types.
    """
    label, on = str(label), str(on)
    latest_by = None if latest_by is None else str(latest_by)
    if on == label:
        raise ConfigError(
            f"the key and the label must be different columns, both are {quoted_name(on)}"
        )
    made = read_columns(predictions, None)
    if on not in made.column_names:
        raise DataError(
            f"the predictions must have the key {quoted_name(on)}; "
            f"found {listed_names(made.column_names)}"
        )
    came = read_columns(labels, [on, label, *([] if latest_by is None else [latest_by])])
    if latest_by is not None:
        came = _in_order(came, latest_by)
    # a null label is not news: it must not replace an earlier real one
    came = came.filter(pc.and_(pc.is_valid(came[on]), pc.is_valid(came[label])))
    made_keys, came_keys = _keys(made, on), _keys(came, on)
    if made_keys.type != came_keys.type:
        raise DataError(
            f"key {quoted_name(on)} must be of one kind in predictions and labels; "
            f"found {made[on].type} and {came[on].type}"
        )
    kept, place = _last_of_each(came_keys)
    last = came[label].combine_chunks().take(pa.array(kept))
    # null where a key has no label, and `take` turns that into a null label
    found = pc.index_in(made_keys, value_set=came_keys.take(pa.array(kept)))
    joined = last.take(found)
    final = last.take(pa.array(place))
    revised = pc.sum(pc.not_equal(final, came[label].combine_chunks())).as_py() or 0
    # several predictions may share a key, each label counts as matched once
    matched = pc.count_distinct(found, mode="only_valid").as_py()
    table = _with_label(made, label, joined)
    return JoinedLabels(
        table=table,
        n_rows=made.num_rows,
        n_labelled=made.num_rows - table[label].null_count,
        n_unmatched=len(kept) - matched,
        n_repeated=came.num_rows - len(kept),
        n_revised=int(revised),
    )


def _in_order(came: pa.Table, latest_by: str) -> pa.Table:
    """Sort by `latest_by`, with nulls first so that any dated label is later than they are."""
    placed = pc.is_valid(came[latest_by])
    dated = came.filter(placed)
    # by the column itself: Arrow reads a name such as `.at` or `a[0]` as a path
    ordered = dated.take(pc.sort_indices(dated[latest_by]))
    return pa.concat_tables([came.filter(pc.invert(placed)), ordered])


def _keys(table: pa.Table, on: str) -> pa.Array:
    column = table[on].combine_chunks()
    if is_class_name(column.type):
        return large_strings(column)
    if pa.types.is_integer(column.type):
        # integer width differs between writers, so int32 keys must match int64 keys
        return column.cast(pa.int64())
    raise DataError(f"key {quoted_name(on)} must hold text or whole numbers, found {column.type}")


def _last_of_each(keys: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The position of the last row of each key, and for every row the index of its key."""
    encoded = keys.dictionary_encode()
    place = dense_numbers(encoded.indices)
    kept = np.zeros(len(encoded.dictionary), dtype=np.int64)
    np.maximum.at(kept, place, np.arange(len(place)))
    return kept, place


def _with_label(made: pa.Table, label: str, joined: pa.Array) -> pa.Table:
    if label not in made.column_names:
        return made.append_column(label, joined)
    known = made[label].combine_chunks()
    try:
        filled = pc.coalesce(joined, known.cast(joined.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"label {quoted_name(label)} must be of one kind in predictions and labels; "
            f"found {known.type} and {joined.type}"
        ) from error
    return made.set_column(made.column_names.index(label), label, filled)
