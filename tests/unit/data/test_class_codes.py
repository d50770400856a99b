"""Classes are what their values are: no digit is lost, and what is missing is no class."""

from __future__ import annotations

import enum
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.class_codes import class_order, code_column
from flytekitplugins.wbmon.data.columns import read_values
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import DataError
from support.containers import STORAGES, data_of

CELLS = [
    (kind, name)
    for kind in ("integer", "unsigned", "boolean", "text", "uuid", "date")
    for name in STORAGES[kind]
]
POOLS: dict[str, list[Any]] = {
    "integer": [-7, 0, 3, 1200, 30_000],
    "unsigned": [0, 1, 7, 250],
    "boolean": [False, True],
    "text": ["churn", "stay", "ä", "1", "None"],
    "uuid": [UUID(int=1), UUID(int=2), UUID(int=2**100)],
    "date": [date(2026, 1, 1), date(1969, 12, 31), date(2024, 2, 29)],
}
LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=40)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


def coded(data: Any, name: str = "y") -> list[str | None]:
    found = code_column(read_values(data, [name])[name], name)
    names: list[str | None] = [*found.names, None]
    return [names[code] for code in found.codes]


@pytest.mark.parametrize(("kind", "name"), CELLS)
@given(places=LABELS)
def test_a_class_is_its_value_in_every_container(kind: str, name: str, places: list[int]) -> None:
    pool = [*POOLS[kind], None]
    values = [pool[place % len(pool)] for place in places]
    storage = STORAGES[kind][name]
    try:
        column = storage.make(values)
    except (TypeError, ValueError, pa.ArrowException):
        return  # it cannot hold a missing one
    found = coded(data_of({"y": column}, storage.library))
    assert found == [None if value is None else class_name(value) for value in values]


@given(
    st.lists(
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(2**53, 2**53 + 3)),
        max_size=40,
    )
)
def test_whole_numbers_of_64_bits_are_as_many_classes_as_they_are_numbers(
    values: list[int | None],
) -> None:
    expected = [None if value is None else str(value) for value in values]
    assert coded(pa.table({"y": pa.array(values, pa.int64())})) == expected
    assert coded(pl.DataFrame({"y": pl.Series(values, dtype=pl.Int64)})) == expected
    assert coded(pd.DataFrame({"y": pd.array(values, dtype="Int64")})) == expected
    names = code_column(pa.chunked_array([pa.array(values, pa.int64())]), "y").names
    assert list(names) == [str(value) for value in sorted({v for v in values if v is not None})]


BIG = [2**63, 2**63 + 1, 2**64 - 1]


@pytest.mark.parametrize(
    "column",
    [
        np.array(BIG, dtype=np.uint64),
        pd.array(BIG, dtype="UInt64"),
        pd.Series(BIG, dtype=object),
        pd.Series([Decimal(value) for value in BIG], dtype=object),
        pd.Series([Decimal(f"{value}.00") for value in BIG], dtype=object),
        pd.Series(pd.Categorical(BIG)),
    ],
    ids=["uint64", "UInt64", "int", "Decimal", "Decimal with zeros", "category"],
)
def test_whole_numbers_that_64_bits_with_a_sign_do_not_hold_are_classes(column: Any) -> None:
    assert coded(pd.DataFrame({"y": column})) == [str(value) for value in BIG]


def test_integers_of_any_size_are_classes() -> None:
    wei = [10**30 + 1, 10**30, -(10**30), None]
    frame = pd.DataFrame({"y": pd.Series(wei, dtype=object)})
    assert coded(frame) == [str(10**30 + 1), str(10**30), str(-(10**30)), None]
    column = read_values(frame, ["y"])["y"]
    assert code_column(column, "y").names == (str(-(10**30)), str(10**30), str(10**30 + 1))


def test_members_of_an_enum_and_bytes_are_classes() -> None:
    colors = pd.DataFrame({"y": pd.Series([Color.RED, Color.BLUE, None], dtype=object)})
    assert coded(colors) == ["red", "blue", None]
    names = pa.table({"y": pa.array([b"red", b"\xff\x00", None], pa.binary())})
    assert coded(names) == ["red", "0xff00", None]


