"""Columns of Python objects: most values decide, and one odd value costs itself."""

from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.frames import pandas_source, polars_source
from flytekitplugins.wbmon.data.names import names_of
from flytekitplugins.wbmon.data.objects import UuidText, from_objects, has_odd, split
from flytekitplugins.wbmon.data.open import open_source, open_values
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.sources import different_names


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Level(enum.IntEnum):
    LOW = 1


class Corner(enum.Enum):
    LEFT = (0, 0)


MISSING = [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, Decimal("NaN"), Decimal("sNaN")]
HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1, 2.5], [1.0, 2.5]),
        ([True, 2], [1, 2]),
        ([True, False], [True, False]),
        ([2**63, -1], [Decimal(2**63), Decimal(-1)]),
        ([10**75, 1], [Decimal(10**75), Decimal(1)]),
        # a float beside it would round it
        ([2**60 + 1, 0.5], [Decimal(2**60 + 1), Decimal("0.5")]),
        ([Decimal("1.5"), 1.0], [Decimal("1.5"), Decimal(1)]),
        ([Fraction(1, 2), 1], [0.5, 1.0]),
        ([np.float32(0.5), np.int8(3), np.longdouble(2)], [0.5, 3.0, 2.0]),
        (["a", b"b", uuid.UUID(int=5)], ["a", "b", str(uuid.UUID(int=5))]),
        ([b"\xff\x00"], ["0xff00"]),
        ([bytearray(b"a"), bytearray(b"\xff")], ["a", "0xff"]),
        # 1 is true where most are true or false
        ([True, False, 1, 0.0], [True, False, True, False]),
        (["\ud800"], ["\\ud800"]),
        ([Size.SMALL, Size.LARGE], ["s", "l"]),
        ([Level.LOW, 7], [1, 7]),
        ([Corner.LEFT], ["LEFT"]),
        ([dt.time(1, 2, 3), HOUR], [dt.timedelta(seconds=3723), HOUR]),
        ([[1, 2], (3,), np.array([4])], [[1, 2], [3], [4]]),
        ([{2, 1}], [[1, 2]]),
        ([np.ones((2, 2)), [[0.0]]], [[[1.0, 1.0], [1.0, 1.0]], [[0.0]]]),
        ([np.array(1.5), [2]], [[1.5], [2.0]]),
        ([[("k", 1)], []], [[{"key": "k", "value": 1}], []]),
        ([[uuid.UUID(int=5), b"\xff"]], [[str(uuid.UUID(int=5)), "0xff"]]),
        ([[2**70, 0.5]], [[float(2**70), 0.5]]),
        ([{"a": 1}, {"a": 2**70}], [{"a": 1}, {"a": 2**70}]),
        ([{"a": 1}, {"b": 2}], [{"a": 1, "b": None}, {"a": None, "b": 2}]),
    ],
)
def test_values_keep_what_they_are(values, expected):
    assert from_objects(values).to_pylist() == expected


def test_times_of_any_zone_and_dates_are_moments():
    east = dt.timezone(2 * HOUR)
    values = [
        dt.datetime(2026, 1, 1, 2, tzinfo=east),
        dt.datetime(2026, 1, 1),  # noqa: DTZ001 - without a zone
        dt.date(2026, 1, 1),
        np.datetime64("2026-01-01", "ns"),
        pd.Timestamp("2026-01-01", tz="UTC"),
    ]

    assert set(from_objects(values).to_pylist()) == {
        dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    }


def test_objects_keep_their_nanoseconds_as_far_as_their_years_allow():
    at = pd.Timestamp("2026-01-01T00:00:00.000001001", tz="Asia/Tokyo")
    frame = pd.DataFrame({"at": pd.Series([at, dt.date(2026, 1, 1), None], dtype=object)})
    exact = open_values(frame).column("at").combine_chunks()
    assert exact.cast(pa.int64()).to_pylist() == [at.value, 1_767_225_600_000_000_000, None]
    far = from_objects([at, dt.date(1, 1, 1)])
    assert far.type == pa.timestamp("us", "UTC")
    assert far.cast(pa.int64())[0].as_py() == at.value // 1000


def test_whole_numbers_that_no_type_holds_are_told_by_their_digits():
    kept, odd = split(from_objects([10**76, 3, -(10**400), 2**70, 10**5000]))

    assert kept.to_pylist() == [None, 3, None, 2**70, None]
    assert odd.to_pylist() == [str(10**76), None, str(-(10**400)), None, hex(10**5000)]


