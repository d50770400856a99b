"""What is kept of the texts of a call: redacted by an object, a function, or later by the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from flytekitplugins.wbmon.privacy.patterns import Redactor, redact_value
from flytekitplugins.wbmon.storage.segments.json_lines import to_json, to_text

TextRedactor: TypeAlias = Redactor | Callable[[str], Any]
"""A `Redactor`, its method `text`, or a function from a text to a text."""


def cleaning(redact: TextRedactor | None, *, keeps_containers: bool) -> Callable[[Any], Any]:
    """A function from a text, or messages, to what a row keeps of it.

    Args:
        redact: Hides what must not be kept; None for nothing here.
        keeps_containers: Whether the log takes messages as they are, to redact them text by text.
    """
    if redact is None:
        return _snapshot if keeps_containers else to_text
    redactor = _redactor_of(redact)
    if redactor is not None:
        return lambda value: to_text(redact_value(redactor, value).value)
    function = cast("Callable[[str], str]", redact)

    def by_function(value: Any) -> Any:
        left = function(to_text(value))
        return _messages(left) if keeps_containers and not isinstance(value, str) else left

    return by_function


def _redactor_of(redact: TextRedactor) -> Redactor | None:
    """The redactor itself, or the one whose method was given: it gives a count with the text."""
    owner = redact if hasattr(redact, "text") else getattr(redact, "__self__", None)
    is_method = owner is redact or getattr(redact, "__name__", "") == "text"
    return owner if is_method and hasattr(owner, "text") else None


def _messages(text: str) -> Any:
    """Messages again, if the text still is JSON: of escaped letters a redactor sees too little."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _snapshot(value: Any) -> Any:
    # the caller goes on adding to the list of messages
    return value if isinstance(value, str) else json.loads(to_json(value))
