"""Conversion of Arrow columns to numpy arrays, without pandas and mostly without copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.kind import Kind

# Arrow stores a timestamp as a whole number of its unit since 1970
_UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SECONDS_PER_DAY = 86_400
_EXACT_WHOLE, _EXACT_POWER = 2**53, 22  # whole numbers and powers of ten that floats hold exactly
_DIGITS = {2: 3, 4: 7}  # decimals that floats of so many bytes hold, for most numbers


def kind_of(dtype: pa.DataType) -> Kind:
    """What a column of this plain type holds; `other` if nothing is known about it.

    Only its values can tell whether text is a category, an identifier, numbers or times.
    """
    return next((kind for kind, is_ in _KINDS if any(one(dtype) for one in is_)), "other")


def is_list(dtype: pa.DataType) -> bool:
    """Whether the column holds lists of a plain type."""
    types = pa.types
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(is_(dtype) for is_ in lists)


def is_vector(dtype: pa.DataType) -> bool:
    """Whether the column holds lists of numbers, as embeddings are stored."""
    return is_list(dtype) and _is_number(dtype.value_type)


def is_text(dtype: pa.DataType) -> bool:
    """Whether the column holds strings, however they are laid out."""
    types = pa.types
    return bool(
        types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype)
    )


def large_strings(column: pa.Array | pa.ChunkedArray) -> Any:
    """The column cast to `large_string`; a chunked column stays chunked, an array an array."""
    try:
        return column.cast(pa.large_string())
    except pa.ArrowNotImplementedError:
        if not pa.types.is_string_view(column.type):
            raise
        # Arrow 17 reads string views and cannot cast them
        texts = pa.array(column.to_pylist(), pa.large_string())
        return pa.chunked_array([texts]) if isinstance(column, pa.ChunkedArray) else texts


def dense_numbers(array: pa.Array) -> NDArray[Any]:
    """The non-null values of a numeric, boolean or time array, a view of its memory if possible.

    Decimals become float64 and booleans uint8; times stay whole numbers of their unit.
    """
    dtype = array.type
    if pa.types.is_decimal(dtype):
        return _decimals(array.drop_null())
    if pa.types.is_boolean(dtype):
        array = array.cast(pa.uint8())
    if array.null_count:
        array = array.drop_null()
    if len(array) == 0:
        return np.empty(0, _numpy_type(array.type))
    # `to_numpy()` would import pandas; a slice shares the buffer of its parent, hence the offset
    return np.frombuffer(array.buffers()[1], _numpy_type(array.type), len(array) + array.offset)[
        array.offset :
    ]


def _decimals(array: pa.Array) -> NDArray[np.float64]:
    """The float64 nearest to each decimal; a cast of Arrow can be off by one in the last place."""
    scale = array.type.scale
    if pa.types.is_decimal128(array.type) and 0 <= scale <= _EXACT_POWER and len(array):
        parts = np.frombuffer(array.buffers()[1], np.int64, 2 * (len(array) + array.offset))
        low, high = parts.reshape(-1, 2)[array.offset :].T
        # both factors are exact, so their quotient is rounded once
        if (high == low >> 63).all() and (np.abs(low) <= _EXACT_WHOLE).all():
            return np.asarray(low / 10.0**scale)
    return dense_numbers(array.cast(pa.string()).cast(pa.float64()))


def shortest(values: NDArray[Any]) -> NDArray[np.float64]:
    """The numbers that floats of 32 or 16 bits were made from, as far as they have few digits.

    0.1 in 32 bits is 0.10000000149 in 64 bits, which nobody has stored. The decimal of 7 (16 bits:
    3) digits is taken, where it is the one number with so few digits that rounds to the value.

    Args:
        values: Finite floats of any width; shape `(n,)`.
    """
    exact = values.astype(np.float64)
    digits = _DIGITS.get(values.dtype.itemsize)
    if digits is None or values.dtype.kind != "f":
        return exact
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        places = digits - 1 - np.floor(np.log10(np.abs(exact)))
        power = 10.0 ** np.clip(np.abs(places), 0, _EXACT_POWER)
        found = np.where(
            places >= 0, np.rint(exact * power) / power, np.rint(exact / power) * power
        )
        is_same = (found.astype(values.dtype) == values) & (np.abs(places) <= _EXACT_POWER)
    return np.where(is_same, found, exact)


def is_valid(array: pa.Array) -> NDArray[np.bool_]:
    """True for each row that is not null; shape `(len(array),)`."""
    if array.null_count == 0:
        return np.ones(len(array), dtype=bool)
    # an array of type null has nulls but no validity bitmap
    if array.buffers()[0] is None:
        return np.zeros(len(array), dtype=bool)
    # the bitmap starts before the first row of a slice, so unpack the offset too and cut it off
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    flags = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")
    return flags[array.offset :].astype(bool)


def without_null_names(array: pa.Array) -> pa.Array:
    """The same rows with plain nulls: Arrow also allows a null entry in the dictionary itself.

    Such rows do not count in `null_count`; decoding makes them ordinary nulls.
    """
    if pa.types.is_dictionary(array.type) and array.dictionary.null_count:
        return array.dictionary_decode()
    return array


def count_missing(array: pa.Array) -> int:
    """Rows that are null or nan."""
    missing = array.null_count if array.type != pa.null() else len(array)
    if pa.types.is_floating(array.type):
        missing += int(np.isnan(dense_numbers(array)).sum())
    return int(missing)


def seconds(array: pa.Array) -> NDArray[np.float64]:
    """Times that are not null in seconds since 1970, UTC; durations that are not null in seconds.

    The same moment gives the same number in every unit.
    """
    dtype = array.type
    values = dense_numbers(array)
    if pa.types.is_date32(dtype):
        return values * float(_SECONDS_PER_DAY)
    unit = units_per_second(dtype)
    # nanoseconds as floats would be rounded before they are divided
    whole, rest = np.divmod(values, unit)
    return np.asarray(whole + rest / unit, dtype=np.float64)


def units_per_second(dtype: pa.DataType) -> int:
    """How many units in which a timestamp, a duration or a date64 is stored make a second."""
    return _UNITS_PER_SECOND["ms" if pa.types.is_date64(dtype) else dtype.unit]


def float_array(values: NDArray[np.float64], valid: NDArray[np.bool_]) -> pa.Array:
    """A float64 array from the values of the rows that are not null.

    Args:
        values: Values of the valid rows, in order; shape `(valid.sum(),)`.
        valid: Whether a row has a value; shape `(n,)`.
    """
    full = np.zeros(len(valid))
    full[valid] = values
    # `pyarrow.array` would import pandas, which takes longer than most checks
    return pa.Array.from_buffers(pa.float64(), len(valid), [bitmap(valid), pa.py_buffer(full)])


def text_array(texts: Sequence[str | None]) -> pa.Array:
    """A `large_string` array; None becomes null."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    ends = np.concatenate(([0], np.cumsum([len(item) for item in encoded]))).astype(np.int64)
    valid = np.array([text is not None for text in texts], dtype=bool)
    buffers = [bitmap(valid), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)


