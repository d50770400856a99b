"""Times of rows: they order labels and divide windows, and are never compared as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import (
    bitmap,
    count_missing,
    dense_numbers,
    is_valid,
    kind_of,
    units_per_second,
)
from flytekitplugins.wbmon.data.objects import split, value_type
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.data.whole import read_whole
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SECONDS_PER_DAY = 86_400
_SORTED_BITS = 128  # of the narrowest decimals that Arrow sorts
_CLOCK = r"(?P<clock>\d{2}:\d{2}:\d{2})\.(?P<fraction>\d+)"
_NANOSECONDS = 9  # digits


def row_times(array: pa.Array, name: str) -> NDArray[np.float64]:
    """The times of a column that orders or dates rows, in seconds since 1970, nan where missing.

    Text must be ISO: it is parsed with its offset, and is never compared as text.

    Args:
        array: The column, in its plain form.
        name: Its name, for the message of an error.

    Raises:
        DataError: If the column does not hold times, or text that is no time.
    """
    if count_missing(array) == len(array):
        # of whatever type: nan alone makes a column of floats
        return np.full(len(array), np.nan)
    stored = kind_of(value_type(array.type))
    if stored not in ("time", "text", "empty"):
        raise DataError(
            f"column {quoted_name(name)} must hold timestamps or dates, got "
            f"{value_type(array.type)}; convert it first"
        )
    reading = read_as("time", array)
    if reading.n_unreadable:
        raise DataError(
            f"column {quoted_name(name)} must hold times, as timestamps, dates or ISO text such as "
            f"2026-01-31T12:00:00+00:00; found {listed_names(reading.examples)}"
        )
    times = np.full(len(array), np.nan)
    if reading.values.null_count < len(array):
        times[is_valid(reading.values)] = dense_numbers(reading.values)
    return times


def days_of(times: pa.Array) -> pa.Array:
    """The day of each time in UTC, as dates.

    Args:
        times: Timestamps or dates, without odd values.
    """
    if pa.types.is_date32(times.type):
        return times
    days = np.zeros(len(times), dtype=np.int32)
    valid = is_valid(times)
    limits = np.iinfo(np.int32)
    # whole numbers: as floats, the last nanosecond of a day is the next one
    whole = dense_numbers(times) // (_SECONDS_PER_DAY * units_per_second(times.type))
    days[valid] = np.clip(whole, limits.min, limits.max)
    return pa.Array.from_buffers(pa.date32(), len(days), [bitmap(valid), pa.py_buffer(days)])


def day_names(times: pa.Array) -> pa.Array:
    """The day of each time in UTC as ISO text; of any year, also those that Python does not know.

    Args:
        times: Timestamps or dates, without odd values.
    """
    return days_of(times).cast(pa.string()).cast(pa.large_string())


def are_days(times: pa.Array) -> bool:
    """Whether all times are dates or, as objects that are dates become, midnights in UTC."""
    if pa.types.is_date(times.type):
        return True
    per_day = _SECONDS_PER_DAY * units_per_second(times.type)
    return not (dense_numbers(times) % per_day).any()


def time_order(array: pa.Array, name: str) -> NDArray[np.int64]:
    """The rows in the order of their times, those without one first; equal times keep their order.

    Times are told apart to the nanosecond. Numbers, such as that of a revision, are ordered as
    numbers: whole numbers and decimals by all their digits.

    Args:
        array: The column, in its plain form.
        name: Its name, for the message of an error.

    Raises:
        DataError: If the column holds neither times nor numbers, or text that is no time.
    """
    if kind_of(value_type(array.type)) == "number":
        return _number_order(array, name)
    # what is no time is refused by what the column holds
    row_times(array, name)
    at = np.full(len(array), -np.inf)
    beyond = np.zeros(len(array), dtype=np.int64)
    for part in split(array):
        if part is not None and part.null_count < len(part):
            whole, nanoseconds = _moments(part, name)
            known = ~np.isnan(whole)
            at[known], beyond[known] = whole[known], nanoseconds[known]
    return np.lexsort((beyond, at))


def _moments(times: pa.Array, name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Whole seconds since 1970, nan where missing, and the nanoseconds beyond them."""
    if kind_of(times.type) == "text":
        return _read_moments(times.cast(pa.large_string()), name)
    if pa.types.is_date(times.type):
        times = times.cast(pa.timestamp("ms"))
    valid = is_valid(times)
    whole = np.full(len(times), np.nan)
    beyond = np.zeros(len(times), dtype=np.int64)
    per_second = units_per_second(times.type)
    whole[valid], rest = np.divmod(dense_numbers(times).astype(np.int64), per_second)
    beyond[valid] = rest * (10**_NANOSECONDS // per_second)
    return whole, beyond


def _read_moments(texts: pa.Array, name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    whole = row_times(pc.replace_substring_regex(texts, _CLOCK, r"\1"), name)
    fraction = pc.struct_field(pc.extract_regex(texts, _CLOCK), "fraction")
    digits = pc.utf8_slice_codeunits(pc.utf8_rpad(fraction, _NANOSECONDS, "0"), 0, _NANOSECONDS)
    beyond = np.zeros(len(texts), dtype=np.int64)
    beyond[is_valid(digits)] = dense_numbers(digits.cast(pa.int64()))
    return whole, beyond


def _number_order(array: pa.Array, name: str) -> NDArray[np.int64]:
    values, odd = split(array)
    if odd is not None:
        return _mixed_order(values.to_pylist(), odd.to_pylist(), name)
    # Arrow sorts whole numbers and decimals by all their digits, and keeps the order of equal ones
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.nulls(1, values.type)[0], values)
    elif pa.types.is_decimal(values.type) and values.type.bit_width < _SORTED_BITS:
        values = values.cast(pa.decimal128(values.type.precision, values.type.scale))
    order = pc.array_sort_indices(values, null_placement="at_start")
    return dense_numbers(order).astype(np.int64)


def _mixed_order(numbers: list[Any], odd: list[str | None], name: str) -> NDArray[np.int64]:
    """The order of numbers of which some are text, as those are that no type of Arrow holds."""
    texts = [(text or "").strip() for text in odd]
    read = read_whole(texts)
    wrong = [t for t, number in zip(texts, read, strict=True) if t and number is None]
    if wrong:
        raise DataError(
            f"column {quoted_name(name)} must hold times or numbers; found {quoted_name(wrong[0])} "
            "among numbers"
        )
    known = [b if a is None else a for a, b in zip(numbers, read, strict=True)]

    def place(row: int) -> tuple[bool, Any]:
        return (False, 0) if is_missing(known[row]) else (True, known[row])

    return np.array(sorted(range(len(known)), key=place), dtype=np.int64)
