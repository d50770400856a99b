"""Single values mean the same wherever they are met."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.objects import as_text, from_objects
from flytekitplugins.wbmon.data.plain import plain
from flytekitplugins.wbmon.data.scalars import class_name, is_missing
from support.child import run_python


@pytest.mark.parametrize(
    "value",
    [
        *(None, math.nan, np.float16("nan"), np.longdouble("nan"), pd.NA, pd.NaT, Decimal("sNaN")),
        *(np.datetime64("nat"), np.datetime64("nat", "s"), np.timedelta64("nat"), np.ma.masked),
    ],
)
def test_nothing_has_many_names(value):
    assert is_missing(value)


@pytest.mark.parametrize(
    "value",
    [
        *(0, False, "", "nan", b"", math.inf, Decimal("Infinity"), Fraction(10**400), [], 1j),
        *(object(), np.timedelta64(0), np.datetime64(0, "s")),
    ],
)
def test_what_is_something_is_not_missing(value):
    assert not is_missing(value)


@pytest.mark.parametrize(
    "value", [True, np.True_, 1, np.int8(1), 1.0, np.float32(1), Decimal("1.0")]
)
def test_one_is_one(value):
    assert class_name(value) == "1"


def test_a_float_of_32_bits_is_called_what_it_was_made_from():
    assert class_name(np.float32(0.1)) == class_name(0.1) == "0.1"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"\xff\x00", "0xff00"),
        (b"sixteen letters!", "sixteen letters!"),
        (b"of\ttwo lines,\nso", "of\ttwo lines,\nso"),
        (UUID(int=5).bytes, str(UUID(int=5))),
        (bytearray(UUID(int=2**127 + 5).bytes), str(UUID(int=2**127 + 5))),
        (UUID(int=5).bytes[:15], UUID(int=5).bytes[:15].decode()),
    ],
)
def test_bytes_are_text_or_a_uuid_or_hexadecimal(value, name):
    assert class_name(value) == name
    assert class_name(np.bytes_(value)) == name or bytes(value).endswith(b"\x00")
    stored = pa.array([bytes(value), None], pa.binary())
    assert plain(stored).to_pylist() == [name, None]


@given(st.lists(st.one_of(st.binary(max_size=20), st.binary(min_size=16, max_size=16))))
def test_bytes_have_one_name_in_every_container(values):
    names = [class_name(value) for value in values]

    for dtype in (pa.binary(), pa.large_binary(), pa.binary_view()):
        assert plain(pa.array(values, dtype)).to_pylist() == names
    if values:
        assert as_text(pa.chunked_array([from_objects(values)])).to_pylist() == names
    sixteen = [value for value in values if len(value) == 16]
    of_size = pa.array(sixteen, pa.binary(16))
    assert plain(of_size).to_pylist() == [class_name(value) for value in sixteen]


def test_no_array_library_is_loaded(tmp_path):
    program = """
import sys
import flytekitplugins.wbmon.data.scalars
print({"numpy", "pandas", "pyarrow"} & set(sys.modules))
"""
    done = run_python(program, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "value",
    [
        dt.date(2026, 1, 2),
        dt.datetime(2026, 1, 2),  # noqa: DTZ001 - without a zone it is UTC
        dt.datetime(2026, 1, 2, 5, 30, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
        pd.Timestamp("2026-01-02"),
        np.datetime64("2026-01-02"),
        np.datetime64("2026-01-02", "ns"),
    ],
    ids=repr,
)
def test_a_midnight_is_called_by_its_date(value):
    assert class_name(value) == "2026-01-02"


def test_a_nanosecond_after_midnight_is_no_date():
    after = "2026-01-02T00:00:00.000000001"

    assert class_name(np.datetime64(after)) == f"{after}+00:00"
    assert class_name(pd.Timestamp(after)) == f"{after}+00:00"
