"""Finds e-mail addresses, also those that are written for people: `me [at] example (dot) com`."""

from __future__ import annotations

import re

# each is searched from its `@` and read back from there, no further than RFC 5321 allows: a search
# that begins at every letter of a long word would read the word once a letter
_DOMAIN = re.compile(
    r"@(?:[^\W_](?:[\w\-]*\.)+[^\W\d_]{2,}(?:-{1,2}[^\W_]+)?|\[[0-9A-Fa-f.:]{3,45}\])"
)
_NAME_BACKWARDS = re.compile(
    r"[\w.!#$&'*+/=?^`{|}~\-]{0,63}[^\W_]|\"\\{0,4}[\w.+ \-]{0,60}[^\W_]\""
)
_MAX_NAME = 64
# beside code, where `@` multiplies, only endings that addresses usually have
_ENDING = (
    r"(?:com|org|net|edu|gov|mil|int|info|biz|io|co|ai|app|dev|eu|uk|de|fr|it|es|nl|be|ch|at|pl|ru"
    r"|cn|jp|in|br|ca|au|us|se|no|dk|fi|ie|pt|cz|mx|kr)(?![^\W_]|[(\[]|\.\w)"
)
_DOT = r"(?:\.|\s{0,2}[(\[{]\s?(?:dot|\.)\s?[)\]}]\s{0,2})"
_WORDED = re.compile(
    rf"\s{{0,2}}(?:[(\[{{]\s?(?:at|@)\s?[)\]}}]|@)\s{{0,2}}"
    rf"[^\W_][\w\-]{{0,62}}(?:{_DOT}[\w\-]{{2,62}}){{0,4}}{_DOT}{_ENDING}"
    rf"|\sat\s[^\W_][\w\-]{{0,62}}(?:\sdot\s[\w\-]{{2,62}}){{0,4}}\sdot\s{_ENDING}",
    re.IGNORECASE,
)
_WORDED_NAME = re.compile(r"[\w.+\-]{1,63}[^\W_]")
_MARKS = ("@ ", "at)", "at]", "AT]", " dot", " DOT ")
_UNUSUAL = re.compile(r"[\d._+\-]")


def hide_emails(text: str) -> tuple[str, int]:
    """The text with every e-mail address replaced, and how many there were."""
    n = 0
    if "@" in text:
        text, n = _hide(text, _DOMAIN, _NAME_BACKWARDS)
    for mark in _MARKS:
        if mark in text:
            text, found = _hide(text, _WORDED, _WORDED_NAME)
            return text, n + found
    return text, n


def _hide(text: str, form: re.Pattern[str], name_form: re.Pattern[str]) -> tuple[str, int]:
    kept, n, end = [], 0, 0
    for found in form.finditer(text):
        before = text[max(end, found.start() - _MAX_NAME) : found.start()]
        name = name_form.match(before[::-1])
        # `git@host:path` is a repository
        if name is not None and name[0] == "tig" and text.startswith(":", found.end()):
            continue
        if name is None or (form is _WORDED and not _is_meant(name[0], found[0])):
            continue
        kept += [text[end : found.start() - name.end()], "[EMAIL]"]
        n, end = n + 1, found.end()
    return "".join([*kept, text[end:]]), n


def _is_meant(name: str, rest: str) -> bool:
    """Whether words are an address and no sentence: `meet me at example dot com` is one."""
    if rest.startswith(" at "):
        return _UNUSUAL.search(name) is not None
    return True
