"""Hides secrets that a sentence tells (`my PIN is 4921`), and those in the columns of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flytekitplugins.wbmon.privacy.assigned_secrets import IN_CURLY, is_told
from flytekitplugins.wbmon.privacy.key_formats import HIDDEN
from flytekitplugins.wbmon.privacy.secret_names import may_be_secret_name

_VERB = (
    r"(?:(?:\s{0,3}\b(?:is|was|to|ist|lautet|es|est|é|è|el|jest|är|er|by)\b){1,2}\s{0,2}[:=]?"
    r"|\s{0,2}(?:是|为|為|は|은|는)\s{0,2}[:=]?|\s{0,2}-\s{1,2})"
)
# a word with letters and digits, as no sentence has many
_REST = r"(?:[^\s\"']|[\"'](?=\w))"
_MIXED = rf"(?=[^\s\"']{{0,40}}\d)(?=[^\s\"']{{0,40}}[A-Za-z])[^\s\"'\[(<{{=:;,]{_REST}"
# or of small and large letters with signs among them
_SIGNED = (
    r"(?-i:(?=[^\s\"']{0,40}[A-Z])(?=[^\s\"']{0,40}[a-z])(?=[^\s\"']{0,40}[!#$%^&*+={}|~]\w))"
    rf"[^\s\"'\[(<{{=:;,]{_REST}{{7,200}}"
)
# the name of a method, not a password
_METHOD = r"sha-?\d|md5|v\d|base\d|argon\d|pbkdf\d|utf|aes|oauth\d|rfc|\d{1,3}-\d"
_QUOTED = rf"\"([^\"\n]{{3,200}})(?=\"|\Z)|'([^'\n]{{3,200}})(?='|\Z)|{IN_CURLY}"
# bold, or code
_MARKED = r"[*_`]{0,3}"
# what follows the beginning of a name
_PASSWORD = re.compile(
    rf"(?i)[^\W\d_]{{0,6}}{_MARKED}"
    rf"(?:{_VERB}\s{{0,3}}{_MARKED}(?:{_QUOTED}|({_MIXED}{{3,200}})|({_SIGNED}))"
    rf"|\s{{1,3}}{_MARKED}(?:{_QUOTED}|(?!{_METHOD})({_MIXED}{{6,200}})"
    rf"|\((?!{_METHOD})({_MIXED}{{5,200}})(?<!\))))"
)
# `482913 is your one-time password`
_CODE_BEFORE = re.compile(
    r"(?<![\w.,\-])(?:[A-Z]-)?(\d{4,8})(?= is (?:your|the) (?:[\w'\-]{1,20} ){0,4}"
    r"(?:(?:verification|confirmation|login|security|access|authentication|one-time|2fa|sms)"
    r" (?:pass)?code|otp|pin|(?:one-time )?pass(?:word|code))\b)",
    re.IGNORECASE,
)
_BEFORE_NAME = " is your "
# twelve or more words from which a wallet is restored
SEED_MARKS = ("mnemonic", "phrase", "seed words")
_SEED_NAMES = ("mnemonic", "seed phrase", "recovery phrase", "seed words")
_SEED = re.compile(r"(?:[^\w\n]{1,4}| is | are ){1,2}((?:[a-z]{3,8} ){11,23}[a-z]{3,8})\b")
_CODE = re.compile(
    r"(?i)2?(?: ?code| ?number|码|碼|コード|번호)?[*_`]{0,3}"
    rf"(?:{_VERB}|\s?[:=]| (?:for|of) (?:[a-z']{{1,12}} ){{1,3}}(?:is|was)\b)?"
    r"\s{0,3}[*_`]{0,3}(\d{3,8})(?![A-Za-z0-9])(?![.\-]\d)"
)
# the beginnings of names, and how they may go on
_PASSWORDS = (
    ("pass", ("w", "p", "c", "e ")), ("identified", (" by",)), ("kennwort", ("",)),
    ("wachtwoord", ("",)), ("senha ", ("",)), ("contrasena", ("",)),
)  # fmt: skip
_OTHER_PASSWORDS = (
    ("contraseña", ("",)), ("hasło", ("",)), ("lösenord", ("",)), ("şifre", ("",)),
    ("пароль", ("",)), ("密码", ("",)), ("密碼", ("",)), ("パスワード", ("",)), ("비밀번호", ("",)),
)  # fmt: skip
# whose kind the word before them tells
_KEYS = ("key", "token", "secret")
_KEY_OWNERS = ("api", "secret", "access", "auth", "client", "private", "aws")
# with the least number of digits, and the words before them without which they are anything
_OWNERS = (
    *(" my", " your", " his", " her", " the", " card", " new", " sim"),
    *(" meine", " deine", " ihre", " die", " neue", " mon", " ton", " votre", " le", " code"),
    *(" mi", " tu", " su", " el", " mio", " tuo", " suo", " il", " meu", " seu", " mijn"),
    *(" mój", " twój", "我的", "你的", "您的", "的", "私の"),
)
_AROUND_OWNERS = str.maketrans("*_`'\"(\n", " " * 7)
_CODE_KINDS = (
    "verification", "confirmation", "login", "authentication", "one time", "one-time", "sms", "2fa",
    "access", "security",
)  # fmt: skip
_CODES = (
    ("pin", 4, _OWNERS), ("code", 3, _CODE_KINDS), ("otp", 4, ()), ("cvv", 3, ()), ("cvc", 3, ()),
    ("passcode", 4, ()),
)  # fmt: skip
_ALL_PASSWORDS = _PASSWORDS + _OTHER_PASSWORDS
_MARKS = (
    *(mark for mark, _ in _PASSWORDS), *_KEYS, *(mark for mark, *_ in _CODES), *SEED_MARKS,
)  # fmt: skip
_ALL_MARKS = (*_MARKS, *(mark for mark, _ in _OTHER_PASSWORDS))
_CODE_NAMES = (" code", " number")
_BEFORE = 16
_CELLS = re.compile(r"[,;\t|]")
_NAME = re.compile(r"[\w .\-/]{1,60}")
# one word with a digit
_TELLING = re.compile(r"(?=\D{0,60}\d)\S{4,200}")


def hide_told(text: str, *, has_digits: bool = True) -> tuple[str, int]:
    """The text with passwords and codes hidden that stand behind their names in a sentence.

    Args:
        text: The text.
        has_digits: Whether there are any, without which only what is in quotes is a secret.
    """
    words = text.lower()
    is_plain = words.isascii()
    for mark in _MARKS if is_plain else _ALL_MARKS:
        if mark in words:
            break
    else:  # as in nearly all texts
        return text, 0
    if len(words) != len(text):  # some capitals become two letters
        words = text
    spans = list(_passwords(text, words, _PASSWORDS if is_plain else _ALL_PASSWORDS))
    if has_digits:
        spans += [*_keys(text, words), *_codes(text, words)]
        if _BEFORE_NAME in words:
            spans += [found.span(1) for found in _CODE_BEFORE.finditer(text)]
    spans += _seeds(text, words)
    if not spans:
        return text, 0
    kept, n, end = [], 0, 0
    for start, stop in sorted(spans):
        if start >= end:
            kept += [text[end:start], HIDDEN]
            n, end = n + 1, stop
    return "".join([*kept, text[end:]]), n


def _passwords(
    text: str, words: str, names: tuple[tuple[str, tuple[str, ...]], ...]
) -> Iterator[tuple[int, int]]:
    for mark, more in names:
        for at in _places(mark, words):
            if words.startswith(more, at + len(mark)):
                yield from _told(text, at + len(mark))


def _keys(text: str, words: str) -> Iterator[tuple[int, int]]:
    for mark in _KEYS:
        for at in _places(mark, words):
            if words[max(0, at - _BEFORE) : at].rstrip(" _-").endswith(_KEY_OWNERS):
                yield from _told(text, at + len(mark))


def _told(text: str, at: int) -> Iterator[tuple[int, int]]:
    found = _PASSWORD.match(text, at)
    if found is not None and found.lastindex is not None:
        yield found.span(found.lastindex)


def _seeds(text: str, words: str) -> Iterator[tuple[int, int]]:
    for name in _SEED_NAMES:
        for at in _places(name, words):
            found = _SEED.match(text, at + len(name))
            if found is not None:
                yield found.span(1)


def _codes(text: str, words: str) -> Iterator[tuple[int, int]]:
    for mark, least, owners in _CODES:
        for at in _places(mark, words):
            before = words[max(0, at - _BEFORE) : at]
            owner = f" {before.translate(_AROUND_OWNERS).rstrip()}"
            is_called = owner.endswith(owners) if owners else not before[-2:].isalpha()
            # in capitals it is no pin of a board
            is_called |= text.startswith("PIN", at) and not before[-1:].isalnum()
            if not is_called and not words.startswith(_CODE_NAMES, at + len(mark)):
                continue
            found = _CODE.match(text, at + len(mark))
            if found is not None and len(found[1]) >= least:
                yield found.span(1)


def _places(mark: str, words: str) -> Iterator[int]:
    at = words.find(mark)
    while at >= 0:
        yield at
        at = words.find(mark, at + len(mark))


def hide_columns(text: str) -> tuple[str, int]:
    """The text with every value hidden that stands in a table below the name of a secret.

    A table has a name above every column and as many values in every row: code has not. It may
    stand below a line of prose, but then only what looks like a secret is hidden in it.
    """
    lines = text.split("\n")
    rows = [number for number, line in enumerate(lines) if line.strip()]
    at = n = 0
    while at < len(rows) - 1:
        at, found = _hide_table(lines, rows, at)
        n += found
    return ("\n".join(lines), n) if n else (text, 0)


def _hide_table(lines: list[str], rows: list[int], first: int) -> tuple[int, int]:
    """Hide the columns of the table that begins at a row; the row behind it, and how many."""
    head = lines[rows[first]]
    gap = _CELLS.search(head)
    if gap is None:
        return first + 1, 0
    # in most texts that are no tables, the line below has another number of gaps
    below = lines[rows[first + 1]]
    if gap[0] != "|" and '"' not in below and below.count(gap[0]) != head.count(gap[0]):
        return first + 1, 0
    names = [cell.strip(" \"'\r*`") for cell in _cells(head, gap[0])]
    hidden = [at for at, name in enumerate(names) if may_be_secret_name(name)]
    if not hidden or not all(map(_NAME.fullmatch, names)):
        return first + 1, 0
    n, row = 0, first + 1
    # of prose, the last line may be no row
    is_whole = (
        first == 0
        and ", " not in head
        and all(len(_cells(lines[number], gap[0])) == len(names) for number in rows[1:])
    )
    while row < len(rows):
        line = lines[rows[row]]
        cells = _cells(line, gap[0])
        if len(cells) != len(names):
            break
        for at in hidden:
            value = cells[at].strip(" \"'\r")
            is_mark = value == HIDDEN or not value.strip("-:")
            if is_mark or not is_told(names[at], value, is_quoted=False):
                continue
            if is_whole or _TELLING.fullmatch(value):
                cells[at] = cells[at].replace(value, HIDDEN)
                n += 1
        edge = gap[0] if line.strip().startswith("|") else ""
        lines[rows[row]] = f"{edge}{gap[0].join(cells)}{edge}"
        row += 1
    return row, n


def _cells(line: str, gap: str) -> list[str]:
    """The cells of a row; Markdown has a gap before the first and behind the last one.

    >>> _cells('"Doe, John",x', ",")
    ['"Doe, John"', 'x']
    """
    stripped = line.strip()
    inside = stripped[1:-1] if gap == "|" and stripped[:1] == stripped[-1:] == "|" else line
    cells = inside.split(gap)
    if '"' not in inside:
        return cells
    whole: list[str] = []
    is_open = False
    for cell in cells:
        if is_open:
            whole[-1] += gap + cell
        else:
            whole.append(cell)
        # within quotes, a gap is part of a value
        if cell.count('"') % 2 and (is_open or cell.lstrip().startswith('"')):
            is_open = not is_open
    return cells if is_open else whole
