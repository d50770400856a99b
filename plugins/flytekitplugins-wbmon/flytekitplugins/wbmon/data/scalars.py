"""Single Python values: which stand for nothing, and what the others are called.

Nothing here loads an array library: a server that logs predictions pays for every import.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from numbers import Integral, Rational, Real
from typing import Any
from uuid import UUID

from flytekitplugins.wbmon.names import whole_name

_NUMPY_BOOLEANS = ("bool", "bool_")  # no numbers for Python
_NUMPY_TIMES = ("datetime64", "timedelta64")
_MIDNIGHT = time()
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
UUID_BYTES = 16
CONTROLS = r"[\x00-\x08\x0e-\x1f\x7f]"
"""Control characters that text does not have: all but white space."""
_CONTROLS = frozenset((*range(0x09), *range(0x0E, 0x20), 0x7F))
_NOTHING = ("NAType", "NaTType", "MaskedConstant")  # of pandas and numpy, if they are installed


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, nan of any class, NaT, `pd.NA` or `np.ma.masked`."""
    # nearly all values, and nan alone is not itself
    if isinstance(value, str | int | float):
        return bool(value != value)  # noqa: PLR0124
    if isinstance(value, Decimal):
        return value.is_nan()
    name = type(value).__name__
    if name in _NUMPY_TIMES:
        return bool(value != value)  # noqa: PLR0124
    # a number of an array library is a `Real`, too
    if isinstance(value, Real):
        return not isinstance(value, Rational) and math.isnan(value)
    return value is None or name in _NOTHING


def value_of(member: Enum) -> Any:
    """What a member of an enum stands for: its value if that is a single one, else its name."""
    single = isinstance(member.value, (str, int, float, bytes))
    return member.value if single else member.name


def bytes_text(value: bytes | bytearray) -> str:
    """Bytes as text: UTF-8 as itself, 16 other bytes as a UUID, others as `0x` and hexadecimal.

    Text has no control characters but white space: one in ten million UUIDs has none, and is UTF-8.
    """
    with suppress(UnicodeDecodeError):
        text = value.decode()
        if len(value) != UUID_BYTES or not _CONTROLS.intersection(value):
            return text
    return str(UUID(bytes=bytes(value))) if len(value) == UUID_BYTES else f"0x{value.hex()}"


def class_name(value: Any) -> str:
    """The name of a value as text; `True`, `1` and `1.0` are all named `1`.

    Whole numbers have all their digits (hexadecimal ones beyond 4300), as decimals have, times are
    ISO in UTC, and at midnight the date alone, as dates are, durations are seconds, a member of an
    enum is named as its value, and bytes as `bytes_text` has them.
    """
    if isinstance(value, Enum):
        value = value_of(value)
    if type(value).__name__ in _NUMPY_BOOLEANS:
        return _whole(value)
    if type(value).__name__ in _NUMPY_TIMES:
        return _numpy_time(value)
    return next((name(value) for kinds, name in _NAMES if isinstance(value, kinds)), str(value))


def decimal_name(value: Decimal) -> str:
    """All digits of a decimal, without an exponent and without zeros at the end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def nanosecond_name(value: int, *, is_time: bool) -> str:
    """The name of a time since 1970 or a duration in nanoseconds, of which Python has no type."""
    micro, rest = divmod(value, 1000)
    if not is_time:
        return decimal_name(Decimal(value).scaleb(-9))
    at = EPOCH + timedelta(microseconds=micro)
    # as ISO has it, with nine digits of a second where there are so many
    return f"{at:%Y-%m-%dT%H:%M:%S}.{value % 10**9:09d}+00:00" if rest else class_name(at)


def _numpy_time(value: Any) -> str:
    held = value.item()
    if not isinstance(held, int):
        return class_name(held)
    # what Python cannot hold is a whole number of its unit
    if value.dtype.str.endswith("[ns]"):
        return nanosecond_name(held, is_time=value.dtype.kind == "M")
    return str(value)


def _whole(value: Any) -> str:
    return whole_name(int(value))


def _real(value: Any) -> str:
    if float(value).is_integer():
        return str(int(value))
    # the text of a float of 32 bits is that of the number it was made from
    text = str(value)
    # as a decimal of the same digits is named
    return decimal_name(Decimal(text)) if "e-" in text else text


def _moment(value: datetime) -> str:
    at = value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value
    utc = at.astimezone(timezone.utc)
    # what holds dates makes midnights of them, or not: one day has one name
    is_date = utc.time() == _MIDNIGHT and not getattr(utc, "nanosecond", 0)
    return utc.date().isoformat() if is_date else utc.isoformat()


def _seconds(value: timedelta) -> str:
    # not `total_seconds()`: a float has no room for the microseconds of centuries
    whole = value.days * 86_400 + value.seconds
    # pandas counts nanoseconds beside the microseconds
    nanoseconds = value.microseconds * 1000 + getattr(value, "nanoseconds", 0)
    return decimal_name(whole + Decimal(nanoseconds).scaleb(-9))


_NAMES: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (Integral, _whole),
    (Decimal, decimal_name),
    (Real, _real),
    ((bytes, bytearray), bytes_text),
    # a time is also a date, so it comes first
    (datetime, _moment),
    (date, date.isoformat),
    (timedelta, _seconds),
)
