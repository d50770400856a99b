from __future__ import annotations

import math
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

START = datetime(2026, 1, 30, tzinfo=timezone.utc)


@pytest.fixture
def week(rng):
    """Eight days of payments; the model fails in one country, and from the sixth day on."""
    n = 8000
    country = rng.choice(["AT", "DE", "FR", "XK"], n, p=[0.3, 0.3, 0.3, 0.1])
    day = np.arange(n) // 1000
    y = rng.integers(0, 2, n)
    right = rng.random(n) < np.where(country == "XK", 0.6, np.where(day >= 6, 0.75, 0.9))
    at = [START + timedelta(hours=24 * i / 1000) for i in range(n)]
    return pa.table(
        {
            "y": y,
            "q": np.where(right, y, 1 - y),
            "country": country,
            "amount": rng.lognormal(size=n),
            "kind": rng.integers(0, 3, n),
            "at": at,
        }
    )


def check(data, **changed):
    columns = {"task": "classification", "label": "y", "prediction": "q"}
    return check_performance(data, **columns | changed)


def test_the_worst_segment_comes_first_and_is_called_worse(week):
    report = check(week, segments=["country", "kind"])
    assert [part.by for part in report.segments].count("country") == 4
    worst = report.segments[0]
    assert (worst.by, worst.value, worst.verdict) == ("country", "XK", "worse")
    assert worst.metrics["accuracy"].value == pytest.approx(0.6, abs=0.05)
    assert worst.metrics["accuracy"].baseline == pytest.approx(0.86, abs=0.02)
    others = {part.verdict for part in report.segments if part.by == "kind"}
    assert others == {"ok"}
    assert sum(part.n_rows for part in report.segments if part.by == "kind") == 8000


def test_a_segment_is_measured_as_if_it_were_the_window(week):
    alone = check(week.filter(np.array(week["country"]) == "DE"))
    report = check(week, segments=["country"])
    (part,) = [part for part in report.segments if part.value == "DE"]
    assert part.metrics["f1"].value == alone.metrics["f1"].value
    assert part.metrics["f1"].low == alone.metrics["f1"].low
    assert part.n_labelled == alone.n_labelled


def test_segments_that_do_not_differ_are_rarely_called_worse(rng):
    alarms = 0
    for _ in range(60):
        y = rng.integers(0, 2, 1000)
        right = rng.random(1000) < 0.85
        table = pa.table({"y": y, "q": np.where(right, y, 1 - y), "s": rng.integers(0, 10, 1000)})
        alarms += any(part.verdict == "worse" for part in check(table, segments=["s"]).segments)
    assert alarms <= 6


def test_numbers_of_many_values_are_cut_at_their_quartiles(week):
    report = check(week, segments=["amount"])
    assert sorted(part.n_rows for part in report.segments) == [2000] * 4
    assert {part.value[0] for part in report.segments} > {"<", "≥"}


def test_twenty_values_are_twenty_segments_and_one_more_is_cut_at_its_quartiles(rng):
    def parts(n_values: int) -> dict[str, int]:
        values = np.tile(np.arange(n_values), 10)
        y = rng.integers(0, 2, len(values))
        report = check(pa.table({"y": y, "q": y, "v": values}), segments=["v"])
        return {part.value: part.n_rows for part in report.segments}

    assert parts(20) == {str(value): 10 for value in range(20)}
    # a value at a quartile belongs to the part that it begins
    assert parts(21) == {"< 5": 50, "5 to 10": 50, "10 to 15": 50, "≥ 15": 60}


def test_fifty_words_are_fifty_segments_and_of_one_more_the_rarest_are_put_together(rng):
    def parts(words: list[str]) -> dict[str, int]:
        y = rng.integers(0, 2, len(words))
        report = check(pa.table({"y": y, "q": y, "word": words}), segments=["word"])
        return {part.value: part.n_rows for part in report.segments}

    common = [f"w{i}" for i in range(48)]
    assert parts([*common * 3, "x", "y"]) == dict.fromkeys(common, 3) | {"x": 1, "y": 1}
    # of equally rare words the first to appear stays
    rare = ["z", "y", "x"]
    assert parts([*rare, *common * 3]) == dict.fromkeys(common, 3) | {"z": 1, "(other)": 2}


