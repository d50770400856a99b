from __future__ import annotations

import unicodedata
import uuid

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data import characters
from flytekitplugins.wbmon.data.text_parts import (
    LONG,
    MAX_CHARACTERS,
    MAX_FORMAT,
    MAX_RUNS,
    MAX_TOKEN,
    character_shares,
    text_formats,
    text_lengths,
    tokens,
)
from flytekitplugins.wbmon.errors import DataError

HAN = "\u65e5\u672c"
THAI = "\u0e44\u0e17\u0e22"
HINDI = "\u0939\u093f\u0928\u094d\u0926\u0940"
SHARES = ("letters", "digits", "spaces", "upper", "non_ascii")

# a few characters of each kind, so that runs are long and neighbours differ
CHARACTERS = st.one_of(
    st.sampled_from(
        "abzAZ09 -_.:\t\n\0\u00e9\u00c9\u0130\u03a3\u00df\u0663\u00bd\u00a0\u01c5\u2003"
    ),
    st.sampled_from(
        HAN + THAI + HINDI + "\u3042\u30ab\u3007\u3005\uff76\u1780\u0301\U0001f600\U00020000"
    ),
    st.characters(codec="utf-8"),
)
TEXTS = st.lists(st.none() | st.text(CHARACTERS, max_size=30), max_size=12)


def kind(character):
    group = unicodedata.category(character)[0]
    if group in "LM":
        code = ord(character)
        blocks = characters._WITHOUT_BLANKS
        return "han" if any(first <= code <= last for first, last in blocks) else "letter"
    if group == "N":
        return "digit"
    return "space" if group == "Z" or character in "\t\n\v\f\r" else "other"


def python_tokens(text):
    found, before = [], None
    for character in text[:MAX_CHARACTERS]:
        now = kind(character)
        if now == "han":
            found.append(character)
        elif now == "digit" and before != "digit":
            found.append("0")
        elif now == "letter":
            small = character.lower()[0]
            found[-1:] = [found[-1] + small] if before == "letter" else [*found[-1:], small]
        before = now
    return [token[:MAX_TOKEN] for token in found]


def python_format(text):
    pieces = []
    for character in text:
        now = {"han": "letter", "space": "other"}.get(kind(character), kind(character))
        if now != "other" and pieces and isinstance(pieces[-1], list):
            pieces[-1].append(now)
        else:
            pieces.append([now] if now != "other" else character)
    runs = [piece for piece in pieces if isinstance(piece, list)]
    bare = any(len(set(run)) == 2 for run in runs)
    suffix = {"letter": "L", "digit": "D"}
    given_format = "".join(
        f"{len(piece)}{'' if bare else suffix[piece[0]]}" if isinstance(piece, list) else piece
        for piece in pieces
    )
    long = len(text) > MAX_CHARACTERS or len(runs) > MAX_RUNS or len(given_format) > MAX_FORMAT
    return LONG if long else given_format


def python_shares(text):
    kinds = [kind(character) for character in text]
    letters = sum(one in ("letter", "han") for one in kinds)
    upper = sum(unicodedata.category(character) == "Lu" for character in text)
    non_ascii = sum(character > "\x7f" for character in text)
    of_all = letters, kinds.count("digit"), kinds.count("space"), non_ascii
    letter, digit, space, foreign = (n / len(text) if text else None for n in of_all)
    return letter, digit, space, upper / letters if letters else None, foreign


def containers(texts):
    """The same rows in every layout that Arrow has for text."""
    plain = pa.array(texts, pa.string())
    yield plain
    yield pa.array(texts, pa.large_string())
    yield pa.array(["x9", *texts, "-"], pa.string())[1:-1]
    yield plain.dictionary_encode()
    # entries that no row has, a null entry, and more entries than rows
    entries = pa.array(["unused", None, *texts, *"abcdefghijklmno"], pa.large_string())
    rows = pa.array([i + 2 for i in range(len(texts))], pa.int16())
    yield pa.DictionaryArray.from_arrays(rows, entries)
    views = pa.array(texts, pa.string_view())
    yield views
    yield pa.DictionaryArray.from_arrays(pa.array(range(len(texts)), pa.int8()), views)


