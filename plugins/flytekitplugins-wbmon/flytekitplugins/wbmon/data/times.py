"""Times of rows: they order labels and divide windows, and are never compared as text."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

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
from flytekitplugins.wbmon.data.readings import read_as, usual_times
from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.data.unreadable import Unreadable, are_few, total_of
from flytekitplugins.wbmon.data.whole import read_whole
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SECONDS_PER_DAY = 86_400
_SORTED_BITS = 128  # of the narrowest decimals that Arrow sorts
_CLOCK = r"(?P<clock>\d{2}:\d{2}:\d{2})\.(?P<fraction>\d+)"
_DIGITS = 18  # of a fraction of a second, as many as 64 bits hold
_TOO_FINE = rf"(\d{{2}}:\d{{2}}:\d{{2}}\.\d{{{_DIGITS}}}\d*[1-9]\d*)"

Counted: TypeAlias = "tuple[int, Unreadable]"
"""How many values of a column there are, and which of them cannot be read."""


class Times(NamedTuple):
    """A column that orders or dates rows, or some of its rows.

    Attributes:
        values: Seconds since 1970, nan where a time is missing or cannot be read; shape `(n,)`.
        n_known: Number of values that are not missing.
        unreadable: Those of them that are no times.
    """

    values: NDArray[np.float64]
    n_known: int = 0
    unreadable: Unreadable = Unreadable()


class Order(NamedTuple):
    """The order of rows by a column.

    Attributes:
        rows: The rows in their order, those without a place first; shape `(n,)`.
        unreadable: Values that have no place.
    """

    rows: NDArray[np.int64]
    unreadable: Unreadable = Unreadable()


def row_times(array: pa.Array, name: str) -> Times:
    """The times of a whole column that orders or dates rows, as `batch_times` reads them.

    Args:
        array: The column, in its plain form.
        name: Its name, for the message of an error.

    Raises:
        DataError: If most of the column is no times.
    """
    times = batch_times(array, name)
    require_times(name, [(times.n_known, times.unreadable)])
    return times


def batch_times(array: pa.Array, name: str) -> Times:
    """The times of some rows; what is no time is as if it were missing, and counted.

    Text must be ISO: it is parsed with its offset, and is never compared as text.

    Args:
        array: The rows, in their plain form.
        name: Name of the column, for the message of an error.

    Raises:
        DataError: If the column holds numbers or something else that has no times.
    """
    times = np.full(len(array), np.nan)
    if count_missing(array) == len(array):
        # of whatever type: nan alone makes a column of floats
        return Times(times)
    _require_type(array, name)
    reading = read_as("time", array)
    if reading.values.null_count < len(array):
        times[is_valid(reading.values)] = dense_numbers(reading.values)
    n_read = len(array) - reading.values.null_count
    return Times(times, n_read + reading.n_unreadable, reading.odd)


def require_times(name: str, counted: Sequence[Counted]) -> None:
    """Refuse a column of which most is no times; a few odd values are no reason to.

    Args:
        name: Name of the column.
        counted: Of each of its parts the number of values, and those that are no times.

    Raises:
        DataError: If more than one, and more than one in twenty, are no times, or all are.
    """
    unreadable = total_of(each for _, each in counted)
    if unreadable.n and not are_few(unreadable.n, sum(n_known for n_known, _ in counted)):
        raise DataError(
            f"column {quoted_name(name)} must hold times, as timestamps, dates or ISO text such as "
            f"2026-01-31T12:00:00+00:00; found {listed_names(unreadable.examples)}"
        )


def _require_type(array: pa.Array, name: str) -> None:
    if kind_of(value_type(array.type)) not in ("time", "text", "empty"):
        raise DataError(
            f"column {quoted_name(name)} must hold timestamps or dates, got "
            f"{value_type(array.type)}; convert it first"
        )


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
    texts = days_of(times).cast(pa.string()).cast(pa.large_string())
    # Arrow has no calendar beyond the year 32767
    return pc.replace_substring_regex(
        texts, r"^<value out of range: (-?\d+)>$", r"\1 days since 1970"
    )


def are_days(times: pa.Array) -> bool:
    """Whether all times are dates or, as objects that are dates become, midnights in UTC."""
    if pa.types.is_date(times.type):
        return True
    per_day = _SECONDS_PER_DAY * units_per_second(times.type)
    return not (dense_numbers(times) % per_day).any()


def time_order(array: pa.Array, name: str) -> Order:
    """The rows in the order of their times, those without one first; equal times keep their order.

    Times are told apart by all digits of their seconds, up to 18. Numbers, such as that of a
    revision, are ordered as numbers: whole numbers and decimals by all their digits.

    Args:
        array: The column, in its plain form.
        name: Its name, for the message of an error.

    Raises:
        DataError: If most of the column is neither times nor numbers.
    """
    if kind_of(value_type(array.type)) == "number":
        return _number_order(array, name)
    if count_missing(array) == len(array):
        return Order(np.arange(len(array)))
    _require_type(array, name)
    at = np.full(len(array), -np.inf)
    beyond = np.zeros(len(array), dtype=np.int64)
    counted = []
    for part in split(array):
        if part is not None and part.null_count < len(part):
            times, fractions = _moments(part, name)
            known = ~np.isnan(times.values)
            at[known], beyond[known] = times.values[known], fractions[known]
            counted.append((times.n_known, times.unreadable))
    require_times(name, counted)
    return Order(np.lexsort((beyond, at)), total_of(each for _, each in counted))


def _moments(times: pa.Array, name: str) -> tuple[Times, NDArray[np.int64]]:
    """Whole seconds since 1970, and what is beyond them in units of 1e-18 s."""
    if kind_of(times.type) == "text":
        return _read_moments(times.cast(pa.large_string()), name)
    if not pa.types.is_timestamp(times.type):
        times = times.cast(pa.timestamp("ms"))
    valid = is_valid(times)
    whole = np.full(len(times), np.nan)
    beyond = np.zeros(len(times), dtype=np.int64)
    per_second = units_per_second(times.type)
    whole[valid], rest = np.divmod(dense_numbers(times).astype(np.int64), per_second)
    beyond[valid] = rest * (10**_DIGITS // per_second)
    return Times(whole, int(valid.sum())), beyond


def _read_moments(texts: pa.Array, name: str) -> tuple[Times, NDArray[np.int64]]:
    texts = usual_times(texts)
    # what has no place in 64 bits is no time that could be ordered, and its example says so
    texts = pc.replace_substring_regex(texts, _TOO_FINE, rf"\1 of more than {_DIGITS} digits")
    times = batch_times(pc.replace_substring_regex(texts, _CLOCK, r"\1"), name)
    fraction = pc.struct_field(pc.extract_regex(texts, _CLOCK), "fraction")
    digits = pc.utf8_slice_codeunits(pc.utf8_rpad(fraction, _DIGITS, "0"), 0, _DIGITS)
    beyond = np.zeros(len(texts), dtype=np.int64)
    beyond[is_valid(digits)] = dense_numbers(digits.cast(pa.int64()))
    return times, beyond


def _number_order(array: pa.Array, name: str) -> Order:
    values, odd = split(array)
    if odd is not None:
        return _mixed_order(values.to_pylist(), odd, name)
    # Arrow sorts whole numbers and decimals by all their digits, and keeps the order of equal ones
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.nulls(1, values.type)[0], values)
    elif pa.types.is_decimal(values.type) and values.type.bit_width < _SORTED_BITS:
        values = values.cast(pa.decimal128(values.type.precision, values.type.scale))
    order = pc.array_sort_indices(values, null_placement="at_start")
    return Order(dense_numbers(order).astype(np.int64))


def _mixed_order(numbers: list[Any], odd: pa.Array, name: str) -> Order:
    """The order of numbers of which some are text, as those are that no type of Arrow holds."""
    reading = read_as("number", odd)
    texts = [None if text is None else text.strip() for text in odd.to_pylist()]
    exact = read_whole([text or "" for text in texts])
    # a text of a fraction is a number, too, of all its digits
    read = [
        whole if whole is not None else Decimal(text) if is_number and text else None
        for whole, text, is_number in zip(exact, texts, is_valid(reading.values), strict=True)
    ]
    known = [b if a is None or is_missing(a) else a for a, b in zip(numbers, read, strict=True)]
    unreadable = reading.odd
    n_known = sum(value is not None for value in known)
    if unreadable.n and not are_few(unreadable.n, n_known + unreadable.n):
        raise DataError(
            f"column {quoted_name(name)} must hold times or numbers; found "
            f"{listed_names(unreadable.examples)} among numbers"
        )

    def place(row: int) -> tuple[bool, Any]:
        return (known[row] is not None, known[row] or 0)

    rows = np.array(sorted(range(len(known)), key=place), dtype=np.int64)
    return Order(rows, unreadable)
