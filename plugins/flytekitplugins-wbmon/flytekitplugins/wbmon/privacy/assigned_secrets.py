"""Hides what is assigned to the name of a secret: in code, JSON, YAML, URLs, headers, sentences.

A name is looked at before its value, and of a value only the beginning, until it is known for a
secret: reading every value to its end would read an unclosed quotation once a name.
"""

from __future__ import annotations

import re

from flytekitplugins.wbmon.privacy.key_formats import HIDDEN
from flytekitplugins.wbmon.privacy.secret_names import (
    COUNTS,
    is_secret,
    is_secret_name,
    may_be_secret_name,
)

# the name of `name=value` in a URL, a traceback, JSON, JSON in JSON; or of `b'name', b'value'`
_ASSIGNED = r"(?:\\{0,8}[\"']{0,2}\]?\s*(?:=>|:=|[:=])\s*|[\"'],\s*(?=b[\"']))"
_ASSIGNMENT = re.compile(rf"(?<![\w.\-])([\w.\-]{{3,100}}|[Pp][Ww]){_ASSIGNED}")
_OTHER_ASSIGNMENT = re.compile(rf"(?<![\w.\-])([\w.\-]{{2,100}}){_ASSIGNED}")
# in quotes it goes on to the last of them, spaces and all
_OPEN = r"(?P<open>b?\\{0,8}(?:[\"']{3}|[\"']))?(?!\[)"
_UNTIL_QUOTE = r"(?:(?!\\{0,8}[\"'](?:[\s,;:.)}\]&>/]|\Z))(?:\\.|[^\\\n]|\\(?=\n|\Z)))"
_SCHEMES = r"(?:(?:bearer|basic|digest|token|apikey|negotiate|ntlm)\s{1,8})?"
# a separator ends it only in front of a blank or of another `name=`
_UNTIL_BLANK = r"(?:[^\s\"'\\,;&{}\[\]]|[,;&\"'](?=[^\s\"'\\,;&{}\[\]()])(?![\w.\-]{1,100}\s?[=:]))"
_FIRST = r"[^\s\"'\\,;&{}\[\]]"
_BEGINNING_LENGTH = 64
_VALUE = re.compile(
    rf"{_OPEN}(?P<value>(?(open){_UNTIL_QUOTE}+|{_SCHEMES}{_FIRST}{_UNTIL_BLANK}{{2,}}))",
    re.IGNORECASE,
)
_BEGINNING = re.compile(
    rf"{_OPEN}(?P<value>(?(open){_UNTIL_QUOTE}{{1,{_BEGINNING_LENGTH}}}"
    rf"|{_SCHEMES}{_FIRST}{_UNTIL_BLANK}{{0,{_BEGINNING_LENGTH}}}))",
    re.IGNORECASE,
)
# of YAML: a text of several lines, or a list
_BLOCK = re.compile(
    r"[|>][+\-]?[ \t]*\n(?:[ \t]+[^\n]*(?:\n|\Z))+"
    r"|- [^\s:]+(?:\n[ \t]*- [^\s:]+)*(?=[ \t]*(?:\n|\Z))"
)
_SEPARATOR = re.compile(r"[,;&]")
# `get_token(user)`, `self._token`: code that finds a secret; and a fraction, which is none
_CODE_OR_FRACTION = re.compile(
    r"(?:[A-Za-z_]+\.){0,9}[A-Za-z_]+\((?:[A-Za-z_.,]*\))?\Z|self\.[A-Za-z_.]+\Z|[01]?\.\d+[}\])]*\Z"
)
_NUMBERS = re.compile(r"[\d\s.,\-+eE\[\]]+")
_GAP = re.compile(r"[ ()]")
_YAML_TAG = re.compile(r"!{1,2}\w{1,20} ")
_TAGGED = re.compile(r"[^\s#][^\n#]{0,400}")
# several words without quotes, and the words that may begin a number or code behind its name
_WORDS = re.compile(r"[^\W\d_]+(?: [^\W\d_]+){2,30}")
_CODE = re.compile(
    r"[+(]?[A-Za-z0-9](?:[+\-/.:=%_]?[A-Za-z0-9]|[ ()][ ().\-/]?\d|[.\-/][ ()]\d){2,60}"
)
_MARK = re.compile(r"\[[A-Z]+\]")
_BRACKETS = {"[": re.compile(r"[\[\]]"), "{": re.compile(r"[{}]"), "(": re.compile(r"[()]")}
_LONGEST_GROUP = 4096
# `api key: …`, `mot de passe : …`
_LAST_WORDS = {"key", "keys", "code", "number", "no", "passe", "string", "phrase", "birth"}
_WORDS_BEFORE = re.compile(r"([^\W\d_]{1,30} )?([^\W\d_]{1,30}) \Z")
_LONGEST_BEFORE = 42
# two letters are a word in Chinese and Korean
_SHORT_NAMES = ("密码", "密碼", "口令", "암호")