def test_a_part_is_judged_at_five_percent_of_all_parts(rng):
    """Bonferroni: the p-value times the number of judged parts decides."""
    near = 0
    for _ in range(40):
        y = rng.integers(0, 2, 600)
        group = rng.integers(0, 4, 600)
        right = rng.random(600) < np.where(group == 0, 0.75, 0.85)
        table = pa.table({"y": y, "q": np.where(right, y, 1 - y), "s": group})
        for part in check(table, segments=["s"]).segments:
            accuracy = part.metrics["accuracy"]
            differs = accuracy.verdict != "ok" and 4 * accuracy.p_value <= 0.05
            assert part.verdict == (accuracy.verdict if differs else "ok")
            near += 0.05 < 4 * accuracy.p_value < 0.1
    assert near > 0


def test_missing_values_are_a_segment_and_rare_ones_are_put_together(rng):
    word = np.array([f"w{i}" for i in rng.integers(0, 80, 3000)], dtype=object)
    word[:40] = None
    table = pa.table({"y": [1, 0] * 1500, "q": [1, 0] * 1500, "word": pa.array(list(word))})
    values = [part.value for part in check(table, segments=["word"]).segments]
    assert len(values) == 51
    assert {"(missing)", "(other)"} < set(values)


def test_a_small_segment_is_measured_and_not_judged(week):
    table = (
        week.slice(0, 60).drop_columns("kind").append_column("kind", pa.array([1] * 50 + [2] * 10))
    )
    small = check(table, segments=["kind"]).segments[-1]
    assert (small.value, small.status, small.verdict) == ("2", "insufficient", "unknown")


def test_days_come_in_order_and_show_when_it_began(week):
    report = check(week, time="at", every="day")
    assert [part.value for part in report.chunks][:3] == ["2026-01-30", "2026-01-31", "2026-02-01"]
    assert [part.verdict for part in report.chunks[6:]] == ["worse", "worse"]
    assert all(part.verdict != "worse" for part in report.chunks[:6])


@pytest.mark.parametrize(
    ("every", "values"),
    [
        ("month", ["2026-01", "2026-02"]),
        ("week", ["2026-01-26", "2026-02-02"]),
        ("hour", [f"2026-01-30T{hour:02}" for hour in range(24)]),
    ],
)
def test_chunks_may_be_of_any_length(week, every, values):
    found = [part.value for part in check(week, time="at", every=every).chunks]
    assert found[: len(values)] == values


def test_rows_without_a_time_are_a_chunk_of_their_own(week):
    at = pa.array([None if i < 100 else at for i, at in enumerate(week["at"].to_pylist())])
    table = week.set_column(week.column_names.index("at"), "at", at)
    last = check(table, time="at", every="month").chunks[-1]
    assert (last.value, last.n_rows) == ("(missing)", 100)


def test_dates_are_times(week):
    dates = week["at"].cast(pa.date32())
    table = week.set_column(week.column_names.index("at"), "at", dates)
    assert check(table, time="at").chunks == check(week, time="at").chunks


def test_the_ranking_metric_can_be_chosen(week):
    report = check(week, segments=["kind"], rank_by="recall")
    losses = [part.metrics["recall"].change for part in report.segments]
    assert losses == sorted(losses)


def test_a_regression_is_ranked_by_its_error(rng):
    y = rng.normal(size=600)
    group = np.arange(600) % 3
    table = pa.table({"y": y, "q": y + rng.normal(size=600) * (1 + 2 * (group == 1)), "g": group})
    report = check(table, task="regression", segments=["g"])
    assert report.segments[0].value == "1"
    assert report.segments[0].verdict == "worse"
    many = pa.table({"y": y, "q": y + rng.normal(size=600), "g": np.arange(600) % 6})
    report = check(many, task="regression", segments=["g"])
    changes = [part.metrics["mae"].change for part in report.segments if part.verdict == "ok"]
    assert len(changes) > 3
    assert changes == sorted(changes, reverse=True)


