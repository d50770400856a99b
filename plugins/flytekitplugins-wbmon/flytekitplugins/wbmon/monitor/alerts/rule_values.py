"""What the values of an alert rule must be, for a rule in Python and for one in a file alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flytekitplugins.wbmon.arguments import (
    moment,
    real_number,
    require_one_of,
    require_text,
    require_whole,
)
from flytekitplugins.wbmon.errors import ConfigError

SEVERITIES = ("info", "warn", "error")
# with 4 windows even a strictly monotonic series has p = 1/24, one-sided, in the Mann-Kendall test
_SHORTEST_TREND = 5
_MAY_BE_MISSING = ("below", "above", "drop", "beyond_sd", "trend", "silent_until")


def rule_value(name: str, value: Any) -> Any:
    """One value of a rule in plain Python: numpy's numbers become Python's, a date a moment.

    Args:
        name: The field of `AlertRule`.
        value: What it was given.

    Raises:
        ConfigError: If it is of another type or out of range; the message says what to write.
    """
    if value is None and name in _MAY_BE_MISSING:
        return None
    return _CHECKS[name](name, value)


def _text(name: str, value: Any) -> str:
    require_text(name, value)
    return str(value)


def _choice(choices: tuple[str, ...], name: str, value: Any) -> str:
    require_one_of(name, value, choices)
    return str(value)


def _whole(least: int, name: str, value: Any) -> int:
    require_whole(name, value, least)
    return int(value)


def _share(name: str, value: Any) -> float:
    try:
        return real_number(name, value, above=0, most=1)
    except ConfigError as error:
        raise ConfigError(f"{error}; it is a positive share of the baseline, 0.05 is 5 %") from None


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, got {value!r}"[:200])
    return value


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "metric": _text,
    "below": real_number,
    "above": real_number,
    "drop": _share,
    "worse_than_baseline": _yes_or_no,
    "beyond_sd": partial(real_number, above=0),
    "trend": partial(_whole, _SHORTEST_TREND),
    "for_windows": partial(_whole, 1),
    "resolve_after": partial(_whole, 1),
    "on_no_data": partial(_choice, ("keep", "breach")),
    "silent_until": moment,
    "severity": partial(_choice, SEVERITIES),
    "name": _text,
    "owner": _text,
    "runbook": _text,
}
