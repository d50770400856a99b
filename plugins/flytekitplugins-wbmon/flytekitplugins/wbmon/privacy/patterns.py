"""Finds personal data and keys by patterns and checksums, and hides them before text is stored."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.privacy.containers import (
    Redacted,
    RedactedPart,
    redact_containers,
    redact_part,
)
from flytekitplugins.wbmon.privacy.emails import hide_emails
from flytekitplugins.wbmon.privacy.personal_numbers import hide_numbers
from flytekitplugins.wbmon.privacy.plain_text import plain_text
from flytekitplugins.wbmon.privacy.secret_forms import hide_secrets

# base64 of a JSON object, in which nothing is found as long as it is encoded
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/_\-.])eyJ[A-Za-z0-9+/_\-]{20,}={0,2}(?![A-Za-z0-9+/_\-=.])")
_MAX_ENCODED = 20_000


class Redactor(Protocol):
    """Hides what must not be stored; if it raises an exception, the text is not stored at all."""

    def text(self, text: str) -> tuple[str, int]:
        """The text with every finding hidden, and the number of findings."""


class PatternRedactor:
    """Hides e-mail addresses, phone numbers, cards, IBANs, national ids, IPs, and keys of any kind.

    Everything is found by patterns, and numbers by their checksums or the name before them as well,
    at some tens of microseconds a text. It knows no names and no postal addresses; for those give a
    `PresidioRedactor`.

    Args:
        extra: Further patterns by the label that takes their place.
    """

    def __init__(self, extra: Mapping[str, str] | None = None) -> None:
        self._extra = [(re.compile(form), f"[{label}]") for label, form in (extra or {}).items()]

    def text(self, text: str) -> tuple[str, int]:
        """The text with what was found replaced by its kind in brackets, and how often.

        >>> PatternRedactor().text("call +44 20 7946 0958 about order 1700000000")
        ('call [PHONE] about order 1700000000', 1)
        """
        left, n = self._search(plain_text(text))
        return (left, n) if n else (text, 0)

    def _search(self, text: str) -> tuple[str, int]:
        n = 0
        if "eyJ" in text:
            text, n = self._hide_encoded(text)
        for pattern, label in self._extra:
            text, found = pattern.subn(label, text)
            n += found
        for hide in (hide_secrets, hide_emails, hide_numbers):
            text, found = hide(text)
            n += found
        return text, n

    def _hide_encoded(self, text: str) -> tuple[str, int]:
        n = 0

        def replace(found: re.Match[str]) -> str:
            nonlocal n
            inside = _decoded(found[0])
            if inside is None or not redact_value(self, inside).n:
                return found[0]
            n += 1
            return "[KEY]"

        return _ENCODED.sub(replace, text), n


def require_redactor(redactor: Any) -> None:
    """Refuse what hides nothing and is not None either.

    Raises:
        ConfigError: If it has no method `text`.
    """
    if redactor is not None and not callable(getattr(redactor, "text", None)):
        raise ConfigError(
            f"redactor must be a Redactor such as PatternRedactor(), or None, got {redactor!r}"
        )


def redact_value(redactor: Redactor, value: Any) -> Redacted:
    """A copy of nested containers with every text redacted, and values under a secret's name."""
    return redact_containers(value, redactor.text)


def redact_within(redactor: Redactor, value: Any, *, limit: int) -> RedactedPart:
    """As `redact_value`, but of at most `limit` characters, so that no value takes long.

    What is beyond is left out unread, with `[...]` in its place; whether there was any is the third
    of the result.

    Args:
        redactor: Hides what must not be stored.
        value: A text or containers.
        limit: Number of characters that are searched; every value in a container counts as one.
    """
    return redact_part(value, redactor.text, limit=limit)


def _decoded(word: str) -> Any:
    """The object of JSON that a word is the base64 of; None if it is of anything else."""
    if len(word) > _MAX_ENCODED:
        return None
    padded = word.rstrip("=") + "=" * (-len(word.rstrip("=")) % 4)
    try:
        return json.loads(
            base64.b64decode(
                padded.encode(), altchars=b"-_" if "-" in word or "_" in word else None
            )
        )
    except (ValueError, RecursionError):
        return None
