"""Converts values to the types of the data contract, so that every written row can be read.

Writers (serving and the call log) use it before they write, readers use it for rows of earlier
releases. A value that does not fit its type is left out; the rest of the row is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from numbers import Complex, Integral, Real
from typing import Any
from uuid import UUID

from flytekitplugins.wbmon.data.scalars import bytes_text, class_name, is_missing, value_of
from flytekitplugins.wbmon.names import whole_name
from flytekitplugins.wbmon.storage.segments.json_lines import to_json, well_formed

_UTC_LENGTH = len("2026-01-01T00:00:00.000000+00:00")
_SIMPLE = {bool, int, float, str}
# whole numbers of more digits fit into no decimal of Arrow
_MOST_DIGITS = 76
_LONGEST_ID = 256
# a decimal may say in a few letters what takes gigabytes to write out
_MAX_EXPONENT = 1000


def fit_row(types: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row converted to their types; unknown and unfitting fields are left out."""
    return {
        name: fitted
        for name, value in row.items()
        if name in types and (fitted := fit(types[name], value)) is not None
    }


def fit(type_name: str, value: Any) -> Any:
    """Convert a value to a type of the contract; None if it does not fit.

    Args:
        type_name: A type as in `COLUMNS`, `document`, `int32`, or a map or list of these.
        value: Any object, also a scalar of an array library.

    >>> fit("int16", 99_999), fit("int16", "404"), fit("float64", "x"), fit("string", 7)
    (None, 404, None, '7')
    """
    if value is None:
        return None
    try:
        return _fitter(type_name)(value)
    except Exception:  # noqa: BLE001 - the object is somebody's, and so is what it does
        return None


def utc(value: Any) -> str | None:
    """An instant in the format of the log: ISO 8601 in UTC with microseconds; None if invalid.

    Args:
        value: A `datetime`, or its text in ISO 8601; without a zone it counts as UTC.

    >>> utc("2026-03-01T23:30:00-05:00")
    '2026-03-02T04:30:00.000000+00:00'
    """
    try:
        at = value
        if isinstance(value, str):
            # Python 3.10 does not accept the Z
            at = datetime.fromisoformat(value.replace("Z", "+00:00"))
            # already in this format, as nearly always: saves the conversion
            if len(value) == _UTC_LENGTH and value.endswith("+00:00") and _is_usual(value):
                return value
        if not isinstance(at, datetime):
            return None
        at = at.astimezone(timezone.utc) if at.tzinfo else at.replace(tzinfo=timezone.utc)
        return at.isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return None


def _is_usual(text: str) -> bool:
    # Python reads weeks (`2026-W10-7T…`) and a comma before the fraction, too
    return text[4] == text[7] == "-" and text[10] == "T" and text[19] == "."


def scalar(value: Any) -> Any:
    """A single value as a Python number, boolean or text that it can be told by; others unchanged.

    nan, NaT and `pd.NA` are None, members of an enum their value. Whole numbers of any class are
    ints, others floats if a float keeps all their digits. By their names, as text, are known other
    numbers, UUIDs, dates, times and durations; bytes are as `bytes_text` has them.
    """
    if type(value) in _SIMPLE:  # nearly all
        return value if value == value else None  # noqa: PLR0124 - nan is not
    if is_missing(value):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, Enum):
        return value
    return next((plain(value) for kind, plain in _PLAIN if isinstance(value, kind)), value)


def _of_member(value: Enum) -> Any:
    return scalar(value_of(value))


def _of_decimal(value: Decimal) -> int | float | str:
    if not value.is_finite():
        return float(value)
    if abs(value.adjusted()) > _MAX_EXPONENT:
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    return number if Decimal(repr(number)) == value else class_name(value)


def _of_real(value: Any) -> float | str:
    number = float(value)
    return number if number == value else class_name(value)


def _of_any(value: Any) -> Any:
    single = _of_array_library(value)
    if type(single) is not type(value):
        return scalar(single)
    if isinstance(value, Integral):
        return int(value)
    return _of_real(value) if isinstance(value, Real) else value