def test_the_report_with_parts_survives_json(week):
    report = check(week, segments=["country"], time="at")
    again = record_from_json(PerformanceReport, record_to_json(report))
    assert record_to_json(again) == record_to_json(report)


def sizes(values, **form):
    """The number of rows of each segment of a column."""
    y = np.arange(len(values)) % 2
    made = form.get("make", pa.table)({"y": y, "q": y, "v": values})
    return {part.value: part.n_rows for part in check(made, segments=["v"]).segments}


def as_object(columns):
    return pd.DataFrame({**columns, "v": pd.Series(columns["v"], dtype=object)})


def test_whole_numbers_that_floats_do_not_tell_apart_are_segments_of_their_own():
    near = [2**53 + i for i in range(4)]
    for column in (pa.array(near * 5), pa.array(near * 5, pa.uint64())):
        assert sizes(column) == {str(each): 5 for each in near}
    wei = [10**30 + i for i in range(3)] * 5
    assert sizes(wei, make=as_object) == {str(each): 5 for each in wei}


def test_ranges_of_whole_numbers_of_64_bits_lose_no_digit():
    ids = [2**62 + i for i in range(40)]
    parts = sizes(pa.array(ids))
    assert sorted(parts.values()) == [10] * 4
    assert f"≥ {2**62 + 30}" in parts
    assert len(parts) == 4


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([True, False] * 10, {"0", "1"}),
        ([0.1, 2.0, math.inf, None] * 5, {"0.1", "2", "(missing)"}),
        ([Decimal("0.10"), Decimal(3)] * 5, {"0.1", "3"}),
        ([UUID(int=1), UUID(int=2)] * 5, {str(UUID(int=1)), str(UUID(int=2))}),
        ([timedelta(minutes=1), timedelta(seconds=0.5)] * 5, {"60 s", "0.5 s"}),
        ([START, START + timedelta(hours=30), None] * 5, {"2026-01-30", "2026-01-31", "(missing)"}),
        ([date(1969, 12, 31), date(2026, 1, 1)] * 5, {"1969-12-31", "2026-01-01"}),
        (["", " ", "a/b", "None", None] * 4, {"a/b", "None", "(missing)"}),
        ([b"a", b"\xff"] * 5, {"a", "0xff"}),
        ([1, 2, "x", ""] * 5, {"1", "2", "x", "(missing)"}),
        ([7, "7", 7.5, " 07", "7.50", 7.0] * 5, {"7", "7.5"}),
        ([1, 2, 3, "x", str(2**60), "1e400"] * 5, {"1", "2", "3", "x", str(2**60), "1e400"}),
        ([None] * 10, {"(missing)"}),
        ([math.inf, math.nan] * 10, {"(missing)"}),
    ],
)
@pytest.mark.parametrize("make", [as_object, pl.DataFrame, pa.table])
def test_any_scalar_is_a_segment(values, names, make):
    try:
        column = (
            pl.Series(values, dtype=pl.Object, strict=False) if make is pl.DataFrame else values
        )
        parts = sizes(column if make is not pa.table else pa.array(values), make=make)
    except (pa.ArrowException, AttributeError):
        return  # a mixed column is none of Arrow, nor are UUIDs of its older versions
    assert set(parts) == names
    assert sum(parts.values()) == len(values)


def test_a_float_of_32_bits_is_called_by_its_short_name():
    assert sizes(pa.array([0.1, 0.7] * 5, pa.float32())) == {"0.1": 5, "0.7": 5}


@pytest.mark.parametrize("digits", [9, 18, 38, 76])
def test_decimals_of_any_width_are_segments_or_ranges(digits):
    make = {9: pa.decimal32, 18: pa.decimal64, 38: pa.decimal128, 76: pa.decimal256}[digits]
    few = pa.array([Decimal(i) for i in range(4)] * 5, make(digits, 1))
    assert sizes(few) == {str(i): 5 for i in range(4)}
    many = pa.array([Decimal(i) for i in range(40)], make(digits, 1))
    assert sorted(sizes(many).values()) == [10] * 4


