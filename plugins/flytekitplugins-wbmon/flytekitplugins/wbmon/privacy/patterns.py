"""Finds personal data and keys by patterns and checksums, and hides them before text is stored.

Numbers are the difficult part: by its pattern alone an order id looks like a phone number. A number
is therefore hidden only if its checksum (card, IBAN, national id) or its format (a leading `+`, an
area code in brackets) confirms what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flytekitplugins.wbmon.privacy import checksums
from flytekitplugins.wbmon.privacy.containers import Redacted, redact_containers
from flytekitplugins.wbmon.privacy.secret_forms import hide_secrets

# read back from the end of an address, and no further than RFC 5321 allows: a search that begins at
# every letter of a long word would read the word once a letter
_EMAIL_DOMAIN = re.compile(r"(?:@|%40)[^\W_](?:[\w\-]*\.)+[^\W\d_]{2,}")
_EMAIL_NAME_BACKWARDS = re.compile(r"[\w.!#$&'*+/=?^`{|}~\-]*[^\W_]")
_MAX_EMAIL_NAME = 64
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b")
_GAP = re.compile(r"[ -]")
_LETTERED_ID = re.compile(
    r"\b(?:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"
    r"|[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]"
    r"|[XYZ]?\d{7,8}-?[A-HJ-NP-TV-Z])\b"
)
_NUMBER = re.compile(r"(?<![\w.+\-])(?:\+|00)?[ ]?\(?\d(?:[ ().\-/]{0,3}\d){6,22}(?![\w])(?!\.\d)")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in b"0123456789")
_MIN_DIGITS = 4
# four digits close together: every number that is looked for has them
_NUMERIC = re.compile(r"\d(?:\D{0,3}\d){3}|::")


class Redactor(Protocol):
    """Hides what must not be stored; if it raises an exception, the text is not stored at all."""

    def text(self, text: str) -> tuple[str, int]:
        """The text with every finding hidden, and the number of findings."""


class PatternRedactor:
    """Hides e-mail addresses, phone numbers, cards, IBANs, national ids, IPs, and keys of any kind.

    Everything is found by patterns, and numbers by their checksums as well, at some tens of
    microseconds a text. It knows no names and no postal addresses; for those give a
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
        # first, because no pattern matches escaped letters
        if "\\u" in text:
            text = _plain_json(text)
        n = 0
        for pattern, label in self._extra:
            text, found = pattern.subn(label, text)
            n += found
        text, found = hide_secrets(text)
        n += found
        if "@" in text or "%40" in text:
            text, found = _hide_emails(text)
            n += found
        if _has_numbers(text):
            text, found = _hide_numbers(text)
            n += found
        return text, n


def redact_value(redactor: Redactor, value: Any) -> Redacted:
    """A copy of nested containers with every text redacted, and values under a secret's name."""
    return redact_containers(value, redactor.text)


def _plain_json(text: str) -> str:
    """JSON without escaped letters, which would hide an address from every pattern."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)


def _hide_emails(text: str) -> tuple[str, int]:
    kept, n, end = [], 0, 0
    for found in _EMAIL_DOMAIN.finditer(text):
        before = text[max(end, found.start() - _MAX_EMAIL_NAME) : found.start()]
        name = _EMAIL_NAME_BACKWARDS.match(before[::-1])
        if name:
            kept += [text[end : found.start() - name.end()], "[EMAIL]"]
            n, end = n + 1, found.end()
    return "".join([*kept, text[end:]]), n


def _has_numbers(text: str) -> bool:
    if text.isascii() and "::" not in text:
        digits = text.encode().translate(None, _NO_DIGITS)
        if len(digits) < _MIN_DIGITS:
            return False
    return _NUMERIC.search(text) is not None


def _hide_numbers(text: str) -> tuple[str, int]:
    text, n = _hide_ibans(text)
    for pattern, kind in _CHECKED:
        text, found = _sub_checked(pattern, kind, text)
        n += found
    return text, n


def _hide_ibans(text: str) -> tuple[str, int]:
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        # a word in capitals may follow that is not part of the number: `… 7034 EUR`
        ends = [gap.start() for gap in _GAP.finditer(found[0])]
        for end in reversed([*ends, len(found[0])]):
            if checksums.is_iban(found[0][:end]):
                n += 1
                return f"[IBAN]{found[0][end:]}"
        return found[0]

    return _IBAN.sub(replace, text), n


def _sub_checked(
    pattern: re.Pattern[str], kind: Callable[[str], str | None], text: str
) -> tuple[str, int]:
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        core = found[0].lstrip()
        if core[0] == "(" and ")" not in core:
            core = core[1:]
        label = kind(core)
        if label is None:
            return found[0]
        n += 1
        return f"{found[0][: -len(core)]}[{label}]"

    return pattern.sub(replace, text), n


_CHECKED: tuple[tuple[re.Pattern[str], Callable[[str], str | None]], ...] = (
    (_LETTERED_ID, checksums.kind_of_lettered_id),
    (_IPV4, checksums.kind_of_address),
    (_IPV6, checksums.kind_of_address),
    (_NUMBER, checksums.kind_of_number),
)
