"""Recognises secrets in texts: by the formats of keys, and by the names that stand before values.

With `secret_names` this is the only such list in the package.
"""

from __future__ import annotations

import re

from flytekitplugins.wbmon.privacy.assigned_secrets import hide_assigned
from flytekitplugins.wbmon.privacy.key_formats import HIDDEN, hide_by_form, hide_keys
from flytekitplugins.wbmon.privacy.secret_names import (
    is_secret,
    is_secret_name,
    may_be_secret_name,
)
from flytekitplugins.wbmon.privacy.told_secrets import SEED_MARKS, hide_columns, hide_told

# a name and its value, as in a list of headers
_PAIR = re.compile(
    r"([(\[]\s*[\"']([\w.\-]{2,100})[\"'],\s*[\"'])(?:\\.|[^\"'\\]){3,}(?=[\"']\s*[)\]])"
)
# `--password hunter2`, and the same as two items of a list
_FLAG = re.compile(
    r"(?<![\w\-])--([A-Za-z][\w.\-]{0,60})(?:[\"'],\s*(?P<quote>[\"'])|[ \t]+)"
    r"(?P<value>(?(quote)(?:\\.|(?!(?P=quote)).)+|[^\s\"'\-\[|,;:)=][^\s\"']{2,}))"
)
_PROSE = {
    "the", "and", "for", "option", "argument", "flag", "must", "was", "with", "not", "has", "can",
    "from", "given", "value", "instead", "requires", "required", "without", "should", "may", "are",
}  # fmt: skip
# `{"name": "DB_PASSWORD", "value": "hunter2"}`, as the variables of a pod are written
_NAMED_VALUE = re.compile(
    r"(?i)([\"'](?:name|key)\\{0,8}[\"']:\s*\\{0,8}[\"']([\w.\-]{2,100})\\{0,8}[\"'],\s*"
    r"\\{0,8}[\"']value\\{0,8}[\"']:\s*\\{0,8}(?P<quote>[\"']))(?:\\.|(?!(?P=quote)).)+"
)
# the same the other way round
_VALUE_BEFORE_NAME = re.compile(
    r"(?i)([\"']value\\{0,8}[\"']:\s{0,8}\\{0,8}(?P<quote>[\"']))((?:\\.|[^\"'\\]){1,200})"
    r"(?=\\{0,8}(?P=quote),\s{0,8}\\{0,8}[\"'](?:name|key)\\{0,8}[\"']:\s{0,8}\\{0,8}[\"']"
    r"([\w.\-]{2,100}))"
)
# `<input name="password" value="hunter2">`
_INPUT = re.compile(
    r"(?i)(\bname=\\{0,8}[\"']?([\w.\-]{2,100})\\{0,8}[\"']?\s(?:[^<>]{0,200}\s)?value=\\{0,8})"
    r"(?:\"[^\"<>]{1,200}\"|'[^'<>]{1,200}'|[^\s\"'<>]{1,200})"
)
_FORM_PART = re.compile(
    r"(?i)(form-data;[^\r\n]{0,200}?name=\\{0,8}\"([\w.\-\[\]]{2,100})\\{0,8}\"(?:\r?\n|\\r\\n)"
    r"(?:[^\r\n]{1,200}\r?\n){0,3}(?:\r?\n|\\r\\n))[^\r\n]{1,2000}"
)