def test_durations_of_many_values_are_cut_in_seconds():
    spans = [timedelta(minutes=i) for i in range(40)]
    for dtype in ("s", "ms", "us", "ns"):
        parts = sizes(pa.array(spans, pa.duration(dtype)))
        assert parts == {
            "< 585 s": 10,
            "585 s to 1170 s": 10,
            "1170 s to 1755 s": 10,
            "≥ 1755 s": 10,
        }


def test_odd_values_among_many_numbers_are_one_segment():
    parts = sizes([*range(40), "a", "b", None], make=as_object)
    assert parts.pop("(other)") == 2
    assert parts.pop("(missing)") == 1
    assert sorted(parts.values()) == [10] * 4


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=60))
def test_segments_of_whole_numbers_divide_the_rows(values):
    parts = sizes(pa.array(values, pa.int64()))
    distinct = {value for value in values if value is not None}
    assert sum(parts.values()) == len(values)
    if len(distinct) <= 20:
        counted = Counter("(missing)" if value is None else str(value) for value in values)
        assert parts == counted
    else:
        assert len(set(parts) - {"(missing)"}) == 4


def test_chunks_are_cut_by_the_moment_and_not_by_the_text():
    moments = ["2026-01-30T23:30:00-05:00", "2026-01-31T04:30:00Z", "2026-01-30", None, ""] * 8
    table = pa.table({"y": [0, 1] * 20, "q": [0, 1] * 20, "at": moments})
    chunks = {part.value: part.n_rows for part in check(table, time="at").chunks}
    assert chunks == {"2026-01-31": 16, "2026-01-30": 8, "(missing)": 16}
    before = [datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=timezone.utc)] * 40
    table = table.set_column(2, "at", pa.array(before))
    assert [part.value for part in check(table, time="at").chunks] == ["1969-12-31"]


@pytest.mark.parametrize("blank", ["", "  ", "\t", "\u3000"])
def test_blank_text_is_missing_in_every_storage(blank):
    words = ["a", blank, None] * 10
    for column in (words, pa.array(words).dictionary_encode(), pa.array(words, pa.large_string())):
        assert sizes(column) == {"a": 10, "(missing)": 20}
    many = sizes([*range(40), blank, "x"], make=as_object)
    assert (many["(missing)"], many["(other)"]) == (1, 1)


def test_the_text_of_a_number_is_in_the_range_of_the_number():
    parts = sizes([*range(40), "9", " 9.5", "39", "inf"], make=as_object)
    assert parts == {
        "< 9.75": 12,
        "9.75 to 19.5": 10,
        "19.5 to 29.25": 10,
        "≥ 29.25": 11,
        "(missing)": 1,
    }


@pytest.mark.parametrize(
    "ids",
    [
        (np.arange(100) % 4 + 1_790_000_000_000_000_001).astype(float),
        np.array([2**24 + 2.0, 1.0] * 10, np.float32),
    ],
)
def test_segments_that_have_lost_digits_are_refused(ids):
    y = np.arange(len(ids)) % 2
    with pytest.raises(DataError, match=r"'v' must hold segments.*lost digits above 2\*\*"):
        check(pd.DataFrame({"y": y, "q": y, "v": ids}), segments=["v"])


@pytest.mark.parametrize("large", [2**70, 10**100, 10**400])
def test_numbers_that_no_float_holds_keep_their_identity(large):
    ids = [large + i for i in range(3)]
    assert sizes(ids * 5, make=as_object) == {str(each): 5 for each in ids}
    assert sizes([-large, "x"] * 5, make=as_object) == {str(-large): 5, "x": 5}


def test_many_floats_of_any_size_are_a_quantity():
    assert len(sizes(np.geomspace(1, 1e300, 100))) == 4


