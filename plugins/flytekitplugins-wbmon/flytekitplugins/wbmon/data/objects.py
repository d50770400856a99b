"""Arrow arrays of Python objects, whatever they are: one odd value costs itself, not the column.

Arrow takes a list of one type. Columns of objects hold what somebody put there, so the values that
most rows have decide what the column is. A value of another sort becomes *odd*: it keeps its text
beside the values, and the row has no value.
"""

from __future__ import annotations

import enum
import numbers
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import (
    bitmap,
    bool_array,
    dense_numbers,
    float_array,
    is_valid,
)
from flytekitplugins.wbmon.data.nesting import (
    NESTED,
    elements_of,
    is_entry,
    is_shallow,
    is_struct,
    ordered,
    suits_arrow,
)
from flytekitplugins.wbmon.data.object_times import (
    durations_array,
    from_numpy_time,
    times_array,
)
from flytekitplugins.wbmon.data.scalars import bytes_text, decimal_name, is_missing, value_of
from flytekitplugins.wbmon.names import whole_name

_VALUE, _ODD = "\0value", "\0odd"
_MAX_DECIMAL = 10**76


class Parts(NamedTuple):
    """An array with its odd values apart.

    Attributes:
        values: The values, null where there is none or an odd one.
        odd: The text of each odd value, null elsewhere; None if no value can be odd.
    """

    values: pa.Array
    odd: pa.Array | None


class UuidText(pa.ExtensionType):  # type: ignore[misc]
    """Text of objects that are all UUIDs: a UUID is its value, however its text is written."""

    def __init__(self) -> None:
        super().__init__(pa.large_string(), "wbmon.uuid")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> UuidText:
        return cls()


def from_objects(values: Sequence[Any]) -> pa.Array:
    """The Arrow array of Python values.

    Whole numbers of any size up to 76 digits, decimals, text, booleans, bytes, UUIDs, times of any
    zone (without one they are UTC), dates, durations and times of day, lists, arrays and mappings
    keep their value; members of an enum stand for theirs, periods of pandas for their start. None,
    nan, NaT and `pd.NA` are null. Whole numbers of more digits are odd, as are a list or a mapping
    of which any part is odd, or in which more than 16 lie in each other. Lists of pairs whose first
    is text are maps.

    Returns:
        An array of the type that most values have, of UUIDs alone `UuidText`; with odd values a
        struct that `split` divides.
    """
    found = [_unwrapped(value) for value in values]
    sorts = [_sort(value) for value in found]
    # blank text says nothing, unless nothing else is said
    votes = [s for s, value in zip(sorts, found, strict=True) if s and not _is_blank(value)]
    counts = Counter(votes or filter(None, sorts))
    # True is a number among numbers, as it is in Python, and 1 is true where most are true or false
    if counts["number"] >= counts["boolean"] > 0:
        counts["number"] += counts.pop("boolean")
        sorts = ["number" if sort == "boolean" else sort for sort in sorts]
    elif counts["number"] and counts["boolean"]:
        sorts = [
            "boolean" if sort == "number" and value in (0, 1) else sort
            for sort, value in zip(sorts, found, strict=True)
        ]
    # of equally many the first in the order of `_ARRAYS`, not the first to come
    best = max(_ARRAYS, key=lambda sort: counts[sort])
    kept = [value if sort == best else None for value, sort in zip(found, sorts, strict=True)]
    array = _ARRAYS[best](kept) if counts[best] else pa.nulls(len(found))
    odd = [
        _text(value) if sort and (sort != best or not valid) else None
        for value, sort, valid in zip(found, sorts, array.is_valid().to_pylist(), strict=True)
    ]
    if any(text is not None for text in odd):
        return _joined(array, odd)
    are_uuids = all(isinstance(value, uuid.UUID) for value in kept if value is not None)
    return UuidText().wrap_array(array) if counts[best] and are_uuids else array


def split(array: pa.Array) -> Parts:
    """The values of an array, and its odd ones if it can have any."""
    if not has_odd(array.type):
        return Parts(array, None)
    values, odd = array.flatten()
    return Parts(values, odd)


def has_odd(dtype: pa.DataType) -> bool:
    """Whether an array of the type has odd values beside its values."""
    return bool(
        pa.types.is_struct(dtype)
        and dtype.num_fields == 2  # noqa: PLR2004 - the two parts
        and dtype.field(0).name == _VALUE
    )


