"""Hides numbers that only the name before them tells to be a person's: ids, accounts, birthdays.

Eleven digits may be anything; `PESEL 44051401359` is somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_lowercase, ascii_uppercase

# between a name and its number: `no. `, `: "`, `_number = `, ` is `, `</td><td>`
_GAP = (
    r"(?:</?[A-Za-z]\w{0,9}(?:\s[^<>]{0,60})?>|[^\w\n]|_){0,8}(?:(?i:number|num|no|nr|nummer|id|code|is|was|on|ist|lautet|es|est|è)"
    r"(?:(?![^\W_])(?:[^\w\n]|_){1,6})){0,2}"
    r"(?:号码?|番号|번호)?[은는]?[是为為は]?(?:[^\w\n]){0,2}"
)
_DATE = (
    r"\d{4}[\-./]\d{1,2}[\-./]\d{1,2}|\d{1,2}[\-./]\d{1,2}[\-./](?:\d{4}|\d{2})"
    r"|\d{1,2}(?:st|nd|rd|th|\.)? [^\W\d_]{3,9},? \d{4}"
    r"|[^\W\d_]{3,9} \d{1,2}(?:st|nd|rd|th)?,? \d{4}"
)
_PASSPORT = r"(?=[A-Za-z]{0,3}\d)(?:[A-Z0-9]{7,9}|[a-z]{1,2}\d{6,8})"
_NINE_TO_ELEVEN = r"\d{2,4}[ ./]?\d{2,3}[ ./]?\d{3}(?:[ ./\-]?\d{2,3})?"
_LICENCE = r"[A-Za-z]{1,2}\d{6,12}|[A-Z]\d{3}(?:[ \-]?\d{3,5}){2,3}|\d{7,12}"
_IBAN = r"[A-Za-z]{2}\d{2}(?:[ \-]?[A-Za-z0-9]{4}){2,7}(?:[ \-]?[A-Za-z0-9]{1,3})?"
_ACCOUNT = r"\d(?:[ \-]?\d){5,16}"

# by what they are: the names, as they stand in small letters, and the form of their numbers
_KINDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("NATIONAL_ID", ("aadhaar", "aadhar"), r"\d{4}[ \-]?\d{4}[ \-]?\d{4}"),
    (
        "NATIONAL_ID",
        (
            "pesel", "cpf", "steuer id", "steuerid", "steueridentifikationsnummer", "tax id",
            "taxid", "bsn",
        ),
        rf"{_NINE_TO_ELEVEN}|\d{{2}}-\d{{7}}",
    ),
    ("NATIONAL_ID", ("ssn", "social security"), r"\d{3}[ \-]?\d{2}[ \-]?\d{4}"),
    ("NATIONAL_ID", ("national id", "nationalid"), r"[A-Za-z]?\d{7,13}[A-Za-z]?"),
    ("NATIONAL_ID", ("personnummer",), r"\d{6}(?:\d{2})?[\-+]?\d{4}"),
    ("NATIONAL_ID", ("nric",), r"[STFGMstfgm]\d{7}[A-Za-z]"),
    ("NATIONAL_ID", ("nino",), r"[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]"),
    ("NATIONAL_ID", ("身份证", "身份證"), r"\d{17}[\dXx]"),
    ("NATIONAL_ID", ("medical record", "mrn"), r"\d{6,10}"),
    (
        "NATIONAL_ID",
        ("passport", "reisepass", "pasaporte", "passeport", "passportnumber"),
        _PASSPORT,
    ),
    (
        "NATIONAL_ID",
        (
            "driver's license", "driver license", "drivers license", "driving licence",
            "driving license",
        ),
        _LICENCE,
    ),
    ("IMEI", ("imei",), r"\d{15}|\d{2}-\d{6}-\d{6}-\d"),
    ("IBAN", ("iban",), _IBAN),
    (
        "CARD",
        ("card number", "cardnumber", "card no"),
        r"\d{4}(?:[ \-]?\d{4}){2}[ \-]?\d{3,4}|\d{13,19}",
    ),
    ("ACCOUNT", ("routing", "routingnumber"), r"\d{9}"),
    ("ACCOUNT", ("sort code",), r"\d{2}[ \-]?\d{2}[ \-]?\d{2}"),
    (
        "ACCOUNT",
        (
            "account number", "account no", "accountno", "accountnumber", "bank account",
            "kontonummer",
        ),
        _ACCOUNT,
    ),
    (
        "PHONE",
        (
            "phone", "phonenumber", "mobile", "mobilenumber", "mobileno", "cellphone", "telephone",
            "telefon", "tel", "whatsapp", "call me at", "wa.me/",
            "电话", "電話", "手机", "手機", "携帯", "전화", "휴대폰", "телефон",
        ),
        r"\d{9,15}",
    ),
    (
        "DATE_OF_BIRTH",
        (
            "date of birth", "dateofbirth", "birthdate", "birth date", "birthday",
            "dob", "born on", "geboren am", "geburtsdatum",
        ),
        _DATE,
    ),
)  # fmt: skip
_ASCII_WORD = re.compile(r"[a-z]+")


def _by_word() -> dict[bytes, list[tuple[str, str, re.Pattern[str]]]]:
    """Kinds, names and forms by the longest word of the name; empty for a name without one."""
    found: dict[bytes, list[tuple[str, str, re.Pattern[str]]]] = {}
    for label, names, form in _KINDS:
        pattern = re.compile(rf"{_GAP}(?P<number>{form})(?![A-Za-z0-9]|[.\-]\d)")
        for name in names:
            word = max(_ASCII_WORD.findall(name), key=len, default="").encode()
            found.setdefault(word, []).append((label, name, pattern))
    return found


# looked up among the words of a text: to search the text for every name would take longer than all
# other searches
_BY_WORD = _by_word()
_OTHER_WORDS = _BY_WORD.pop(b"")
_SEPARATED = bytes(
    byte + 32 if chr(byte) in ascii_uppercase else byte if chr(byte) in ascii_lowercase else 32
    for byte in range(256)
)
# `date_of_birth` is `date of birth`
_BLANKS = str.maketrans("_-", "  ")
# whoever names the bank names the account behind it
_BANK, _AT_BANK = (
    "routing",
    ("account", re.compile(rf"{_GAP}(?P<number>{_ACCOUNT})(?![A-Za-z0-9])")),
)


def hide_named_numbers(text: str) -> tuple[str, int]:
    """The text with every number hidden that stands behind a name of such numbers."""
    present = _BY_WORD.keys() & text.encode("utf-8", "replace").translate(_SEPARATED).split()
    forms = [each for word in present for each in _BY_WORD[word]]
    if not text.isascii():
        forms += _OTHER_WORDS
    if not forms:
        return text, 0
    words = text.lower().translate(_BLANKS)
    if len(words) != len(text):  # some capitals become two letters
        words = text
    spans: list[tuple[int, int, str]] = []
    for label, name, form in forms:
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
