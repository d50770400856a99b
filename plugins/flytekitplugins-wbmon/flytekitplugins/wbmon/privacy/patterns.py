"""Personal data and keys, found by patterns that check themselves, hidden before anything is kept.

Numbers are the hard part: an order id looks like a phone number to a pattern alone. So a candidate
counts only if its checksum (card, IBAN, national id) or its form (a leading `+`, an area code in
brackets) says what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from flytekitplugins.wbmon.privacy import checksums

_MAX_DEPTH = 20

_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[0-9A-Za-z_\-]{35}"
    r"|\bya29\.[0-9A-Za-z_\-]{20,}"
    r"|\b(?:sk|rk|pk)[_-](?:live[_-]|test[_-]|ant[_-]|proj[_-]|or[_-])?[A-Za-z0-9_\-]{16,}"
    r"|\b(?:gh[pousr]|gsk|hf|r8|npm|whsec|wandb_v\d+)_[A-Za-z0-9_]{16,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{22,}"
    r"|\b(?:glpat|xai|pplx|local|dop_v1|xox[abeoprs])-[A-Za-z0-9\-_]{16,}"
    r"|\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"
    r"|\bey[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*",
    re.DOTALL,
)
_BEARER = re.compile(
    r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?(?:\w+\s+)?"
    r"|(?:bearer|basic)\s+(?=[^\s\"']*[\d+/=_.\-]))[A-Za-z0-9+/=_.~\-]{8,}"
)
_ASSIGNED = re.compile(
    r"(?i)((?:api[_-]?key|account[_-]?key|secret(?:[_-]?key)?|passw(?:or)?d|pwd"
    r"|(?:access|auth|refresh|id|session)[_-]?token)[\"']?\s*[:=]\s*[\"']?)"
    r"(?!\[)([^\s\"',;&{}\[\]]{3,})"
)
_URL_SECRET = re.compile(r"(?<=://)[^/\s:@\"']*:[^/\s@\"']+(?=@)")
_EMAIL = re.compile(r"[^\W_][\w.!#$&'*+/=?^`{|}~\-]*(?:@|%40)[^\W_](?:[\w\-]*\.)+[^\W\d_]{2,}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_LETTERED_ID = re.compile(
    r"\b(?:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"
    r"|[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]"
    r"|[XYZ]?\d{7,8}-?[A-HJ-NP-TV-Z])\b"
)
_NUMBER = re.compile(r"(?<![\w.+\-])(?:\+|00)?[ ]?\(?\d(?:[ ().\-/]{0,3}\d){6,22}(?![\w])(?!\.\d)")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_\-.])(?:api_?key|access_?key|private_?key|secret(?:_?key)?|password|passwd|pwd"
    r"|(?:access|auth|refresh|id|session)_?token|token|credentials?|authorization|cookie)$"
)
# what the slower patterns cannot do without, by means that look at a byte in a nanosecond
_IN_WORDS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
_WORD_SHAPES = bytes(b"w"[0] if byte in _IN_WORDS else b" "[0] for byte in range(256))
_LONG_WORD = b"w" * 16
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in b"0123456789")
_MIN_DIGITS = 4
# four digits close together: every number that is looked for has them
_NUMERIC = re.compile(r"\d(?:\D{0,3}\d){3}|::")
_SECRET_WORDS = ("key", "secret", "passw", "pwd", "token")
_SCHEME_WORDS = ("bearer", "basic", "authorization")


class Redacted(NamedTuple):
    """What is left of a value, and how many things were hidden in it."""

    value: Any
    n: int


class Redactor(Protocol):
    """Hides what must not be kept; an error means that nothing of the text is kept."""

    def text(self, text: str) -> tuple[str, int]:
        """The text with what was found hidden, and how often."""


class PatternRedactor:
    """Hides e-mail addresses, phone numbers, cards, IBANs, national ids, IPs, and keys of any kind.

    Everything is found by patterns, and numbers by their checksums as well, at some microseconds a
    text. It knows no names and no postal addresses; for those give a `PresidioRedactor`.

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
        if "\\u" in text:
            text = _plain_json(text)
        n = 0
        for pattern, label in self._extra:
            text, found = pattern.subn(label, text)
            n += found
        text, found = _hide_secrets(text)
        n += found
        if "@" in text or "%40" in text:
            text, found = _EMAIL.subn("[EMAIL]", text)
            n += found
        if _has_numbers(text):
            text, found = _hide_numbers(text)
            n += found
        return text, n