def test_uuids_alone_are_told_from_their_text():
    ids = [uuid.UUID(int=5), None]
    assert isinstance(from_objects(ids).type, UuidText)
    frame = pd.DataFrame({"id": pd.Series(ids, dtype=object)})
    for source in (open_source(frame), open_values(frame)):
        column = source.column("id")
        assert (column.type, column.to_pylist()) == (pa.large_string(), [str(ids[0]), None])
    assert from_objects([*ids, "a"]).type == pa.large_string()
    assert from_objects([None]).type == pa.null()


@pytest.mark.parametrize("value", [1, 1.5, "a", True, dt.date(2026, 1, 1), HOUR, [1.0]])
def test_nothing_is_always_the_same_nothing(value):
    array = from_objects([*MISSING, value, *MISSING])

    assert not has_odd(array.type)
    assert array.null_count == 2 * len(MISSING)
    assert array.is_valid().to_pylist().index(True) == len(MISSING)


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        ([1, 2, "n/a"], "n/a"),
        (["a", "b", 7], "7"),
        ([1.5, 2.5, dt.date(2026, 1, 2)], "2026-01-02"),
        ([dt.date(2026, 1, 1), dt.date(2026, 1, 2), "soon"], "soon"),
        ([True, False, "yes"], "yes"),
        ([[1], [2], "three"], "three"),
        ([True, False, 1.5], "1.5"),
        ([True, False, math.inf], "inf"),
        ([True, False, 2**64], str(2**64)),
        ([[1.0], [2.0], [1.0, "x"]], "[1.0, 'x']"),
        ([[1.0], [2.0], {"a": 1}], "{'a': 1}"),
        ([[[1]], [[2]], [["x"]]], "[['x']]"),
        ([{"a": 1.0}, {"a": 2.0}, {"a": "x"}], "{'a': 'x'}"),
        ([{"a": [1]}, {"a": [2]}, {"a": ["x"]}], "{'a': ['x']}"),
        ([{"a": 1}, {"a": 2}, {1: 2}], "{1: 2}"),
        ([{"a": 1}, {"a": 2}, {"\ud800": 2}], "{'\\ud800': 2}"),
        ([{"a": 1}, {"a": 2}, {3}], "{3}"),
        ([{"a": 1}, {"a": 2}, np.array([3])], "[3]"),
        ([1, 2, {"a": 1}], "{'a': 1}"),
        ([1, 2, 1j], "1j"),
        # no number of 64 bits, and of too many digits for a decimal
        ([1.5, 2.5, 10**400], str(10**400)),
    ],
)
def test_an_odd_value_is_told_and_costs_its_row_alone(values, odd):
    array = from_objects([values[2], None, *values[:2]])

    kept, odds = split(array)

    assert kept.to_pylist()[2:] == from_objects(values[:2]).to_pylist()
    assert kept.null_count == 2
    assert odds.to_pylist() == [odd, None, None, None]


def test_blank_text_does_not_decide_what_a_column_is():
    kept, odd = split(from_objects(["", " ", "", 1, 0]))

    assert kept.to_pylist() == [None, None, None, 1, 0]
    assert odd.to_pylist() == ["", " ", "", None, None]
    assert from_objects(["", None, ""]).to_pylist() == ["", None, ""]


def test_long_odd_texts_keep_what_tells_them_apart():
    long = "a" * 100
    _, odd = split(from_objects([1, 2, 3, long + "x", long + "y"]))

    assert odd.to_pylist()[3:] == [long + "x", long + "y"]


def test_an_object_that_cannot_be_told_is_told_by_its_class():
    class Sealed:
        def __str__(self) -> str:
            raise RuntimeError

    _, odd = split(from_objects([1, 2, Sealed()]))

    assert odd.to_pylist() == [None, None, "<Sealed>"]


def test_lists_of_mixed_values_cost_themselves():
    kept, odd = split(from_objects([[1, "a"], [2], None]))

    assert kept.to_pylist() == [None, [2], None]
    assert odd.to_pylist() == ["[1, 'a']", None, None]


