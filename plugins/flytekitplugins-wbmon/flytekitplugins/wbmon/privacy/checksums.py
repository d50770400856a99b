"""Classifies candidates for card, account, national id and phone numbers and IP addresses.

Each function takes a candidate and returns its kind, or None if its checksum or format is wrong.

References:
    ISO/IEC 7812-1 (cards, Luhn), ISO 13616 (IBAN, mod 97), ITU-T E.164 (phone numbers).
"""

from __future__ import annotations

import re
from hashlib import sha256
from ipaddress import ip_address

_CARD_GROUPS = re.compile(
    r"\d{13,19}|\d{4}(?:[ -]\d{4}){2,3}(?:[ -]\d{1,7})?|\d{4}[ -]\d{6}[ -]\d{4,5}"
)
# by length, as issuers use them: of random numbers every tenth passes Luhn's test
_CARD = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|3[0689]\d{12}|3[47]\d{13}"
    r"|(?:2[2-7]|35|5[1-5])\d{14}|(?:5[0678]|6\d)\d{14,17}"
)
_US_PHONE = re.compile(r"(?:1[ .\-]?)?(?:\([2-9]\d{2}\)[ .\-]?|[2-9]\d{2}[ .\-])\d{3}[ .\-]\d{4}")
_NATIONAL_PHONE = re.compile(r"\(?0\d{1,4}\)?(?:[ /.\-]{1,2}\d{2,}){1,5}")
# `+66.68684739` is one of Thailand, as registrars write them, but `+5.18238` a fraction
_FRACTION = re.compile(r"\+ ?\d+\.\d+")
_PHONE_OF_REGISTRAR = re.compile(
    r"\+(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|(?:2[1-69]|3[578]|42|5[09]|6[789]|8[058]|9[679])\d)\.\d{7,12}"
)
_DATE = re.compile(r"\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}|\d{4}[./\-]\d{1,2}[./\-]\d{1,2}")
_US_ID = re.compile(r"(?!000|666|9)\d{3}([ -])(?!00)\d{2}\1(?!0000)\d{4}")
_FRENCH_ID = re.compile(r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?\d{2} ?\d{3} ?\d{3} ?\d{2}")
_BRAZILIAN_ID = re.compile(r"\d{3}\.\d{3}\.\d{3}-\d{2}")
_SPANISH_ID = re.compile(r"[XYZ]?\d{7,8}-?[A-Z]")
_ITALIAN_ID = re.compile(r"[A-Z]{6}.{10}")
_NOT_DIGIT = re.compile(r"\D")
_NOT_WRITTEN = re.compile(r"[^A-Za-z0-9]")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# the kind of net, 32 bytes, a mark of compression, and four bytes of the checksum
_KEY_BITS = 8 * 38
_LEAST_CARD, _BEYOND_CARDS = 10**13, 10**16
# the least that is no name of a program's part: `::1` and `a::1b` are
_LEAST_GROUP = 3


def is_iban(text: str) -> bool:
    """Whether an account number has its country's form, and is 1 modulo 97.

    >>> is_iban("DE89 3704 0044 0532 0130 00"), is_iban("DE88 3704 0044 0532 0130 00")
    (True, False)
    """
    number = _NOT_WRITTEN.sub("", text)
    # most are not, and the check of a country's form costs ten times as much
    if int("".join(str(int(letter, 36)) for letter in number[4:] + number[:4])) % 97 != 1:
        return False
    from stdnum import iban

    return bool(iban.is_valid(number, check_country=False))


def is_card(text: str) -> bool:
    """Whether digits, with or without gaps, are the number of a card: by issuer and Luhn's test.

    >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112")
    (True, False)
    """
    digits = _NOT_DIGIT.sub("", text)
    if _CARD.fullmatch(digits) is None:
        return False
    from stdnum import luhn

    return bool(luhn.is_valid(digits))


def is_bitcoin_key(text: str) -> bool:
    """Whether a word is a private key in the import format of wallets: base58 with its checksum.

    >>> is_bitcoin_key("5Kb8kLf9zgWQnogidDA76MzPL6TsZZY36hWXMssSzNydYXYB9KF")
    True
    """
    number = 0
    for letter in text:
        number = number * len(_BASE58) + _BASE58.index(letter)
    if number >> _KEY_BITS:
        return False
    data = number.to_bytes(_KEY_BITS // 8, "big").lstrip(b"\0")
    return sha256(sha256(data[:-4]).digest()).digest()[:4] == data[-4:]


def is_card_number(value: float) -> bool:
    """Whether a number that is no text is a card: of 14 to 16 digits, as ids of rows have more."""
    return _LEAST_CARD <= value < _BEYOND_CARDS and value == int(value) and is_card(str(int(value)))


def kind_of_lettered_id(text: str) -> str | None:
    """`NATIONAL_ID` of the United Kingdom by form, of Italy or Spain by its check letter."""
    from stdnum.es import dni, nie
    from stdnum.it import codicefiscale

    is_right = True
    text = text.upper()
    if _SPANISH_ID.fullmatch(text):
        is_right = dni.is_valid(text) or nie.is_valid(text)
    elif _ITALIAN_ID.fullmatch(text):
        is_right = codicefiscale.is_valid(text)
    return "NATIONAL_ID" if is_right else None


def kind_of_address(text: str) -> str | None:
    """`IP` of either version; four short numbers that are a version of software are one too."""
    try:
        ip_address(text)
    except ValueError:
        return None
    # `a::b` and `::3` are addresses too, but more often something in a program
    is_code = ":" in text and max(map(len, text.split(":"))) < _LEAST_GROUP
    return "IP" if not is_code and any(map(str.isdigit, text)) else None


def kind_of_number(text: str) -> str | None:
    """`CARD`, `NATIONAL_ID` or `PHONE`."""
    if _is_card(text):
        return "CARD"
    if _is_national_id(text):
        return "NATIONAL_ID"
    return "PHONE" if _is_phone(text) else None


def _is_card(text: str) -> bool:
    return _CARD_GROUPS.fullmatch(text) is not None and is_card(text)


def _is_national_id(text: str) -> bool:
    if _US_ID.fullmatch(text):
        return True
    if _FRENCH_ID.fullmatch(text):
        from stdnum.fr import nir

        return bool(nir.is_valid(text))
    if _BRAZILIAN_ID.fullmatch(text):
        from stdnum.br import cpf

        # cpf takes a number of one digit only, which nobody has
        return bool(cpf.is_valid(text)) and len(set(_NOT_DIGIT.sub("", text))) > 1
    return False


def _is_phone(text: str) -> bool:
    n = len(_NOT_DIGIT.sub("", text))
    if text.startswith("+"):
        if _FRACTION.fullmatch(text) and not _PHONE_OF_REGISTRAR.fullmatch(text):
            return False
        return 7 <= n <= 15  # noqa: PLR2004 - E.164
    if _US_PHONE.fullmatch(text):
        return True
    if _DATE.match(text):
        return False
    if text.startswith("00"):
        return 9 <= n <= 17 and " " in text  # noqa: PLR2004 - E.164 behind 00
    return 9 <= n <= 12 and bool(_NATIONAL_PHONE.fullmatch(text))  # noqa: PLR2004 - with the trunk 0