def redact_value(  # noqa: PLR0911 - each kind of value is its own case
    redactor: Redactor, value: Any, *, depth: int = 0
) -> Redacted:
    """A copy of nested containers with every text redacted, and values under a secret's name.

    Numbers, booleans and None stay; anything else is taken as its text.
    """
    if isinstance(value, str):
        return Redacted(*redactor.text(value))
    if value is None or isinstance(value, bool | int | float):
        return Redacted(value, 0)
    if depth >= _MAX_DEPTH:
        return Redacted("[too deep]", 1)
    if isinstance(value, Mapping):
        parts = {
            redactor.text(str(name))[0]: _named(redactor, str(name), item, depth)
            for name, item in value.items()
        }
        hidden = sum(part.n for part in parts.values())
        return Redacted({name: part.value for name, part in parts.items()}, hidden)
    if isinstance(value, list | tuple | set | frozenset):
        items = [redact_value(redactor, item, depth=depth + 1) for item in value]
        return Redacted([item.value for item in items], sum(item.n for item in items))
    if isinstance(value, bytes | bytearray):
        return Redacted(*redactor.text(value.decode("utf-8", "replace")))
    if hasattr(value, "tolist"):
        return redact_value(redactor, value.tolist(), depth=depth + 1)
    return Redacted(*redactor.text(str(value)))


def _named(redactor: Redactor, name: str, item: Any, depth: int) -> Redacted:
    if isinstance(item, str) and item and _SECRET_NAME.search(name):
        return Redacted("[SECRET]", 1)
    return redact_value(redactor, item, depth=depth + 1)


def _plain_json(text: str) -> str:
    """JSON without escaped letters, which would hide an address from every pattern."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)


def _hide_secrets(text: str) -> tuple[str, int]:
    n = 0
    words = text.lower()
    if _has_long_word(text):
        text, n = _KEY.subn("[KEY]", text)
    if _has_any(_SECRET_WORDS, words):
        text, found = _ASSIGNED.subn(r"\1[SECRET]", text)
        n += found
    if "://" in text:
        text, found = _URL_SECRET.subn("[CREDENTIALS]", text)
        n += found
    if _has_any(_SCHEME_WORDS, words):
        text, found = _BEARER.subn(r"\1[TOKEN]", text)
        n += found
    return text, n


def _has_any(words: tuple[str, ...], text: str) -> bool:
    for word in words:  # noqa: SIM110 - a generator costs more than the search
        if word in text:
            return True
    return False


def _has_long_word(text: str) -> bool:
    shapes = text.encode("utf-8", "replace").translate(_WORD_SHAPES)
    return _LONG_WORD in shapes or "PRIVATE KEY" in text


def _has_numbers(text: str) -> bool:
    if text.isascii() and "::" not in text:
        digits = text.encode().translate(None, _NO_DIGITS)
        if len(digits) < _MIN_DIGITS:
            return False
    return _NUMERIC.search(text) is not None


def _hide_numbers(text: str) -> tuple[str, int]:
    n = 0
    for pattern, kind in _CHECKED:
        text, found = _sub_checked(pattern, kind, text)
        n += found
    return text, n


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
    (_IBAN, checksums.kind_of_iban),
    (_LETTERED_ID, checksums.kind_of_lettered_id),
    (_IPV4, checksums.kind_of_address),
    (_IPV6, checksums.kind_of_address),
    (_NUMBER, checksums.kind_of_number),
)
