from __future__ import annotations

import itertools
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data import characters
from flytekitplugins.wbmon.data.hashes import hash_values
from flytekitplugins.wbmon.errors import DataError

TEXTS = st.lists(st.none() | st.text(max_size=12), max_size=12)
MULTIPLIER = 0x9E3779B97F4A7C15


def mix(bits):
    """SplitMix64, with the arbitrary integers of Python."""
    bits = (bits + MULTIPLIER) % 2**64
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return bits ^ (bits >> 31)


def python_hash(data):
    return mix(sum(mix(byte) * pow(MULTIPLIER, i, 2**64) for i, byte in enumerate(data)) % 2**64)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 30))
def test_a_text_has_one_hash_however_it_is_stored(texts, size):
    expected = [python_hash(text.encode()) for text in texts if text is not None]
    plain = pa.array(texts, pa.string())
    entries = pa.array([None, "unused", *texts], pa.large_string())
    rows = pa.array([i + 2 for i in range(len(texts))], pa.int32())
    stored = [
        plain,
        plain.cast(pa.large_string()),
        plain.cast(pa.binary()),
        pa.array(["x", *texts, None, "y"])[1:-2],
        pa.array(texts, pa.string_view()),
        plain.dictionary_encode(),
        pa.DictionaryArray.from_arrays(rows, entries),
        # as many rows as entries, some of them null in one way or the other
        pa.DictionaryArray.from_arrays(pa.array([*rows.to_pylist(), 0, None], pa.int32()), entries),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(characters, "_BATCH", size)
        for array in stored:
            assert hash_values(array).tolist() == expected


@given(st.lists(st.integers(0, 127), max_size=9))
def test_an_integer_has_one_hash_however_wide_it_is(values):
    expected = [mix(value) for value in values]
    for dtype in (pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64()):
        assert hash_values(pa.array(values, dtype)).tolist() == expected
    assert hash_values(pa.array([None, *map(float, values), np.nan])).tolist() == expected


def test_negative_and_fractional_numbers():
    small = hash_values(pa.array([-1, -5], pa.int16()))
    assert small.tolist() == [mix(2**64 - 1), mix(2**64 - 5)]
    assert hash_values(pa.array([-1.0, -5.0], pa.float32())).tolist() == small.tolist()
    assert len(set(hash_values(pa.array([0.5, 0.25, 1e300, np.inf, -np.inf])).tolist())) == 5
    assert len(set(hash_values(pa.array([0.0, -0.0])).tolist())) == 1


@pytest.mark.parametrize(
    "values",
    [
        [True, False],
        [date(2024, 1, 1), date(2024, 1, 2)],
        [timedelta(1), timedelta(2)],
        [Decimal(10**30), Decimal(10**30 + 1)],
    ],
)
def test_other_values_of_one_width(values):
    one, other = hash_values(pa.array([values[0], None, values[1]])).tolist()
    assert one != other
    assert hash_values(pa.array([*values, *values])).tolist() == [one, other, one, other]


def test_binary_of_one_width_is_hashed_by_its_bytes():
    array = pa.array([b"abcd", None, b"\0\0\0\0"], pa.binary(4))
    assert hash_values(array).tolist() == [python_hash(b"abcd"), python_hash(b"\0\0\0\0")]


def test_a_column_of_nulls_has_no_hashes():
    assert len(hash_values(pa.nulls(3))) == 0
    assert len(hash_values(pa.array([None], pa.string()))) == 0


def test_lists_are_refused():
    with pytest.raises(DataError, match="single values is needed, got list"):
        hash_values(pa.array([[1]]))


@pytest.mark.parametrize(
    "array",
    [
        pa.array(np.arange(100_000)),
        pa.array([f"id-{i:012d}" for i in range(100_000)]),
        pa.array([f"{i:032x}" for i in range(100_000)]),
        pa.array(["".join(word) for word in itertools.product("abcdefghij", repeat=5)]),
        pa.array(["".join(word) for word in itertools.product("a\0", repeat=16)]),
    ],
    ids=["integers", "padded", "hexadecimal", "words", "two symbols"],
)
def test_hashes_are_uniform_and_do_not_collide(array):
    hashes = hash_values(array)
    assert len(np.unique(hashes)) == len(array)
    for bits in (hashes >> np.uint64(56), hashes & np.uint64(255)):
        expected = len(array) / 256
        counts = np.bincount(bits.astype(int), minlength=256)
        chi_squared = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi_squared - 255) < 4 * np.sqrt(2 * 255)
