"""Cuts a text before it is searched, where no half of a secret stays that no pattern recognises."""

from __future__ import annotations

import re

# all that keys, addresses and URLs are made of: a word of it is kept whole or not at all
_RUN_BACKWARDS = re.compile(r"[^\s\"'<>()\[\]{}|,\x80-\U0010ffff]*")
_LAST_WORD = re.compile(r"\S{1,64}\s{0,3}\Z")
# also the name of an address whose `@` may be behind the cut
_NUMBER_OR_ADDRESS = re.compile(r"[\d@]|\w[._]\w")
_AT = re.compile(r"[(\[{]?\s?(?:at|dot)\s?[)\]}]?\s*\Z", re.IGNORECASE)
_AT_AHEAD = re.compile(r"\s{0,3}[(\[{]?\s?(?:at|dot|@)(?!\w)|\s?@", re.IGNORECASE)
# `jane.doe [at] exam`, or less of it
_HALF_ADDRESS = re.compile(
    r"(?:[\w.+\-]{1,64}\s{0,2}[(\[{]\s?(?:at?\s?|at\s?[)\]}][\s\w.\-()\[\]{}]{0,64})?"
    r"|[\w+\-]{0,40}[._\d][\w.+\-]{0,40}\sat?(?:\s[\s\w.\-]{0,64})?)\Z",
    re.IGNORECASE,
)
# `482913 is your one-time`, behind which it says what for
_HALF_CODE = re.compile(
    r"\b\d{4,8}\sis?(?:\s(?:(?:your|the)\s[\w\s'\-]{0,64}|yo?u?r?|th?e?)?)?\Z", re.IGNORECASE
)
_LONGEST_ADDRESS = 160
_MAX_WORDS = 16
_WINDOW = 80
_AHEAD = 8
# stands for what is not known
_ANY_WORD = "x"


def cut_safely(text: str, limit: int) -> str:
    """The beginning of a text, of at most `limit` characters; the text itself if it is not longer.

    A word that the limit cuts is left out, however long it is, and so are the numbers and parts of
    an address in front of it: half of a key, of a card or of an e-mail address matches no pattern.

    >>> cut_safely("pay with 4111 1111 1111 1111", 24)
    'pay with '

    Args:
        text: The text.
        limit: Number of characters.
    """
    return (
        text if len(text) <= limit else _without_half(text[: max(0, limit)], text[limit:][:_AHEAD])
    )


def without_cut_end(text: str) -> str:
    """A text that was cut somewhere, without the end of which the rest is not known.

    >>> without_cut_end("my key is sk-pro")
    'my key is '
    """
    return _without_half(text, _ANY_WORD)


def _without_half(kept: str, ahead: str) -> str:
    if _run_length(ahead[:1]):
        kept = kept[: len(kept) - _run_length(kept)]
    for form in (_HALF_ADDRESS, _HALF_CODE):
        half = form.search(kept, max(0, len(kept) - _LONGEST_ADDRESS))
        if half is not None:
            kept = kept[: half.start()]
    is_before_at = _AT_AHEAD.match(ahead) is not None
    for _ in range(_MAX_WORDS):
        last = _LAST_WORD.search(kept, max(0, len(kept) - _WINDOW))
        if last is None:
            break
        is_at = _AT.match(last[0]) is not None
        if not (is_at or is_before_at or _NUMBER_OR_ADDRESS.search(last[0])):
            break
        is_before_at = is_at or "@" in last[0]
        kept = kept[: last.start()]
    return kept


def _run_length(text: str) -> int:
    found = _RUN_BACKWARDS.match(text[::-1])
    return found.end() if found else 0
