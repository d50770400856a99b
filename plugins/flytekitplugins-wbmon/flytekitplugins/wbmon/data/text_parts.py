"""Parts of texts that have a distribution, when whole texts have none: nearly all of them differ.

Each function takes a column of text, `string`, `large_string`, `string_view` or a dictionary of one
of these, and returns an array with one entry for each row, null where the text is null. All are
functions of one text alone, so that what is counted of the batches of a column can be added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import (
    bitmap,
    bool_array,
    dense_numbers,
    float_array,
    is_valid,
    text_array,
    whole_array,
)
from flytekitplugins.wbmon.data.characters import (
    DIGIT,
    IDEOGRAPH,
    LETTER,
    N_ASCII,
    SPACE,
    UPPER,
    Characters,
    batches_of_characters,
    classes,
    texts_and_rows,
    texts_of,
    word_characters,
)

MAX_CHARACTERS = 2000
"""Characters of a text from which tokens are taken; a longer text has no format."""

MAX_TOKEN = 40
"""Characters of a token; what a longer one has more is cut off."""

MAX_RUNS = 10
"""Runs of letters and digits in a format."""

MAX_FORMAT = 64
"""Characters of a format."""

LONG = "(long)"
"""The format of every text that is beyond one of the limits."""

_ALPHABETS = {
    "digits": r"\p{N}",
    "lower": r"\p{Ll}",
    "upper": r"\p{Lu}",
    "letters": r"[\p{Lo}\p{Lt}\p{Lm}]",
}
_RANDOM_RUN = r"[\p{L}\p{M}\p{N}]*\p{N}\p{M}*\p{L}[\p{L}\p{M}\p{N}]*"
_PLACES = len(str(MAX_CHARACTERS))
_TOKENS = pa.large_list(pa.large_string())


def text_lengths(array: pa.Array) -> pa.Array:
    """Characters of each text, `int64`: code points, not bytes."""
    texts, rows = texts_and_rows(array)
    return _of_rows(pc.utf8_length(texts), rows)


def character_shares(array: pa.Array) -> dict[str, pa.Array]:
    """Shares of kinds of characters in each text, `float64` in [0, 1].

    `letters` of any script, with their marks; `digits` and other numerals; `spaces` of any width
    and line ends; what is missing to 1 is punctuation, symbols and control characters, which are
    left out because a sum adds nothing to its parts. `non_ascii` is the share beyond ASCII: a
    change of script, of encoding, or mojibake. These are null for an empty text. `upper` is the
    share of upper case among the letters, null for a text without any: as a share of all
    characters it would only repeat what `letters` says.
    """
    texts, rows = texts_and_rows(array)
    names = ("letters", "digits", "spaces", "upper", "non_ascii")
    parts = [_shares(batch) for batch in batches_of_characters(texts)]
    columns = np.concatenate(parts, axis=1) if parts else np.empty((len(names), 0))
    valid = is_valid(texts)
    shares = {}
    for name, column in zip(names, columns, strict=True):
        undefined = ~valid | np.isnan(column)
        shares[name] = _of_rows(float_array(column[~undefined], ~undefined), rows)
    return shares


def tokens(array: pa.Array) -> pa.Array:
    """Words of each text in their order, `large_list<large_string>`, for any language.

    Letters in lower case, split at everything that is neither letter nor digit and between letters
    and digits. Every run of digits is the same token `0`, so running numbers are no new words. In
    scripts that set no blanks between words (Han, Kana, Thai, Lao, Khmer, Myanmar) each character
    is a token. Tokens are not empty, and have at most `MAX_TOKEN` characters; only the first
    `MAX_CHARACTERS` of a text are read, so one long document cannot outweigh a column.
    """
    texts, rows = texts_and_rows(array)
    lengths = pc.utf8_length(texts)
    if (pc.max(lengths).as_py() or 0) > MAX_CHARACTERS:
        texts = pc.utf8_slice_codeunits(texts, 0, MAX_CHARACTERS)
    ends = [np.zeros(1, np.int64)]
    words = []
    for batch in batches_of_characters(texts):
        of_batch, n_tokens = _tokens(batch)
        words.append(of_batch)
        ends.append(ends[-1][-1] + n_tokens)
    flat = pa.concat_arrays(words) if words else text_array([])
    lists = _lists(np.concatenate(ends), flat, is_valid(texts))
    return _of_rows(lists, rows)


def code_words(array: pa.Array) -> pa.Array:
    """Words of codes such as `AB-1234` or `cus_9f3k`, as `tokens` has them.

    Of `AB1234` it is `ab`. A run in which a digit comes before a letter has no words: it is random
    or encodes a time, as those of ULIDs and UUIDs, and of time the next window has another.
    """
    texts, rows = texts_and_rows(array)
    # as `texts_and_rows` gives one entry to each text of a dictionary, so does this
    return _of_rows(tokens(pc.replace_substring_regex(texts, _RANDOM_RUN, " ")), rows)


def alphabets(array: pa.Array) -> pa.Array:
    """Kinds of characters that are in each text, `large_string`, such as `digits+lower`.

    Not their shares: those of an identifier that begins with a time, as UUIDv7 and ULID do, differ
    from window to window. Punctuation and symbols do not count.
    """
    texts, rows = texts_and_rows(array)
    has = [pc.match_substring_regex(texts, pattern) for pattern in _ALPHABETS.values()]
    valid = is_valid(texts)
    found = np.zeros(len(texts), dtype=np.int64)
    for place, flags in enumerate(has):
        found[valid] |= dense_numbers(flags.cast(pa.int8())).astype(np.int64) << place
    chosen = [
        [name for place, name in enumerate(_ALPHABETS) if number >> place & 1]
        for number in range(2 ** len(_ALPHABETS))
    ]
    names = text_array(["+".join(of_text) or "none" for of_text in chosen])
    whole = whole_array(found)
    given = pc.if_else(bool_array(valid), names.take(whole), pa.nulls(1, names.type)[0])
    return _of_rows(given, rows)


def text_formats(array: pa.Array) -> pa.Array:
    """Format of each text, `large_string`: runs of letters and digits by their length.

    Everything else is kept. A run of letters is its length and `L`, a run of digits its length and
    `D`: `AB-1234` is `2L-4D` and `1234-AB` is `4D-2L`. But if any run of a text has both letters
    and digits, as those of hexadecimal and other codes, all its runs are bare lengths:
    `550e8400-e29b-41d4-a716-446655440000` is `8-4-4-4-12`. Otherwise a group of four hexadecimal
    digits would be three formats by chance, and a UUID hundreds; so it has one, but for 4 in ten
    million that have no such run. Of MAC addresses, six groups of two, 2 % have none, and those
    share 64 formats.

    Upper and lower case are alike: that change shows in `character_shares`. An empty text has the
    empty format. A text with more than `MAX_RUNS` runs, a format of more than `MAX_FORMAT`
    characters or more than `MAX_CHARACTERS` characters has the format `LONG`: prose has no format.
    """
    texts, rows = texts_and_rows(array)
    valid = is_valid(texts)
    is_long = np.zeros(len(texts), dtype=bool)
    is_long[valid] = dense_numbers(pc.utf8_length(texts)) > MAX_CHARACTERS
    long = bool_array(is_long)
    texts = pc.if_else(long, text_array([LONG])[0], texts)
    parts = [_formats(batch) for batch in batches_of_characters(texts)]
    formats = pa.concat_arrays(parts) if parts else text_array([])
    # what was too long has meanwhile become the format of the word `LONG` itself
    given = pc.if_else(long, text_array([LONG])[0], formats)
    given = pc.if_else(bool_array(valid), given, pa.nulls(1, given.type)[0])
    return _of_rows(given, rows)


def _of_rows(of_texts: pa.Array, rows: pa.Array | None) -> pa.Array:
    return of_texts if rows is None else of_texts.take(rows)


def _shares(batch: Characters) -> NDArray[np.float64]:
    """Shape `(5, n)`; `nan` where a text has no character, or no letter, to have a share of."""
    found = np.take(classes(), batch.codes)
    kind = found & (UPPER - 1)
    is_letter = (kind == LETTER) | (kind == IDEOGRAPH)
    letters = _count(is_letter, batch.ends)
    of_all = [letters, _count(kind == DIGIT, batch.ends), _count(kind == SPACE, batch.ends)]
    non_ascii = _count(batch.codes >= N_ASCII, batch.ends)
    lengths = np.diff(batch.ends)
    with np.errstate(invalid="ignore"):
        upper = _count(found >= UPPER, batch.ends) / letters
        letter, digit, space = (count / lengths for count in of_all)
        return np.stack([letter, digit, space, upper, non_ascii / lengths])


def _count(flags: NDArray[np.bool_], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Flags set in each text."""
    # half as wide as needed for a column, wide enough for a batch, and nearly twice as fast
    total = np.zeros(len(flags) + 1, dtype=np.int32)
    np.cumsum(flags, out=total[1:])
    return np.diff(total[ends])


