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

# the name of `name=value` in a URL, a traceback, JSON, JSON in JSON; or of `b'name', b'value'`; in
# bold, as code, or in a cell of HTML before that of its value
_MARKED = r"(?:\*{1,3}|`{1,2}|</?[A-Za-z]\w{0,9}(?:\s[^<>]{0,100})?>)"
_ASSIGNED = (
    rf"(?:\\{{0,16}}[\"']{{0,2}}\]?{_MARKED}?\s*(?:=>|:=|[:=])(?:{_MARKED}{{1,2}})?\s*"
    rf"(?:[*]{{1,3}}|<[A-Za-z]\w{{0,9}}(?:\s[^<>]{{0,100}})?>)?"
    r"|[\"'],\s*(?=b[\"'])"
    r"|:?(?:</(?:b|strong|code|label|span|p)>)?</(?:t[hd]|dt)>\s*<[td]d(?:\s[^<>]{0,100})?>)"
)
_ASSIGNMENT = re.compile(rf"(?<![\w.\-])([\w.\-]{{3,100}}|[Pp][Ww]){_ASSIGNED}")
_OTHER_ASSIGNMENT = re.compile(rf"(?<![\w.\-])([\w.\-]{{2,100}}){_ASSIGNED}")
_OPEN = re.compile(r"b?(\\{0,16})(\"{3}|'{3}|`{3}(?:\w{0,10}\n)?|[\"']|`(?![\s).,;:]))")
# in quotes it goes on to the last of them, spaces and all
_QUOTES_OR_LINE = re.compile(r"(?<!\\)(\\*)([\"'`\n])")
_BEHIND_QUOTE = re.compile(r"[\s,;:.)}\]&></]|\\[nrt]|\Z")
_CURLY = "\u201c\u201d\u201e\xab\u2018\u2019\u201a\u300c\u300e\xbb\u300d\u300f"
# in those of print, which open differently in every language
IN_CURLY = rf"[{_CURLY}]\s?([^{_CURLY}\n]{{3,200}})(?:[{_CURLY}]|\Z)"
_IN_CURLY = re.compile(IN_CURLY)
_SCHEMES = r"(?:(?i:bearer|basic|digest|token|apikey|negotiate|ntlm)\s{1,8})?"
_LETTER = r"[^\s\"'\\,;&{}\[\]<]"
_BRACKETS_INSIDE = r"[{}\[\]][{}\[\]()]{0,5}"
_NAME_AHEAD = (
    r"(?!(?:[A-Z]?[a-z][a-z_.\-]{0,60}(?:[A-Z][a-z]{1,20}){0,4}\d?|[A-Z][A-Z_.\-]{1,60})\s?[=:])"
)
# a separator ends it only in front of a blank or of another `name=`, a bracket only if it may close
# what the name stands in, and `<` if it opens a tag
_INSIDE = (
    rf"(?:[,;&]{{1,3}}|[\"'])(?=[^\s\"'\\,;&{{}}\[\]()]){_NAME_AHEAD}"
    rf"|[,;&]?{_BRACKETS_INSIDE}(?=[^\s\"'\\,;&{{}}\[\]<()])(?![.:!?]{{1,3}}(?:\s|\Z))"
    rf"|{_BRACKETS_INSIDE}[,;&](?={_LETTER}){_NAME_AHEAD}"
    r"|<(?!/?[A-Za-z]\w{0,9}\s?/?>)|\\(?![\\nrtu\"'/])"
)
_FIRST = rf"(?:{_LETTER}|<(?!/?[A-Za-z])|[,;&}}\]]{{1,3}}(?={_LETTER}){_NAME_AHEAD})"
_BEGINNING_LENGTH = 64
_WORD = re.compile(rf"{_SCHEMES}{_FIRST}(?:{_LETTER}|{_INSIDE}){{2,}}")
_BEGINNING = re.compile(rf"{_SCHEMES}{_FIRST}(?:{_LETTER}|{_INSIDE}){{0,{_BEGINNING_LENGTH}}}")
# behind brackets that are the beginning of a word, and what such brackets do not hold
_CONTAINER = re.compile(r"[\s\"',:=]")
_REST = re.compile(rf"\w(?:{_LETTER}|{_INSIDE})*")
# of YAML: a text of several lines, or a list
_BLOCK = re.compile(
    r"[|>][+\-]?[ \t]*\n(?:[ \t]+[^\n]*(?:\n|\Z))+"
    r"|- [^\s:]+(?:\n[ \t]*- [^\s:]+)*(?=[ \t]*(?:\n|\Z))"
)
_SEPARATOR = re.compile(r"[,;&]")
# `get_token(user)`, `get_secret('db`, `self._token`: code that finds a secret; and a fraction
_CODE_OR_FRACTION = re.compile(
    r"(?:[A-Za-z_]+\.){0,9}[A-Za-z_]+\((?:[A-Za-z_.,(]*\){1,9}|[A-Za-z_.(]*[\"'].*)\Z|[a-z_.]+\(\Z"
    r"|self\.[A-Za-z_.]+(?:\([A-Za-z_.,\d]*\)?)?\Z|[01]?\.\d+[}\])]*\Z"
)
_ATTRIBUTE = re.compile(
    r"(?:self|config|cfg|conf|settings|options|opts|args|params|kwargs|request|env)"
    r"(?:\.[A-Za-z_]+){0,4}\.([A-Za-z_]+)[,;)]{0,3}\Z"
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
    if not is_quoted and _is_code(name.rpartition(".")[2], value):
        return False
    if last == "token":
        return _is_mixed(value)
    return last not in ("pass", "passe") or is_quoted or _is_mixed(value)


def _is_code(name: str, value: str) -> bool:
    """Whether it says where a program finds the value: `get_token(user)`, `config.api_key`."""
    if _CODE_OR_FRACTION.match(value) or value == name:
        return True
    attribute = _ATTRIBUTE.match(value)
    return attribute is not None and attribute[1].strip("_").lower() == name.strip("_").lower()


def _full_name(text: str, found: re.Match[str]) -> str:
    """The name, with the words before it if it is the last of several."""
    name, start = found[1].rstrip("_"), found.start()
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
        if is_ids:
            return None
        rest = None if _CONTAINER.search(text, at, group_end) else _REST.match(text, group_end)
        return at, rest.end() if rest else group_end
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
    opened = _OPEN.match(text, at)
    if opened is not None:
        return _quoted_of(name, text, opened)
    curly = None if text.isascii() else _IN_CURLY.match(text, at)
    if curly is not None:
        return curly.span(1) if is_told(name, curly[1], is_quoted=True) else None
    begun = None if _MARK.match(text, at) else _BEGINNING.match(text, at)
    if begun is None or not is_told(name, begun[0], is_quoted=False):
        return None
    words = _WORDS.match(text, at) if name.lower().endswith("phrase") else None
    whole = words or _WORD.match(text, at)
    return None if whole is None else whole.span()


def _quoted_of(name: str, text: str, opened: re.Match[str]) -> tuple[int, int] | None:
    at = opened.end()
    if _MARK.match(text, at):
        return None
    begun = _end_of_quoted(text, opened, min(len(text), at + _BEGINNING_LENGTH))
    if begun == at or not is_told(name, text[at:begun].strip(), is_quoted=True):
        return None
    return at, _end_of_quoted(text, opened, len(text))


def _end_of_quoted(text: str, opened: re.Match[str], last: int) -> int:
    """Where a quotation ends: at the same quote, escaped as often, or with its line."""
    at, depth, quote = opened.end(), len(opened[1]), opened[2].strip()
    if len(quote) > 1:  # over several lines
        closed = text.find(quote[:3], at, min(last, at + _LONGEST_GROUP))
        if closed >= 0 or last < len(text):
            return closed if closed >= 0 else last
    for found in _QUOTES_OR_LINE.finditer(text, at, last):
        if found[2] == "\n":
            return found.start(2)
        # what is escaped once more has twice as many backslashes and one
        is_same = found[2] == quote and len(found[1]) % (2 * depth + 2) == depth
        if is_same and _BEHIND_QUOTE.match(text, found.end()):
            return found.end() - depth - 1
    return last


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
