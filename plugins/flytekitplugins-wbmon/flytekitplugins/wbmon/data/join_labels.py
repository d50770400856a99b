"""Join of labels that arrive days after their predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import dense_numbers, kind_of, large_strings, whole_array
from flytekitplugins.wbmon.data.columns import read_columns
from flytekitplugins.wbmon.data.keys import comparable, keys_of
from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.data.names import names_of
from flytekitplugins.wbmon.data.objects import as_text, is_of_objects, split
from flytekitplugins.wbmon.data.open import open_values
from flytekitplugins.wbmon.data.plain import plain_column
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.times import time_order
from flytekitplugins.wbmon.data.whole import is_blank
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
        n_unreadable: Values that are not what most of their column is, and count as missing: labels
            such as `n/a` among numbers, times of labels that are none, and keys of either side that
            are fractions or infinite numbers.
    """

    table: pa.Table
    n_rows: int
    n_labelled: int
    n_unmatched: int
    n_repeated: int
    n_revised: int
    n_unreadable: int = 0

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

    Null, `nan` and blank text are neither keys nor labels. Keys are joined by what they are, not by
    how they are stored: whole numbers of any type and size, text in any layout, a UUID and its
    text. A number is not the text of its digits.

    Args:
        predictions: Any data that `open_source` accepts; all columns are kept.
        labels: Any data that `open_source` accepts, with the key and the label; other columns are
            not read.
        label: Name of the label column, in the labels and in the result.
        on: Name of the key column in both: text, whole numbers or dates; rows without a key are
            never joined.
        latest_by: Column with the time of each label, which orders several labels of one key:
            timestamps, dates or ISO text, read with its offset from UTC; or numbers, such as that
            of a revision. A label without one is the earliest, and so is one whose time cannot be
            read, such as `n/a`. Row order if None.

    Returns:
        The joined table with its counts.

    Raises:
        ConfigError: If the key and the label are the same column.
        DataError: If a column is missing, the keys or the labels are of different kinds, a key is a
            number on one side and the text of its digits on the other, or
            `latest_by` holds neither times nor numbers: more than one of its values, and more than
            one in twenty, are none.
    """
    label, on = str(label), str(on)
    latest_by = None if latest_by is None else str(latest_by)
    if on == label:
        raise ConfigError(
            f"the key and the label must be different columns, both are {quoted_name(on)}"
        )
    # with odd values apart: one text among numbers must not make texts of all keys
    made = read_columns(open_values(predictions).source, None)
    # what has no row need not have the columns that nobody could fill
    if on not in made.column_names and made.num_rows:
        raise DataError(
            f"the predictions must have the key {quoted_name(on)}; "
            f"found {listed_names(made.column_names)}"
        )
    said = [on, label, *([] if latest_by is None else [latest_by])]
    came = read_columns(open_values(labels).source, said)
    made_key = made[on] if on in made.column_names else pa.chunked_array([pa.nulls(0)])
    keys = keys_of(made_key, on), keys_of(came[on], on)
    made_keys, came_keys = comparable(*keys, on)
    of_label = _label(plain_column(came[label]))
    values, n_undated = of_label.values, 0
    if latest_by is not None:
        times = plain_column(came[latest_by]).combine_chunks()
        order, undated = time_order(times, latest_by)
        n_undated, order = undated.n, whole_array(order)
        came_keys, values = came_keys.take(order), values.take(order)
    # a missing label is not news: it must not replace an earlier real one
    both = pc.and_(pc.is_valid(came_keys), pc.is_valid(values))
    came_keys, labels_came = came_keys.filter(both), values.filter(both)
    kept, place = _last_of_each(came_keys)
    last = labels_came.take(whole_array(kept))
    # null where a key has no label, and `take` turns that into a null label
    found = pc.index_in(made_keys, value_set=came_keys.take(whole_array(kept)))
    joined = last.take(found)
    final = last.take(whole_array(place))
    # several predictions may share a key, each label counts as matched once
    matched = pc.count_distinct(found, mode="only_valid").as_py()
    known = made[label] if label in made.column_names else None
    table = _with_label(_as_stored(made), label, joined, known)
    return JoinedLabels(
        table=table,
        n_rows=made.num_rows,
        n_labelled=made.num_rows - table[label].null_count,
        n_unmatched=len(kept) - matched,
        n_repeated=len(came_keys) - len(kept),
        n_revised=_differ(final, labels_came),
        n_unreadable=of_label.n_unreadable + n_undated + sum(each.n_unreadable for each in keys),
    )


class _Label(NamedTuple):
    values: pa.Array
    n_unreadable: int = 0


def _as_stored(table: pa.Table) -> pa.Table:
    """The table without odd values apart: columns that have some are of text, as are UUIDs."""
    if not any(is_of_objects(dtype) for dtype in table.schema.types):
        return table
    return pa.table([as_text(column) for column in table.columns], names=table.column_names)


def _label(column: pa.ChunkedArray) -> _Label:
    """Labels in their plain form, null where one is missing."""
    array = column.combine_chunks()
    values, odd = split(array)
    kind = kind_of(values.type)
    if kind == "text":
        # with odd ones by their text; a dictionary of text would keep the names of all rows
        texts = names_of(array) if odd is not None else values
        if pa.types.is_dictionary(texts.type):
            texts = large_strings(texts)
        return _Label(_present(texts, is_blank(texts)))
    reading = read_as(kind, array) if odd is not None else None
    if reading is not None and kind in ("number", "boolean"):
        values = reading.values
    if pa.types.is_floating(values.type):
        values = _present(values, pc.is_nan(values))
    return _Label(values, 0 if reading is None else reading.n_unreadable)


def _present(values: pa.Array, is_missing: pa.Array) -> pa.Array:
    if not pc.any(is_missing).as_py():
        return values
    return pc.if_else(is_missing, pa.nulls(1, values.type)[0], values)


def _differ(final: pa.Array, came: pa.Array) -> int:
    """How many labels differ from the last one of their key."""
    try:
        return int(pc.sum(pc.not_equal(final, came)).as_py() or 0)
    except pa.ArrowNotImplementedError:  # lists and structs
        pairs = zip(final.to_pylist(), came.to_pylist(), strict=True)
        return sum(one != other for one, other in pairs)


def _last_of_each(keys: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The position of the last row of each key, and for every row the index of its key."""
    encoded = keys.dictionary_encode()
    place = dense_numbers(encoded.indices)
    kept = np.zeros(len(encoded.dictionary), dtype=np.int64)
    np.maximum.at(kept, place, np.arange(len(place)))
    return kept, place


def _with_label(
    made: pa.Table, label: str, joined: pa.Array, before: pa.ChunkedArray | None
) -> pa.Table:
    if before is None:
        return made.append_column(label, joined)
    known = _label(plain_column(before)).values
    refused = DataError(
        f"label {quoted_name(label)} must be of one kind in predictions and labels; "
        f"found {known.type} and {joined.type}"
    )
    # whatever they are stored as, labels of which none has come are of no kind
    for none, other in ((joined, known), (known, joined)):
        if none.null_count == len(none):
            return made.set_column(made.column_names.index(label), label, other)
    if not _are_alike(kind_of(known.type), kind_of(joined.type)):
        raise refused
    # int64 where floats became of it because one was missing; floats where one has a fraction
    for dtype in (joined.type, known.type):
        try:
            filled = pc.coalesce(joined.cast(dtype), known.cast(dtype))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        return made.set_column(made.column_names.index(label), label, filled)
    raise refused


def _are_alike(one: Kind, other: Kind) -> bool:
    numbers = ("number", "boolean")
    return one == other or "empty" in (one, other) or (one in numbers and other in numbers)