def _tokens(batch: Characters) -> tuple[pa.Array, NDArray[np.int64]]:
    """All tokens of a batch, and how many there are up to the end of each text; shape `(n,)`."""
    codes, ends = batch
    kind = np.take(classes(), codes) & (DIGIT | LETTER)
    begins = _changes(kind, ends) | (kind == IDEOGRAPH)
    begins &= kind != 0
    # of a run of digits, only the first
    kept = np.flatnonzero((kind == LETTER) | begins)
    characters = np.take(word_characters(), codes[kept]).astype(codes.dtype)
    starts = np.append(np.flatnonzero(begins[kept]), len(kept))
    n_tokens = np.searchsorted(np.flatnonzero(begins), ends[1:])
    lengths = np.diff(starts)
    if lengths.max(initial=0) > MAX_TOKEN:
        place = np.arange(len(kept)) - np.repeat(starts[:-1], lengths)
        characters = characters[place < MAX_TOKEN]
        starts = np.concatenate(([0], np.cumsum(np.minimum(lengths, MAX_TOKEN))))
    return texts_of(characters, starts), n_tokens


def _lists(ends: NDArray[np.int64], flat: pa.Array, valid: NDArray[np.bool_]) -> pa.Array:
    buffers = [bitmap(valid), pa.py_buffer(ends)]
    return pa.Array.from_buffers(_TOKENS, len(valid), buffers, children=[flat])


