"""Single Python values: which stand for nothing, and what the others are called.

Nothing here loads an array library: a server that logs predictions pays for every import.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from numbers import Integral, Rational, Real
from typing import Any

_NUMPY_BOOLEANS = ("bool", "bool_")  # no numbers for Python
_NOTHING = ("NAType", "NaTType")  # of pandas, which need not be installed


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, nan of any class, NaT or `pd.NA`."""
    # nearly all values, and nan alone is not itself
    if isinstance(value, str | int | float):
        return bool(value != value)  # noqa: PLR0124
    if isinstance(value, Decimal):
        return value.is_nan()
    # a number of an array library is a `Real`, too
    if isinstance(value, Real):
        return not isinstance(value, Rational) and math.isnan(value)
    return value is None or type(value).__name__ in _NOTHING


def value_of(member: Enum) -> Any:
    """What a member of an enum stands for: its value if that is a single one, else its name."""
    single = isinstance(member.value, (str, int, float, bytes))
    return member.value if single else member.name


def bytes_text(value: bytes) -> str:
    """Bytes as text: UTF-8 as itself, other bytes as `0x` and hexadecimal digits."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"0x{value.hex()}"


def class_name(value: Any) -> str:
    """The name of a value as text; `True`, `1` and `1.0` are all named `1`.

    Whole numbers and decimals have all their digits, times are ISO in UTC, durations are seconds, a
    member of an enum is named as its value, and bytes are UTF-8, or hexadecimal after `0x`.
    """
    if isinstance(value, Enum):
        value = value_of(value)
    if type(value).__name__ in _NUMPY_BOOLEANS:
        return _whole(value)
    return next((name(value) for kinds, name in _NAMES if isinstance(value, kinds)), str(value))


def decimal_name(value: Decimal) -> str:
    """All digits of a decimal, without an exponent and without zeros at the end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _whole(value: Any) -> str:
    return str(int(value))


def _real(value: Any) -> str:
    # the text of a float of 32 bits is that of the number it was made from
    return str(int(value)) if float(value).is_integer() else str(value)


def _moment(value: datetime) -> str:
    at = value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value
    return at.astimezone(timezone.utc).isoformat()


def _seconds(value: timedelta) -> str:
    # not `total_seconds()`: a float has no room for the microseconds of centuries
    whole = value.days * 86_400 + value.seconds
    return decimal_name(whole + Decimal(value.microseconds).scaleb(-6))


_NAMES: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (Integral, _whole),
    (Decimal, decimal_name),
    (Real, _real),
    (bytes, bytes_text),
    # a time is also a date, so it comes first
    (datetime, _moment),
    (date, date.isoformat),
    (timedelta, _seconds),
)