def contained_in_itself():
    one, many, mapping = [], [], {}
    one.append(one)
    many.extend([many] * 1000)
    mapping["a"] = mapping
    deep = [1.0]
    for _ in range(100_000):
        deep = [deep]
    return [one, many, mapping, deep]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("others", [[1.0, 2.0], [[1.0], [2.0]], [{"a": 1}, {"a": 2}], []])
def test_what_contains_itself_is_odd(place, others):
    endless = contained_in_itself()[place]

    kept, odd = split(converted([endless, *others], dtype=object))

    assert kept.to_pylist() == [None, *others]
    assert odd.is_valid().to_pylist() == [True, *([False] * len(others))]


def test_what_lies_in_sixteen_lists_is_kept():
    deep = 1.0
    for _ in range(16):
        deep = [deep]

    assert from_objects([deep]).to_pylist() == [deep]
    assert has_odd(from_objects([[deep]]).type)


LEAVES = st.none() | st.integers(-9, 9) | st.text("ab", max_size=2) | st.booleans()
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)


@given(st.lists(NESTED, max_size=8))
def test_nested_values_are_kept_as_they_are_or_told(values):
    array = from_objects(values)
    kept, odd = split(array)

    array.validate(full=True)
    told = [None] * len(values) if odd is None else odd.to_pylist()
    for value, found, text in zip(values, kept.to_pylist(), told, strict=True):
        assert (value is None) == (found is None and text is None)
        assert found is None or text is None
        if isinstance(found, list):
            assert len(found) == len(value)


@given(st.lists(st.lists(st.integers(-9, 9) | st.floats(-9, 9), max_size=3), min_size=2))
def test_one_odd_list_does_not_change_the_others(lists):
    kept, odd = split(from_objects([*lists, *lists, ["x", 1], None]))

    if any(lists):
        assert kept.to_pylist() == [*lists, *lists, None, None]
        assert odd.null_count == len(odd) - 1


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.decimals(),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(dt.timezone.utc)),
    st.timedeltas(),
    st.times(),
    st.complex_numbers(),
    st.lists(st.integers() | st.text(), max_size=2),
    st.sampled_from([*Size, *Level, Corner.LEFT, pd.NA, pd.NaT]),
)


@given(st.lists(SCALARS, max_size=8))
def test_any_list_of_objects_has_a_column_and_every_value_is_kept_or_told(values):
    kept, odd = split(from_objects(values))

    assert len(kept) == len(values)
    told = [None] * len(values) if odd is None else odd.to_pylist()
    for value, there, text in zip(values, kept.is_valid().to_pylist(), told, strict=True):
        missing = value is None or value is pd.NA or value is pd.NaT
        missing = missing or (isinstance(value, float) and math.isnan(value))
        missing = missing or (isinstance(value, Decimal) and value.is_nan())
        assert missing + there + (text is not None) == 1


@given(st.lists(st.integers(-(10**75), 10**75) | st.none(), min_size=1))
def test_whole_numbers_keep_every_digit(values):
    assert [None if v is None else int(v) for v in from_objects(values).to_pylist()] == values


# --- frames


def converted(values, **how):
    frame = pd.DataFrame({"x": pd.Series(values, **how)})
    return open_values(frame).column("x").combine_chunks()


def test_pandas_joins_no_text_with_bytes_and_cuts_no_time_from_dates():
    assert converted(["a", b"b"], dtype=object).to_pylist() == ["a", "b"]
    moment = dt.datetime(2026, 1, 1, 5)  # noqa: DTZ001 - without a zone
    mixed = converted([dt.date(2026, 1, 1), moment], dtype=object)
    assert [moment.hour for moment in mixed.to_pylist()] == [0, 5]


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(pd.arrays.SparseArray([0.0, 1.5, 0.0])),
        pd.Series([0.0, 1.5, 0.0], dtype=np.longdouble),
        pd.Series([0.0, 1.5, 0.0], dtype="category"),
        pd.Series([0.0, 1.5, 0.0], dtype=object),
        pd.Series([0.0, 1.5, 0.0], dtype="Float32"),
    ],
)
def test_the_same_numbers_in_every_dtype(series):
    frame = pd.DataFrame({"x": series})

    column = open_values(frame).column("x")

    assert [float(value) for value in column.to_pylist()] == [0.0, 1.5, 0.0]