def whole_array(values: NDArray[Any]) -> pa.Array:
    """An int64 array of whole numbers; shape `(n,)`."""
    numbers = np.ascontiguousarray(values, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def with_elements(array: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Lists with converted elements; the array itself if `convert` returns what it is given.

    Args:
        array: Lists of a plain type.
        convert: Takes the elements of all lists, also what lies below a null, and returns as many.
    """
    dtype = array.type
    valid = bitmap(is_valid(array))
    if pa.types.is_fixed_size_list(dtype):
        size = dtype.list_size
        found = array.values.slice(array.offset * size, len(array) * size)
        elements = convert(found)
        if elements is found:
            return array
        dtype = pa.list_(elements.type, size)
        return pa.Array.from_buffers(dtype, len(array), [valid], children=[elements])
    ends = dense_numbers(array.offsets)
    # of an array without rows there may be no end at all
    first, last = (int(ends[0]), int(ends[-1])) if len(ends) else (0, 0)
    found = array.values.slice(first, last - first)
    elements = convert(found)
    if elements is found:
        return array
    is_large = pa.types.is_large_list(dtype)
    dtype = (pa.large_list if is_large else pa.list_)(elements.type)
    moved = pa.py_buffer(ends - ends.dtype.type(first))
    return pa.Array.from_buffers(dtype, len(array), [valid, moved], children=[elements])


def bool_array(flags: NDArray[np.bool_]) -> pa.Array:
    """A boolean array; shape `(n,)`."""
    bits = pa.py_buffer(np.packbits(flags, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, bits])


def bitmap(valid: NDArray[np.bool_]) -> pa.Buffer | None:
    """The validity bitmap of an array; None if all rows have a value."""
    if valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _is_number(dtype: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_floating(dtype) or types.is_integer(dtype) or types.is_decimal(dtype))


_KINDS: tuple[tuple[Kind, tuple[Callable[[pa.DataType], bool], ...]], ...] = (
    ("number", (_is_number,)),
    ("duration", (pa.types.is_duration,)),
    ("boolean", (pa.types.is_boolean,)),
    ("text", (is_text, pa.types.is_dictionary)),
    ("time", (pa.types.is_timestamp, pa.types.is_date)),
    ("vector", (is_vector,)),
    ("nested", (is_list, pa.types.is_struct)),
    ("empty", (pa.types.is_null,)),
)


def _numpy_type(dtype: pa.DataType) -> np.dtype[np.generic]:
    """The numpy type with the same memory layout; times are integers in their own unit."""
    types = pa.types
    if types.is_date32(dtype):
        return np.dtype("i4")
    if types.is_timestamp(dtype) or types.is_date64(dtype) or types.is_duration(dtype):
        return np.dtype("i8")
    letter = "f" if types.is_floating(dtype) else "i" if types.is_signed_integer(dtype) else "u"
    return np.dtype(f"{letter}{dtype.bit_width // 8}")
