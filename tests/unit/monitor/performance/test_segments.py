from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

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


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"segments": ["tags"]}, DataError, "column 'tags' holds list<"),
        ({"time": "country"}, DataError, "column 'country' must hold times.*found '"),
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
