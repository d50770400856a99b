from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon.arguments import listed, listed_columns, moment, several
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
