"""Arrays of several types as arrays of one: the files of a dataset may store a column differently.

What differs in how it is stored is one column; what differs in kind, as text and numbers do, is
not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import (
    bitmap,
    dense_numbers,
    float_array,
    is_list,
    is_text,
    is_valid,
    kind_of,
    large_strings,
    shortest,
    units_per_second,
)
from flytekitplugins.wbmon.data.names import names_of
from flytekitplugins.wbmon.data.plain import plain, plain_type

_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}  # of whole numbers of so many bits
_MOST_DIGITS, _MOST_DIGITS_128 = 76, 38
_LONGEST = 2**63 - 1
_UNITS = ("s", "ms", "us", "ns")


def common_type(types: Iterable[pa.DataType]) -> pa.DataType | None:
    """The type of all values of columns of these types; None if they are of several kinds.

    Text in any encoding and bytes are `large_string`. Numbers are whole or decimal as far as these
    hold each of them, else float64. Times of which some have no zone are in UTC. Lists have
    elements of the common type, structs the fields of all. A column of nulls fits any other.
    """
    found = list(dict.fromkeys(dtype for dtype in types if not pa.types.is_null(dtype)))
    if len(found) > 1:
        found = list(dict.fromkeys(map(plain_type, found)))
    if len(found) > 1:
        common = next((common for is_, common in _COMMON if all(map(is_, found))), None)
        return common(found) if common else None
    return found[0] if found else pa.null()


def logged_type(types: Iterable[pa.DataType]) -> pa.DataType | None:
    """The common type of a column of a log, whose kind changes with what is logged.

    As the log itself writes several kinds into one file: with any text all are text, booleans
    among others are 1 and 0. None if there are others among several kinds.
    """
    found = [dtype for dtype in types if not pa.types.is_null(dtype)]
    common = common_type(found)
    if common is None:
        found = [pa.int64() if pa.types.is_boolean(dtype) else plain_type(dtype) for dtype in found]
        common = common_type(found)
    if common is None and all(_is_any_text(dtype) or _is_number(dtype) for dtype in found):
        return pa.large_string()
    return common


def read_type(stored: pa.DataType, common: pa.DataType) -> pa.DataType:
    """What a file's column is read as where that of all files is `common`.

    Numbers stay as they are: no type may hold those of all files.
    """
    if pa.types.is_null(common):
        return stored
    if kind_of(common) != "number":
        return common
    return pa.int64() if pa.types.is_boolean(plain_type(stored)) else stored


def converted(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    """The values of an array as one of `dtype`, a common type of its own and of others.

    Floats of 32 bits become the decimals that they were made from. Whole numbers and decimals that
    float64 does not hold become the nearest that it holds, durations that 64 bits do not hold the
    longest that they hold. Numbers and booleans become text by their names (see `class_name`):
    `1` for True, 1 and 1.0, so that a value has one whatever type it was stored as.
    """
    if array.type == dtype:
        return array
    array = plain(array)
    if array.type == dtype:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), dtype)
    convert = next((convert for is_, convert in _CONVERSIONS if is_(dtype)), _cast)
    return convert(array, dtype)


def _is_any_text(dtype: pa.DataType) -> bool:
    # a plain dictionary is one of text
    return is_text(dtype) or bool(pa.types.is_dictionary(dtype))


def _is_number(dtype: pa.DataType) -> bool:
    return kind_of(dtype) == "number"


def _is_time(dtype: pa.DataType) -> bool:
    return kind_of(dtype) == "time"


def _text_type(_: Sequence[pa.DataType]) -> pa.DataType:
    return pa.large_string()


def _number_type(types: Sequence[pa.DataType]) -> pa.DataType:
    if any(map(pa.types.is_floating, types)):
        return pa.float64()
    widest = max(types, key=lambda dtype: dtype.bit_width)
    if all(map(pa.types.is_unsigned_integer, types)):
        return widest
    if all(map(pa.types.is_integer, types)):
        # a signed type of the same width does not hold all unsigned ones
        bits = max((1 + pa.types.is_unsigned_integer(dtype)) * dtype.bit_width for dtype in types)
        if bits <= 64:  # noqa: PLR2004 - of the widest whole number
            return getattr(pa, f"int{bits}")()
    scale = max(getattr(dtype, "scale", 0) for dtype in types)
    digits = scale + max(
        dtype.precision - dtype.scale if pa.types.is_decimal(dtype) else _DIGITS[dtype.bit_width]
        for dtype in types
    )
    if digits > _MOST_DIGITS:
        return pa.float64()
    return (pa.decimal128 if digits <= _MOST_DIGITS_128 else pa.decimal256)(digits, scale)


def _time_type(types: Sequence[pa.DataType]) -> pa.DataType:
    if all(map(pa.types.is_date, types)):
        return pa.date32()
    units = {getattr(dtype, "unit", "us") for dtype in types}
    # nanoseconds end in the year 2262
    return pa.timestamp(units.pop() if len(units) == 1 else "us", "UTC")


def _duration_type(types: Sequence[pa.DataType]) -> pa.DataType:
    return pa.duration(max((dtype.unit for dtype in types), key=_UNITS.index))


def _list_type(types: Sequence[pa.DataType]) -> pa.DataType | None:
    inner = common_type(dtype.value_type for dtype in types)
    return None if inner is None else pa.large_list(inner)


def _struct_type(types: Sequence[pa.DataType]) -> pa.DataType | None:
    names = dict.fromkeys(field.name for dtype in types for field in dtype)
    fields = {
        name: common_type(field.type for dtype in types for field in dtype if field.name == name)
        for name in names
    }
    return None if None in fields.values() else pa.struct(fields)


def _cast(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    return array.cast(dtype, safe=False)


def _texts(array: pa.Array, _: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(array.type):
        # the name of a boolean among others, which may be numbers
        array = array.cast(pa.uint8())
    if not _is_any_text(array.type):
        return names_of(array).cast(pa.large_string())
    return large_strings(array.dictionary_decode() if pa.types.is_dictionary(array.type) else array)


def _floats(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    if pa.types.is_integer(array.type):
        return _cast(array, dtype)
    return float_array(shortest(dense_numbers(array)), is_valid(array))


def _durations(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    factor = units_per_second(dtype) // units_per_second(array.type)
    valid = is_valid(array)
    full = np.zeros(len(array), dtype=np.int64)
    full[valid] = np.clip(dense_numbers(array), -(_LONGEST // factor), _LONGEST // factor) * factor
    return pa.Array.from_buffers(dtype, len(array), [bitmap(valid), pa.py_buffer(full)])


def _lists(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    valid = is_valid(array)
    ends = np.zeros(len(array) + 1, dtype=np.int64)
    ends[1:][valid] = dense_numbers(pc.list_value_length(array.drop_null()))
    buffers = [bitmap(valid), pa.py_buffer(ends.cumsum())]
    # without what lies below a null
    elements = converted(pc.list_flatten(array), dtype.value_type)
    return pa.Array.from_buffers(dtype, len(array), buffers, children=[elements])


def _structs(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    held = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
    children = [
        converted(held.get(field.name, pa.nulls(len(array))), field.type) for field in dtype
    ]
    return pa.Array.from_buffers(dtype, len(array), [bitmap(is_valid(array))], children=children)


_COMMON: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[Sequence[pa.DataType]], pa.DataType | None]],
    ...,
] = (
    (_is_any_text, _text_type),
    (_is_number, _number_type),
    (_is_time, _time_type),
    (pa.types.is_duration, _duration_type),
    (is_list, _list_type),
    (pa.types.is_struct, _struct_type),
)
_CONVERSIONS: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, pa.DataType], pa.Array]], ...
] = (
    (pa.types.is_large_string, _texts),
    (pa.types.is_float64, _floats),
    (pa.types.is_duration, _durations),
    (is_list, _lists),
    (pa.types.is_struct, _structs),
)
