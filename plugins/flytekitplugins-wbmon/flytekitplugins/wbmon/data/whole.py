"""Whole numbers that stand for themselves: codes of classes, keys. They keep every digit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import (
    bool_array,
    dense_numbers,
    is_valid,
    text_array,
    whole_array,
)
from flytekitplugins.wbmon.data.objects import split
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# 4300 digits are what Python reads; with a zero before them they are a name, such as 007
_WHOLE = re.compile(r"\s*[+-]?(0|[1-9]\d{0,4299})(\.0*)?\s*", re.ASCII)
# bits of the fraction of a float, the leading one included: up to 2**bits all whole numbers exist
_WIDEST = 64
_DIGITS = 75  # of decimals whose difference is a decimal
_SORTED_BITS = 128  # of the narrowest decimals that Arrow computes with
_FRACTION = {16: 11, 32: 24, _WIDEST: 53}


def whole(array: pa.Array, must: str, hint: str = "") -> pa.Array:
    """Numbers as whole numbers: int64, or text of all digits if 64 bits do not hold them all.

    Args:
        array: Numbers or booleans without odd values; nan is null.
        must: What must hold, the begin of an error's message, such as "column 'y' must hold keys".
        hint: Its end.

    Raises:
        DataError: If a number is a fraction or infinite, or a float so large that floats do not
            hold every whole number of its size.
    """
    if pa.types.is_boolean(array.type):
        return array.cast(pa.uint8()).cast(pa.int64())
    if pa.types.is_decimal(array.type):
        return _whole_decimals(array, must, hint)
    if pa.types.is_floating(array.type):
        return _whole_floats(array, must, hint)
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid:  # unsigned, and above 2**63
        return array.cast(pa.string()).cast(pa.large_string())


def are_fractions(array: pa.Array) -> NDArray[np.bool_]:
    """Which numbers are fractions or infinite; shape `(n,)`.

    Args:
        array: Numbers or booleans without odd values.
    """
    found = np.zeros(len(array), dtype=bool)
    if pa.types.is_floating(array.type):
        values = dense_numbers(array)
        # infinity is a whole number to `floor`
        is_odd = np.isinf(values) | (values != np.floor(values))
        found[is_valid(array)] = is_odd & ~np.isnan(values)
    elif pa.types.is_decimal(array.type):
        precision, scale = array.type.precision, array.type.scale
        if array.type.bit_width < _SORTED_BITS:
            array = array.cast(pa.decimal128(precision, scale))
        if 0 < scale < precision:
            found[is_valid(array)] = dense_numbers(pc.not_equal(array, pc.trunc(array))) > 0
        elif scale > 0:  # no digit is before the point
            found[is_valid(array)] = dense_numbers(array) != 0
    return found


def have_lost_digits(array: pa.Array) -> NDArray[np.bool_]:
    """Which numbers are so large that floats lack whole numbers of their size; shape `(n,)`.

    Args:
        array: Numbers or booleans without odd values.
    """
    found = np.zeros(len(array), dtype=bool)
    if pa.types.is_floating(array.type):
        found[is_valid(array)] = (
            np.abs(dense_numbers(array)) > 2.0 ** _FRACTION[array.type.bit_width]
        )
    return found


def without(array: pa.Array, rows: NDArray[np.bool_]) -> pa.Array:
    """The array with null in some rows."""
    if not rows.any():
        return array
    return pc.if_else(bool_array(rows), pa.nulls(1, array.type)[0], array)


def exact_differences(one: pa.ChunkedArray, other: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """How far the numbers of one column are above its least, and above those of another.

    Args:
        one: A column in its plain form, also with odd values.
        other: Another of as many rows.

    Returns:
        Shape `(n, 2)`, nan where a number is missing; None unless both hold whole numbers or
        decimals of which floats do not hold all, and all of their digits fit.
    """
    values = [split(each.combine_chunks()).values for each in (one, other)]
    if not all(pa.types.is_integer(v.type) or pa.types.is_decimal(v.type) for v in values):
        return None
    largest = max(np.abs(dense_numbers(v).astype(np.float64)).max(initial=0.0) for v in values)
    if largest < 2.0 ** _FRACTION[_WIDEST]:
        return None
    scale = max(v.type.scale if pa.types.is_decimal(v.type) else 0 for v in values)
    try:
        first, second = (v.cast(pa.decimal256(_DIGITS, scale)) for v in values)
    except pa.ArrowInvalid:
        return None
    found = np.full((len(first), 2), np.nan)
    for column, each in enumerate((pc.min(first), second)):
        difference = pc.subtract(first, each)
        found[is_valid(difference), column] = dense_numbers(difference)
    return found


def lost_digits(array: pa.Array) -> str:
    """What an error says of floats so large that floats lack whole numbers of their size.

    Args:
        array: Numbers or durations without odd values.

    Returns:
        What was found and what to do; empty if no digit can be lost.
    """
    if not pa.types.is_floating(array.type):
        return ""
    values = dense_numbers(array)
    bits = _FRACTION[array.type.bit_width]
    lost = values[np.isfinite(values) & (np.abs(values) > 2.0**bits)]
    if not len(lost):
        return ""
    return (
        f"found {class_name(float(lost[0]))} as {array.type}, which has lost digits above "
        f"2**{bits}; store it as whole numbers or text"
    )


def read_whole(texts: Sequence[str]) -> list[int | None]:
    """Texts of digits as whole numbers; None for any other text, such as `007`."""
    return [
        int(text.partition(".")[0]) if _WHOLE.fullmatch(text) is not None else None
        for text in texts
    ]


def is_blank(texts: pa.Array) -> pa.Array:
    """Whether a text is empty or only white space; null where it is null."""
    empty = pc.equal(pc.binary_length(texts), whole_array(np.zeros(1))[0])
    return pc.or_(empty, pc.utf8_is_space(texts))


def _whole_floats(array: pa.Array, must: str, hint: str) -> pa.Array:
    values = dense_numbers(array)
    is_nan = np.isnan(values)
    if is_nan.any():
        array = pc.if_else(pc.is_nan(array), pa.nulls(1, array.type)[0], array)
        values = values[~is_nan]
    wrong = values[~np.isfinite(values) | (values != np.floor(values))]
    if len(wrong):
        raise DataError(f"{must}, found {array.type} such as {wrong[0]:g}{hint}")
    if lost := lost_digits(array):
        raise DataError(f"{must}, {lost}")
    if array.type.bit_width < _WIDEST:
        array = array.cast(pa.float64())
    return array.cast(pa.int64())


def _whole_decimals(array: pa.Array, must: str, hint: str) -> pa.Array:
    try:
        wide = array.cast(pa.decimal256(76, 0))
    except pa.ArrowInvalid:
        values = array.to_pylist()
        for value in values:
            if value is not None and value != value.to_integral_value():
                raise DataError(f"{must}, found {array.type} such as {value}{hint}") from None
        # zeros at the end that 76 digits have no place for
        return text_array([None if value is None else class_name(value) for value in values])
    try:
        return wide.cast(pa.int64())
    except pa.ArrowInvalid:
        return wide.cast(pa.string()).cast(pa.large_string())
