"""Times and durations of Python, pandas and numpy as Arrow arrays, to the nanosecond.

Python counts microseconds. Classes of pandas count nanoseconds beside them, and numpy has units of
its own; what they hold is kept where 64 bits have room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.scalars import EPOCH

Time: TypeAlias = "date | np.datetime64"
Length: TypeAlias = "timedelta | time | np.timedelta64"

_LONGEST = timedelta(days=106_751_991)
_MICROSECOND = timedelta(microseconds=1)
_MAX_NANOSECONDS = 2**63
_FINE = ("ns", "ps", "fs", "as")  # units of numpy that are shorter than those of Python


def from_numpy_time(value: Any) -> Any:
    """A time or duration of numpy as one of Python; as it is if it counts nanoseconds.

    What Python cannot hold, such as the year 10,000, is its text.
    """
    # `item()` of nanoseconds is a whole number, and Python has no class for them
    letter = value.dtype.kind
    if np.datetime_data(value.dtype)[0] in _FINE:
        value = value.astype(f"{letter}8[ns]")
        if value.view(np.int64) % 1000:
            return value
    counted = value.astype(f"{letter}8[us]")
    # 64 bits of microseconds may be too few, and what Python cannot hold is a whole number then
    is_held = counted.astype(value.dtype) == value and not isinstance(counted.item(), int)
    return counted.item() if is_held else str(value)


def times_array(values: Sequence[Time | None]) -> pa.Array:
    """Times as Arrow has them, in UTC; without a zone they are UTC, and dates are midnights."""
    # of a class of pandas or numpy: those of Python have none
    if any(isinstance(v, np.datetime64) or getattr(v, "nanosecond", 0) for v in values):
        exact = _exact_nanoseconds(values, _nanoseconds)
        if exact is not None:
            return exact.cast(pa.timestamp("ns", "UTC"))
    times = [None if value is None else _utc(value) for value in values]
    return pa.array(times, pa.timestamp("us", "UTC"))


def durations_array(values: Sequence[Length | None]) -> pa.Array:
    """Durations as Arrow has them, times of day since midnight; null if 64 bits are too few."""
    if any(isinstance(v, np.timedelta64) or getattr(v, "nanoseconds", 0) for v in values):
        exact = _exact_nanoseconds(values, _nanoseconds_long)
        if exact is not None:
            return exact.cast(pa.duration("ns"))
    return pa.array(
        [None if value is None else _length(value) for value in values], pa.duration("us")
    )


def _exact_nanoseconds(values: Sequence[Any], of: Callable[[Any], int]) -> pa.Array | None:
    """The nanoseconds of each value; None if 64 bits do not hold those of all."""
    exact = [None if value is None else of(value) for value in values]
    if any(value is not None and abs(value) >= _MAX_NANOSECONDS for value in exact):
        return None
    return pa.array(exact, pa.int64())


def _utc(value: Any) -> datetime:
    if isinstance(value, np.datetime64):
        value = value.astype("M8[us]").item()
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    if value.tzinfo is None:
        return value.replace(tzinfo=timezone.utc)
    return value.astimezone(timezone.utc)


def _nanoseconds(value: Any) -> int:
    if isinstance(value, np.datetime64):
        return int(value.view(np.int64))
    utc = _utc(value)
    moment = datetime.combine(utc.date(), utc.time(), timezone.utc)
    return (moment - EPOCH) // _MICROSECOND * 1000 + getattr(utc, "nanosecond", 0)


def _nanoseconds_long(value: Any) -> int:
    if isinstance(value, np.timedelta64):
        return int(value.view(np.int64))
    length = value if isinstance(value, timedelta) else _of_day(value)
    # of pandas, which counts nanoseconds beside the microseconds
    return length // _MICROSECOND * 1000 + getattr(length, "nanoseconds", 0)


def _length(value: Any) -> timedelta | None:
    if isinstance(value, np.timedelta64):
        value = value.astype("m8[us]").item()
    if isinstance(value, timedelta):
        # 292,000 years of microseconds are what 64 bits hold
        return value if abs(value) <= _LONGEST else None
    return _of_day(value)


def _of_day(value: time) -> timedelta:
    return timedelta(
        hours=value.hour,
        minutes=value.minute,
        seconds=value.second,
        microseconds=value.microsecond,
    )