_MARK = re.compile(r"\[[A-Z]+\]")
_COOKIES = re.compile(
    r"(?i)(?<![a-z])(cookie\\{0,8}[\"']?\s{0,8}[:=]\s{0,8}(?:b?\\{0,8}[\"'])?)[^\r\n\"'=;\[]{1,200}=[^\r\n\"']*"
)
# `<token>word</token>` is a piece of text
_ELEMENT = re.compile(
    r"<(?!token>[^\d<]{0,1000}<)([\w.:\-]{2,60})(?:\s[^<>]{0,200})?(?<!/)>(?:<!\[CDATA\[)?"
)
_LONGEST_ELEMENT = 1000
_TAG = re.compile(r"<[^<>]{0,200}>|\]\]>")
# `<name>db.password</name><value>hunter2</value>`
_NAMED_ELEMENT = re.compile(
    r"(<(?:name|key)>\s?([\w.\-]{2,100})\s?</(?:name|key)>\s{0,40}<(?:value|string)>)[^<>]{1,1000}"
)
# how pydantic tells of a value: the name stands on the line above, or in a list of names
_INVALID_FIELD = re.compile(
    r"((?:^|\\n)([\w.\-]{2,200})(?:\n|\\n)  [^\n]{1,400}?\[type=[\w.]{1,80}, input_value=)"
    r"([^\n]+?)(?=, input_type=|$)",
    re.MULTILINE,
)
_INVALID_ITEM = re.compile(
    r"([\"']loc[\"']:\s*[(\[]([^()\[\]\n]{1,300})[)\]],\s*[\"']msg[\"']:\s*"
    r"(?:\"[^\"\n]{0,1000}\"|'[^'\n]{0,1000}'),\s*[\"']input[\"']:\s*)"
    r"(\"(?:\\.|[^\"\\])+\"|'(?:\\.|[^'\\])+'|\[[^\]\n]{1,1000}\]|\{[^}\n]{1,1000}\}|\d+)"
)
_INVALID = (_INVALID_FIELD, _INVALID_ITEM)
_PART = re.compile(r"[\w\-]+")
# fast checks for text that the slower patterns need in order to match
_NAME_PARTS = (
    "key", "secret", "token", "authorization", "cookie", "jwt", "hook", "bearer", "pw",
)  # fmt: skip
_AFTER_NAMES = ("=", ":", "',", '",', "--", "</")
# parts of many other words, so what stands behind them is looked at too
_MORE_NAME_PARTS = (
    "pass", "cred", "conn", "dsn", "sas", "pat", "auth", "otp", "recovery", "seed", "service",
    "kennwort", "senha", "wachtwoord", "contrasena", "haslo", "clave", "backup", "answer",
    "mnemonic", "srf",
)  # fmt: skip
_MORE_NAMES = re.compile(
    r"passw|pass.?phrase|passcode|credential|auth.?header|conn(?:ection)?[_.\- ]?str"
    r"|(?:auth|pass|creds?|dsn|pat|otp|sas(?:[_.\-]?ur[li])?)\\{0,16}[\"'*`_]{0,3}(?:\]?\s?[:=]|[,\n<>]|\\n)"
    r"|(?:recovery|backup).?code|security.?answer|mnemonic|[cx]srf|contrasena|haslo|clave|seed.?phrase|service.?account.?json|kennwort|senha|wachtwoord|mot.?de.?passe"
)
_OTHER_NAMES = re.compile(
    "contrase\u00f1a|has\u0142o|l\u00f6senord|\u015fifre|пароль|密[码碼]|口令|パスワード|暗証番号|비밀번호|암호"
)
# names of numbers, and of what holds digits
_NUMBER_NAME_PARTS = ("pin", "cv", "ssn", "sess", "sid", "port", "code")
_NUMBER_NAMES = re.compile(
    r"(?:pin|cvv2?|cvc2?|csc|ssn|code|passport(?:.?(?:no|number|id))?|sessionid|sessid|connect\.sid)"
    r"(?:.?(?:number|code))?\\{0,16}[\"'*`_]{0,3}\]?\s?(?:[:=,;|\t<]|\n)"
)
_TOLD_WITHOUT_DIGITS = (*SEED_MARKS, "passw")
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in b"0123456789")
# by what a text must hold for a form to be found in it
_BY_NAME = (
    (("'", '"'), _PAIR),
    (("value=",), _INPUT),
    (("form-data",), _FORM_PART),
    (("value'", 'value"', "value\\"), _NAMED_VALUE),
    (("</value>", "</string>"), _NAMED_ELEMENT),
    (("input_value=",), _INVALID_FIELD),
    (("input'", 'input"'), _INVALID_ITEM),
)


