"""Files of one dataset may store a column in several types: it is still one column."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import check_drift, profile_data
from flytekitplugins.wbmon.data.alike import common_type, converted
from flytekitplugins.wbmon.data.open import open_source, open_values
from flytekitplugins.wbmon.data.stack import joined
from flytekitplugins.wbmon.errors import DataError

UTC = timezone.utc
WHOLE = [i % 50 for i in range(300)]
LISTS = [[float(i % 7), 1.0] if i % 9 else None for i in range(300)]
STRUCTS = [{"a": i % 5, "b": [i % 3]} for i in range(300)]
TEXTS = [f"word {i % 20}" for i in range(300)]
MOMENTS = [datetime(2026, 1, 1 + i % 20, i % 24, tzinfo=UTC) for i in range(300)]
NAIVE = [at.replace(tzinfo=None) for at in MOMENTS]
LENGTHS = [timedelta(seconds=i % 40) for i in range(300)]
SPREAD = [i / 8 for i in range(300)]

ALIKE: dict[str, tuple[pa.Array, pa.Array]] = {
    "int32 and int64": (pa.array(WHOLE, pa.int32()), pa.array(WHOLE, pa.int64())),
    "int64 and uint64": (pa.array(WHOLE, pa.int64()), pa.array(WHOLE, pa.uint64())),
    "int64 and uint32": (pa.array(WHOLE, pa.int64()), pa.array(WHOLE, pa.uint32())),
    "int and float": (pa.array(WHOLE, pa.int64()), pa.array(WHOLE, pa.float64())),
    "int and decimal": (pa.array(WHOLE, pa.int64()), pa.array(WHOLE, pa.decimal128(9, 2))),
    "float and decimal": (pa.array(SPREAD), pa.array([Decimal(v) for v in SPREAD])),
    "float and wide decimal": (
        pa.array(SPREAD),
        pa.array([Decimal(v) for v in SPREAD], pa.decimal128(38, 9)),
    ),
    "float32 and float64": (
        pa.array([i / 10 for i in range(300)], pa.float32()),
        pa.array([i / 10 for i in range(300)], pa.float64()),
    ),
    "int and dictionary": (pa.array(WHOLE), pa.array(WHOLE).dictionary_encode()),
    "us and ns": (pa.array(NAIVE, pa.timestamp("us")), pa.array(NAIVE, pa.timestamp("ns"))),
    "naive and UTC": (
        pa.array(NAIVE, pa.timestamp("us")),
        pa.array(MOMENTS, pa.timestamp("us", "UTC")),
    ),
    "naive and a zone": (
        pa.array(NAIVE, pa.timestamp("ms")),
        pa.array(MOMENTS, pa.timestamp("us", "Asia/Tokyo")),
    ),
    "date32 and time": (
        pa.array([at.date() for at in MOMENTS]),
        pa.array([at.replace(hour=0) for at in NAIVE], pa.timestamp("us")),
    ),
    "date32 and date64": (
        pa.array([at.date() for at in MOMENTS], pa.date32()),
        pa.array([at.date() for at in MOMENTS], pa.date64()),
    ),
    "s and ns": (pa.array(LENGTHS, pa.duration("s")), pa.array(LENGTHS, pa.duration("ns"))),
    "dictionary and text": (pa.array(TEXTS).dictionary_encode(), pa.array(TEXTS)),
    "large text and views": (pa.array(TEXTS, pa.large_string()), pa.array(TEXTS, pa.string_view())),
    "text and bytes": (pa.array(TEXTS), pa.array([text.encode() for text in TEXTS])),
    "list of float and of int": (
        pa.array(LISTS),
        pa.array([None if v is None else [int(x) for x in v] for v in LISTS]),
    ),
    "list of a fixed size": (pa.array(LISTS), pa.array(LISTS, pa.list_(pa.float32(), 2))),
    "list and large list": (pa.array(LISTS), pa.array(LISTS, pa.large_list(pa.float64()))),
    "structs of other types": (
        pa.array(STRUCTS, pa.struct({"b": pa.list_(pa.float64()), "a": pa.int64()})),
        pa.array(STRUCTS, pa.struct({"a": pa.int32(), "b": pa.list_(pa.int8())})),
    ),
    "map and list of structs": (
        pa.array([[("k", i % 5)] for i in range(300)], pa.map_(pa.string(), pa.int64())),
        pa.array([[{"key": "k", "value": i % 5}] for i in range(300)]),
    ),
}


def folder_of(place: Path, *columns: pa.Array | None) -> str:
    """A folder with a file of each column; None for a file that lacks it."""
    for i, column in enumerate(columns):
        table = pa.table({"other": WHOLE} if column is None else {"k": column})
        pq.write_table(table, place / f"{i}.parquet")
    return str(place)


def told(report: Any) -> Any:
    found = report.features["k"]
    checks = [(each.name, round(each.statistic, 9), each.p_value) for each in found.checks]
    return found.status, found.level, found.n_current, found.missing_current, checks


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("is_turned", [False, True])
def test_files_that_store_a_column_differently_are_one_dataset(
    name: str, is_turned: bool, tmp_path: Path
) -> None:
    one, other = reversed(ALIKE[name]) if is_turned else ALIKE[name]
    folder = folder_of(tmp_path, one, other)
    # both hold the same values, so twice the first is what the folder holds
    plain = pa.table({"k": pa.chunked_array([ALIKE[name][0]] * 2)})
    moved = plain.slice(0, 150)

    same = told(check_drift(plain, plain))
    assert same[:2] == ("ok", "none")
    for found in (
        check_drift(plain, folder),
        check_drift(folder, plain),
        check_drift(folder, folder),
        check_drift(profile_data(plain), folder),
        check_drift(profile_data(folder), plain),
    ):
        assert told(found)[:4] == same[:4]
    assert told(check_drift(folder, moved)) == told(check_drift(plain, moved))
    assert profile_data(folder).features["k"].n_unreadable == 0


@pytest.mark.parametrize("name", ALIKE)
def test_a_file_that_lacks_a_column_or_has_nulls_alone_misses_it(name: str, tmp_path: Path) -> None:
    column = ALIKE[name][0]
    for number, absent in enumerate((None, pa.nulls(300))):
        place = tmp_path / str(number)
        place.mkdir()
        folder = folder_of(place, absent, column)
        plain = pa.table({"k": pa.chunked_array([pa.nulls(300, column.type), column])})

        assert told(check_drift(plain, folder))[:4] == told(check_drift(plain, plain))[:4]
        assert told(check_drift(profile_data(folder), folder))[1] == "none"
        assert open_source(folder).column("k").null_count == 300 + column.null_count


def test_fields_that_a_struct_lacks_are_missing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, pa.array([{"a": 1}, None] * 150), pa.array([{"b": "x"}] * 300))
    wanted = [{"a": 1, "b": None}, None] * 150 + [{"a": None, "b": "x"}] * 300

    assert open_values(folder).column("k").to_pylist() == wanted
    fields = profile_data(folder).features["k"].facets
    assert {name: (field.n_rows, field.n_missing) for name, field in fields.items()} == {
        "a": (600, 450),
        "b": (600, 300),
    }
    assert check_drift(pa.table({"k": pa.array(wanted)}), folder).verdict == "ok"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1.0]), pa.array(["one"])),
        (pa.array([True]), pa.array([1])),
        (pa.array([[1]]), pa.array([["one"]])),
        (pa.array([{"a": 1}]), pa.array([{"a": "one"}])),
        (pa.array([LENGTHS[1]]), pa.array([MOMENTS[1]])),
    ],
)
def test_files_of_several_kinds_are_refused(one: pa.Array, other: pa.Array, tmp_path: Path) -> None:
    for i, column in enumerate((one, other)):
        pq.write_table(pa.table({"k": column, "x": [1.0]}), tmp_path / f"{i}.parquet")
    folder = str(tmp_path)
    source = open_source(folder)

    assert (source.column("x").to_pylist(), source.n_rows) == ([1.0, 1.0], 2)
    assert source.sample(["x"]).num_rows == 2
    # a column that nobody asks for is no matter
    assert list(profile_data(folder, columns=["x"]).features) == ["x"]
    for read in (source.type_of, source.column, lambda name: source.sample([name])):
        with pytest.raises(DataError, match="must agree on the types of their columns, but 'k' is"):
            read("k")
    with pytest.raises(DataError, match="or leave the column out"):
        profile_data(folder)
    with pytest.raises(DataError, match="must agree on the types"):
        list(source.parts()[0](["x", "k"]))
    with pytest.raises(DataError, match="one kind in all parts"):
        joined([one, other])


def test_numbers_in_several_files_keep_every_digit(tmp_path: Path) -> None:
    wide = [2**60 + 1, 7]
    for i, column in enumerate((pa.array(wide), pa.array([0.5]), pa.array([2**63], pa.uint64()))):
        pq.write_table(pa.table({"k": column}), tmp_path / f"{i}.parquet")

    found = open_values(str(tmp_path)).column("k").to_pylist()

    assert found == [2**60 + 1, 7, Decimal("0.5"), 2**63]


def test_durations_longer_than_64_bits_are_the_longest() -> None:
    (long, short) = (
        pa.array([10**12, -(10**12), 5], pa.duration("s")),
        pa.array([1], pa.duration("ns")),
    )

    found = joined([long, short]).cast(pa.int64()).to_pylist()

    assert found == [pytest.approx(2**63), pytest.approx(-(2**63)), 5 * 10**9, 1]


LEAVES = st.none() | st.integers(-100, 100)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.none() | st.lists(st.none() | st.lists(LEAVES, max_size=3), max_size=3)))
@pytest.mark.parametrize("start", [0, 1])
def test_lists_keep_their_values_and_nulls(rows: list[Any], start: int) -> None:
    inner = pa.list_(pa.list_(pa.int16()))
    array = pa.array(rows, inner)[start:]
    dtype = common_type([inner, pa.large_list(pa.list_(pa.float64()))])
    assert dtype is not None

    found = converted(array, dtype)

    found.validate(full=True)
    assert found.type == dtype
    assert found.to_pylist() == array.to_pylist()


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.none() | st.fixed_dictionaries({"a": LEAVES, "b": st.none() | st.text(max_size=3)})
    )
)
@pytest.mark.parametrize("start", [0, 1])
def test_structs_keep_their_values_and_nulls(rows: list[Any], start: int) -> None:
    narrow = pa.struct({"a": pa.int8(), "b": pa.string()})
    array = pa.array(rows, narrow)[start:]
    dtype = common_type([narrow, pa.struct({"c": pa.bool_(), "a": pa.float32()})])
    assert dtype is not None

    found = converted(array, dtype)

    found.validate(full=True)
    assert found.to_pylist() == [
        None if row is None else {**row, "c": None} for row in array.to_pylist()
    ]


def test_dates_and_times_are_moments_in_utc() -> None:
    at = datetime(2026, 1, 1, 5)  # noqa: DTZ001 - without a zone
    columns = [pa.array([date(2026, 1, 1)]), pa.array([at], pa.timestamp("s"))]

    assert joined(columns).to_pylist() == [
        datetime(2026, 1, 1, tzinfo=UTC),
        at.replace(tzinfo=UTC),
    ]