@settings(deadline=None)
@given(TEXTS)
def test_every_part_is_that_of_an_implementation_character_by_character(texts):
    for array in containers(texts):
        lengths, formats, words = text_lengths(array), text_formats(array), tokens(array)
        shares = character_shares(array)

        assert lengths.to_pylist() == [t if t is None else len(t) for t in texts]
        assert formats.to_pylist() == [t if t is None else python_format(t) for t in texts]
        assert words.to_pylist() == [t if t is None else python_tokens(t) for t in texts]
        assert tuple(shares) == SHARES
        expected = [(None,) * 5 if t is None else python_shares(t) for t in texts]
        assert list(zip(*(s.to_pylist() for s in shares.values()), strict=True)) == expected
        for part in (lengths, formats, words, *shares.values()):
            part.validate(full=True)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 30))
def test_batches_do_not_show_in_the_parts(texts, size):
    array = pa.array(texts, pa.string())
    whole = tokens(array), text_formats(array), *character_shares(array).values()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(characters, "_BATCH", size)
        parts = tokens(array), text_formats(array), *character_shares(array).values()

    assert all(map(pa.Array.equals, parts, whole))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("550e8400-e29b-41d4-a716-446655440000", "8-4-4-4-12"),
        ("AB-1234", "2L-4D"),
        ("1234-AB", "4D-2L"),
        ("2024-01-31 12:00", "4D-2D-2D 2D:2D"),
        ("anna.b@mail.com", "4L.1L@4L.3L"),
        ("", ""),
        ("?!", "?!"),
        (LONG, "(4L)"),
        ("a " * MAX_RUNS, "1L " * MAX_RUNS),
        ("a " * (MAX_RUNS + 1), LONG),
        ("-" * MAX_FORMAT, "-" * MAX_FORMAT),
        ("-" * (MAX_FORMAT + 1), LONG),
        ("7" * MAX_CHARACTERS, "2000D"),
        ("7" * (MAX_CHARACTERS + 1), LONG),
    ],
)
def test_a_format_keeps_what_separates_and_counts_the_rest(text, expected):
    assert text_formats(pa.array([text])).to_pylist() == [expected]


def test_random_uuids_have_one_format():
    texts = [
        str(uuid.UUID(int=i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for i in range(1, 9999)
    ]
    assert text_formats(pa.array(texts)).unique().to_pylist() == ["8-4-4-4-12"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't PANIC, order #4711!", ["don", "t", "panic", "order", "0"]),
        ("abc123def", ["abc", "0", "def"]),
        (f"{HAN}x{THAI}", [*HAN, "x", *THAI]),
        (f"{HINDI} {HINDI}", [HINDI, HINDI]),
        ("\u0130STANBUL", ["istanbul"]),
        ("x" * 50 + " y", ["x" * MAX_TOKEN, "y"]),
        (" " * (MAX_CHARACTERS - 1) + "ab", ["a"]),
        ("\u0663\u0664 5", ["0", "0"]),
        ("... ", []),
    ],
)
def test_tokens_are_words_in_any_script(text, expected):
    assert tokens(pa.array([text])).to_pylist() == [expected]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(CHARACTERS, max_size=3000), max_size=3))
@example(["a" * 2001, "\u00e9 " * 1500])
def test_long_texts_are_cut(texts):
    assert tokens(pa.array(texts, pa.string())).to_pylist() == [python_tokens(t) for t in texts]


def test_bytes_that_are_not_utf_8_are_replaced():
    binary = pa.array([b"ab", None, b"\xff\xfe c"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 3, binary.buffers(), null_count=1)
    assert text_lengths(broken).to_pylist() == [2, None, 4]
    assert tokens(broken).to_pylist() == [["ab"], None, ["c"]]


def test_bytes_below_a_null_belong_to_no_row():
    texts = pa.array(["ab", "cd", "ef"], pa.large_string())
    valid = pa.py_buffer(bytes([0b101]))
    holed = pa.Array.from_buffers(pa.large_string(), 3, [valid, *texts.buffers()[1:]])
    assert tokens(holed).to_pylist() == [["ab"], None, ["ef"]]
    assert text_formats(holed).to_pylist() == ["2L", None, "2L"]
    assert character_shares(holed)["letters"].to_pylist() == [1.0, None, 1.0]


def test_other_columns_are_refused():
    with pytest.raises(DataError, match="text is needed, got int64"):
        tokens(pa.array([1]))
