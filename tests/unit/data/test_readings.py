"""What a column is taken for decides how its values are read; what cannot be read is counted."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.arrow import dense_numbers, float_array, seconds, shortest
from flytekitplugins.wbmon.data.names import names_of, plain_names
from flytekitplugins.wbmon.data.objects import from_objects
from flytekitplugins.wbmon.data.plain import plain, plain_type
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.scalars import class_name

UTC = dt.timezone.utc
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


def read(kind, values, **how):
    array = values if isinstance(values, pa.Array) else pa.array(values)
    reading = read_as(kind, array, **how)
    return reading.values.to_pylist(), reading.n_unreadable, reading.examples


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0),
        (" 2.50\n", 2.5),
        ("+3", 3.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("inf", np.inf),
        ("-Infinity", -np.inf),
        ("0.1", 0.1),
        ("123456789012345678", 123456789012345678),
        ("1" + "0" * 30, 10**30),
        ("1" + "0" * 80, 1e80),
    ],
)
def test_text_in_decimal_notation_is_a_number(text, number):
    assert read("number", [text]) == ([number], 0, ())


@pytest.mark.parametrize("text", ["", " ", "\t", "nan", "NaN"])
@pytest.mark.parametrize("kind", ["number", "time", "boolean", "duration"])
def test_blank_text_is_no_number_time_or_boolean(kind, text):
    assert read(kind, [text, None]) == ([None, None], 0, ())


@pytest.mark.parametrize("text", ["n/a", "1,5", "0x10", "1_000", "five", "1 2", "--1", "1e", "²"])
def test_other_text_is_no_number_and_costs_itself(text):
    assert read("number", ["1", text]) == ([1.0, None], 1, (text,))


def test_three_different_examples_are_told_in_their_order_and_cut():
    texts = ["b" * 50, "a", "b" * 50, "c", "d", None, "1"]

    assert read("number", texts)[1:] == (5, ("b" * 40, "a", "c"))


@given(st.lists(st.floats(allow_nan=False) | st.integers(-(10**18), 10**18), min_size=1))
def test_numbers_that_python_writes_are_read_as_python_reads_them(numbers):
    texts = [repr(number) for number in numbers]

    are_whole = all(isinstance(number, int) for number in numbers)
    assert read("number", texts)[0] == (numbers if are_whole else [float(text) for text in texts])


@pytest.mark.parametrize("n_digits", [19, 38, 39, 76, 77, 160, 308, 400])
def test_whole_numbers_of_any_length_are_never_other_numbers(n_digits):
    text = "9" * n_digits
    expected = int(text) if n_digits <= 76 else float(text)

    assert read("number", [text])[0] == [expected]
    assert read("number", from_objects([int(text), 1, 2]))[0] == [expected, 1, 2]


def test_odd_texts_among_numbers_are_numbers_where_they_can_be():
    assert read("number", from_objects([1.5, 2, "7", "n/a", "", None]))[:2] == (
        [1.5, 2.0, 7.0, None, None, None],
        1,
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", dt.datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T05:06", dt.datetime(2026, 1, 31, 5, 6, tzinfo=UTC)),
        ("2026-01-31 05:06:07", dt.datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)),
        ("2026-01-31T05:06:07Z", dt.datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)),
        ("2026-01-31T05:06:07+02:30", dt.datetime(2026, 1, 31, 2, 36, 7, tzinfo=UTC)),
        ("2026-01-31T05:06:07-0030", dt.datetime(2026, 1, 31, 5, 36, 7, tzinfo=UTC)),
        ("2026-01-31T05:06:07.5 +00:00", dt.datetime(2026, 1, 31, 5, 6, 7, 500_000, tzinfo=UTC)),
        ("1969-12-31T23:59:59Z", dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-01-31t05:06:07z", dt.datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)),
        ("20260131T050607Z", dt.datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)),
        ("20260131T050607-0130", dt.datetime(2026, 1, 31, 6, 36, 7, tzinfo=UTC)),
        # as Python logs it, and PostgreSQL writes it
        ("2026-01-31 05:06:07,250", dt.datetime(2026, 1, 31, 5, 6, 7, 250_000, tzinfo=UTC)),
        ("2026-01-31 05:06:07.25+01", dt.datetime(2026, 1, 31, 4, 6, 7, 250_000, tzinfo=UTC)),
        ("2026-01-31 05:06:07-05", dt.datetime(2026, 1, 31, 10, 6, 7, tzinfo=UTC)),
        # a tenth of a microsecond is cut off
        ("2026-01-31T00:00:00.1234567Z", dt.datetime(2026, 1, 31, microsecond=123_456, tzinfo=UTC)),
    ],
)
def test_iso_text_is_a_time_with_its_offset(text, moment):
    ((found,), n_unreadable, _) = read("time", [text])

    assert found == pytest.approx((moment - EPOCH).total_seconds(), abs=1e-6)
    assert n_unreadable == 0


@pytest.mark.parametrize(
    "text", ["2026-02-30", "31.01.2026", "2026-01-31T25:00", "soon", "2026", "2026-01-31-05"]
)
def test_text_that_is_no_iso_time_is_refused_and_costs_itself(text):
    values, n_unreadable, examples = read("time", ["2026-01-31", text])

    assert values[1] is None
    assert values[0] is not None
    assert (n_unreadable, examples) == (1, (text,))


@given(
    st.lists(
        st.datetimes(
            min_value=dt.datetime(1600, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
            timezones=st.timezones() | st.just(UTC),
        ),
        min_size=1,
    )
)
def test_times_that_python_writes_are_read_back(moments):
    texts = [moment.isoformat() for moment in moments]
    kept = [m for m, text in zip(moments, texts, strict=True) if text.count(":") < 4]
    values, n_unreadable, _ = read("time", [m.isoformat() for m in kept] or [None])

    assert n_unreadable == 0
    for value, moment in zip(values, kept, strict=False):
        assert value == pytest.approx((moment - EPOCH).total_seconds(), abs=1e-5)


@given(
    st.lists(st.integers(-(2**52), 2**52), min_size=1),
    st.sampled_from([("s", 10**9), ("ms", 10**6), ("us", 10**3)]),
)
def test_a_duration_is_the_same_number_of_seconds_in_every_unit(values, unit):
    name, per_unit = unit
    kept = [value for value in values if abs(value * per_unit) < 2**63]
    coarse = pa.array(kept, pa.duration(name))
    fine = pa.array([value * per_unit for value in kept], pa.duration("ns"))

    np.testing.assert_array_equal(seconds(coarse), seconds(fine))
    assert read("duration", coarse) == read("duration", fine)


def test_numbers_are_seconds_where_durations_and_times_are_wanted():
    assert read("duration", [5, None])[0] == [5.0, None]
    assert read("time", [1.5])[0] == [1.5]
    assert read("duration", ["5"])[:2] == ([None], 1)
    assert read("number", pa.array([5], pa.duration("s")))[:2] == ([None], 1)


def test_booleans_are_read_from_what_says_so():
    assert read("boolean", ["true", "FALSE", " 1", "0", "yes", "No", "1.0", "maybe"])[:2] == (
        [True, False, True, False, True, False, True, None],
        1,
    )
    assert read("boolean", [1, 0, 2, None])[:2] == ([True, False, None, None], 1)
    assert read("boolean", [1.0, 0.0])[0] == [True, False]


def test_an_ordinal_has_the_ranks_of_its_order():
    order = ("S", "M", "L")

    assert read("ordinal", ["L", "S", "XL", None], order=order) == ([2, 0, None, None], 1, ("XL",))
    assert read("ordinal", [3, 1])[0] == [3, 1]


def test_values_that_stand_for_none_are_missing_by_name_and_by_number():
    assert read("number", [1.0, -999.0, 2.0], missing=("-999",))[0] == [1.0, None, 2.0]
    assert read("number", [1, -999], missing=("-999", "n/a"))[0] == [1, None]
    assert read("number", ["1", "n/a"], missing=("-999", "n/a")) == ([1.0, None], 0, ())
    assert read("category", ["a", "", "?"], missing=("", "?"))[0] == ["a", None, None]
    coded = pa.array(["a", "?", None]).dictionary_encode()
    assert read("category", coded, missing=("?",))[0] == ["a", None, None]


# --- names


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "1"),
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (2**63 + 1, "9223372036854775809"),
        (10**400, str(10**400)),
        (Decimal("1.500"), "1.5"),
        (Decimal("1E+3"), "1000"),
        (b"ab", "ab"),
        (b"\xff", "0xff"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (dt.timedelta(seconds=90), "90"),
        ("a", "a"),
    ],
)
def test_the_name_of_a_value(value, name):
    assert class_name(value) == name


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()))
def test_whole_numbers_of_64_bits_are_named_by_all_digits(values):
    array = pa.array(values, pa.int64())

    assert names_of(array).to_pylist() == [None if v is None else str(v) for v in values]


def test_the_same_values_have_the_same_names_in_every_storage():
    whole = [3, 1, None, 2]
    storages = [
        pa.array(whole, pa.int8()),
        pa.array(whole, pa.uint64()),
        pa.array([None if v is None else float(v) for v in whole]),
        pa.array([None if v is None else float(v) for v in whole], pa.float32()),
        pa.array([None if v is None else Decimal(v) for v in whole], pa.decimal128(9, 2)),
        pa.array(whole).dictionary_encode(),
        from_objects(whole),
    ]

    for storage in storages:
        names = plain_names(pa.chunked_array([storage, storage[1:]]))
        assert names.to_pylist() == ["3", "1", None, "2", "1", None, "2"]


def test_times_a_nanosecond_apart_have_two_names_and_equal_ones_have_one():
    fine = pa.array([10**18, 10**18 + 1, 10**18 + 1000, -1], pa.timestamp("ns"))
    coarse = pa.array([10**15, 10**15 + 1], pa.timestamp("us"))

    names = names_of(fine).to_pylist()

    assert names == [
        "2001-09-09T01:46:40+00:00",
        "2001-09-09T01:46:40.000000001+00:00",
        "2001-09-09T01:46:40.000001+00:00",
        "1969-12-31T23:59:59.999999999+00:00",
    ]
    assert names_of(coarse).to_pylist() == [names[0], names[2]]
    lengths = pa.array([1, 1_500_000_000], pa.duration("ns"))
    assert names_of(lengths).to_pylist() == ["0.000000001", "1.5"]
    assert names_of(pa.array([2**62], pa.duration("us"))).to_pylist() == ["4611686018427.387904"]


@pytest.mark.parametrize(
    ("n_days", "name"),
    [
        (20_455, "2026-01-02"),
        (-1, "1969-12-31"),
        (-719_162, "0001-01-01"),
        (2_932_900, "10000-01-04"),
    ],
)
@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_midnight_is_called_by_its_date(n_days, name, unit):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6}[unit]
    times = pa.array([n_days * 86_400 * per_second, (n_days * 86_400 + 1) * per_second])

    for zone in (None, "Europe/Berlin"):
        names = names_of(times.cast(pa.timestamp(unit, zone))).to_pylist()
        assert names == [name, f"{name}T00:00:01+00:00"]
    dates = pa.array([n_days], pa.date32())
    assert names_of(dates).to_pylist() == names_of(dates.cast(pa.date64())).to_pylist() == [name]


def test_days_that_python_does_not_have_have_names():
    days = pa.array([10**8, 0], pa.date32())
    moments = pa.array([2**62, 0], pa.timestamp("s"))

    assert names_of(days).to_pylist()[1] == names_of(moments).to_pylist()[1][:10] == "1970-01-01"
    assert len(set(names_of(days).to_pylist())) == 2


def test_a_number_of_32_bits_is_called_what_it_was_made_from():
    assert names_of(pa.array([0.1, 2.5], pa.float32())).to_pylist() == ["0.1", "2.5"]


# --- plain form


def test_every_storage_has_a_plain_form():
    texts = pa.array(["a", None, "b"])
    assert plain(texts.cast(pa.string_view())).to_pylist() == ["a", None, "b"]
    assert plain(pa.array([b"a", b"\xff", None])).to_pylist() == ["a", "0xff", None]
    assert plain(pa.array([b"abc"], pa.binary(3))).to_pylist() == ["abc"]
    assert plain(pa.array([bytes(15) + b"\5"], pa.binary(16))).to_pylist() == [
        "00000000-0000-0000-0000-000000000005"
    ]
    assert plain(pa.array([3661], pa.time32("s"))).to_pylist() == [dt.timedelta(seconds=3661)]
    assert plain(pa.array([1, None, 1]).dictionary_encode()).to_pylist() == [1, None, 1]
    entries = pa.array([[("a", 1)], None, [("b", 2), ("c", 3)]], pa.map_(pa.string(), pa.int64()))
    assert plain(entries[1:]).to_pylist() == [
        None,
        [{"key": "b", "value": 2}, {"key": "c", "value": 3}],
    ]
    views = pa.array([[1], None, [2, 3]], pa.list_view(pa.int64()))
    assert plain(views).to_pylist() == [[1], None, [2, 3]]


def test_the_type_of_the_plain_form_is_known_without_values():
    for dtype in (
        pa.binary(),
        pa.time64("us"),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.float32()),
        pa.run_end_encoded(pa.int32(), pa.string()),
        pa.map_(pa.string(), pa.int64()),
        pa.int16(),
    ):
        assert plain_type(dtype) == plain(pa.nulls(2, dtype)).type


# --- numbers


@given(
    st.lists(st.integers(-(10**37), 10**37), min_size=1),
    st.integers(0, 37),
)
def test_a_decimal_is_the_float_that_python_makes_of_it(digits, scale):
    values = [Decimal(d).scaleb(-scale) for d in digits]
    array = pa.array([None, *values], pa.decimal128(38, scale))[1:]

    np.testing.assert_array_equal(dense_numbers(array), [float(value) for value in values])


@given(st.lists(st.integers(-(10**5), 10**5), min_size=1), st.integers(0, 6))
def test_floats_of_32_bits_are_the_decimals_they_were_made_from(digits, scale):
    decimals = np.array([float(Decimal(d).scaleb(-scale)) for d in digits])

    np.testing.assert_array_equal(shortest(decimals.astype(np.float32)), decimals)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_what_a_float_was_made_from_rounds_to_it(values):
    narrow = np.array(values, dtype=np.float32)

    found = shortest(narrow)

    np.testing.assert_array_equal(found.astype(np.float32), narrow)
    assert shortest(np.array([0.1], dtype=np.float16)).tolist() == [0.1]


@given(st.lists(st.floats() | st.none()))
def test_arrays_are_made_without_pandas(values):
    valid = np.array([value is not None for value in values], dtype=bool)
    array = float_array(np.array([v for v in values if v is not None], dtype=float), valid)

    array.validate(full=True)
    assert repr(array.to_pylist()) == repr(values)


def test_a_time_that_python_does_not_have_is_an_example_of_what_cannot_be_read():
    year = 365.2425 * 86_400
    array = pa.array([int(20_000 * year), None], pa.timestamp("s"))

    assert read_as("boolean", array).examples[0].startswith("219")