def _formats(batch: Characters) -> pa.Array:
    codes, ends = batch
    kind = np.take(classes(), codes) & (DIGIT | LETTER)
    kind[kind == IDEOGRAPH] = LETTER
    in_run = kind != 0
    begins = _changes(in_run, ends) & in_run
    runs = np.flatnonzero(begins)
    runs_before = np.searchsorted(runs, ends)
    lengths, suffixes = _runs(kind[in_run], begins[in_run], runs_before)

    items = np.flatnonzero(begins | ~in_run)
    is_run = begins[items]
    widths = np.ones(len(items), dtype=np.int64)
    n_places = np.searchsorted(10 ** np.arange(1, _PLACES), lengths, "right") + 1
    widths[is_run] = n_places + (suffixes > 0)
    starts = np.concatenate(([0], np.cumsum(widths)))
    given = np.empty(starts[-1], dtype=codes.dtype)
    given[starts[:-1][~is_run]] = codes[items[~is_run]]
    of_runs = starts[:-1][is_run]
    for place in range(_PLACES):
        has = n_places > place
        digits = lengths[has] // 10**place % 10 + ord("0")
        given[(of_runs + n_places - 1 - place)[has]] = digits
    named = suffixes > 0
    given[(of_runs + n_places)[named]] = suffixes[named]

    bounds = starts[np.searchsorted(items, ends)]
    long = (np.diff(runs_before) > MAX_RUNS) | (np.diff(bounds) > MAX_FORMAT)
    return pc.if_else(bool_array(long), text_array([LONG])[0], texts_of(given, bounds))


def _runs(
    kind: NDArray[np.uint8], begins: NDArray[np.bool_], runs_before: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Length of each run, and the letter for its kind; 0 in a text where a run is of both kinds."""
    starts = np.flatnonzero(begins)
    if len(starts) == 0:
        return starts, np.empty(0, np.uint8)
    has = np.bitwise_or.reduceat(kind, starts)
    is_mixed = _count(has == LETTER | DIGIT, runs_before) > 0
    suffixes = np.where(has == LETTER, ord("L"), ord("D")).astype(np.uint8)
    suffixes[np.repeat(is_mixed, np.diff(runs_before))] = 0
    return np.diff(np.append(starts, len(kind))), suffixes


def _changes(kind: NDArray[Any], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a character is of another kind than the one before it, or the first of its text."""
    changes = np.ones(len(kind), dtype=bool)
    np.not_equal(kind[1:], kind[:-1], out=changes[1:])
    changes[ends[ends < len(kind)]] = True
    return changes
