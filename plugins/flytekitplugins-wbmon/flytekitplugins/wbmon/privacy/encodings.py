"""Finds the encoding of bytes that do not name it: in a text read wrongly, nothing is found."""

from __future__ import annotations

import codecs
import json

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARKED = {mark[:1] for mark, _ in _MARKS}
# the first letters of JSON are of English, of which every other byte is 0
_LETTERS = 4


def encoding_of(data: bytes | bytearray) -> str | None:
    """The encoding that a mark or zeros among the first bytes tell, as readers of JSON find it.

    >>> encoding_of('{"a": 1}'.encode("utf-16-le")), encoding_of(b'{"a": 1}')
    ('utf-16-le', None)
    """
    if data[:1] in _MARKED:
        for mark, name in _MARKS:
            if data.startswith(mark):
                return name
    return json.detect_encoding(bytes(data[:_LETTERS])) if 0 in data[:_LETTERS] else None
