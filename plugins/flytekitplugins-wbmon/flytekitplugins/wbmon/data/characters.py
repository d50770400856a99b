"""Texts as arrays of characters: what lets numpy read a million texts without a loop over rows."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import dense_numbers, is_text, large_strings, text_array
from flytekitplugins.wbmon.errors import DataError

OTHER, LETTER, DIGIT, IDEOGRAPH, SPACE = 0, 1, 2, 3, 4
"""The classes of characters. An ideograph is a letter of a script that sets no blanks."""

UPPER = 8
"""Added to `LETTER` for the letters in upper case."""

N_ASCII = 128
"""Code points of ASCII, the first ones."""

_BATCH = 2**20  # bytes; a batch and what is computed from it stay in the cache of the processor
_CASED_BELOW = 0x20000  # no later plane has letters of two cases

_WIDER_FROM = (0x80, 0x800, 0x10000)  # code points that take another byte of UTF-8
_UTF_32 = f"utf-32-{sys.byteorder[0]}e"

# scripts that write words without blanks between them; the blocks of their letters and marks
_WITHOUT_BLANKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # marks of repetition among Han
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31F0, 0x31FF),  # Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAA7F),  # Myanmar
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFF9F),  # Katakana of half width
    (0x1B000, 0x1B16F),  # Kana
    (0x20000, 0x3FFFF),  # Han
)


class Characters(NamedTuple):
    """The characters of some texts, one text after another.

    Attributes:
        codes: Code points; uint8 if all of them are ASCII, else uint32; shape `(c,)`.
        ends: Where each text begins and the last one ends; shape `(n + 1,)`, from 0 to `c`.
    """

    codes: NDArray[Any]
    ends: NDArray[np.int64]


def texts_and_rows(array: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """The texts of a column as `large_string`, each entry of a dictionary once.

    Args:
        array: `string`, `large_string`, `string_view`, or a dictionary of one of these. Bytes that
            are not UTF-8 are read as U+FFFD.

    Returns:
        The texts; and for each row the position of its text, None if row `i` has text `i`.

    Raises:
        DataError: If the column does not hold text.
    """
    rows = None
    if pa.types.is_dictionary(array.type):
        array, rows = array.dictionary, array.indices
    if not is_text(array.type):
        raise DataError(f"a column of text is needed, got {array.type}; cast it to string first")
    texts = _utf8(large_strings(array))
    # a slice keeps the dictionary of the whole column
    if rows is not None and len(texts) > len(rows):
        return texts.take(rows), None
    return texts, rows


def batches_of_characters(texts: pa.Array) -> Iterator[Characters]:
    """The characters of all texts in order, about a million at a time.

    Args:
        texts: `large_string`; a null is read as an empty text.
    """
    if len(texts) == 0:
        return
    # below a null, Arrow allows bytes that belong to no row
    if texts.null_count:
        texts = texts.fill_null(text_array([""])[0])
    starts, data = text_bytes(texts)
    lengths = dense_numbers(pc.utf8_length(texts))
    for first, last in row_batches(starts):
        block = data[starts[first] : starts[last]]
        ends = np.concatenate(([0], np.cumsum(lengths[first:last])))
        if ends[-1] == len(block):
            yield Characters(block, ends)
        else:
            codes = str(block.data, "utf-8").encode(_UTF_32)
            yield Characters(np.frombuffer(codes, np.uint32), ends)


def text_bytes(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The memory of texts: where each begins and the last ends, and all their bytes.

    Args:
        texts: `large_string` or `large_binary`, not empty; slices are fine.
    """
    _, ends, data = texts.buffers()
    starts = np.frombuffer(ends, np.int64, len(texts) + texts.offset + 1)[texts.offset :]
    return starts, np.frombuffer(data or b"", np.uint8)


def row_batches(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and last row, exclusive, of batches of about a million bytes and at least one row."""
    first, n_rows = 0, len(starts) - 1
    while first < n_rows:
        last = int(np.searchsorted(starts, starts[first] + _BATCH, "right")) - 1
        last = min(max(last, first + 1), first + _BATCH, n_rows)
        yield first, last
        first = last


def texts_of(codes: NDArray[Any], starts: NDArray[np.int64]) -> pa.Array:
    """The inverse of `batches_of_characters`: an array of `large_string` from its characters.

    Args:
        codes: Code points, uint8 if all are ASCII, else uint32; shape `(c,)`.
        starts: Where each text begins and the last one ends; shape `(n + 1,)`, from 0 to `c`.
    """
    if codes.dtype == np.uint8:
        data, ends = codes.tobytes(), starts
    else:
        data = codes.tobytes().decode(_UTF_32).encode()
        widths = 1 + sum((codes >= first).view(np.uint8) for first in _WIDER_FROM)
        ends = np.concatenate(([0], np.cumsum(widths)))[starts]
    buffers = [None, pa.py_buffer(np.ascontiguousarray(ends, np.int64)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(starts) - 1, buffers)


@cache
def classes() -> NDArray[np.uint8]:
    """The class of every code point, from the Unicode tables of Python; shape `(0x110000,)`.

    A mark, such as a vowel sign of Devanagari or an accent, is part of a word and so a `LETTER`.
    Numerals of every kind are digits.
    """
    names = "".join(map(unicodedata.category, map(chr, range(sys.maxunicode + 1))))
    category = np.frombuffer(names.encode(), np.dtype("S2"))
    group = category.astype("S1")
    table = np.zeros(len(category), dtype=np.uint8)
    table[(group == b"L") | (group == b"M")] = LETTER
    table[group == b"N"] = DIGIT
    table[group == b"Z"] = SPACE
    table[9:14] = SPACE  # tab, line feed, vertical tab, form feed, carriage return
    for first, last in _WITHOUT_BLANKS:
        block = table[first : last + 1]
        block[block == LETTER] = IDEOGRAPH
    table[category == b"Lu"] += UPPER
    return table


@cache
def word_characters() -> NDArray[np.uint32]:
    """What stands for a code point in a token: its lower case, or `0`; shape `(0x110000,)`.

    Always one character, unlike `str.lower`, which makes two of the Turkish `İ`.
    """
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    table[:_CASED_BELOW] = np.char.lower(table[:_CASED_BELOW].view("U1")).view(np.uint32)
    table[classes() == DIGIT] = ord("0")
    return table


def _utf8(texts: pa.Array) -> pa.Array:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        raw = texts.cast(pa.large_binary()).to_pylist()
        decoded = [None if text is None else text.decode(errors="replace") for text in raw]
        return text_array(decoded)
    return texts
