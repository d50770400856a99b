from __future__ import annotations

import enum
import json
import math
import uuid
from datetime import date, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import table_of
from flytekitplugins.wbmon.monitor.prediction_log.fit import fit, utc
from flytekitplugins.wbmon.monitor.prediction_log.schema import CALL_COLUMNS, COLUMNS


class Number(enum.IntEnum):
    ONE = 1


TYPES = sorted({of for columns in (*COLUMNS.values(), CALL_COLUMNS) for of in columns.values()})
anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**15, 2**63, 10**400, "7", "2026-01-01T00:00:00Z", "\ud800"]),
        st.floats(),
        st.text(st.characters(), max_size=5),
        st.datetimes(timezones=st.just(timezone.utc)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["id", "rank", "score", "scale", "counts", "min"]), inner, max_size=4
        ),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("of", TYPES)
@given(value=anything)
def test_what_fits_is_json_fits_again_and_is_read_back_from_a_table(of: str, value: Any) -> None:
    fitted = fit(of, value)

    assert json.loads(json.dumps(fitted, allow_nan=False)) == fitted
    assert fit(of, fitted) == fitted
    (found,) = table_of({"column": of}, [{"column": fitted}])["column"].to_pylist()
    if of == "timestamp":
        assert utc(found) == fitted
    elif of.startswith("map"):
        assert (None if found is None else dict(found)) == fitted
    elif isinstance(fitted, list):
        assert [_known(each) for each in found] == fitted
    else:
        assert (_known(found) if isinstance(found, dict) else found) == fitted


@pytest.mark.parametrize("of", TYPES)
@given(values=st.lists(anything, max_size=4))
def test_a_column_of_anything_is_a_column(of: str, values: list[Any]) -> None:
    rows = [{"column": value} for value in values]

    assert table_of({"column": of}, rows).num_rows == len(values)


@pytest.mark.parametrize(
    ("of", "value", "fitted"),
    [
        ("int64", 1.5, None),
        ("int64", 2.0, 2),
        ("int16", np.int64(404), 404),
        ("bool", "false", None),
        ("bool", np.bool_(True), True),
        ("float64", float("inf"), None),
        ("string", {"a": ["ü"]}, '{"a":["ü"]}'),
        ("any", np.float32(0.5), 0.5),
        ("any", 2**63, 2**63),
        ("any", 10**76, str(10**76)),
        ("any", Decimal("0.5"), 0.5),
        ("any", Decimal(2**63), 2**63),
        ("any", Decimal("12345678901234567.89"), "12345678901234567.89"),
        ("any", Decimal("1E+999999999"), "1E+999999999"),
        ("any", Fraction(1, 4), 0.25),
        ("any", np.longdouble(0.5), 0.5),
        ("any", np.array([3]), 3),
        ("any", np.datetime64(1, "ns"), "1970-01-01T00:00:00.000000001+00:00"),
        ("any", np.array(["2026-01-02"], "M8[D]"), "2026-01-02"),
        ("any", np.timedelta64(1, "ns"), "0.000000001"),
        ("any", Number.ONE, 1),
        ("map<string,float64>", {"": 1, "a": "x"}, {"": 1.0}),
        ("documents", [{"id": 3, "text": "left out"}, 7], [{"id": "3"}]),
        ("documents", ["a", 7], [{"id": "a", "rank": 1}, {"id": "7", "rank": 2}]),
        (
            "documents",
            ["a", None, "its text " * 40, "b"],
            [{"id": "a", "rank": 1}, {"id": "b", "rank": 4}],
        ),
        ("documents", "a", None),
        ("timestamp", "2026-01-01 00:00:00", "2026-01-01T00:00:00.000000+00:00"),
        ("timestamp", 1.0, None),
    ],
)
def test_a_value_of_another_type_fits_if_nothing_of_it_is_lost(
    of: str, value: Any, fitted: Any
) -> None:
    found = fit(of, value)

    assert (type(found), found) == (type(fitted), fitted)


@pytest.mark.parametrize("number", [10**5000, -(10**5000), Decimal(10**900)], ids=hash)
@pytest.mark.parametrize("of", ["any", "string"])
def test_a_whole_number_of_any_length_keeps_its_digits(of: str, number: Any) -> None:
    written = fit(of, number)

    assert isinstance(written, str)
    assert int(written, 0) == number
    assert fit("map<string,any>", {"n": number}) == {"n": fit("any", number)}


def _known(struct: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in struct.items() if value is not None}


class Colour(enum.Enum):
    RED = "red"
    MIXED = (1, 2)


@pytest.mark.parametrize("type_name", ["string", "any", "float64", "int64", "bool"])
@pytest.mark.parametrize(
    "nothing", [None, math.nan, np.float32("nan"), pd.NA, pd.NaT, Decimal("NaN"), Decimal("sNaN")]
)
def test_nothing_is_nothing_whatever_stands_for_it(type_name, nothing):
    assert fit(type_name, nothing) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Colour.RED, "red"),
        (Colour.MIXED, "MIXED"),
        (b"ab", "ab"),
        (b"\xff", "0xff"),
        (bytearray(b"ab"), "ab"),
        (Decimal("1.5"), "1.5"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (np.str_("a"), "a"),
        (date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_single_values_of_any_class_are_the_text_they_stand_for(value, text):
    assert fit("string", value) == text