@pytest.mark.parametrize(
    ("freq", "names"),
    [
        ("M", ["2024-01-01", "2024-02-01", "2024-03-01"]),
        ("W", ["2024-01-01", "2024-01-08", "2024-01-15"]),
        ("D", ["2024-01-05", "2024-01-06", "2024-01-07"]),
    ],
)
def test_a_period_is_the_day_of_its_start(freq, names):
    periods = pd.period_range("2024-01-05", periods=3, freq=freq).repeat(5).insert(0, pd.NaT)
    frame = pd.DataFrame({"v": periods})
    for column in (periods, list(periods), pa.Table.from_pandas(frame)["v"]):
        make = pa.table if isinstance(column, pa.ChunkedArray) else pd.DataFrame
        assert sizes(column, make=make) == dict.fromkeys(names, 5) | {"(missing)": 1}
    far = sizes(pd.period_range("3024-01", periods=2, freq="M"), make=pd.DataFrame)
    assert far == {"3024-01-01": 1, "3024-02-01": 1}
    mixed = [pd.Period("2024-01", "M"), pd.Period("2024-01-05", "D")] * 5
    assert sizes(mixed, make=as_object) == {"2024-01-01": 5, "2024-01-05": 5}


def test_a_segment_that_begins_with_a_space_can_be_seen_on_the_page():
    table = pa.table({"y": [0, 1] * 20, "q": [0, 1] * 20, "v": [" b", "a"] * 20})
    assert "<b>&#x27; b&#x27;</b>" in check(table, segments=["v"]).to_html()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"segments": ["tags"]}, DataError, "column 'tags' holds list<"),
        ({"time": "country"}, DataError, r"column 'country' must hold times.*found '"),
        (
            {"time": "amount"},
            DataError,
            "column 'amount' must hold timestamps or dates, got double",
        ),
        ({"time": "at", "every": "year"}, ConfigError, "every must be one of"),
        ({"segments": ["kind"], "rank_by": "mae"}, ConfigError, "rank_by must be one of accuracy"),
        ({"segments": ["land"]}, DataError, "'land'"),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused(week, changed, error, message):
    tagged = week.append_column("tags", pa.array([["a"]] * len(week)))
    with pytest.raises(error, match=message):
        check(tagged, **changed)


@pytest.mark.parametrize("odd", ["n/a", "2024-02-30", "NaT", [1], 7])
def test_a_time_that_cannot_be_read_is_missing_and_counted(week, odd):
    frame = week.to_pandas()
    for at in (frame["at"].astype(object), frame["at"].map(str).astype(object)):
        odd_one = frame.assign(at=at)
        odd_one.at[0, "at"] = odd
        report = check(odd_one, time="at")
        assert (report.chunks[-1].value, report.chunks[-1].n_rows) == ("(missing)", 1)
        assert report.n_unreadable == 1
        assert "in 'at'" in report.reason


@pytest.mark.parametrize("none", [None, math.nan, pd.NaT])
def test_times_of_which_none_is_known_are_one_chunk(week, none):
    frame = week.to_pandas().assign(at=none)
    (chunk,) = check(frame, time="at").chunks
    assert (chunk.value, chunk.n_rows) == ("(missing)", 8000)


@pytest.mark.parametrize(("zeros", "made"), [(0.3, float), (0.6, float), (0.9, float), (0.9, int)])
def test_a_value_that_most_rows_have_is_a_range_of_its_own(rng, zeros, made):
    n = 2000
    amount = np.where(rng.random(n) < zeros, 0, rng.integers(1, 10_000, n)).astype(made)
    y = rng.integers(0, 2, n)
    frame = pd.DataFrame({"y": y, "p": y, "amount": amount})
    report = check_performance(
        frame, task="classification", label="y", prediction="p", segments=("amount",)
    )
    sizes = {part.value: part.n_rows for part in report.segments}
    least = amount[amount > 0].min()
    assert sizes[f"< {least:g}"] == (amount == 0).sum()
    assert sum(sizes.values()) == n
    assert min(sizes.values()) > 0


def test_what_is_named_as_missing_is_missing_and_a_column_is_divided_once(rng):
    frame = pd.DataFrame({"y": rng.integers(0, 2, 400), "g": ["(missing)", None, "a", "b"] * 100})
    frame["p"] = frame["y"]
    report = check_performance(
        frame, task="classification", label="y", prediction="p", segments=("g", "g")
    )
    sizes = sorted((part.value, part.n_rows) for part in report.segments)
    assert sizes == [("(missing)", 200), ("a", 100), ("b", 100)]
