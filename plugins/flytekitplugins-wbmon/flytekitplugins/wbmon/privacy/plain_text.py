"""Writes a text plainly, so that no way of writing hides an address or a key from every pattern.

Only for the search: a text in which nothing is found is kept as it was.
"""

from __future__ import annotations

import json
import re
import unicodedata

# spaces, dashes, letters and digits that are others in print only, and what has no width
_ODD = re.compile(
    "[\u00a0\u00ad\u034f\u061c\u1680\u180e\u2000-\u2015\u2024\u2028-\u202f\u2044\u205f-\u206f\u2212"
    "\u3000\u3002\ufe50-\ufe6f\ufeff\uff01-\uff61\u0660-\u0669\u06f0-\u06f9\u0966-\u096f"
    "\u09e6-\u09ef\u0e50-\u0e59\U0001d7ce-\U0001d7ff\U000e0000-\U000e007f]"
)
_ACCENT = re.compile("[^\\W\\d_][\u0300-\u036f]")
_ENTITY = re.compile(
    r"&(?:(quot|#0?34|#x22)|(#0?39|#x27|apos)|(#0?64|#x40|commat)|(#0?46|#x2e|period)|amp);",
    re.IGNORECASE,
)
_MEANT = ('"', "'", "@", ".")
# what stands in names, addresses and between names and values; not what may end a value
_PERCENT = re.compile(r"%(?:25){0,3}(2[BbDdEeFf]|3[ADad]|40|5[Ff])")
_PERCENT_NAME = re.compile(r"%(?:25){0,3}5[Bb]([\w\-]{1,60})%(?:25){0,3}5[Dd]")
_ESCAPED = re.compile(r"(?<!\\)\\{1,8}u([0-9a-fA-F]{4})")


def plain_text(text: str) -> str:
    """The text with escapes of JSON, URLs and HTML and with odd letters, spaces and digits undone.

    >>> plain_text("me%40x.com, me&#64;x.com, me\\N{FULLWIDTH COMMERCIAL AT}x.com")
    'me@x.com, me@x.com, me@x.com'
    """
    # first, because an escape may stand for any of the others
    if "\\u" in text:
        text = _without_escapes(text)
    if not text.isascii():
        text = _ODD.sub(lambda found: _plain_letter(found[0]), text)
        text = _ACCENT.sub(lambda found: unicodedata.normalize("NFC", found[0]), text)
    if "%" in text:
        text = _PERCENT.sub(lambda found: chr(int(found[1], 16)), text)
        text = _PERCENT_NAME.sub(r"[\1]", text)
    if "&" in text:
        text = _ENTITY.sub(
            lambda found: _MEANT[found.lastindex - 1] if found.lastindex else "&", text
        )
    return text


def _without_escapes(text: str) -> str:
    try:
        text = json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    # also those of JSON in JSON
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


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
    plain = unicodedata.normalize("NFKC", letter)
    return plain if plain.isascii() else "." if letter in "\u3002\uff61" else letter
