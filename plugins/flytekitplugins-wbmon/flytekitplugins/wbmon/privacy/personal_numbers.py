"""Finds numbers that belong to a person: cards, accounts, national ids, phones, addresses.

By its pattern alone an order id looks like a phone number. A number is therefore hidden only if its
checksum (card, IBAN, national id) or its format (a leading `+`, an area code in brackets) confirms
what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from flytekitplugins.wbmon.privacy import checksums
from flytekitplugins.wbmon.privacy.named_numbers import hide_named_numbers

# no letter but those of English belongs to a number (`re.ASCII`): other languages have no blanks
# between words. Each begins with digits, so that a search passes words quickly; what must stand
# before them is looked at afterwards
_IBAN = re.compile(
    r"\d{2}(?<=[A-Za-z]{2}\d{2})(?<![A-Za-z0-9][A-Za-z]{2}\d{2})"
    r"(?:[ .\-]?[A-Za-z0-9]{4}){2,7}(?:[ .\-]?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])"
)
_GAP = re.compile(r"[ .\-]")
_CARD = re.compile(
    r"[2-6]\d{3}(?<!\d{5})(?<!\d\.\d{4})"
    r"(?:\d{9,15}|(?P<gap>[ \t+_./\-]{1,3}|[ \t]?(?:\r?\n|\\r?\\n)[ \t]{0,8})"
    r"(?:\d{4}(?P=gap)\d{4}(?P=gap)\d{4}|\d{6}(?P=gap)\d{4,5}))(?!\d)(?!\.\d{0,20}[1-9])"
)
_USUAL_LENGTHS = (15, 16)
_LETTERED_ID = re.compile(
    r"\d{2}(?:(?<=[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{2}) ?\d{2} ?\d{2} ?[A-D]"
    r"|(?<=[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] \d{2}) ?\d{2} ?\d{2} ?[A-D]"
    r"|(?<=[A-Za-z]{6}\d{2})[A-EHLMPRSTa-ehlmprst]\d{2}[A-Za-z]\d{3}[A-Za-z]"
    r"|\d{5,6}-?[A-HJ-NP-TV-Za-hj-np-tv-z])\b(?![+\-]\d)",
    re.ASCII,
)
_LETTERS_BEFORE = re.compile(r"(?<![\w.])(?:[A-Za-z]{6}|[A-Z]{2} ?|[XYZxyz])?\Z", re.ASCII)
_NUMBER = re.compile(
    r"\d(?<![\w.\-]\d)(?<![^\W_]\+\d)(?<![.+\-]\+\d)(?:[ ().\-/]{0,3}\d){6,22}(?![^\W_])(?!\.\d)",
    re.ASCII,
)
_PLUS = re.compile(r"(?:(?<![^\W_])(?<![.+\-])\+ ?)?\(?\Z", re.ASCII)
# beside another number, with which it looks like one: `77 555-234-8871`
_PHONE_BESIDE = re.compile(
    r"(?<![\w.\-])(?:(?:\([2-9]\d{2}\)[ .\-]?|[2-9]\d{2}[.\-])\d{3}[.\-]\d{4}(?![.\-]\d)"
    r"|0[1-9](?: \d{2}){4} 0[1-9](?: \d{2}){4}(?! \d)|00[1-9]\d (?:\d{2,4} ){1,2}\d{6,8}(?! ?\d))",
    re.ASCII,
)
_LEAST_OF_TWO = 14
# behind `_`, a short number is that of a version: `lib_1.2.3.4`
_IPV4 = re.compile(
    r"\d(?<![A-Za-z0-9.]\d)(?<!_\d(?=\.))\d{0,2}(?:\.\d{1,3}){3}(?![^\W_]|\.\d)", re.ASCII
)
_VERSION_BEFORE = re.compile(
    r"(?:version|release|build|section|chapter|clause|§|\b(?:ver|rev)\.?|[=<>]=)[\"']?[\s:=]{0,3}$",
    re.IGNORECASE,
)
# of the states whose codes begin with 0, as phones do: `MA 02110-1301`
_STATE_BEFORE = re.compile(r"\b(?:CT|MA|ME|NH|NJ|RI|VT|PR|VI),? {1,2}\Z")
_ZIP = re.compile(r"0\d{4}-\d{4}")
# `Chrome/120.0.0.1`, as browsers name themselves; no host ends in three zeros
_PRODUCT_BEFORE = re.compile(r"(?<![\w/.:\-])[A-Z][A-Za-z]{1,20}/$")
_NO_HOST = ".0.0.0"
_IPV6 = re.compile(r":(?<!::)(?:[0-9A-Fa-f]{0,4}:){1,7}[0-9A-Fa-f]{0,4}(?![^\W_]|:)", re.ASCII)
_HEX_BEFORE = re.compile(r"(?<![A-Za-z0-9:])[0-9A-Fa-f]{0,4}\Z")
# `ip:2001:db8::1`
_NAME_BEFORE = re.compile(r"(?:[g-zG-Z\x80-\U0010ffff][A-Za-z0-9_]{0,10}|[A-Za-z0-9]{5})\Z")
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in b"0123456789")
_MIN_DIGITS = 4
_BEFORE = 12
_LONGEST_PRODUCT = 24
_FRENCH_LENGTH = 15
# four digits close together: every number that is looked for has them
_NUMERIC = re.compile(r"\d(?:\D{0,3}\d){3}|::")


def hide_numbers(text: str) -> tuple[str, int]:
    """The text with every personal number replaced by its kind, and how many there were."""
    if not _has_numbers(text):
        return text, 0
    n = 0
    for form, mark, kind in _CHECKED:
        if not mark or mark in text:
            text, found = _sub_checked(form, kind, text)
            n += found
    text, found = hide_named_numbers(text)
    return text, n + found


def _has_numbers(text: str) -> bool:
    digits = text.encode("utf-8", "replace").translate(None, _NO_DIGITS)
    return (len(digits) >= _MIN_DIGITS or "::" in text) and _NUMERIC.search(text) is not None


def _sub_checked(
    form: re.Pattern[str], kind: Callable[[re.Match[str]], tuple[int, int, str] | None], text: str
) -> tuple[str, int]:
    kept, n, end, found = [], 0, 0, form.search(text)
    while found is not None:
        known, behind = kind(found), found.end()
        if known is not None:
            start, behind, label = known
            kept += [text[end:start], f"[{label}]"]
            n, end = n + 1, behind
        found = form.search(text, behind)
    return ("".join([*kept, text[end:]]), n) if n else (text, 0)


def _iban(found: re.Match[str]) -> tuple[int, int, str] | None:
    start = found.start() - 2
    written = found.string[start : found.end()]
    # a word in capitals may follow that is not part of the number: `… 7034 EUR`
    for end in (len(written), *(gap.start() for gap in reversed([*_GAP.finditer(written)]))):
        if checksums.is_iban(written[:end]):
            return start, start + end, "IBAN"
    return None


def _card(found: re.Match[str]) -> tuple[int, int, str] | None:
    text, start, end = found.string, found.start(), found.end()
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    gap = found["gap"] or ""
    # four in a column of numbers are no card
    if "n" in gap.replace("\n", "n") and (before[:1].isdigit() or after[-1:].isdigit()):
        return None
    if not gap:
        is_minus = before.endswith("-") and not before[:1].isalnum()
        is_word = before[-1:].isalnum() or before.endswith("_") or after[:1].isalpha()
        if is_minus or (is_word and end - start not in _USUAL_LENGTHS):
            return None
    return (start, end, "CARD") if checksums.is_card(found[0]) else None


def _lettered_id(found: re.Match[str]) -> tuple[int, int, str] | None:
    start = _start_before(_LETTERS_BEFORE, found)
    if start is None:
        return None
    label = checksums.kind_of_lettered_id(found.string[start : found.end()])
    return None if label is None else (start, found.end(), label)


def _number(found: re.Match[str]) -> tuple[int, int, str] | None:
    if found[0].isdigit() and len(found[0]) != _FRENCH_LENGTH:
        before = found.string[found.start() - 1 : found.start()]
        if before not in ("+", " ", "("):  # most are the id of something
            return None
    start = _start_before(_PLUS, found)
    start = found.start() if start is None else start
    if found.string[start] == "(" and ")" not in found[0]:
        start += 1
    if _ZIP.fullmatch(found[0]) and _start_before(_STATE_BEFORE, found) is not None:
        return None
    label = checksums.kind_of_number(found.string[start : found.end()])
    if label is not None:
        return start, found.end(), label
    if found.end() - start < _LEAST_OF_TWO:
        return None
    phone = _PHONE_BESIDE.search(found.string, start, found.end())
    return None if phone is None else (*phone.span(), "PHONE")


def _ipv4(found: re.Match[str]) -> tuple[int, int, str] | None:
    before = found.string[max(0, found.start() - _BEFORE) : found.start()]
    if checksums.kind_of_address(found[0]) is None or _VERSION_BEFORE.search(before):
        return None
    if found[0].endswith(_NO_HOST) or _PRODUCT_BEFORE.search(
        found.string, max(0, found.start() - _LONGEST_PRODUCT), found.start()
    ):
        return None
    return found.start(), found.end(), "IP"


def _ipv6(found: re.Match[str]) -> tuple[int, int, str] | None:
    start = _start_before(_HEX_BEFORE, found)
    if start is None and _start_before(_NAME_BEFORE, found) is not None:
        start = found.start() + 1
    if start is None or checksums.kind_of_address(found.string[start : found.end()]) is None:
        return None
    return start, found.end(), "IP"


def _start_before(form: re.Pattern[str], found: re.Match[str]) -> int | None:
    """Where that begins which belongs to a number and stands before its digits."""
    at = found.start()
    before = form.search(found.string, max(0, at - _BEFORE), at)
    return None if before is None else before.start()


# with what a text must hold for a form to be found in it
_CHECKED: tuple[
    tuple[re.Pattern[str], str, Callable[[re.Match[str]], tuple[int, int, str] | None]], ...
] = (
    (_IBAN, "", _iban),
    (_CARD, "", _card),
    (_LETTERED_ID, "", _lettered_id),
    (_IPV4, ".", _ipv4),
    (_IPV6, ":", _ipv6),
    (_NUMBER, "", _number),
)
