"""Arguments that many functions take: several values, a number, a text, a moment, a length of time.

Python lets one text pass for a sequence of its letters, and pandas lets a time that is none pass
for a time. Either would go on, and end in an answer to another question.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from numbers import Integral, Real
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.names import quoted_name


def listed(name: str, values: Any, of: str = "column names") -> tuple[Any, ...]:
    """The values of an argument that takes several; None are none.

    Args:
        name: Name of the argument.
        values: A list, a tuple or anything else to go through, such as a generator.
        of: What the values are.

    Raises:
        ConfigError: If it is a single value; a text would be taken for its letters.
    """
    if values is None:
        return ()
    return tuple(several(name, values, of))


def several(name: str, values: Any, of: str) -> Iterable[Any]:
    """The values as they are given, so that a generator may make one at a time.

    Args:
        name: Name of the argument.
        values: As `listed` takes them, but not None.
        of: What the values are.

    Raises:
        ConfigError: If it is a single value.
    """
    is_frame = hasattr(values, "columns")  # whose items are the names of its columns
    is_one = isinstance(values, str | bytes | Mapping) or is_frame
    if is_one or not isinstance(values, Iterable):
        raise ConfigError(
            f"{name} must be a sequence of {of}, got {_shown(values)}; give a list or a tuple"
        )
    return values


def listed_columns(name: str, columns: Any) -> tuple[str, ...]:
    """The names of columns as the data have them, which is as text; none of None."""
    return tuple(map(str, listed(name, columns)))


def require_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number, or too small or large a one.

    Args:
        name: Name of the argument.
        value: Its value.
        least: The smallest that is allowed.
        most: The largest; None without a limit.

    Raises:
        ConfigError: If it is none.
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        up_to = "" if most is None else f" and at most {most}"
        raise ConfigError(
            f"{name} must be a whole number of at least {least}{up_to}, got {_shown(value)}"
        )


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; numpy's numbers are, a truth is none.

    >>> is_number(3), is_number("3"), is_number(True), is_number(math.inf)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        # a whole number beyond all floats
        return False


def number_meant(value: Any) -> float:
    """The number that a value is, or that its text says; `nan` if it says none.

    >>> number_meant("500"), number_meant("fast")
    (500.0, nan)
    """
    try:
        return float(value) if isinstance(value, str) or is_number(value) else math.nan
    except ValueError:
        return math.nan


def real_number(
    name: str, value: Any, *, above: float = -math.inf, most: float = math.inf
) -> float:
    """A finite number as a Python float; numpy's numbers are numbers, True and "5" are none.

    Args:
        name: Name of the argument.
        value: Its value.
        above: It must be larger.
        most: The largest that is allowed.

    Raises:
        ConfigError: If it is none; the message says what to write.
    """
    if is_number(value) and above < value <= most:
        return float(value)
    must = "a finite number" if above == -math.inf else f"finite and above {above:g}"
    must = "positive and finite" if above == 0 else must
    must += "" if most == math.inf else f", at most {most:g}"
    raise ConfigError(f"{name} must be {must}; got {_shown(value)}{_as_number(value)}")


def require_share(name: str, value: Any) -> None:
    """Refuse what is no share in [0, 1].

    Args:
        name: Name of the argument.
        value: Its value.

    Raises:
        ConfigError: If it is none.
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigError(f"{name} must be in [0, 1], got {_shown(value)}")


def require_objective_name(name: Any) -> None:
    """Refuse what cannot name an objective in reports and rules.

    Raises:
        ConfigError: If it is no text, or empty, or the word by which rules ask for all objectives.
    """
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"an objective must have a name, got {_shown(name)}")
    if name == "violated":
        raise ConfigError(
            "an objective must have another name than 'violated', by which rules ask whether any "
            "was missed"
        )


def require_text(name: str, value: Any) -> None:
    """Refuse what is no text.

    Args:
        name: Name of the argument.
        value: Its value.

    Raises:
        ConfigError: If it is none.
    """
    if not isinstance(value, str):
        raise ConfigError(
            f"{name} must be text, got {_shown(value)}; put it in quotes, or leave {name} out"
        )


def require_one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is none of a few words.

    Args:
        name: Name of the argument.
        value: Its value.
        choices: The words, two or more.

    Raises:
        ConfigError: If it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        allowed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise ConfigError(f"{name} must be {allowed}; got {_shown(value)}")


def require_duration(name: str, value: Any) -> None:
    """Refuse what is no positive length of time.

    Args:
        name: Name of the argument.
        value: Its value; NaT of pandas is none.

    Raises:
        ConfigError: If it is none.
    """
    if not isinstance(value, timedelta) or not value > timedelta(0):
        raise ConfigError(
            f"{name} must be a positive timedelta, such as timedelta(hours=26); got {_shown(value)}"
        )


def is_moment(value: Any) -> bool:
    """Whether a value is of a class of times or dates, also if it is one that stands for none."""
    return isinstance(value, date) or type(value).__name__ == "datetime64"


def moment(name: str, value: Any) -> datetime:
    """A moment in UTC; without a zone it is UTC, and a date is its midnight.

    Args:
        name: Name of the argument.
        value: A `datetime` or a date, also of pandas or numpy, or the ISO text of one.

    Raises:
        ConfigError: If it is none, such as NaT, nan or None.

    >>> moment("at", "2026-03-01T23:30:00-05:00")
    datetime.datetime(2026, 3, 2, 4, 30, tzinfo=datetime.timezone.utc)
    """
    try:
        # of nanoseconds `item` makes a whole number
        is_numpy = type(value).__name__ == "datetime64"
        at = value.astype("M8[us]").item() if is_numpy else value
        if isinstance(at, str):
            # Python 3.10 does not accept the Z
            at = datetime.fromisoformat(at.replace("Z", "+00:00"))
        # NaT is a datetime, and alone is not itself
        if isinstance(at, datetime) and at == at:  # noqa: PLR0124
            zoned = at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at
            utc = zoned.astimezone(timezone.utc)
            return datetime.combine(utc.date(), utc.time(), timezone.utc)
        if isinstance(at, date) and not isinstance(at, datetime):
            return datetime.combine(at, time(), timezone.utc)
    except (ValueError, OverflowError):
        pass
    raise ConfigError(
        f"{name} must be a moment, such as datetime(2026, 1, 31, tzinfo=timezone.utc), got "
        f"{_shown(value)}; give a time, or leave {name} out"
    )


def moment_read(value: Any) -> datetime | None:
    """The moment that a value of a log says, as `moment` takes it; None if it says none.

    >>> moment_read("gestern") is None
    True
    """
    try:
        return None if value is None else moment("timestamp", value)
    except ConfigError:
        return None


def _as_number(value: Any) -> str:
    """What to write for a value that is no number but looks like one."""
    if not isinstance(value, str):
        return f"; give float({value})" if type(value).__name__ == "Decimal" else ""
    text = value.strip()
    number = number_meant(text.removesuffix("%"))
    if not math.isfinite(number):
        return "; give a number"
    return (
        f"; write {number / 100:.10g}" if text.endswith("%") else f"; write {text} without quotes"
    )


def _shown(value: Any) -> str:
    is_small = value is None or isinstance(value, str | int | float | date | timedelta)
    is_small = is_small or type(value).__name__ in ("datetime64", "NAType", "NaTType")
    return quoted_name(value) if is_small else f"one {type(value).__name__}"
