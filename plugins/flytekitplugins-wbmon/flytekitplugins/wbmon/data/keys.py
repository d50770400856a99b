"""Keys by which rows of two tables meet: equal values meet, whatever their containers."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import kind_of, text_array
from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.data.names import names_of
from flytekitplugins.wbmon.data.objects import split, value_type
from flytekitplugins.wbmon.data.times import are_days, days_of
from flytekitplugins.wbmon.data.whole import is_blank, read_whole, whole
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import quoted_name


class Keys(NamedTuple):
    """A column of keys.

    Attributes:
        values: int64, or text; null where there is no key.
        kind: `number`, `text`, `time` of dates, or `empty`.
    """

    values: pa.Array
    kind: Kind


def keys_of(column: pa.ChunkedArray, name: str) -> Keys:
    """The keys of a column: text, whole numbers of any size and type, or dates.

    Args:
        column: The column in its plain form, also with odd values.
        name: Its name, for the message of an error.

    Raises:
        DataError: If it holds something else, or floats that are fractions or have lost digits.
    """
    dtype = value_type(column.type)
    kind = kind_of(dtype)
    array = column.combine_chunks()
    must = f"key {quoted_name(name)} must hold text or whole numbers"
    # of whatever type: nan alone makes a column of floats of keys of text
    if kind == "empty" or array.null_count == len(array):
        return Keys(pa.nulls(len(array)), "empty")
    if kind in ("number", "text"):
        keys = _whole(array, must) if kind == "number" else _texts(array)
        return Keys(keys, kind if keys.null_count < len(keys) else "empty")
    if kind == "time" and are_days(values := split(array).values):
        return Keys(days_of(values).cast(pa.int32()).cast(pa.int64()), "time")
    raise DataError(f"{must}, found {dtype}")


def comparable(one: Keys, other: Keys) -> tuple[pa.Array, pa.Array]:
    """The values of keys of one kind as arrays of one type."""
    types = {keys.values.type for keys in (one, other) if keys.kind != "empty"}
    # whole numbers of which 64 bits do not hold one are all digits
    dtype = types.pop() if len(types) == 1 else pa.large_string()
    return one.values.cast(dtype), other.values.cast(dtype)


def _whole(array: pa.Array, must: str) -> pa.Array:
    values, odd = split(array)
    numbers = whole(values, must)
    if odd is None:
        return numbers
    read = read_whole([text or "" for text in odd.to_pylist()])
    digits = text_array([None if number is None else str(number) for number in read])
    return pc.coalesce(numbers.cast(pa.large_string()), digits)


def _texts(array: pa.Array) -> pa.Array:
    texts = names_of(array).cast(pa.large_string())
    blank = is_blank(texts)
    if not pc.any(blank).as_py():
        return texts
    return pc.if_else(blank, pa.nulls(1, pa.large_string())[0], texts)