def _of_array_library(value: Any) -> Any:
    try:
        # of times in nanoseconds `item` makes numbers
        if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
            return class_name(value.reshape(())[()])
        return value.item()
    except Exception:  # noqa: BLE001 - it may look like an array, and be anything
        return value


_PLAIN: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((Enum,), _of_member),
    ((bytes, bytearray), bytes_text),
    ((Decimal,), _of_decimal),
    ((date, time, timedelta, UUID), class_name),
    ((object,), _of_any),
)


@cache
def _fitter(type_name: str) -> Callable[[Any], Any]:
    outer, _, inner = type_name.removesuffix(">").partition("<")
    return partial(_NESTED[outer], inner) if inner else _SINGLE[outer]


def _text(value: Any) -> str | None:
    if type(value) is str and value.isascii():
        return value
    if isinstance(value, Mapping | list | tuple):
        value = to_json(value)
    plain = scalar(value)
    if isinstance(plain, int) and not isinstance(plain, bool):
        return whole_name(plain)
    return None if plain is None else well_formed(plain if isinstance(plain, str) else str(plain))


def _whole(value: Any, *, below: int) -> int | None:
    number = value if type(value) is int else scalar(value)
    whole = int(number)
    if isinstance(number, float) and whole != number:
        return None
    return whole if -below <= whole < below else None


def _number(value: Any) -> float | None:
    if type(value) is not float and isinstance(value, Complex) and not isinstance(value, Real):
        return None  # numpy would take its real part
    number = float(value)
    # JSON has no nan and no infinity
    return number if math.isfinite(number) else None


def _truth(value: Any) -> bool | None:
    number = scalar(value)
    return bool(number) if number in (0, 1) else None


def _any(value: Any) -> bool | int | float | str | None:
    plain = scalar(value)
    if isinstance(plain, bool):  # first: a bool is an int too
        return plain
    if isinstance(plain, int):
        return int(plain) if abs(plain) < 10**_MOST_DIGITS else whole_name(int(plain))
    return _number(plain) if isinstance(plain, float) else _text(plain)


def _map(inner: str, value: Any) -> dict[str, Any] | None:
    if not isinstance(value, Mapping):
        return None
    of = inner.partition(",")[2]
    fitted = {_text(name): fit(of, item) for name, item in value.items()}
    return {name: item for name, item in fitted.items() if name is not None and item is not None}


def _list(inner: str, value: Any) -> list[Any] | None:
    if isinstance(value, str | Mapping):  # iterable, but no lists
        return None
    return [fitted for item in value if (fitted := fit(inner, item)) is not None]


def _documents(value: Any) -> list[dict[str, Any]] | None:
    """Documents as mappings; or a list of ids, where the rank of each is its place."""
    listed = None if isinstance(value, str | Mapping) else list(value)
    if listed is None or any(isinstance(item, Mapping) for item in listed):
        return _list("document", value)
    ids = enumerate((fit("string", item) for item in listed), 1)
    # what is longer is the text of a document
    return [{"id": id_, "rank": rank} for rank, id_ in ids if id_ and len(id_) <= _LONGEST_ID]


def _struct(types: Mapping[str, str], value: Any) -> dict[str, Any] | None:
    return fit_row(types, value) if isinstance(value, Mapping) else None


_HISTOGRAM = {
    "scale": "int16",
    "offset": "int32",
    "counts": "list<int64>",
    "zero_count": "int64",
    "sum": "float64",
    "min": "float64",
    "max": "float64",
}
_DOCUMENT = {"id": "string", "rank": "int32", "score": "float64"}
_NESTED: Mapping[str, Callable[[str, Any], Any]] = {"map": _map, "list": _list}
_SINGLE: Mapping[str, Callable[[Any], Any]] = {
    "string": _text,
    "int16": partial(_whole, below=2**15),
    "int32": partial(_whole, below=2**31),
    "int64": partial(_whole, below=2**63),
    "float64": _number,
    "bool": _truth,
    "timestamp": utc,
    "any": _any,
    "document": partial(_struct, _DOCUMENT),
    "documents": _documents,
    "histogram": partial(_struct, _HISTOGRAM),
}
