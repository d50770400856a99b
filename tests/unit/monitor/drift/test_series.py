from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flytekitplugins.wbmon import AlertRule, check_drift, evaluate_rules
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.drift.report import DISTANCES
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.series import drift_series
from flytekitplugins.wbmon.monitor.profiles import windows
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.profiles.windows import TimeWindow, end_of, profile_windows
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

N_DAYS, PER_DAY = 14, 300
START = datetime(2026, 3, 2, tzinfo=timezone.utc)  # a Monday


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = N_DAYS * PER_DAY
    frame = pd.DataFrame(
        {
            "at": pd.Timestamp(START) + pd.to_timedelta(np.arange(n) * 86400 // PER_DAY, unit="s"),
            "tenant": rng.choice(["acme", "beta"], n),
            "amount": rng.lognormal(0, 1, n),
            "route": rng.choice(["a", "b", "c"], n),
        }
    )
    # beta's amounts double in the second week
    late = (frame["at"] >= pd.Timestamp(START) + pd.Timedelta(days=7)) & (frame["tenant"] == "beta")
    frame.loc[late, "amount"] *= 2.5
    return frame


@pytest.fixture(scope="module")
def reference() -> object:
    rng = np.random.default_rng(1)
    return profile_data(
        pd.DataFrame({"amount": rng.lognormal(0, 1, 5000), "route": rng.choice(list("abc"), 5000)})
    )


def test_days_of_a_log_are_checked_one_by_one(log, reference):
    series = drift_series(log, like=reference, at="at")

    assert len(series.windows) == N_DAYS
    assert [window.start for window in series.windows] == [
        START + timedelta(days=day) for day in range(N_DAYS)
    ]
    assert series.windows[0].end == START + timedelta(days=1)
    assert [window.report.drifted for window in series.windows] == [False] * 7 + [True] * 7
    assert series.drifted
    assert series.n_drifted == 7
    assert min(series.effect_sizes("amount")[7:]) > max(series.effect_sizes("amount")[:7])
    assert all(np.isnan(series.effect_sizes("nothing")))


def test_a_segment_shows_what_the_whole_hides(log, reference):
    series = drift_series(log, like=reference, segment="tenant")

    assert [window.segment for window in series.windows] == ["acme", "beta"]
    assert [window.report.drifted for window in series.windows] == [False, True]
    assert series.windows[0].start is None


def test_time_and_segment_cut_together(log, reference):
    series = drift_series(log, like=reference, at="at", by="week", segment="tenant")

    found = {(item.segment, item.start): item.report.drifted for item in series.windows}
    assert found == {
        ("acme", START): False,
        ("acme", START + timedelta(days=7)): False,
        ("beta", START): False,
        ("beta", START + timedelta(days=7)): True,
    }


def test_the_order_of_rows_does_not_matter(log, reference):
    shuffled = log.sample(frac=1, random_state=3)

    mixed = drift_series(shuffled, like=reference, at="at", segment="tenant")

    ordered = drift_series(log, like=reference, at="at", segment="tenant")
    assert record_to_json(mixed.windows[0].report) == record_to_json(ordered.windows[0].report)
    assert len(mixed.windows) == len(ordered.windows) == 28


def test_the_windows_add_up_to_the_whole(log, reference):
    found = profile_windows(log, like=reference, at="at", by="hour", segment="tenant")

    merged = merge_profiles(found.profiles.values())
    whole = profile_data(log, like=reference).features["amount"]
    assert merged.n_rows == len(log)
    assert merged.features["amount"].counts.tolist() == whole.counts.tolist()


def test_each_segment_may_have_a_reference_of_its_own(log, reference):
    own = {
        tenant: profile_data(log[log["tenant"] == tenant], like=reference)
        for tenant in ("acme", "beta")
    }

    series = drift_series(log, like=own, segment="tenant")

    sizes = {name: profile.n_rows for name, profile in own.items()}
    assert {each.segment: each.report.n_reference for each in series.windows} == sizes
    assert not series.drifted
    with pytest.raises(DataError, match="'beta' has none; there are 'acme'"):
        drift_series(log, like={"acme": own["acme"]}, segment="tenant")


@pytest.mark.parametrize(
    "segments",
    [
        [2**60, 2**60 + 1],
        [True, False],
        [1.0, 2.5],
        [date(2026, 1, 1), date(2026, 1, 2)],
        [timedelta(hours=1), timedelta(days=2)],
        [Decimal("1.50"), Decimal(2)],
        [UUID(int=7), UUID(int=8)],
    ],
    ids=repr,
)
def test_references_are_found_by_the_value_of_their_segment(log, reference, segments):
    one = profile_data(log, like=reference)
    cut = log.assign(tenant=pd.Series(segments * (len(log) // 2), dtype=object))

    series = drift_series(cut, like=dict.fromkeys(segments, one), segment="tenant")

    assert len(series.windows) == 2


def test_references_of_different_layouts_are_refused(log, reference):
    mixed = {"acme": reference, "beta": profile_data(log)}

    with pytest.raises(DataError, match="references of the segments must share a layout"):
        drift_series(log, like=mixed, segment="tenant")
    with pytest.raises(DataError, match="share a layout"):
        drift_series(log, like={}, segment="tenant")


def test_a_sliding_reference_alarms_at_the_change_and_forgets_it(log, reference):
    beta = log[log["tenant"] == "beta"]

    series = drift_series(beta, like=reference, at="at", reference="sliding", n_reference=3)

    drifted = [window.start for window in series.windows if window.report.drifted]
    assert len(series.windows) == N_DAYS - 1
    assert drifted[0] == START + timedelta(days=7)
    assert START + timedelta(days=11) not in drifted


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 7, 7, 7]),
        ({"n_reference": 1}, [1] * 13),
        ({"n_reference": 3}, [1, 2, *[3] * 11]),
    ],
)
def test_a_sliding_reference_holds_the_windows_just_before(log, reference, given, sizes):
    days = pd.DataFrame({"at": log["at"], "amount": log.index // PER_DAY + 0.0})

    series = drift_series(days, like=reference, at="at", reference="sliding", **given)

    assert [window.start for window in series.windows] == [
        START + timedelta(days=day) for day in range(1, N_DAYS)
    ]
    for day, (window, n) in enumerate(zip(series.windows, sizes, strict=True), start=1):
        assert window.report.n_reference == n * PER_DAY
        # every amount is the number of its day
        mean = window.report.features["amount"].mean_reference
        assert mean == pytest.approx(np.mean(range(day - n, day)))


def test_a_sliding_reference_is_of_the_same_segment(log, reference):
    series = drift_series(
        log, like=reference, at="at", segment="tenant", reference="sliding", n_reference=2
    )
    per_window = log.groupby(["tenant", log["at"].dt.floor("D")]).size()
    assert len(series.windows) == 2 * (N_DAYS - 1)
    for window in series.windows:
        before = per_window[window.segment][: window.start - timedelta(days=1)][-2:]
        assert window.report.n_reference == before.sum()


def test_the_rule_is_that_of_every_window(log, reference):
    rule = DriftRule(min_rows=10_000)
    series = drift_series(log, like=reference, at="at", by="week", rule=rule)
    assert [window.report.rule for window in series.windows] == [rule, rule]
    assert series.windows[0].report.features["amount"].status == "insufficient"


def test_the_same_day_of_the_week_is_compared_with_itself(reference):
    rng = np.random.default_rng(2)
    days = pd.date_range(START, periods=21, freq="D").repeat(300)
    weekend = days.day_of_week >= 5
    frame = pd.DataFrame({"at": days, "amount": rng.lognormal(np.where(weekend, 1.0, 0.0), 1)})

    fixed = drift_series(frame, like=reference, at="at")
    weekly = drift_series(frame, like=reference, at="at", reference="same_weekday")

    assert [w.report.features["amount"].drifted for w in fixed.windows[:7]] == [False] * 5 + [
        True
    ] * 2
    assert len(weekly.windows) == 14
    assert not any(w.report.features["amount"].drifted for w in weekly.windows)


def moody(rng: np.random.Generator, n_days: int, *, step: int | None = None) -> pd.DataFrame:
    """Days that have a mean of their own, and a step of one standard deviation from a day on."""
    days = []
    for day in range(n_days):
        mean = rng.normal(0, 0.15, 3) + (step is not None and day >= step)
        frame = pd.DataFrame(rng.normal(mean, 1, (800, 3)), columns=list("abc"))
        days.append(frame.assign(at=START + timedelta(days=day)))
    return pd.concat(days)


@pytest.mark.parametrize(("how", "warm_up"), [("sliding", 5), ("same_weekday", 21)])
def test_the_windows_of_a_moving_reference_calibrate_it(how, warm_up):
    rng = np.random.default_rng(6)
    quiet, stepped = moody(rng, 50), moody(rng, 50, step=45)
    like = profile_data(quiet[list("abc")])

    healthy, moved = (
        drift_series(table, like=like, at="at", reference=how) for table in (quiet, stepped)
    )

    last = {window.start: window for window in healthy.windows}
    calibrated = [w for at, w in last.items() if at >= START + timedelta(days=warm_up)]
    assert len(calibrated) == 50 - warm_up
    assert all(window.report.n_past >= 5 for window in calibrated)
    assert np.mean([window.report.drifted for window in calibrated]) <= 0.1
    before = [w.report for at, w in last.items() if at < START + timedelta(days=warm_up)]
    assert all("not calibrated: " in report.reason for report in before)
    assert any(report.drifted for report in before)
    on_the_day = {window.start: window.report for window in moved.windows}
    assert on_the_day[START + timedelta(days=45)].drifted
    assert healthy.windows[-1].report.n_past == (7 if how == "sliding" else 49)


def test_rows_without_time_or_segment_are_counted_and_left_out(log, reference):
    holed = log.copy()
    holed.loc[:9, "at"] = pd.NaT
    holed.loc[20:24, "tenant"] = None

    series = drift_series(holed, like=reference, at="at", segment="tenant")

    assert (series.n_undated, series.n_without_segment) == (10, 5)
    assert sum(window.report.n_current for window in series.windows) == len(log) - 15


@pytest.mark.parametrize("odd", ["n/a", "2024-02-30", [1], 7])
def test_a_time_that_cannot_be_read_costs_its_row(log, reference, odd):
    for at in (log["at"].astype(object), log["at"].map(str).astype(object)):
        odd_one = log.assign(at=at)
        odd_one.at[0, "at"] = odd
        series = drift_series(odd_one, like=reference, at="at")
        assert (series.n_undated, len(series.windows)) == (1, 14)


DAYS = [int(START.timestamp()) + 3600 * hour for hour in range(21 * 24)]
FAR = [*DAYS, 2**40, -(2**40), None]
"""Seconds since 1970, the last ones of the years 36812 and -32873."""


@pytest.mark.parametrize(
    "at",
    [
        pa.array(FAR, pa.timestamp("s")),
        pa.array([None if s is None else s * 1000 for s in FAR], pa.timestamp("ms", "UTC")),
        pa.array([*[s // 86400 for s in DAYS], 2**31 - 1, -(2**31) + 5, None], pa.int32()).view(
            pa.date32()
        ),
        np.array([*DAYS, 2**40, -(2**40), "NaT"], dtype="M8[s]"),
        pd.Series(
            [
                *pd.to_datetime(DAYS, unit="s"),
                np.datetime64(2**62, "Y"),
                np.datetime64(-9999, "Y"),
                None,
            ],
            dtype=object,
        ),
        [*[str(at) for at in pd.to_datetime(DAYS, unit="s")], "36812-02-20T00:36:16", "-1", None],
        [at.strftime("%Y%m%dT%H%M%Sz") for at in pd.to_datetime(DAYS, unit="s")] + ["x", "y", None],
    ],
    ids=str,
)
def test_times_that_no_calendar_has_cost_their_rows_in_every_storage(at):
    # pandas cannot hold all of them
    of_arrow = isinstance(at, pa.Array)
    data = (pa.table if of_arrow else pd.DataFrame)({"x": [1.0, 2.0, 3.0] * 169, "at": at})

    windows = profile_windows(data, like=profile_data(data, columns=["x"]), at="at")
    feature = profile_data(data, columns=["at"]).features["at"]

    assert (len(windows.profiles), windows.n_undated) == (21, 3)
    assert (feature.kind, feature.n_unreadable, feature.n_missing) == ("time", 2, 1)
    assert START.timestamp() == feature.minimum
    assert all(example and "range" not in example for example in feature.examples)


@pytest.mark.parametrize("by", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("end", ["9999-12-31", "9999-12-27", "9999-12-31T23:30", "0001-01-01"])
@pytest.mark.parametrize("held", [pa.timestamp("s"), pa.date64(), pa.string(), object])
def test_times_without_an_end_are_in_the_last_span_of_the_calendar(by, end, held):
    moments = [datetime.fromisoformat(end)] * 2 + [START.replace(tzinfo=None)] * 298
    data = {"x": [1.0, 2.0] * 150, "at": moments}
    if held is object:
        data = pd.DataFrame({**data, "at": pd.Series(moments, dtype=object)})
    else:
        texts = [moment.isoformat() for moment in moments]
        data = pa.table({**data, "at": pa.array(texts if held == pa.string() else moments, held)})
    reference = profile_data(data, columns=["x"])

    series = drift_series(data, like=reference, at="at", by=by)

    assert [window.report.n_current for window in series.windows] in ([2, 298], [298, 2])
    assert all(window.start < window.end for window in series.windows)
    assert drift_series(data, like=reference, at="at", by=by, reference="sliding").n_undated == 0


LAST = "9999-12-31T23:59:59.999999"


@pytest.mark.parametrize(
    "at",
    [
        [LAST, "9999-12-31T22:00:00-05:00"],
        [datetime.fromisoformat(LAST), datetime.fromisoformat("9999-12-31T22:00:00-05:00")],
        pd.Series(np.array([LAST, LAST], dtype="M8[us]")),
    ],
    ids=["text", "objects", "pandas"],
)
def test_the_last_moment_of_the_calendar_is_no_time_in_any_storage(at):
    days = [START.replace(tzinfo=None) + timedelta(hours=hour) for hour in range(200)]
    text = isinstance(at, list) and isinstance(at[0], str)
    column = [*map(str, days), *at] if text else pd.Series([*days, *at], dtype=object)

    feature = profile_data(pd.DataFrame({"at": column})).features["at"]

    assert (feature.kind, feature.n_unreadable) == ("time", 2)


def test_batches_of_nothing_but_odd_times_count_with_the_others(log, reference):
    texts = log.assign(at=log["at"].map(str))
    texts.loc[:99, "at"] = "n/a"
    batches = pa.Table.from_pandas(texts, preserve_index=False).to_batches(max_chunksize=50)
    stream = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    assert drift_series(stream, like=reference, at="at").n_undated == 100
    texts.loc[:999, "at"] = "n/a"
    with pytest.raises(DataError, match=r"'at' must hold times.*found 'n/a'"):
        drift_series(texts, like=reference, at="at")


def test_a_blank_segment_is_a_missing_one(log, reference):
    blank = log.copy()
    blank.loc[:4, "tenant"] = ["", " ", "", "", "\t"]
    series = drift_series(blank, like=reference, segment="tenant")
    assert [window.segment for window in series.windows] == ["acme", "beta"]
    assert (series.n_undated, series.n_without_segment) == (0, 5)


def test_what_cuts_the_windows_is_no_feature(log):
    reference = profile_data(log)

    series = drift_series(log, like=reference, at="at", segment="tenant")

    assert set(series.windows[0].report.features) == {"amount", "route"}


def test_weights_reach_every_window(log, reference):
    weighted = log.assign(w=2.0)
    like = profile_data(weighted.drop(columns=["at", "tenant"]), weight="w")

    found = profile_windows(weighted, like=like, segment="tenant")

    acme = found.profiles[TimeWindow("acme", None)].features["amount"]
    assert acme.value_weight == 2 * (log["tenant"] == "acme").sum()


def test_segments_may_be_numbers_booleans_or_dictionaries_with_nulls(reference):
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0]), pa.array(["a", None]))
    table = pa.table({"d": column, "n": [1, 2, None, 1], "b": [True, None, False, True]})

    def segments(name: str) -> list[tuple[str, int]]:
        found = profile_windows(table, like=reference, segment=name)
        return [(window.segment, item.n_rows) for window, item in found.profiles.items()]

    assert segments("d") == [("a", 2)]
    assert segments("n") == [("1", 2), ("2", 1)]
    assert segments("b") == [("false", 1), ("true", 2)]


@pytest.mark.parametrize(
    ("by", "start", "end"),
    [
        ("hour", "2025-12-31T23", "2026-01-01T00"),
        ("day", "2025-12-31T00", "2026-01-01T00"),
        ("week", "2025-12-29T00", "2026-01-05T00"),
        ("month", "2025-12-01T00", "2026-01-01T00"),
    ],
)
def test_spans_begin_and_end_where_the_calendar_says(reference, by, start, end):
    moment = datetime(2025, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    table = pa.table({"at": pa.array([moment], pa.timestamp("ns", "UTC")), "amount": [1.0]})

    (window,) = profile_windows(table, like=reference, at="at", by=by).profiles

    assert f"{window.start:%Y-%m-%dT%H}" == start
    assert f"{end_of(window.start, by):%Y-%m-%dT%H}" == end


def test_dates_before_1970_have_their_span_too(reference):
    table = pa.table({"at": pa.array([date(1969, 12, 31)]), "amount": [1.0]})

    (window,) = profile_windows(table, like=reference, at="at", by="month").profiles

    assert window.start == datetime(1969, 12, 1, tzinfo=timezone.utc)


def test_impossible_settings_are_refused(log, reference):
    with pytest.raises(ConfigError, match="cut by time, by segment or by both"):
        drift_series(log, like=reference)
    with pytest.raises(ConfigError, match="by must be one of hour, day, week, month"):
        drift_series(log, like=reference, at="at", by="year")
    with pytest.raises(ConfigError, match="reference must be one of"):
        drift_series(log, like=reference, at="at", reference="random")
    with pytest.raises(ConfigError, match="n_reference must be a whole number of at least 1"):
        drift_series(log, like=reference, at="at", n_reference=0)
    with pytest.raises(ConfigError, match="needs windows of time"):
        drift_series(log, like=reference, segment="tenant", reference="sliding")


def test_columns_that_cannot_cut_are_refused(log, reference, monkeypatch):
    with pytest.raises(DataError, match=r"at must name columns of the data.*did you mean 'at'"):
        drift_series(log, like=reference, at="att")
    with pytest.raises(DataError, match="must hold timestamps or dates"):
        drift_series(log, like=reference, at="amount")
    with pytest.raises(DataError, match=r"segments are cut by text.*'tags' holds list"):
        drift_series(log.assign(tags=[["a"]] * len(log)), like=reference, segment="tags")
    monkeypatch.setattr(windows, "MAX_WINDOWS", 20)
    with pytest.raises(DataError, match="at most 20 windows"):
        drift_series(log, like=reference, segment="amount")


def test_a_series_survives_the_trip_through_json(log, reference):
    series = drift_series(log, like=reference, segment="tenant")

    restored = record_from_json(type(series), record_to_json(series))

    assert [window.segment for window in restored.windows] == ["acme", "beta"]
    assert series.to_dict()["n_undated"] == 0


def about_length(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), text.count("late")] for text in texts], dtype=float)


