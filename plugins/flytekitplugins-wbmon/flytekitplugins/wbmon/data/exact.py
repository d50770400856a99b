"""Numbers with every digit: as int64 or float64 where these hold them, else as numbers of Python.

Whole numbers are whole numbers whatever their storage. Floats do not tell those beyond 2^53 apart,
nor decimals of many digits, and two windows that differ only there would look the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import dense_numbers
from flytekitplugins.wbmon.data.unreadable import MOST

_FIRST, _LAST = -(2**63), 2**63 - 1
_SHORT = 1e15  # no two decimals of 15 digits are one float
_WIDE = 128  # bits of the decimals that Arrow can encode
_MANY_DIGITS = Context(prec=2000)  # a float has at most 1075


class SortedValues(NamedTuple):
    """The finite numbers of a column in ascending order, with counts of the other rows.

    Attributes:
        values: The finite values, ascending; shape `(n_rows - n_missing - n_infinite,)`.
        n_rows: All rows of the column.
        n_missing: Rows that are null or nan.
        n_infinite: Rows that are plus or minus infinity.
    """

    values: NDArray[Any]
    n_rows: int
    n_missing: int
    n_infinite: int


def numbers_of(array: pa.Array) -> NDArray[Any]:
    """The values that are not null, without a loss.

    Args:
        array: Numbers, booleans or times.

    Returns:
        Unsigned and decimal numbers are int64 if all of an array are whole and fit, decimals
        float64 if floats hold all of them, and the others have dtype object: whole numbers as
        `int`, those with a fraction as `Decimal`. Other types are as `dense_numbers` has them.
    """
    if pa.types.is_decimal(array.type):
        return _decimals(array.drop_null())
    values = dense_numbers(array)
    if values.dtype != np.uint64:
        return values
    return values.view(np.int64) if not (values > _LAST).any() else values.astype(object)


def may_be_long(dtype: pa.DataType) -> bool:
    """Whether a column of this type can hold numbers that neither int64 nor float64 holds."""
    return bool(pa.types.is_decimal(dtype) or pa.types.is_uint64(dtype))


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Parts of a column, at least one, as one array; always a copy."""
    if any(part.dtype == object for part in parts):
        if not all(np.isfinite(part).all() for part in parts if part.dtype.kind == "f"):
            # numbers of Python cannot be ordered with nan among them
            return np.concatenate([part.astype(np.float64) for part in parts])
        parts = [as_objects(part) for part in parts]
    return np.concatenate(parts)


def as_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Finite numbers as numbers of Python; floats as the shortest decimals read as them."""
    if values.dtype.kind != "f":
        return values.astype(object)
    return _object_array([_plain(Decimal(repr(value))) for value in values.tolist()])


def as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """The values with numbers of Python as float64."""
    return values.astype(np.float64) if values.dtype == object else values


def on_a_grid(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers of which a grid can be made: int64 if nearly all are whole and fit, else float64.

    Args:
        values: As `numbers_of` gives them. Those that do not fit int64 are left out of it.
    """
    if values.dtype != object:
        return values
    fitting = [value for value in values if _fits(value)]
    if len(fitting) < MOST * len(values):
        return as_floats(values)
    return np.array(fitting, dtype=np.int64)


def are_told_apart(values: NDArray[Any], *, few: int) -> bool:
    """Whether numbers can be counted as quantities: on a grid the different ones are different.

    Args:
        values: As `numbers_of` gives them; order does not matter.
        few: Up to so many different values each must be held as it is, because each may matter.
    """
    if values.dtype != object or on_a_grid(values).dtype == np.int64:
        return True
    different = Counter(values.tolist())
    lost = sum(n for value, n in different.items() if not _is_held(value))
    if lost <= (1 - MOST) * len(values):
        return True
    return len(different) > few and len(set(map(float, different))) >= MOST * len(different)


def sort_numbers(
    chunks: Sequence[pa.Array], numbers: Callable[[pa.Array], NDArray[Any]] = numbers_of
) -> SortedValues:
    """Sort the numbers of a column; nan counts as missing, infinities are counted separately.

    Args:
        chunks: The column.
        numbers: Takes the values of a chunk that are not null.
    """
    n_rows = sum(len(chunk) for chunk in chunks)
    parts = [numbers(chunk) for chunk in chunks if chunk.null_count < len(chunk)]
    if not parts:
        return SortedValues(np.empty(0), n_rows, n_rows, 0)
    # the join copies, so the in-place sort never changes the caller's table
    values, n_numbers = sort_finite(joined(parts))
    return SortedValues(values, n_rows, n_rows - n_numbers, n_numbers - len(values))


def sort_finite(values: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Sort the values in place and cut off nan and infinities.

    Returns:
        A view of the finite values, and the number of values that are not nan.
    """
    values.sort()
    if values.dtype.kind != "f" or len(values) == 0:
        return values, len(values)
    # numpy sorts nan last and the infinities to the ends, so slicing finds all of them
    if np.isnan(values[-1]):
        values = values[: np.searchsorted(values, np.nan)]
    n_numbers = len(values)
    if n_numbers and not (np.isfinite(values[0]) and np.isfinite(values[-1])):
        first, last = np.searchsorted(values, -np.inf, "right"), np.searchsorted(values, np.inf)
        values = values[first:last]
    return values, n_numbers


def _decimals(array: pa.Array) -> NDArray[Any]:
    try:
        # it refuses fractions and what does not fit
        return dense_numbers(array.cast(pa.int64()))
    except pa.ArrowInvalid:
        floats = dense_numbers(array)
    if array.type.precision <= math.log10(_SHORT):
        return floats
    if (np.abs(floats) * 10.0**array.type.scale <= _SHORT).all():
        return floats
    if array.type.bit_width < _WIDE:
        array = array.cast(pa.decimal128(38, array.type.scale))
    encoded = array.dictionary_encode()
    distinct = [_plain(value) for value in encoded.dictionary.to_pylist()]
    if all(map(_is_held, distinct)):
        return floats
    return np.take(_object_array(distinct), dense_numbers(encoded.indices))


def _object_array(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _plain(value: Decimal) -> int | Decimal:
    """Whole numbers as `int`, held ones as the shortest decimal, and others as they are."""
    if value == value.to_integral_value():
        return int(value)
    return Decimal(repr(float(value))) if _is_held(value) else value


def _is_held(value: int | Decimal) -> bool:
    """Whether a float holds the value: it is how the float is written, with that many decimals."""
    near = float(value)
    if isinstance(value, int):
        return int(near) == value
    return value in (Decimal(repr(near)), _MANY_DIGITS.quantize(Decimal(near), value))


def _fits(value: int | Decimal) -> bool:
    return isinstance(value, int) and _FIRST <= value <= _LAST
