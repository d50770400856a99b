"""Cuts a text before it is searched, where no half of a secret stays that no pattern recognises."""

from __future__ import annotations

import re

# all that keys, addresses and URLs are made of: a word of it is kept whole or not at all
_RUN_BACKWARDS = re.compile(r"[^\s\"'<>()\[\]{}|,\x80-\U0010ffff]*")
_LAST_WORD = re.compile(r"\S{1,64}\s{0,3}\Z")
_NUMBER_OR_ADDRESS = re.compile(r"[\d@]")
_AT = re.compile(r"[(\[{]?\s?(?:at|dot)\s?[)\]}]?\s*\Z", re.IGNORECASE)
_AT_AHEAD = re.compile(r"\s{0,3}[(\[{]?\s?(?:at|dot|@)(?!\w)|\s?@", re.IGNORECASE)
_MAX_WORDS = 16
_WINDOW = 80


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
    if len(text) <= limit:
        return text
    kept = text[: max(0, limit)]
    if _run_length(text[limit]):
        kept = kept[: len(kept) - _run_length(kept)]
    is_before_at = _AT_AHEAD.match(text, len(kept)) is not None
    for _ in range(_MAX_WORDS):
        last = _LAST_WORD.search(kept, max(0, len(kept) - _WINDOW))
        if last is None or not (
            is_before_at or _NUMBER_OR_ADDRESS.search(last[0]) or _AT.match(last[0])
        ):
            break
        is_before_at = _AT.match(last[0]) is not None or "@" in last[0]
        kept = kept[: last.start()]
    return kept


def _run_length(text: str) -> int:
    found = _RUN_BACKWARDS.match(text[::-1])
    return found.end() if found else 0