def hide_secrets(text: str) -> tuple[str, int]:
    """The text with everything that looks like a secret hidden, and how often."""
    words = text.lower()
    text, n = hide_keys(text)
    has_digits = bool(text.encode("utf-8", "replace").translate(None, _NO_DIGITS))
    has_sign = _has_any(_AFTER_NAMES, text)
    is_named = (has_sign or "\n" in text) and _has_name(words, has_digits=has_digits)
    if is_named and "\n" in text:  # first: what else hides a part of a row leaves no table
        text, found = hide_columns(text)
        n += found
    # what a sentence tells is of letters and digits, or in quotes, or a password with signs in it
    if has_digits or "'" in text or '"' in text or _has_any(_TOLD_WITHOUT_DIGITS, words):
        text, found = hide_told(text, has_digits=has_digits)
        n += found
    if is_named and has_sign:
        text, found = _hide_by_name(text, words)
        n += found
    text, found = hide_by_form(text, words)
    return text, n + found


def may_name_secret(text: str) -> bool:
    """Whether there may be the name of a secret in a text; most texts have none."""
    return _has_name(text.lower(), has_digits=True)


def _hide_by_name(text: str, words: str) -> tuple[str, int]:
    n = 0
    if "cookie" in words:
        text, n = _COOKIES.subn(rf"\1{HIDDEN}", text)
    text, found = hide_assigned(text)
    n += found
    for marks, form in _BY_NAME:
        if _has_any(marks, words):
            text, found = _hide_named(form, text)
            n += found
    if "</" in words:
        text, found = _hide_elements(text)
        n += found
    if "value" in words and ("name" in words or "key" in words):
        text, found = _hide_values_before_names(text)
        n += found
    if "--" in text:
        text, found = _hide_flags(text)
        n += found
    return text, n


def _hide_named(form: re.Pattern[str], text: str) -> tuple[str, int]:
    """Hide what follows the first group of a form if the second is the name of a secret."""
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        value, names, quote = found[0][len(found[1]) :], [found[2]], ""
        if form in _INVALID:
            names = _PART.findall(found[2])
            quote = value[0] if value[0] in "\"'" else ""
        if _MARK.fullmatch(value) or not any(is_secret(each, value.strip("\"'")) for each in names):
            return found[0]
        n += 1
        return f"{found[1]}{quote}{HIDDEN}{quote}"

    return form.sub(replace, text), n


def _hide_elements(text: str) -> tuple[str, int]:
    """Hide all that stands between the tags of an element with the name of a secret."""
    kept, n, end = [], 0, 0
    for tag in _ELEMENT.finditer(text):
        if tag.start() < end or not may_be_secret_name(tag[1]):
            continue
        closed = text.find(f"</{tag[1]}", tag.end(), tag.end() + _LONGEST_ELEMENT)
        inside = _TAG.sub("", text[tag.end() : closed]).strip() if closed >= 0 else ""
        if not _MARK.fullmatch(inside) and is_secret(tag[1], inside):
            kept += [text[end : tag.end()], HIDDEN]
            n, end = n + 1, closed - 3 * text.startswith("]]>", closed - 3)
    return "".join([*kept, text[end:]]), n


def _hide_values_before_names(text: str) -> tuple[str, int]:
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        if _MARK.fullmatch(found[3]) or not is_secret(found[4], found[3]):
            return found[0]
        n += 1
        return f"{found[1]}{HIDDEN}"

    return _VALUE_BEFORE_NAME.sub(replace, text), n


def _hide_flags(text: str) -> tuple[str, int]:
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        is_prose = not found["quote"] and found["value"].lower().rstrip(".,;:") in _PROSE
        if is_prose or not is_secret_name(found[1]) or _MARK.fullmatch(found["value"]):
            return found[0]
        n += 1
        return f"{found[0][: -len(found['value'])]}{HIDDEN}"

    return _FLAG.sub(replace, text), n


def _has_any(words: tuple[str, ...], text: str) -> bool:
    for word in words:  # noqa: SIM110 - a generator costs more than the search
        if word in text:
            return True
    return False


def _has_name(words: str, *, has_digits: bool) -> bool:
    if _has_any(_NAME_PARTS, words):
        return True
    if _has_any(_MORE_NAME_PARTS, words) and _MORE_NAMES.search(words) is not None:
        return True
    if has_digits and _has_any(_NUMBER_NAME_PARTS, words) and _NUMBER_NAMES.search(words):
        return True
    return not words.isascii() and _OTHER_NAMES.search(words) is not None
