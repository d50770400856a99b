from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.arguments import (
    listed,
    listed_columns,
    moment,
    real_number,
    require_duration,
    require_one_of,
    require_text,
    several,
)
from flytekitplugins.wbmon.errors import ConfigError

EVENING = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))


@pytest.mark.parametrize(
    "given",
    [
        EVENING,
        datetime(2026, 3, 2, 4, 30),  # noqa: DTZ001 - without a zone it is UTC
        pd.Timestamp(EVENING),
        pd.Timestamp("2026-03-02T04:30"),
        np.datetime64("2026-03-02T04:30", "ns"),
        np.datetime64("2026-03-02T04:30", "s"),
        "2026-03-02T04:30Z",
        "2026-03-01T23:30:00-05:00",
    ],
)
def test_a_moment_is_the_same_in_every_class_of_times(given):
    assert moment("at", given) == datetime(2026, 3, 2, 4, 30, tzinfo=timezone.utc)
    assert type(moment("at", given)) is datetime


def test_a_date_is_its_midnight():
    midnight = datetime(2026, 3, 2, tzinfo=timezone.utc)

    assert moment("at", date(2026, 3, 2)) == midnight
    assert moment("at", np.datetime64("2026-03-02")) == midnight


@pytest.mark.parametrize(
    "given",
    [
        pd.NaT,
        np.datetime64("NaT"),
        float("nan"),
        pd.NA,
        None,
        "yesterday",
        1_767_225_600,
        True,
        np.datetime64("20260-01-01"),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
    ],
    ids=repr,
)
def test_what_is_no_moment_is_refused_with_what_was_found(given):
    with pytest.raises(ConfigError, match=r"at must be a moment, such as .*, got .*; give a time"):
        moment("at", given)


@pytest.mark.parametrize(
    "given", ["ab", b"ab", 5, {"a": 1}, pd.DataFrame({"a": [1]}), pd.Timestamp(0)], ids=repr
)
def test_one_value_is_no_sequence(given):
    with pytest.raises(ConfigError, match=r"by must be a sequence of column names, got .*; give a"):
        listed("by", given)


def test_every_container_of_several_values_is_a_sequence():
    frame = pd.DataFrame({"a": [1], 0: [2]})

    assert listed_columns("columns", frame.columns) == ("a", "0")
    assert listed_columns("columns", np.array(["a", "b"])) == ("a", "b")
    assert listed_columns("columns", (name for name in "ab")) == ("a", "b")
    assert listed("columns", None) == ()


def test_a_generator_is_not_emptied_by_the_look_at_it():
    generator = (number for number in range(3))

    assert several("numbers", generator, "numbers") is generator


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_number_is_taken_exactly_if_it_is_finite_and_within_its_bounds(value, above, most):
    if math.isfinite(value) and above < value <= most:
        assert real_number("x", value, above=above, most=most) == value
    else:
        with pytest.raises(ConfigError, match="x must be"):
            real_number("x", value, above=above, most=most)


@pytest.mark.parametrize("value", [1, 1.0, np.int8(1), np.float32(1), Fraction(1)], ids=repr)
def test_a_number_of_any_class_becomes_a_float(value):
    assert type(real_number("x", value)) is float
    assert real_number("x", value) == 1


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("0.8", "write 0.8 without quotes"),
        (" 1e-3 ", "write 1e-3 without quotes"),
        ("90%", "write 0.9$"),
        ("inf", "give a number"),
        ("%", "give a number"),
        ("a lot", "give a number"),
        (Decimal("0.8"), r"give float\(0.8\)"),
        (True, "got True"),
        (None, "got None"),
        ([1], "got one list"),
        (1j, "got one complex"),
        (pd.NA, "got <NA>"),
    ],
    ids=repr,
)
def test_what_is_no_number_is_refused_with_what_to_write(value, hint):
    with pytest.raises(ConfigError, match=f"x must be a finite number; .*{hint}"):
        real_number("x", value)


@pytest.mark.parametrize("value", [5, None, b"x", ["x"]], ids=repr)
def test_what_is_no_text_is_refused(value):
    with pytest.raises(ConfigError, match="x must be text, got"):
        require_text("x", value)
    with pytest.raises(ConfigError, match="x must be a, b or c; got"):
        require_one_of("x", value, ("a", "b", "c"))


@pytest.mark.parametrize("value", [5, None, timedelta(0), -timedelta(1), pd.NaT, "1h"], ids=repr)
def test_what_is_no_length_of_time_is_refused(value):
    with pytest.raises(ConfigError, match="x must be a positive timedelta, such as"):
        require_duration("x", value)
    require_duration("x", pd.Timedelta(hours=1))