def test_categories_of_mixed_values_are_mixed_values():
    series = pd.Series([1, "a", 1, None], dtype="category")

    kept, odd = split(converted(series))

    assert (kept.to_pylist(), odd.to_pylist()) == ([1, None, 1, None], [None, "a", None, None])


def test_polars_hands_over_objects_and_not_their_addresses():
    values = [uuid.UUID(int=1), None]
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Object)})
    source = polars_source(frame, ("x",))

    assert source.column("x").to_pylist() == [str(values[0]), None]


def test_polars_whole_numbers_of_128_bits_keep_their_digits():
    frame = pl.DataFrame({"x": pl.Series([2**100, 1], dtype=pl.Int128)})

    assert [int(v) for v in open_values(frame).column("x").to_pylist()] == [2**100, 1]


def test_a_column_that_nobody_asks_for_is_never_converted():
    source = pandas_source(pd.DataFrame({"good": [1.0], "bad": [object()]}), ("good", "bad"))
    asked = []
    spied = replace(source, convert=lambda place: asked.append(place) or source.convert(place))

    assert spied.sample(["good"]).num_rows == 1
    assert [batch.num_rows for part in spied.parts() for batch in part(["good"])] == [1]
    assert spied.column("good").to_pylist() == [1.0]
    assert (spied.names, spied.n_rows) == (("good", "bad"), 1)
    assert asked == [0]


def test_who_does_not_ask_what_values_mean_gets_text():
    column = open_source(pd.DataFrame({"x": [1, "two", None]})).column("x")

    assert column.type == pa.large_string()
    assert column.to_pylist() == ["1", "two", None]


def test_a_frame_without_columns_has_its_rows():
    (part,) = open_source(pd.DataFrame(index=range(3))).parts()

    assert [batch.num_rows for batch in part([])] == [3]


@given(st.lists(st.sampled_from(["x", "x.1", "x.2", "", "1", 1, None, ("a", 1)]), max_size=8))
def test_names_are_text_and_different_and_keep_their_place(names):
    given = [str(name) for name in names]

    found = different_names(names)

    assert len(set(found)) == len(found) == len(names)
    firsts = [given.index(name) for name in dict.fromkeys(given)]
    assert all(found[place] == given[place] for place in firsts)
    assert all(name.startswith(old) for name, old in zip(found, given, strict=True))


def test_nanoseconds_of_numpy_are_kept_as_those_of_pandas_are():
    at, length = pd.Timestamp("2026-01-01T00:00:00.000000001"), pd.Timedelta(1_000_000_001, "ns")
    moments, lengths = [at.to_numpy(), None], [length.to_numpy().astype("m8[ps]"), None]

    assert from_objects(moments).equals(from_objects([at, None]))
    assert from_objects(moments)[0].value == at.value
    assert from_objects(lengths).equals(from_objects([length, None]))
    assert from_objects(lengths)[0].value == length.value
    assert split(from_objects([1, 2, *moments])).odd.to_pylist()[2] == at.isoformat()


def test_a_time_is_one_in_any_unit_of_numpy():
    days = [np.datetime64("2026-01-01", unit) for unit in ("D", "s", "us", "ns")]

    assert from_objects([*days, dt.date(2026, 1, 1)]).dictionary_encode().indices.to_pylist() == [
        0, 0, 0, 0, 0,
    ]  # fmt: skip
    far = [np.timedelta64(1, "ns"), dt.timedelta(days=100_000_000), dt.time(1)]
    assert from_objects(far).type == pa.duration("us")


def test_long_whole_numbers_stay_themselves_beside_each_other_and_their_text():
    numbers = [10**80, 10**80 + 1, 10**5000, 10**5000 + 1]
    texts = [str(10**80), str(10**80 + 1), hex(10**5000), hex(10**5000 + 1)]
    named = names_of(from_objects([*numbers, 1, 1])).to_pylist()

    assert named == [*texts, "1", "1"]
    assert names_of(from_objects([*texts, "a"])).to_pylist() == [*texts, "a"]
    # as quantities they are the nearest floats, in a column of numbers and as text
    for column in ([10**80, 1], [str(10**80), "1"]):
        assert read_as("number", from_objects(column)).values.to_pylist() == [1e80, 1.0]
    # which 5000 digits have none of
    beyond = read_as("number", from_objects([10**5000, 1, 2]))
    assert (beyond.n_unreadable, beyond.values.to_pylist()) == (1, [None, 1.0, 2.0])