def notes(day: int, word: str, n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(day)
    at = pd.Timestamp(START) + pd.to_timedelta(day * 86_400 + np.arange(n), unit="s")
    words = ["shoe", "box", "blue", "please", "refund", word]
    return pd.DataFrame({"at": at, "t": [" ".join(rng.choice(words, 9)) for _ in range(n)]})


def test_windows_have_the_meaning_of_texts_if_their_reference_has():
    reference = profile_data(
        notes(0, "late"), columns=["t"], kinds={"t": "text"}, embed={"t": about_length}
    )
    log = pd.concat([notes(1, "late"), notes(2, "tale")])

    series = drift_series(log, like=reference, at="at", embed={"t": about_length})

    same, other = (window.report.features["t"] for window in series.windows)
    assert same.level == "none"
    assert "meaning" in {check.facet[0] for check in other.checks if check.level == "drift"}
    with pytest.raises(DataError, match="profile it with embed= and the same function"):
        drift_series(log, like=reference, at="at")


def test_windows_without_an_end_need_the_times_that_their_reference_counted_ages_from():
    made = pd.DataFrame({"made": pd.date_range("2026-01-01", periods=500, freq="h"), "s": "a"})
    reference = profile_data(made, columns=["made"], at=datetime(2026, 2, 1, tzinfo=timezone.utc))

    with pytest.raises(DataError, match="the reference has the age of 'made'"):
        drift_series(made, like=reference, segment="s")


def test_data_in_the_place_of_the_reference_are_refused():
    frame = pd.DataFrame({"x": np.arange(100.0), "s": "a"})
    with pytest.raises(ConfigError, match="like must hold profiles, got one DataFrame"):
        drift_series(frame, like=frame, segment="s")


@pytest.mark.parametrize("more", [{}, {"new": 1.0}], ids=["same columns", "a new column"])
def test_windows_of_few_rows_answer_nothing_whatever_columns_are_new(rng, more):
    reference = profile_data(pd.DataFrame({"x": rng.normal(size=500)}))
    at = pd.Timestamp("2026-03-01") + pd.to_timedelta(np.repeat(range(4), 20), unit="D")
    few = pd.DataFrame({"at": at, "x": rng.normal(size=80), **more})

    series = drift_series(few, like=reference, at="at")

    for report in (series, *(window.report for window in series.windows)):
        found = {each.name: each for each in report.measurements()}
        assert np.isnan(found["drifted"].value)
        assert np.isnan(found["share_drifted"].value)
    assert all(window.report.verdict in ("insufficient", "warning") for window in series.windows)


def firing(rules, report):
    """What each rule says of a report, by its metric."""
    decision = evaluate_rules([AlertRule(metric=name, above=0.0) for name in rules], [report])
    return {alert.rule.metric: alert.phase for alert in decision.alerts}


def test_a_rule_on_what_a_night_does_not_have_keeps_no_other_from_firing(rng):
    frame = pd.DataFrame({"a": rng.normal(size=2000), "c": rng.normal(size=2000), "s": "u"})
    reference = profile_data(frame[["a", "c"]])
    night = frame.assign(a=frame["a"] + 3, c=np.nan)

    report = check_drift(reference, night[["a", "c"]])
    found = firing(["drift.drifted", "drift.psi.c", "drift.wasserstein_winsorised.c"], report)
    assert list(found.values()) == ["firing", "no_data", "no_data"]

    series = drift_series(night, like=reference, segment="s")
    of_window = ["drifted.u", "drifted.v", "psi.u.c", "psi.v.c", "effect_size.v.a"]
    found = firing([f"drift_series.window.{name}" for name in of_window], series)
    assert list(found.values()) == ["firing", *["no_data"] * 4]

    without = drift_series(night.assign(at=pd.NaT), like=reference, at="at")
    assert firing(["drift_series.window.drifted"], without) == {
        "drift_series.window.drifted": "no_data"
    }


def test_a_number_that_no_night_can_have_is_a_mistake(rng):
    frame = pd.DataFrame({"a": rng.normal(size=500), "s": "u"})
    reference = profile_data(frame[["a"]])
    report = check_drift(reference, frame[["a"]])
    series = drift_series(frame, like=reference, segment="s")
    for name, given in (
        ("drift.wasserstein.a", report),  # of profiles it is winsorised
        ("drift.psi.b", report),
        ("drift_series.window.drift.u", series),
        ("drift_series.window.wasserstein.u.a", series),
        ("drift_series.window.psi.u.b", series),
    ):
        (alert,) = evaluate_rules([AlertRule(metric=name, above=0.0)], [given]).alerts
        assert alert.is_broken
        assert "is not in the drift" in alert.reason


def test_every_distance_that_a_column_can_have_is_known_where_it_has_none(rng):
    frame = pd.DataFrame({"x": rng.normal(size=500), "k": rng.choice(list("abc"), 500)})
    reference = profile_data(frame)
    reports = (check_drift(frame, frame), check_drift(reference, frame))
    features = [each for report in reports for each in report.features.values()]
    found = {name for each in features for name in each.distances}
    assert found == set(DISTANCES)
