"""Names: what a value is called where it stands for itself and is no quantity.

Classes, categories, segments and keys are names. A whole number keeps all its digits, whatever its
size, and the same value has the same name in every container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import (
    dense_numbers,
    is_text,
    text_array,
    units_per_second,
    whole_array,
)
from flytekitplugins.wbmon.data.objects import split
from flytekitplugins.wbmon.data.plain import plain
from flytekitplugins.wbmon.data.scalars import class_name, nanosecond_name

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SECONDS_PER_DAY = 86_400
_WIDE = 128  # bits of the decimals that Arrow can encode


def has_names(dtype: pa.DataType) -> bool:
    """Whether the values of a plain type have names; lists and structs have none."""
    return not (pa.types.is_nested(dtype) and not pa.types.is_dictionary(dtype)) and not (
        pa.types.is_interval(dtype)
    )


def names_of(array: pa.Array) -> pa.Array:
    """The name of each value, as text or as a dictionary of text; null where it is missing.

    Args:
        array: An array in its plain form, also with odd values, which are named by their text.
    """
    values, odd = split(array)
    named = values if _is_named(values.type) else _encoded(values)
    if odd is None:
        return named
    return pc.coalesce(named.cast(pa.large_string()), odd)


def encode_names(array: pa.Array) -> tuple[list[str], NDArray[Any]]:
    """Encode a column by its names.

    Args:
        array: Strings, booleans, or a dictionary without null among its values (use
            `without_null_names` first).

    Returns:
        The names; and for each row that is not null, the position of its name among them.
    """
    if pa.types.is_boolean(array.type):
        return ["false", "true"], dense_numbers(array)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    names = [str(label) for label in array.dictionary.to_pylist()]
    return names, dense_numbers(array.indices)


def _is_named(dtype: pa.DataType) -> bool:
    return is_text(dtype.value_type if pa.types.is_dictionary(dtype) else dtype)


def _encoded(array: pa.Array) -> pa.Array:
    """A dictionary of the names of numbers, booleans, times or durations."""
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.large_string())
    if pa.types.is_boolean(array.type):
        return array.cast(pa.large_string())
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.nulls(1, array.type)[0], array)
    if getattr(array.type, "unit", "") == "ns":
        is_time = pa.types.is_timestamp(array.type)
        numbers = dense_numbers(_distinct(array)).tolist()
        return _renamed(array, [nanosecond_name(value, is_time=is_time) for value in numbers])
    if pa.types.is_float32(array.type) or pa.types.is_float16(array.type):
        # 0.1 in 32 bits is called 0.1, which its value in 64 bits is not
        return _renamed(array, [class_name(value) for value in dense_numbers(_distinct(array))])
    if pa.types.is_decimal(array.type) and array.type.bit_width < _WIDE:
        array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
    return _renamed(array, _python_names(_distinct(array)))


def _python_names(distinct: pa.Array) -> list[str]:
    try:
        return [class_name(value) for value in distinct.to_pylist()]
    except (OverflowError, ValueError):
        return [_python_name(value) for value in distinct]


def _python_name(value: pa.Scalar) -> str:
    try:
        return class_name(value.as_py())
    except (OverflowError, ValueError):
        return _far_name(value)


def _far_name(value: pa.Scalar) -> str:
    """The name of a time in a year that Python does not have: Arrow tells its number."""
    if pa.types.is_timestamp(value.type):
        unit = value.type.unit
        value = value.cast(pa.timestamp(unit))
        if not value.value % (_SECONDS_PER_DAY * units_per_second(value.type)):
            value = value.cast(pa.date32())
    text = str(value.cast(pa.string()))
    if text.startswith("<"):
        # Arrow's calendar ends, too
        unit = value.type.unit if pa.types.is_timestamp(value.type) else "days"
        return f"{value.value} {unit} since 1970"
    day, space, clock = text.partition(" ")
    # as in the years that Python has
    clock = clock.rstrip("0").rstrip(".") if "." in clock else clock
    return f"{day}T{clock}+00:00" if space else day


def _distinct(array: pa.Array) -> pa.Array:
    return array.dictionary_encode().dictionary


def _renamed(array: pa.Array, names: list[str]) -> pa.Array:
    encoded = array.dictionary_encode()
    # two values can have one name: 1 and 1.0, or -0.0 and 0
    distinct = list(dict.fromkeys(names))
    place = {name: i for i, name in enumerate(distinct)}
    moved = whole_array(np.array([place[name] for name in names], dtype=np.int64))
    return pa.DictionaryArray.from_arrays(moved.take(encoded.indices), text_array(distinct))


def plain_names(column: pa.ChunkedArray) -> pa.Array:
    """The names of a whole column in any storage, as one array of text."""
    parts = [names_of(plain(chunk)).cast(pa.large_string()) for chunk in column.chunks]
    return pa.concat_arrays(parts) if parts else pa.nulls(0, pa.large_string())
