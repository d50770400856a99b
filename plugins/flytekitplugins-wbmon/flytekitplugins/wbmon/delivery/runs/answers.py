"""Values in the answers of a W&B server, each of the type that it must have, or a `PublishError`.

A value that is not there is never taken for 0 or for "no such run": rows would be sent twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import NoneType
from typing import Any, TypeVar

from flytekitplugins.wbmon.errors import PublishError

MAX_COUNT = 2**53
_MAX_DIGITS = 300
_SHOWN = 200

T = TypeVar("T")


def parse_json(content: str | bytes) -> Any:
    """Parse JSON, with each whole number of hundreds of digits as a float.

    Raises:
        ValueError: If it is not JSON.
        RecursionError: If it is nested too deeply.
    """
    # exact, as a config is written back; `float` refuses a larger `int`
    return json.loads(content, parse_int=_number)


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def optional_object(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in an answer; empty if it is null, or if its parent was."""
    is_answered = isinstance(parent, dict) and (not parent or name in parent)
    found = parent.get(name) if is_answered else ""
    # without the field, or without any field in it, what was asked for was not answered
    if found == {} or not isinstance(found, (dict, NoneType)):
        raise misunderstood(f"`{name}`", "an object or null", found)
    return found or {}


def typed_value(parent: Mapping[str, Any], name: str, kind: type[T], default: T | None = None) -> T:
    """A value of an answer; the default, if there is one, if it is null or not there."""
    value = parent.get(name)
    if value is None and default is not None:
        return default
    # in Python a bool is a number
    if not isinstance(value, kind) or isinstance(value, bool):
        raise misunderstood(f"`{name}`", f"of type {kind.__name__}", value)
    return value


def row_count(parent: Mapping[str, Any], name: str) -> int:
    """A number of rows in an answer."""
    count = typed_value(parent, name, int)
    if not 0 <= count <= MAX_COUNT:
        raise misunderstood(f"`{name}`", "a number of rows", count)
    return count


def json_object(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object that GraphQL gives as a JSON scalar: as text, or as the object itself."""
    value = parent.get(name)
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except (ValueError, RecursionError):
            raise misunderstood(f"`{name}`", "JSON", value) from None
    return typed_value({name: value}, name, dict, {})


def error_message(errors: object) -> str:
    """The text of the first error that GraphQL reports."""
    first = errors[0] if isinstance(errors, list) and errors else errors
    message = first.get("message") if isinstance(first, dict) else first
    return str(message)[:_SHOWN]


def misunderstood(what: str, must: str, got: object) -> PublishError:
    """The error for an answer of another form than the one that is documented."""
    return PublishError(f"{what} in W&B's answer must be {must}, got {repr(got)[:_SHOWN]}")
