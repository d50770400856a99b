"""Hides numbers that only the name before them tells to be a person's: ids, accounts, birthdays.

Eleven digits may be anything; `PESEL 44051401359` is somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_lowercase, ascii_uppercase

# between a name and its number: `no. `, `: "`, `_number = `, ` is `
_GAP = (
    r"(?:[^\w\n]|_){0,8}(?:(?i:number|num|no|nr|nummer|id|code|is|was|on|ist|lautet|es|est|è)"
    r"(?:(?![^\W_])(?:[^\w\n]|_){1,6})){0,2}"
)
_DATE = (
    r"\d{4}[\-./]\d{1,2}[\-./]\d{1,2}|\d{1,2}[\-./]\d{1,2}[\-./](?:\d{4}|\d{2})"
    r"|\d{1,2}(?:st|nd|rd|th|\.)? [^\W\d_]{3,9},? \d{4}|[^\W\d_]{3,9} \d{1,2}(?:st|nd|rd|th)?,? \d{4}"
)
_PASSPORT = r"(?=[A-Za-z]{0,3}\d)(?:[A-Z0-9]{7,9}|[a-z]{1,2}\d{6,8})"
_NINE_TO_ELEVEN = r"\d{2,4}[ ./]?\d{2,3}[ ./]?\d{3}(?:[ ./\-]?\d{2,3})?"
_LICENCE = r"[A-Za-z]{1,2}\d{6,12}|[A-Z]\d{3}(?:[ \-]?\d{3,5}){2,3}|\d{7,12}"
_ACCOUNT = r"\d(?:[ \-]?\d){5,16}"

_OTHER = "身份"

# by what they are: the names, as they stand in small letters, and the form of their numbers
_KINDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("NATIONAL_ID", ("aadhaar", "aadhar"), r"\d{4}[ \-]?\d{4}[ \-]?\d{4}"),
    (
        "NATIONAL_ID",
        ("pesel", "cpf", "steuer-id", "steuerid", "steueridentifikationsnummer", "tax id", "bsn"),
        _NINE_TO_ELEVEN,
    ),
    ("NATIONAL_ID", ("ssn", "social security"), r"\d{3}[ \-]?\d{2}[ \-]?\d{4}"),
    ("NATIONAL_ID", ("nino",), r"[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]"),
    ("NATIONAL_ID", ("身份证", "身份證"), r"\d{17}[\dXx]"),
    ("NATIONAL_ID", ("medical record", "mrn"), r"\d{6,10}"),
    ("NATIONAL_ID", ("passport", "reisepass", "pasaporte", "passeport"), _PASSPORT),
    (
        "NATIONAL_ID",
        ("driver's license", "driver license", "drivers license", "driving licence"),
        _LICENCE,
    ),
    ("IMEI", ("imei",), r"\d{15}|\d{2}-\d{6}-\d{6}-\d"),
    ("ACCOUNT", ("routing",), r"\d{9}"),
    ("ACCOUNT", ("sort code",), r"\d{2}[ \-]?\d{2}[ \-]?\d{2}"),
    (
        "ACCOUNT",
        (
            "account number", "account no", "account_number", "accountnumber", "bank account",
            "kontonummer",
        ),
        _ACCOUNT,
    ),
    (
        "PHONE",
        ("phone", "mobile", "telephone", "telefon", "tel", "whatsapp", "call me at", "wa.me/"),
        r"\d{9,15}",
    ),
    (
        "DATE_OF_BIRTH",
        (
            "date of birth", "date_of_birth", "dateofbirth", "birthdate", "birth date", "birthday",
            "dob", "born on", "geboren am", "geburtsdatum",
        ),
        _DATE,
    ),
)  # fmt: skip
_FORMS = tuple(
    (label, names, re.compile(rf"{_GAP}(?P<number>{form})(?![^\W_]|[.\-]\d)"))
    for label, names, form in _KINDS
)
# a word of every name: they are looked up among the words of a text, as to search the text for
# every name would take longer than all other searches
_WORDS = frozenset(
    word.encode()
    for word in (
        "aadhaar", "aadhar", "pesel", "cpf", "steuer", "steuerid", "steueridentifikationsnummer",
        "tax", "bsn", "ssn", "social", "nino", "medical", "mrn", "passport", "passportnumber",
        "reisepass", "pasaporte", "passeport", "license", "licence", "imei", "routing",
        "routingnumber", "sort", "account", "accountnumber", "kontonummer", "phone", "phonenumber",
        "mobile", "mobilenumber", "telephone", "telefon", "tel", "whatsapp", "call", "wa", "birth",
        "dateofbirth", "birthdate", "birthday", "dob", "born", "geboren", "geburtsdatum",
    )
)  # fmt: skip
_SEPARATED = bytes(
    byte + 32 if chr(byte) in ascii_uppercase else byte if chr(byte) in ascii_lowercase else 32
    for byte in range(256)
)
# whoever names the bank names the account behind it
_BANK, _AT_BANK = "routing", ("account", re.compile(rf"{_GAP}(?P<number>{_ACCOUNT})(?![^\W_])"))


def hide_named_numbers(text: str) -> tuple[str, int]:
    """The text with every number hidden that stands behind a name of such numbers."""
    present = text.encode("utf-8", "replace").translate(_SEPARATED).split()
    if _WORDS.isdisjoint(present) and _OTHER not in text:
        return text, 0
    words = text.lower()
    if len(words) != len(text):  # some capitals become two letters
        words = text
    spans: list[tuple[int, int, str]] = []
    for label, names, form in _FORMS:
        for name in names:
            if name in words:
                spans += _numbers(text, words, name, form, label)
    if not spans:
        return text, 0
    if _BANK in words:
        spans += _numbers(text, words, *_AT_BANK, "ACCOUNT")
    kept, n, end = [], 0, 0
    for start, stop, label in sorted(spans):
        if start >= end:
            kept += [text[end:start], f"[{label}]"]
            n, end = n + 1, stop
    return "".join([*kept, text[end:]]), n


def _numbers(
    text: str, words: str, name: str, form: re.Pattern[str], label: str
) -> Iterator[tuple[int, int, str]]:
    at = words.find(name)
    while at >= 0:
        end = at + len(name)
        # part of another word, such as `hotel`
        if not (at and text[at - 1].isalpha() and text[at].islower() and text[at - 1].islower()):
            found = form.match(text, end)
            if found is not None:
                yield (*found.span("number"), label)
        at = words.find(name, end)