@pytest.mark.parametrize("dtype", [pa.float64(), pa.float32()])
def test_floats_that_have_lost_digits_are_refused(dtype: pa.DataType) -> None:
    limit = 2**53 if dtype == pa.float64() else 2**24
    exact = pa.table({"y": pa.array([float(limit), 0.0, None], dtype)})
    assert coded(exact) == [str(limit), "0", None]
    with pytest.raises(DataError, match=rf"{limit * 4} as {dtype}, which has lost digits"):
        coded(pa.table({"y": pa.array([limit * 4.0, 1.0], dtype)}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.0], r"whole numbers\), found double such as 0.5; give probabilities as `score`"),
        ([np.inf, 1.0], "found double such as inf"),
        ([Decimal("0.5"), Decimal(1)], r"found decimal128\(2, 1\) such as 0.5"),
        ([[1], [2]], "found list"),
        ([datetime(2026, 1, 1, 12, tzinfo=timezone.utc)], "found timestamp"),
        (list(range(0, 3000, 2)), "at most 1000 classes"),
        (list(range(0, 300_000, 200)), "at most 1000 classes"),
        ([f"w{i}" for i in range(1001)], "at most 1000 classes, found 1001"),
    ],
)
def test_what_is_no_class_is_refused_by_its_name(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        coded(pa.table({"y": values}))


def test_a_thousand_classes_are_classes() -> None:
    for values in (range(1000), range(0, 10**6, 1000), [f"w{i}" for i in range(1000)]):
        assert len(code_column(pa.chunked_array([pa.array(values)]), "y").names) == 1000


MISSING = [None, float("nan"), pd.NaT, pd.NA, "", "  ", "\t\n"]


def test_all_that_is_missing_is_one_thing() -> None:
    for kind in (["ok", "fraud"], [1, 0], [True, False]):
        values = [*kind, *MISSING, *kind, *kind, *kind, *kind]
        frame = pd.DataFrame({"y": pd.Series(values, dtype=object)})
        found = code_column(read_values(frame, ["y"])["y"], "y")
        assert (found.codes == -1).nonzero()[0].tolist() == list(range(2, 2 + len(MISSING)))
        assert found.unreadable.n == 0


def test_blank_text_is_no_class_in_any_container() -> None:
    texts = ["a", "", " ", None, "b"]
    forms = [
        pa.table({"y": texts}),
        pa.table({"y": pa.array(texts).dictionary_encode()}),
        pd.DataFrame({"y": texts}),
        pd.DataFrame({"y": pd.Categorical(texts)}),
        pl.DataFrame({"y": texts}),
        pl.DataFrame({"y": pl.Series(texts, dtype=pl.Categorical)}),
    ]
    for form in forms:
        assert coded(form) == ["a", None, None, None, "b"]


def test_an_odd_value_among_numbers_costs_itself() -> None:
    values = [0, 1, "n/a", 1, None, "n/a", " 0 ", "+1", "2.0", "x", "y", "z", *[0, 1] * 5]
    frame = pd.DataFrame({"y": pd.Series(values, dtype=object)})
    found = code_column(read_values(frame, ["y"])["y"], "y")
    assert found.names == ("0", "1", "2")
    assert found.codes[:12].tolist() == [0, 1, -1, 1, -1, -1, 0, 1, 2, -1, -1, -1]
    assert found.unreadable == (5, ("n/a", "x", "y"))
    same = pl.DataFrame({"y": pl.Series(values, dtype=pl.Object)})
    again = code_column(read_values(same, ["y"])["y"], "y")
    assert again.codes.tolist() == found.codes.tolist()


def test_an_odd_value_among_booleans_costs_itself() -> None:
    values = [True, False, "unknown", "TRUE", "false", "1", True, False, True]
    found = code_column(
        read_values(pd.DataFrame({"y": pd.Series(values, dtype=object)}), ["y"])["y"], "y"
    )
    assert found.names == ("0", "1")
    assert found.codes.tolist() == [1, 0, -1, 1, 0, 1, 1, 0, 1]
    assert found.unreadable == (1, ("unknown",))


def test_an_odd_value_among_texts_is_a_class_of_its_text() -> None:
    frame = pd.DataFrame({"y": pd.Series(["a", "b", "a", 7], dtype=object)})
    assert coded(frame) == ["a", "b", "a", "7"]


def test_objects_that_nobody_knows_are_refused() -> None:
    frame = pd.DataFrame({"y": pd.Series([object(), object()], dtype=object)})
    with pytest.raises(DataError, match=r"must hold classes.*found '<object"):
        coded(frame)


def test_classes_that_are_numbers_are_sorted_as_numbers_of_any_size() -> None:
    names = [str(2**80 + 1), "10", "9", str(2**80), "-1", "10"]
    sorted_names = ("-1", "9", "10", str(2**80), str(2**80 + 1))
    assert class_order(names, is_numeric=True) == sorted_names
    assert class_order(["10", "9"], is_numeric=False) == ("10", "9")
    assert class_order(["1"], is_numeric=True) == ("0", "1")


def test_days_of_any_year_are_classes_and_decimals_with_many_zeros_are_whole() -> None:
    far = pa.array([2_932_897, -800_000, 0], pa.int32()).cast(pa.date32())
    assert coded(pa.table({"y": far})) == ["10000-01-01", "-0221-09-04", "1970-01-01"]
    wide = pa.array([Decimal(10**70), Decimal(1)], pa.decimal256(76, 5))
    assert coded(pa.table({"y": wide})) == [str(10**70), "1"]
    fraction = pa.array([Decimal(f"{10**40}.5")], pa.decimal256(60, 10))
    with pytest.raises(DataError, match=r"such as 1000.*\.5"):
        coded(pa.table({"y": fraction}))


@pytest.mark.parametrize("most", [[0, 1], [Decimal(0), Decimal(1)]])
def test_a_fraction_among_objects_is_unreadable(most) -> None:
    values = [*most * 20, Decimal("0.5"), Decimal("Infinity")]
    frame = pd.DataFrame({"y": pd.Series(values, dtype=object)})
    found = code_column(read_values(frame, ["y"])["y"], "y")
    assert (found.names, found.unreadable.n) == (("0", "1"), 2)
    assert found.unreadable.examples[0] == "0.5"


def test_a_nanosecond_beside_midnight_is_no_class() -> None:
    midnight = 1_767_225_600_000_000_000
    for beside in (-1, 1):
        times = pd.to_datetime([midnight, midnight + beside])
        for column in (times, pd.Series(list(times), dtype=object)):
            with pytest.raises(DataError, match="found timestamp"):
                coded(pd.DataFrame({"y": column}))


def test_digits_with_a_zero_before_them_are_no_number() -> None:
    frame = pd.DataFrame({"y": pd.Series([7, 8, 9, "007", "7", 10**400], dtype=object)})
    found = code_column(read_values(frame, ["y"])["y"], "y")
    assert found.names == ("7", "8", "9", str(10**400))
    assert found.codes.tolist() == [0, 1, 2, -1, 0, 3]
    assert found.unreadable == (1, ("007",))
    texts = pd.DataFrame({"y": pd.Series(["007", "A3", "7", 7], dtype=object)})
    assert coded(texts) == ["007", "A3", "7", "7"]
