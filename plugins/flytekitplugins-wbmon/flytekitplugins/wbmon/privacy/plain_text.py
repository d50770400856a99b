"""Writes a text plainly, so that no way of writing hides an address or a key from every pattern.

Only for the search: a text in which nothing is found is kept as it was.
"""

from __future__ import annotations

import json
import re
import unicodedata
from contextlib import suppress
from functools import lru_cache
from urllib.parse import unquote

# spaces, dashes, letters and digits that are others in print only, and what has no width, in UTF-8:
# its bytes are searched several times faster than letters are
_ODD = re.compile(
    rb"\xc2[\xa0\xad]|\xcd\x8f|\xd8\x9c|\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]|\xe0(?:[\xa5\xa7][\xa6-\xaf]"
    rb"|\xb9[\x90-\x99])|\xe1(?:\x9a\x80|\xa0\x8e)|\xe2(?:\x80[\x80-\x95\xa4\xa8-\xaf]|\x81[\x9f-\xaf]"
    rb"|\x88\x92)|\xe3\x80\x80|\xef(?:\xb9[\x92\x95\xa3\xab]|\xbb\xbf|\xbc[\x8b\x8d-\x9a\x9d\xa0-\xba\xbf]"
    rb"|\xbd[\x81-\x9a])"
)
# the first bytes of letters that put an accent on the one before
_ACCENTS = (b"\xcc", b"\xcd")
_ACCENT = re.compile("[^\\W\\d_][\u0300-\u036f]")
_ENTITY = re.compile(
    r"&(?:amp;){0,3}(?:(?:(quot|#0?34|#x22)|(#0?39|#x27|apos)|(#0?64|#x40|commat)"
    r"|(#0?46|#x2e|period)|(lt|#0?60)|(gt|#0?62)|(nbsp|#160|#xa0));|(?<=amp;))",
    re.IGNORECASE,
)
_MEANT = ('"', "'", "@", ".", "<", ">", " ")
# a name and its value in JSON that a URL holds, encoded any number of times
_PERCENT_JSON = re.compile(r"%(?:25){0,3}22%(?:25){0,3}3[Aa]")
_MOST_ENCODED = 4
# what stands in names, addresses and between names and values; not what may end a value
_PERCENT = re.compile(r"%(?:25){0,3}(2[BbDdEeFf]|3[ADad]|40|5[Ff])")
_PERCENT_NAME = re.compile(r"%(?:25){0,3}5[Bb]([\w\-]{1,60})%(?:25){0,3}5[Dd]")
_ESCAPED = re.compile(r"(?<!\\)\\{1,8}u([0-9a-fA-F]{4})")


def plain_text(text: str) -> str:
    r"""The text with escapes of JSON, URLs and HTML and with odd letters, spaces and digits undone.

    >>> plain_text("me%40x.com, me&#64;x.com, me\N{FULLWIDTH COMMERCIAL AT}x.com")
    'me@x.com, me@x.com, me@x.com'
    """
    # first, because an escape may stand for any of the others
    if "\\u" in text:
        text = _without_escapes(text)
    if "\\/" in text:
        text = text.replace("\\/", "/")
    if not text.isascii():
        text = _with_plain_letters(text)
    if "%" in text:
        if _PERCENT_JSON.search(text):
            for _ in range(_MOST_ENCODED):
                text = unquote(text)
        text = _PERCENT.sub(lambda found: chr(int(found[1], 16)), text)
        text = _PERCENT_NAME.sub(r"[\1]", text)
    if "&" in text:
        text = _ENTITY.sub(
            lambda found: _MEANT[found.lastindex - 1] if found.lastindex else "&", text
        )
    return text


def _without_escapes(text: str) -> str:
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), ensure_ascii=False)
    # also those of JSON in JSON
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def _with_plain_letters(text: str) -> str:
    written = text.encode("utf-8", "replace")
    if any(accent in written for accent in _ACCENTS):
        text = _ACCENT.sub(lambda found: unicodedata.normalize("NFC", found[0]), text)
        written = text.encode("utf-8", "replace")
    plain = _ODD.sub(lambda found: _plain_letter(found[0].decode()).encode(), written)
    return text if plain is written else plain.decode()


@lru_cache(maxsize=512)
def _plain_letter(letter: str) -> str:
    kind = unicodedata.category(letter)
    if kind == "Nd":
        return str(unicodedata.decimal(letter))
    if kind == "Cf":
        return ""
    if kind == "Pd" or letter == "\u2212":
        return "-"
    if kind in ("Zs", "Zl", "Zp"):
        return " "
    return unicodedata.normalize("NFKC", letter)