def value_type(dtype: pa.DataType) -> pa.DataType:
    """The type of the values of an array, odd ones aside."""
    return dtype.field(0).type if has_odd(dtype) else dtype


def is_of_objects(dtype: pa.DataType) -> bool:
    """Whether only `from_objects` makes a type, and `as_text` makes text of it."""
    return has_odd(dtype) or isinstance(dtype, UuidText)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as it is; as text if it has odd values or is `UuidText`."""
    if not is_of_objects(column.type):
        return column
    texts = [_whole(chunk) if has_odd(chunk.type) else chunk.storage for chunk in column.chunks]
    return pa.chunked_array(texts, pa.large_string())


def _whole(array: pa.Array) -> pa.Array:
    values, odd = array.flatten()
    texts = [None if value is None else _text(value) for value in values.to_pylist()]
    return pc.coalesce(pa.array(texts, pa.large_string()), odd)


def _joined(array: pa.Array, odd: list[str | None]) -> pa.Array:
    return pa.StructArray.from_arrays([array, pa.array(odd, pa.large_string())], [_VALUE, _ODD])


def _unwrapped(value: Any) -> Any:
    """The value without an enum or a class of numpy or pandas around it; None if missing."""
    if isinstance(value, enum.Enum):
        value = value_of(value)
    if is_missing(value):
        return None
    if isinstance(value, np.generic):
        return _from_numpy(value)
    if type(value).__name__ == "Period":
        return value.start_time
    if type(value).__name__ == "Interval":
        return str(value)
    return _from_array(value) if hasattr(type(value), "__array__") else value


def _from_array(value: Any) -> Any:
    """A column of pandas, a tensor or whatever else is an array, as one of numpy."""
    try:
        return np.asarray(value)
    # the object is somebody's, and so is what it does
    except Exception:  # noqa: BLE001
        return value


def _from_numpy(value: Any) -> Any:
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return from_numpy_time(value)
    # a long double has no Python type, and `item()` returns it as it is
    return float(value) if isinstance(value, np.longdouble) else value.item()


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _sort(value: Any) -> str:
    """What a value is, a key of `_ARRAYS` or `other`; empty if it is missing."""
    if value is None:
        return ""
    return next((sort for kinds, sort in _SORTS if isinstance(value, kinds)), "other")


def exact_numbers(values: Sequence[Any]) -> pa.Array | None:
    """Numbers as int64, float64 or decimals, whichever holds each as it is; None if none does.

    Args:
        values: Python numbers, booleans among them, and None.
    """
    present = [value for value in values if value is not None]
    if any(isinstance(value, Decimal) for value in present) or any(
        # whole numbers that 64 bits do not hold, or a float beside them would round
        isinstance(value, int) and not -(2**53) <= value <= 2**53
        for value in present
    ):
        return _exact(values)
    if all(isinstance(value, int) for value in present):
        return pa.array([None if value is None else int(value) for value in values], pa.int64())
    return _floats(values)


def _numbers(values: list[Any]) -> pa.Array:
    exact = exact_numbers(values)
    if exact is None:
        # more digits than a decimal holds, or infinite: they are told by their text
        exact = _exact([value if _is_short(value) else None for value in values])
    # as a quantity they are floats
    return _floats(values) if exact is None else exact


def _floats(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else _float(value) for value in values], pa.float64())


def _exact(values: Sequence[Any]) -> pa.Array | None:
    """Whole numbers as int64 if all fit, else decimals; None if neither holds them all."""
    if all(value is None or isinstance(value, int) for value in values):
        whole = [None if value is None else int(value) for value in values]
        if all(value is None or -(2**63) <= value < 2**63 for value in whole):
            return pa.array(whole, pa.int64())
    try:
        return pa.array([None if value is None else _decimal(value) for value in values])
    # TypeError: an infinite decimal
    except (pa.ArrowException, TypeError, ValueError, ArithmeticError):
        return None


def _is_short(value: Any) -> bool:
    # a comparison of nan is false, and those are missing before
    return value is not None and abs(value) < _MAX_DECIMAL


def _decimal(value: Any) -> Decimal:
    # the text of a boolean is no number, and that of a large float ends in zeros of its own
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return Decimal(value) if is_whole else Decimal(str(value))


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (OverflowError, ValueError):
        return None


def _booleans(values: list[Any]) -> pa.Array:
    return pa.array([None if value is None else bool(value) for value in values], pa.bool_())


def _texts(values: list[Any]) -> pa.Array:
    return pa.array(
        [None if value is None else _utf8(value) for value in values], pa.large_string()
    )


def _nested(values: list[Any]) -> pa.Array:
    """Lists or structs, whichever are more; null where a value is another or holds an odd one."""
    if not is_shallow(values):
        values = [value if is_shallow([value]) else None for value in values]
    if suits_arrow(values):
        with suppress(pa.ArrowException, ValueError, TypeError, OverflowError):
            return pa.array([ordered(value) for value in values])
    n_mappings = sum(isinstance(value, dict) for value in values)
    are_mappings = 2 * n_mappings > sum(value is not None for value in values)
    return (_structs if are_mappings else _lists)(values)


def _structs(values: list[Any]) -> pa.Array:
    rows = [value if is_struct(value) else {} for value in values]
    valid = np.array([is_struct(value) for value in values])
    fields = {}
    for name in dict.fromkeys(chain.from_iterable(rows)):
        fields[name], odd = _within([row.get(name) for row in rows])
        if odd is not None:
            valid &= ~is_valid(odd)
    dtype = pa.struct([(name, array.type) for name, array in fields.items()])
    children = list(fields.values())
    return pa.Array.from_buffers(dtype, len(rows), [bitmap(valid)], children=children)


def _lists(values: list[Any]) -> pa.Array:
    valid = np.array([value is not None and not isinstance(value, dict) for value in values])
    rows = [elements_of(v) if there else [] for v, there in zip(values, valid, strict=True)]
    elements = list(chain.from_iterable(rows))
    lengths = np.array([len(row) for row in rows])
    if 2 * sum(map(is_entry, elements)) > len(elements):
        # as the plain form of a map has them
        elements = [{"key": e[0], "value": e[1]} if is_entry(e) else e for e in elements]
    inner, odd = _within(elements)
    if pa.types.is_decimal(inner.type) and any(isinstance(element, float) for element in elements):
        # a vector is one of floats, also with a whole number of many digits
        inner = float_array(dense_numbers(inner), is_valid(inner))
    if odd is not None:
        valid[np.repeat(np.arange(len(rows)), lengths)[is_valid(odd)]] = False
        inner = inner.filter(bool_array(np.repeat(valid, lengths)))
    ends = np.concatenate(([0], np.cumsum(lengths * valid))).astype(np.int32)
    buffers = [bitmap(valid), pa.py_buffer(ends)]
    return pa.Array.from_buffers(pa.list_(inner.type), len(rows), buffers, children=[inner])


def _within(values: Sequence[Any]) -> Parts:
    """What lies in lists or structs: one odd number would cost the whole row, so it is a float."""
    inner, odd = split(_stored(from_objects(values)))
    if odd is None or pa.types.is_floating(inner.type):
        return Parts(inner, odd)
    found = [_unwrapped(value) for value in values]
    are_numbers = all(_sort(value) in ("", "number") for value in found)
    if are_numbers and not all(value is None or isinstance(value, int) for value in found):
        return Parts(_floats(found), None)
    return Parts(inner, odd)


def _stored(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array.type, UuidText) else array


_ARRAYS: dict[str, Callable[[list[Any]], pa.Array]] = {
    "number": _numbers,
    "text": _texts,
    "boolean": _booleans,
    "time": times_array,
    "duration": durations_array,
    "nested": _nested,
}
_SORTS: tuple[tuple[Any, str], ...] = (
    # before the numbers: to numpy a duration is a whole one
    (np.datetime64, "time"),
    (np.timedelta64, "duration"),
    (bool, "boolean"),
    (numbers.Real, "number"),
    (Decimal, "number"),
    ((str, bytes, bytearray, uuid.UUID), "text"),
    (date, "time"),
    ((timedelta, time), "duration"),
    (NESTED, "nested"),
)


def _utf8(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes_text(value)
    # a lone surrogate, as broken JSON leaves it, is no UTF-8
    if isinstance(value, Decimal):
        return decimal_name(value)
    return str(value).encode(errors="backslashreplace").decode()


def _text(value: Any) -> str:
    try:
        return _utf8(value)
    # the object is the user's, and so is its __str__
    except Exception:  # noqa: BLE001
        return whole_name(value) if isinstance(value, int) else f"<{type(value).__name__}>"
