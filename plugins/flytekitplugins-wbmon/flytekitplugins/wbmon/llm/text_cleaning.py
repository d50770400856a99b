"""What is kept of the texts of a call: redacted by an object, a function, or later by the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from flytekitplugins.wbmon.privacy.patterns import Redactor, redact_value
from flytekitplugins.wbmon.storage.segments.json_lines import to_json, to_text

TextRedactor: TypeAlias = Redactor | Callable[[str], str | tuple[str, int]]
"""A `Redactor`, or a function from a text to a text, as `PatternRedactor().text` is one."""


def cleaning(redact: TextRedactor | None, *, keeps_containers: bool) -> Callable[[Any], Any]:
    """A function from a text, or messages, to what a row keeps of it.

    Args:
        redact: Hides what must not be kept; None for nothing here.
        keeps_containers: Whether the log takes messages as they are, to redact them text by text.
    """
    if redact is None:
        return _snapshot if keeps_containers else to_text
    if hasattr(redact, "text"):
        redactor = redact
        return lambda value: to_text(redact_value(redactor, value).value)
    function = redact

    def by_function(value: Any) -> str:
        left = function(to_text(value))
        return left[0] if isinstance(left, tuple) else left

    return by_function


def _snapshot(value: Any) -> Any:
    # the caller goes on adding to the list of messages
    return value if isinstance(value, str) else json.loads(to_json(value))
