"""Times of rows: they order labels and divide windows, and are never compared as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import (
    bitmap,
    count_missing,
    dense_numbers,
    is_valid,
    kind_of,
    seconds,
)
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SECONDS_PER_DAY = 86_400


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
    days[valid] = np.clip(np.floor(seconds(times) / _SECONDS_PER_DAY), limits.min, limits.max)
    return pa.Array.from_buffers(pa.date32(), len(days), [bitmap(valid), pa.py_buffer(days)])


def day_names(times: pa.Array) -> pa.Array:
    """The day of each time in UTC as ISO text; of any year, also those that Python does not know.

    Args:
        times: Timestamps or dates, without odd values.
    """
    return days_of(times).cast(pa.string()).cast(pa.large_string())


def are_days(times: pa.Array) -> bool:
    """Whether all times are dates or, as objects that are dates become, midnights in UTC."""
    return pa.types.is_date(times.type) or not (seconds(times) % _SECONDS_PER_DAY).any()


def time_order(array: pa.Array, name: str) -> NDArray[np.int64]:
    """The rows in the order of their times, those without one first; equal times keep their order.

    Numbers, such as that of a revision, are ordered as numbers.

    Args:
        array: The column, in its plain form.
        name: Its name, for the message of an error.

    Raises:
        DataError: If the column holds neither times nor numbers, or text that is no time.
    """
    if kind_of(array.type) == "number":
        return _number_order(array)
    times = row_times(array, name)
    if not pa.types.is_timestamp(array.type):
        return np.argsort(np.where(np.isnan(times), -np.inf, times), kind="stable")
    # seconds as floats cannot tell two times of the same quarter of a microsecond apart
    exact = np.full(len(array), np.iinfo(np.int64).min)
    exact[is_valid(array)] = dense_numbers(array)
    return np.argsort(exact, kind="stable")


def _number_order(array: pa.Array) -> NDArray[np.int64]:
    valid = is_valid(array)
    # whole numbers as they are, because floats cannot tell large ones apart
    values = dense_numbers(array)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -np.inf, values)
    full = np.zeros(len(array), dtype=values.dtype)
    full[valid] = values
    order = np.argsort(full, kind="stable")
    return np.concatenate([order[~valid[order]], order[valid[order]]])
