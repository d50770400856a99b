"""The inputs of a task in a run id: a night's run is that of the night, not of the pod's day."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Annotated, Any, Optional

import pandas as pd
import pytest
from flytekit import task
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.id_inputs import check_inputs, input_types
from flytekitplugins.wbmon.flyte.identity import (
    MAX_ID_LENGTH,
    TaskIdentity,
    check_template,
    is_template,
    run_id,
)

NOVEMBER = TaskIdentity(started_at=datetime(2026, 11, 30, 3, tzinfo=timezone.utc))
CAIRO = timezone(timedelta(hours=2))
WEST = timezone(timedelta(hours=-10))
OCTOBER = datetime(2026, 10, 31, 2, tzinfo=timezone.utc)


class Region(Enum):
    EU = "eu-west"


@pytest.mark.parametrize(
    ("template", "inputs", "expected"),
    [
        ("nights-{date:%Y-%m}", {"kickoff": OCTOBER, "n_rows": 5}, "nights-2026-10"),
        ("nights-{date}", {"kickoff": OCTOBER}, "nights-2026-10-31"),
        ("nights-{date}", {"day": date(2026, 10, 31)}, "nights-2026-10-31"),
        ("nights-{date}", {"at": pd.Timestamp("2026-10-31", tz="UTC")}, "nights-2026-10-31"),
        # a night of UTC, whatever zone it is written in; without one it is UTC
        ("{date}", {"at": datetime(2026, 11, 1, 1, tzinfo=CAIRO)}, "2026-10-31"),
        ("{date}", {"at": datetime(2026, 10, 31, 23)}, "2026-10-31"),  # noqa: DTZ001
        # a night that is not given is today's
        ("nights-{date:%Y-%m}", {"kickoff": None}, "nights-2026-11"),
        ("nights-{date:%Y-%m}", {}, "nights-2026-11"),
        ("{inputs.start:%Y-%m}", {"start": OCTOBER, "end": OCTOBER}, "2026-10"),
        ("{inputs.start:%Y-%m}", {"start": None, "end": OCTOBER}, "2026-11"),
        ("{inputs.start}", {"start": OCTOBER}, "2026-10-31T020000"),
        ("{inputs.region}-{inputs.depth}", {"region": "eu", "depth": 3}, "eu-3"),
        ("{inputs.region}", {"region": Region.EU}, "eu-west"),
        ("lr-{inputs.rate:.3f}", {"rate": 0.01}, "lr-0.010"),
        ("{inputs.night}", {"night": "2026-10-31"}, "2026-10-31"),
    ],
)  # fmt: skip
def test_an_id_holds_what_the_task_was_given(
    template: str, inputs: dict[str, Any], expected: str
) -> None:
    check_template(template)
    assert is_template(template)
    assert run_id(NOVEMBER, template, inputs=inputs) == expected


@given(st.lists(st.text(max_size=300), min_size=2, max_size=2, unique=True))
def test_two_texts_are_two_ids_whatever_they_hold(texts: list[str]) -> None:
    first, second = (run_id(NOVEMBER, "x-{inputs.t}", inputs={"t": text}) for text in texts)
    assert first != second
    assert all(
        re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{MAX_ID_LENGTH}}}", str(one)) for one in (first, second)
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"start": OCTOBER, "end": OCTOBER}, r"'start', 'end' of the task are dates"),
        ({"inputs": OCTOBER}, "did you mean"),
        ({"night": [OCTOBER]}, "must be a text, a number or a date to be part of an id, got list"),
    ],
)
def test_what_cannot_be_an_id_is_an_error_before_the_body(
    inputs: dict[str, Any], message: str
) -> None:
    template = (
        "{date}"
        if "start" in inputs
        else "{inputs.night}"
        if "night" in inputs
        else "{inputs.input}"
    )
    with pytest.raises(ConfigError, match=message):
        run_id(NOVEMBER, template, inputs=inputs)


@pytest.mark.parametrize("value", [pd.NaT, datetime(9999, 12, 31, 23, tzinfo=WEST)])
@pytest.mark.parametrize("template", ["{date:%Y-%m}", "{inputs.night}"])
def test_a_time_that_no_id_can_hold_is_an_error_before_the_body(
    template: str, value: datetime
) -> None:
    with pytest.raises(ConfigError, match="must be a value that"):
        run_id(NOVEMBER, template, inputs={"night": value})


def one_night(kickoff: datetime, n_rows: int = 5) -> None: ...
def perhaps(kickoff: Optional[datetime] = None) -> None: ...  # noqa: UP045 - users write it so
def annotated(kickoff: Annotated[datetime, "night"]) -> None: ...
def one_day(day: "date | None" = None) -> None: ...  # noqa: UP037 - users write it so
def two_dates(start: datetime, end: datetime) -> None: ...
def no_date(n_rows: int, region: str, table: pd.DataFrame) -> None: ...
def untyped(kickoff) -> None: ...  # type: ignore[no-untyped-def]
def anything(**inputs: Any) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        one_night,
        perhaps,
        annotated,
        one_day,
        untyped,
        anything,
    ],
)
def test_one_date_needs_no_name(
    function: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    check_inputs("nights-{date:%Y-%m}", input_types(function), "night")
    assert not caplog.records


def test_a_task_without_a_date_is_warned_of_when_it_is_decorated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check_inputs("nights-{date:%Y-%m}", input_types(no_date), "wf.night")
    assert "a backfill of October lands in November's run" in caplog.text
    assert "wf.night" in caplog.text


@pytest.mark.parametrize(
    ("template", "function", "message"),
    [
        ("{date}", two_dates, r"'start', 'end' of night are dates; say which: {inputs.start:"),
        ("{inputs.kikoff:%Y}", one_night, "did you mean 'kickoff'"),
        ("{inputs.zzz}", no_date, "it has 'n_rows', 'region', 'table'"),
        ("{inputs.table}", no_date, "got DataFrame in night"),
        ("{inputs.region:%Y-%m}", no_date, "must have a format for a str"),
        ("{inputs.n_rows:%Y-%m}", no_date, "must have a format for a int"),
    ],
)
def test_what_can_never_work_is_refused_when_the_task_is_decorated(
    template: str, function: Callable[..., Any], message: str
) -> None:
    check_template(template)
    for target in (function, task(function)):
        with pytest.raises(ConfigError, match=re.escape(message) if "{" in message else message):
            check_inputs(template, input_types(target), "night")