def hide_assigned(text: str) -> tuple[str, int]:
    """The text with every value that is assigned to the name of a secret hidden, and how many."""
    kept, n, end = [], 0, 0
    is_other = not text.isascii() and any(name in text for name in _SHORT_NAMES)
    form = _OTHER_ASSIGNMENT if is_other else _ASSIGNMENT
    for found in form.finditer(text):
        if found.start() < end:
            continue
        name = _full_name(text, found)
        is_named = is_secret_name(name) or _is_login(text, found)
        if not (is_named or may_be_secret_name(name)):
            continue
        span = _value_of(name, text, found.end(), may_be_group=is_named)
        if span is not None:
            kept += [text[end : span[0]], HIDDEN]
            n, end = n + 1, span[1]
    return "".join([*kept, text[end:]]), n


def is_told(name: str, value: str, *, is_quoted: bool) -> bool:
    """Whether what is assigned is a secret: `Token: word` is prose, `pass: 5` a count."""
    first = value if is_quoted else _SEPARATOR.split(value, maxsplit=1)[0]
    if not (is_secret(name, value) and is_secret(name, first)):
        return False
    last = name.lower()
    if not is_quoted and (_CODE_OR_FRACTION.match(value) or value == name.rpartition(".")[2]):
        return False
    if last == "token":
        return _is_mixed(value)
    return last not in ("pass", "passe") or is_quoted or _is_mixed(value)


def _full_name(text: str, found: re.Match[str]) -> str:
    """The name, with the words before it if it is the last of several."""
    name, start = found[1], found.start()
    if text[start - 1 : start] != " " or name.lower() not in _LAST_WORDS:
        return name
    before = _WORDS_BEFORE.search(text, max(0, start - _LONGEST_BEFORE), start)
    if before is not None:
        for words in (before[0], before[2]):
            longer = f"{words.strip()} {name}".replace(" ", "_")
            if may_be_secret_name(longer):
                return longer
    return name


def _is_login(text: str, name: re.Match[str]) -> bool:
    """Whether it is `auth=("user", "password")`; any other `auth` is the name of a method."""
    return name[1].lower().endswith("auth") and text.startswith(("(", "["), name.end())


def _value_of(name: str, text: str, at: int, *, may_be_group: bool) -> tuple[int, int] | None:
    """Where the secret that begins there stands; None if there is none."""
    if text.startswith(("{{", "${"), at):  # a template, in which another program writes it
        return None
    find = _group_of if may_be_group else _code_of
    return find(name, text, at) or _text_of(name, text, at)


def _group_of(name: str, text: str, at: int) -> tuple[int, int] | None:
    """A list or an object, also of YAML; of numbers under the name of tokens it holds their ids."""
    if group_end := _end_of_group(text, at):
        is_ids = name.lower().endswith(COUNTS) and _NUMBERS.fullmatch(text, at, group_end)
        return None if is_ids else (at, group_end)
    if text.startswith(("|", ">", "- "), at) and (block := _BLOCK.match(text, at)):
        return at, block.end() - block[0].endswith("\n")
    tag = _YAML_TAG.match(text, at)
    tagged = tag and _TAGGED.match(text, tag.end())
    return tagged.span() if tagged else None


def _code_of(name: str, text: str, at: int) -> tuple[int, int] | None:
    """A number or a code, whatever stands behind it."""
    code = _CODE.match(text, at)
    if code is not None:
        for end in (code.end(), at + len(_GAP.split(code[0], maxsplit=1)[0])):
            if is_secret(name, text[at:end]):
                return at, end
    return None


def _text_of(name: str, text: str, at: int) -> tuple[int, int] | None:
    """A word, or what is in quotes; of a passphrase all words."""
    begun = _BEGINNING.match(text, at)
    if begun is None or not is_told(name, begun["value"], is_quoted=begun["open"] is not None):
        return None
    words = _WORDS.match(text, at) if name.lower().endswith("phrase") else None
    whole = _VALUE.match(text, at)
    if words is not None:
        return words.span()
    return None if whole is None else whole.span("value")


def _end_of_group(text: str, start: int) -> int:
    """Where a list, object or tuple that begins there ends; 0 if there is none, or it is empty."""
    brackets = _BRACKETS.get(text[start : start + 1])
    if brackets is None or _MARK.match(text, start):
        return 0
    last = min(len(text), start + _LONGEST_GROUP)
    depth = 0
    for found in brackets.finditer(text, start, last):
        depth += 1 if found[0] == text[start] else -1
        if depth == 0:
            return found.end() if text[start + 1 : found.start()].strip() else 0
    return last


def _is_mixed(value: str) -> bool:
    """Whether there are letters and digits."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))
