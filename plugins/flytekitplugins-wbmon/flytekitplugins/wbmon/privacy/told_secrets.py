"""Hides secrets that a sentence tells (`my PIN is 4921`), and those in the columns of a table."""

from __future__ import annotations

import re

from flytekitplugins.wbmon.privacy.assigned_secrets import is_told
from flytekitplugins.wbmon.privacy.key_formats import HIDDEN
from flytekitplugins.wbmon.privacy.secret_names import may_be_secret_name

_VERB = (
    r"(?:\s{0,3}(?:\bis\b|\bwas\b|\bto\b|\bist\b|\blautet\b|\bes\b|\best\b|\bé\b|\bby\b){1,2})"
)
# a word with letters and digits, as no sentence has many
_MIXED = r"(?=[^\s\"']{0,40}\d)(?=[^\s\"']{0,40}[A-Za-z])[^\s\"'\[(<{=:;,][^\s\"']"
_PASSWORD = re.compile(
    r"(?i)((?:passw(?:or)?d|passphrase|passcode|passwort|kennwort|contrase(?:ñ|n)a|senha|mot de passe"
    r"|identified|(?:api|secret|access|auth)[ _\-]?(?:key|token)|client secret)"
    rf"(?:{_VERB}\s{{0,3}}(?:\"(?=[^\"\n]{{3,200}}\")|'(?=[^'\n]{{3,200}}')|(?={_MIXED}{{3,}}))"
    rf"|\s{{1,3}}(?:'(?=[^'\n]{{3,200}}')|(?=(?!sha\d|md5|v\d){_MIXED}{{6,}}))))"
    r"(?:(?<=\")[^\"\n]{3,200}|(?<=')[^'\n]{3,200}|[^\s\"']{4,200})"
)
_DIGITS = re.compile(
    r"(?i)(\b(?:(?:my|your|his|her|the|card|new|sim) pin|pin (?:code|number)|pin(?=[\s:=])(?:\s?[:=]|\sis)"
    r"|(?:verification|security|confirmation|login|authentication|one.time|sms|2fa|access) code|[t]?otp"
    rf"|tan)(?:{_VERB}|\s?[:=])?\s{{0,3}})(\d{{4,8}})\b(?![.\-]\d)"
    r"|(\b(?:cvv2?|cvc2?|csc|security code)(?:\s?(?:[:=]|is))?\s{0,3})(\d{3,4})\b(?![.\-]\d)"
)
_HAS_PASSWORD = (
    "passw", "passp", "passc", "kennwort", "contrase", "senha", "mot de passe", "identified",
    "key", "token", "secret",
)  # fmt: skip
_HAS_DIGITS = ("pin", "code", "otp", "cvv", "cvc", "csc", "tan ")
_CELLS = re.compile(r"[,;\t|]")
_LONGEST_ROW = 10_000


def hide_told(text: str) -> tuple[str, int]:
    """The text with passwords and codes hidden that stand behind their names in a sentence."""
    n = 0
    words = text.lower()
    for mark in _HAS_PASSWORD:
        if mark in words:
            text, n = _PASSWORD.subn(rf"\1{HIDDEN}", text)
            break
    for mark in _HAS_DIGITS:
        if mark in words:
            text, found = _DIGITS.subn(_without_digits, text)
            return text, n + found
    return text, n


def hide_columns(text: str) -> tuple[str, int]:
    """The text with every value hidden that stands in a table below the name of a secret."""
    head, _, rest = text.lstrip("\n").partition("\n")
    gap = _CELLS.search(head)
    if gap is None or len(head) > _LONGEST_ROW or not rest:
        return text, 0
    names = [cell.strip(" \"'\r") for cell in head.split(gap[0])]
    hidden = [at for at, name in enumerate(names) if may_be_secret_name(name)]
    if not hidden:
        return text, 0
    n = 0
    lines = rest.split("\n")
    for number, line in enumerate(lines):
        cells = line.split(gap[0]) if len(line) <= _LONGEST_ROW else []
        if len(cells) != len(names):
            continue
        for at in hidden:
            value = cells[at].strip(" \"'\r")
            if (
                value.strip("-:[]")
                and value != HIDDEN
                and is_told(names[at], value, is_quoted=False)
            ):
                cells[at] = cells[at].replace(value, HIDDEN)
                n += 1
        lines[number] = gap[0].join(cells)
    return "\n".join([text[: len(text) - len(rest) - 1], *lines]), n


def _without_digits(found: re.Match[str]) -> str:
    return f"{found[1] or found[3]}{HIDDEN}"
