"""Every kind of column is tested, in one family; what is not tested is not called a feature."""

from __future__ import annotations

import re
import warnings
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flytekitplugins.wbmon import DriftRule, Profile, check_drift, merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.drift.compare_feature import compare_feature
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

WORDS = ["the", "my", "phone", "bill", "is", "slow", "late", "please", "help", "refund", "thanks"]
OTHER_WORDS = ["der", "die", "rechnung", "kaputt", "bitte", "hilfe", "danke", "morgen"]


def prose(rng: np.random.Generator, n: int, words: list[str] = WORDS) -> list[str]:
    return [
        " ".join(rng.choice(words, rng.integers(4, 14))) + f" #{rng.integers(10**9)}"
        for _ in range(n)
    ]


def window(seed: int, n: int = 1500) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    at = pd.Timestamp("2026-11-02", tz="UTC") + pd.to_timedelta(rng.random(n) * 86_400, unit="s")
    return pd.DataFrame(
        {
            "text": prose(rng, n),
            "at": at,
            "place": [
                {"city": city, "lat": float(lat)}
                for city, lat in zip(
                    rng.choice(["Bonn", "Ulm"], n), rng.normal(50, 1, n), strict=True
                )
            ],
            "tags": [list(rng.choice(["vip", "late", "new"], k)) for k in rng.integers(0, 4, n)],
            "zip": [f"{i:05d}" for i in rng.integers(0, 99_999, n)],
            "amount": [f"{x:.2f}" for x in rng.normal(50, 5, n)],
            "wait": pd.to_timedelta(rng.gamma(2, 300, n), unit="s"),
            "x": rng.normal(size=n),
        }
    )


def struct(frame: pd.DataFrame, **fields) -> pd.DataFrame:
    return frame.assign(place=[{**place, **fields} for place in frame["place"]])


FAULTS = {
    "text emptied": ("text", "length", lambda d: d.assign(text="")),
    "another language": (
        "text",
        "words",
        lambda d: d.assign(text=prose(np.random.default_rng(5), len(d), OTHER_WORDS)),
    ),
    "text in capitals": ("text", "upper", lambda d: d.assign(text=d["text"].str.upper())),
    "all times 1970": ("at", "", lambda d: d.assign(at=pd.Timestamp(0, tz="UTC"))),
    "times cut to days": ("at", "precision", lambda d: d.assign(at=d["at"].dt.floor("D"))),
    "half of the times at noon": (
        "at",
        "hour",
        lambda d: d.assign(
            at=d["at"].where(d.index % 2 == 0, d["at"].dt.floor("D") + pd.Timedelta("12:00:00.01"))
        ),
    ),
    "struct zeroed": ("place", "lat", lambda d: struct(d, lat=0.0)),
    "a field of the struct lost": ("place", "city", lambda d: struct(d, city=None)),
    "lists emptied": ("tags", "length", lambda d: d.assign(tags=[[]] * len(d))),
    "an element renamed": (
        "tags",
        "elements",
        lambda d: d.assign(tags=[[t.replace("vip", "VIP") for t in tags] for tags in d["tags"]]),
    ),
    "zip constant": ("zip", "", lambda d: d.assign(zip="10115")),
    "zip with its country": ("zip", "format", lambda d: d.assign(zip="D-" + d["zip"])),
    "amounts in cents": (
        "amount",
        "",
        lambda d: d.assign(amount=[f"{100 * float(x):.2f}" for x in d["amount"]]),
    ),
    "durations in minutes": ("wait", "", lambda d: d.assign(wait=d["wait"] / 60)),
}


@pytest.fixture(params=["exact", "grid"])
def check(request):
    def check(before: pd.DataFrame, now: pd.DataFrame, **how):
        if request.param == "exact":
            return check_drift(before, now, **how)
        reference = profile_data(before)
        return check_drift(reference, profile_data(now, like=reference), **how)

    return check


def test_every_kind_of_column_is_tested_and_quiet_without_a_change(check):
    report = check(window(1), window(2))

    assert {name: (item.kind, item.status) for name, item in report.features.items()} == {
        "text": ("text", "ok"),
        "at": ("time", "ok"),
        "place": ("nested", "ok"),
        "tags": ("nested", "ok"),
        "zip": ("identifier", "ok"),
        "amount": ("number", "ok"),
        "wait": ("duration", "ok"),
        "x": ("number", "ok"),
    }
    assert all(feature.checks for feature in report.features.values())
    assert (report.verdict, report.n_tested) == ("ok", 8)
    assert report.reason == "no drift in any of 8 features"
    text = record_to_json(report)
    assert record_to_json(record_from_json(type(report), text)) == text
    assert "8 of 8 columns tested" in report.to_html()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_any_kind_is_found_where_it_is_and_nowhere_else(check, fault):
    column, facet, change = FAULTS[fault]

    report = check(window(1), change(window(2)))

    assert [name for name, item in report.features.items() if item.drifted] == [column]
    found = report.features[column]
    levels = {".".join(check.facet) for check in found.checks if check.level == "drift"}
    assert facet in levels
    assert f"{facet}: " in found.reason or not facet


def test_rows_that_come_twice_are_found_by_what_never_repeats(check):
    now = window(2)

    report = check(window(1), pd.concat([now.iloc[:750]] * 2, ignore_index=True))

    assert report.features["text"].drifted
    assert "more rows repeat a value" in report.features["text"].reason
    assert report.features["x"].level == "none"


def test_lines_of_an_order_repeat_it_in_long_and_in_short_windows(check):
    def lines(first: int, n: int) -> pd.DataFrame:
        return pd.DataFrame({"order": [f"o-{(first + i) // 2:09d}" for i in range(n)]})

    order = check(lines(0, 20_000), lines(10**6, 600)).features["order"]

    # by chance fewer orders are whole among fewer lines; but as large a share of lines repeats one
    assert order.level in ("none", "negligible")


def test_all_checks_of_all_facets_are_one_family(check):
    report = check(window(1), window(2))

    items = report.features.values()
    p = sorted(c.p_value for item in items for c in item.checks)
    q = sorted(c.q_value for item in items for c in item.checks)
    # times of which none was early were looked at, too
    times = [item for item in items if item.kind == "time"]
    n = len(p) + sum("earlier" not in {c.name for c in item.checks} for item in times)
    expected = np.minimum.accumulate((np.array(p) * n / np.arange(1, len(p) + 1))[::-1])[::-1]
    np.testing.assert_allclose(q, np.minimum(expected, 1), rtol=1e-9)


def test_past_windows_calibrate_facets_too():
    """Texts are longer on some days: no news, if they were in the past."""

    def day(seed: int, words: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        counts = rng.poisson(words, 800) + 1
        return pd.DataFrame(
            {"t": [" ".join(rng.choice(WORDS, k)) + f" {rng.integers(10**9)}" for k in counts]}
        )

    reference = profile_data(day(0, 8))
    sizes = [6, 10, 7, 9, 11, 5, 8, 10, 6, 9]
    past = [profile_data(day(i + 1, size), like=reference) for i, size in enumerate(sizes)]
    now = profile_data(day(99, 10), like=reference)

    assert check_drift(reference, now).features["t"].level == "drift"
    calibrated = check_drift(reference, now, past=past).features["t"]
    assert calibrated.level == "none"
    assert not any(np.isnan(c.window_p_value) for c in calibrated.checks if c.name != "repeats")


def test_the_facet_that_moved_most_stands_for_the_column(check):
    now = window(2).assign(text=prose(np.random.default_rng(5), 1500, OTHER_WORDS))

    text = check(window(1), now).features["text"]

    effects = {c.facet: c.effect_size for c in text.checks if c.name == "distribution"}
    assert len(effects) > 2
    assert text.effect_size == max(effects.values()) == effects["words",]


# --- hours and weekdays


def hours(start: str, days: float, n: int = 2000) -> pd.DataFrame:
    spread = (np.arange(n) + np.random.default_rng(n).random(n)) / n
    return pd.DataFrame({"at": pd.Timestamp(start) + pd.to_timedelta(spread * days, unit="D")})


@pytest.mark.parametrize(
    ("days", "facets"),
    [
        (1, {"hour"}),
        (7, {"hour"}),
        # half a day, and three days and a half, have more of some hours
        (0.5, set()),
        (1.5, set()),
        (3.5, set()),
        (10.0, {"hour"}),
        (84.5, {"hour"}),
    ],
)
def test_the_hour_and_the_weekday_are_compared_where_windows_cover_them_evenly(days, facets):
    whole = hours("2026-01-05", 7)

    at = check_drift(whole, hours("2026-03-02", days)).features["at"]

    assert {check.facet[0] for check in at.checks if check.facet} == facets
    assert at.level == "none"


@pytest.mark.parametrize(("days", "facets"), [(7, {"hour"}), (84, {"hour", "weekday"})])
def test_weekdays_are_compared_where_there_are_enough_days(days, facets):
    many = hours("2026-01-05", 84)

    at = check_drift(many, hours("2026-06-01", days)).features["at"]

    assert {check.facet[0] for check in at.checks if check.facet} == facets


def busy(rng: np.random.Generator, start: str, days: int, workdays_only: float = 0) -> pd.DataFrame:
    """Times of days of which some are busier than others, and of weekends with half as many."""
    day = pd.date_range(start, periods=days)
    mean = (
        40 * np.where(day.day_of_week < 5, 1, 0.5 * (1 - workdays_only)) * rng.gamma(4, 1 / 4, days)
    )
    return pd.DataFrame({"at": np.repeat(day, rng.poisson(mean))})


@pytest.mark.parametrize("days", [28, 30, 31, 84])
def test_the_weekdays_of_a_month_are_no_finding(days):
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        at = check_drift(busy(rng, "2024-01-01", 366), busy(rng, "2025-01-01", days)).features["at"]
        found += any(check.q_value <= 0.05 for check in at.checks)

    # nominal 5 %, and three Monte-Carlo errors
    assert found <= 6


def test_a_quarter_without_weekends_is_found():
    rng = np.random.default_rng(1)
    levels = [
        check_drift(busy(rng, "2024-01-01", 366), busy(rng, "2025-01-01", 112, 1))
        .features["at"]
        .level
        for _ in range(10)
    ]

    assert sum(level in ("warning", "drift") for level in levels) >= 9


def test_later_times_are_no_finding_and_earlier_ones_are():
    before = hours("2026-01-05", 7)

    assert check_drift(before, hours("2027-01-04", 7)).features["at"].level == "none"
    at = check_drift(before, hours("2025-01-06", 7)).features["at"]
    assert at.level == "drift"
    assert at.reason.startswith("100.0% of rows are earlier than any of the reference")


# --- whole numbers that may be codes


def test_codes_that_the_reference_never_had_are_found_though_they_lie_close():
    rng = np.random.default_rng(0)
    before = pd.DataFrame({"code": rng.choice(np.arange(0, 100, 2), 2000)})
    now = pd.DataFrame({"code": rng.choice(np.arange(1, 100, 2), 2000)})

    code = check_drift(before, now).features["code"]

    assert code.level == "drift"
    assert "declare the column as a category with kinds=" in code.reason
    said = check_drift(before, now, rule=DriftRule(kinds={"code": "category"})).features["code"]
    # no code is left, less what so many rows of so many codes differ by chance
    assert (said.kind, said.level) == ("category", "drift")
    assert said.effect_size > 0.8


@pytest.mark.parametrize("seed", range(20))
def test_new_whole_numbers_of_a_measured_column_are_chance(seed):
    rng = np.random.default_rng(seed)
    before, now = (pd.DataFrame({"n": rng.poisson(6, n)}) for n in (1500, 4000))

    assert check_drift(before, now).features["n"].level == "none"


def test_only_names_that_the_reference_would_list_are_called_new():
    rng = np.random.default_rng(0)
    before = pd.DataFrame({"c": [f"c{i}" for i in rng.zipf(1.2, 60_000) % 20_000]})
    now = pd.DataFrame({"c": [f"c{i}" for i in rng.zipf(1.2, 60_000) % 30_000]})

    c = check_drift(before, now).features["c"]

    assert c.kind == "category"
    assert c.new_categories
    assert not set(c.new_categories) & set(before.c)


# --- fields that come, go, or change their type


def column(values) -> pa.Table:
    return pa.table({"s": pa.array(values)})


RECORDS = [{"a": float(i), "b": i % 9} for i in range(600)]
WITHOUT_B = [{"a": record["a"]} for record in RECORDS]
TIMES = [
    [datetime(2024, 1, 1, tzinfo=timezone.utc) + timedelta(hours=i)] * (1 + i % 3)
    for i in range(600)
]
GONE = "the field is missing in the current window"
NEW = "the field is new: the reference does not have it"
SCHEMAS = {
    "elements of another type": (
        [[1, 2], [3]] * 300,
        [["a", "b"], ["c"]] * 300,
        "drift",
        "elements: the type changed from int64 to string",
    ),
    "times as text": (
        TIMES,
        [[str(at) for at in times] for times in TIMES],
        "drift",
        "elements: the type changed from timestamp[us, tz=UTC] to string",
    ),
    "a field lost": (RECORDS, WITHOUT_B, "drift", f"b: {GONE}"),
    "a field of few rows lost": (RECORDS, WITHOUT_B[:50], "drift", f"b: {GONE}"),
    "a field lost in elements": (
        [[record] * 2 for record in RECORDS],
        [[record] * 2 for record in WITHOUT_B],
        "drift",
        f"elements.b: {GONE}",
    ),
    "a field of a field lost": (
        [{"in": record} for record in RECORDS],
        [{"in": record} for record in WITHOUT_B],
        "drift",
        f"in.b: {GONE}",
    ),
    "a field retyped": (
        RECORDS,
        [{**record, "b": str(record["b"])} for record in RECORDS],
        "drift",
        "b: the type changed from int64 to string",
    ),
    "all fields renamed": (
        RECORDS,
        [{name.upper(): value for name, value in record.items()} for record in RECORDS],
        "drift",
        f"a: {GONE}; b: {GONE}; A: {NEW}; and 1 more",
    ),
    "a struct became a list": (
        RECORDS,
        [[1, 2]] * 600,
        "drift",
        "the type changed from struct<a: double, b: int64> to list<item: int64>",
    ),
    "a list became a struct": (
        [[1, 2]] * 600,
        RECORDS,
        "drift",
        "the type changed from list<item: int64> to struct<a: double, b: int64>",
    ),
    "a field is new": (WITHOUT_B, RECORDS, "warning", f"b: {NEW}"),
    "a field is new in elements": (
        [[record] * 2 for record in WITHOUT_B],
        [[record] * 2 for record in RECORDS],
        "warning",
        f"elements.b: {NEW}",
    ),
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_fields_and_elements_follow_their_schema_as_columns_do(check, schema):
    before, now, level, reason = SCHEMAS[schema]

    report = check(column(before), column(now))

    found = report.features["s"]
    assert (found.level, found.tested, report.verdict) == (level, True, level)
    # the name of an element differs between versions of Arrow
    assert reason in found.reason.replace("list<element:", "list<item:")
    assert (found.status == "type_changed") == (level == "drift")


@pytest.mark.parametrize(
    "now",
    [
        pytest.param([{**record, "b": None} for record in RECORDS], id="a field without values"),
        pytest.param([{"b": record["b"], "a": record["a"]} for record in RECORDS], id="order"),
        pytest.param([{**record, "a": int(record["a"])} for record in RECORDS], id="whole"),
    ],
)
def test_another_storage_of_the_same_fields_is_no_change_of_the_schema(check, now):
    assert check(column(RECORDS), column(now)).features["s"].status != "type_changed"


def test_lists_without_elements_and_floats_for_whole_numbers_keep_their_type(check):
    whole = [[1, 2], [3]] * 300

    assert check(column(whole), column([[]] * 600)).features["s"].status == "ok"
    assert check(column(whole), column([[1.0, 2.0], [3.0]] * 300)).verdict == "ok"


def test_a_field_that_few_objects_have_may_be_absent_by_chance(check):
    rare = pd.DataFrame(
        {"s": [{**r, **({} if i % 300 else {"x": 1})} for i, r in enumerate(RECORDS)]}
    )
    never = pd.DataFrame({"s": RECORDS})

    for before, now in [(rare, never), (never, rare)]:
        assert check(before, now).features["s"].level == "none"


def test_a_new_field_of_a_part_survives_the_merge_in_any_order():
    like = profile_data(column(WITHOUT_B))
    parts = [profile_data(column(rows), like=like) for rows in (WITHOUT_B[:300], RECORDS[300:])]

    for ordered in (parts, parts[::-1]):
        found = check_drift(like, merge_profiles(ordered)).features["s"]
        assert (found.level, found.reason) == ("warning", f"b: {NEW}")


def test_a_field_that_a_part_lacks_is_missing_in_its_rows():
    like = profile_data(column(RECORDS))
    parts = [profile_data(column(rows), like=like) for rows in (RECORDS[:300], WITHOUT_B[300:])]

    for ordered in (parts, parts[::-1]):
        found = check_drift(like, merge_profiles(ordered)).features["s"]
        assert found.reason.startswith("b: missing values went from 0.0% to 50.0% of rows")


def test_lost_and_new_fields_come_back_from_a_file(tmp_path):
    like = profile_data(column(RECORDS))
    now = profile_data(column([{"a": record["a"], "c": "x"} for record in RECORDS]), like=like)
    now.save(tmp_path / "now")

    found = check_drift(like, Profile.load(tmp_path / "now")).features["s"]

    assert found.reason == f"b: {GONE}; c: {NEW}"


# --- what is not tested


def intervals(n: int) -> pa.Table:
    gaps = pa.array([(1, 2, 3)] * n, pa.month_day_nano_interval())
    return pa.table({"gap": gaps, "x": np.arange(n) / 7, "few": [1.0] * 50 + [None] * (n - 50)})


def test_the_first_line_says_how_many_columns_were_tested(check):
    report = check_drift(intervals(300), intervals(300))

    assert report.features["gap"].status == "untested"
    assert report.features["few"].status == "insufficient"
    assert report.reason == "no drift in any of 1 features (1 of 3 columns tested)"
    assert (report.n_tested, report.share_drifted) == (1, 0)
    assert "month_day_nano_interval" in report.features["gap"].reason


def test_without_a_column_that_can_be_tested_there_is_no_ok():
    gaps = intervals(300).select(["gap"])

    report = check_drift(gaps, gaps)

    assert report.verdict == "insufficient"
    assert report.reason.startswith("no answer: none of 1 columns can be tested")
    assert np.isnan(report.share_drifted)


def test_times_and_durations_that_are_all_different_are_no_identifiers(check):
    seconds = pd.to_timedelta(np.arange(500), unit="s")
    before = pd.DataFrame({"at": pd.Timestamp("2026-01-01") + seconds, "took": seconds})
    now = before.assign(at=before["at"] - pd.Timedelta(days=900), took=before["took"] * 3)

    features = check(before, now).features

    assert {name: (item.status, item.level) for name, item in features.items()} == {
        "at": ("ok", "drift"),
        "took": ("ok", "drift"),
    }


def test_whole_numbers_that_are_one_float_are_not_the_same(check):
    some = pd.DataFrame({"x": [2**60 + i % 5 for i in range(1000)]})
    one = pd.DataFrame({"x": [2**60 + 4] * 1000})

    found = check(some, one).features["x"]
    assert (found.status, found.level) == ("ok", "drift")
    assert found.effect_size == pytest.approx(0.8, abs=0.001)
    assert check(one, one).features["x"].status == "constant"


def test_what_cannot_differ_says_why(check):
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(200) + 0.5, unit="s")
    same = pd.DataFrame({"lists": [[]] * 200, "text": ["as it is"] * 200, "at": at})
    short = pa.table({"lists": [[1]] * 50 + [None] * 150}).to_pandas()

    features = check(same, same).features

    assert {name: item.status for name, item in features.items()} == {
        "lists": "constant",
        "text": "constant",
        "at": "ok",
    }
    assert features["lists"].reason == "every value is the same in both windows"
    assert features["at"].reason == "no drift: effect 0.0%, q = 1.000"
    assert check(short, short).features["lists"].status in ("constant", "insufficient")


UNREADABLE = {
    "percentages as numbers": (
        [f"{i}%" for i in range(500)],
        [f"{100 * i}%" for i in range(500)],
        "number",
        "unreadable",
        "no value can be read as number, such as '0%', '100%', '200%'",
    ),
    "lists as categories": (
        [[i] for i in range(500)],
        [[i, i] for i in range(500)],
        "category",
        "unreadable",
        "no value can be read as category, such as '[0, 0]', '[1, 1]', '[2, 2]'",
    ),
    "complex numbers": (
        [complex(i, 1) for i in range(500)],
        [complex(i, 2) for i in range(1, 501)],
        None,
        "unreadable",
        "no value can be read, such as '(1+2j)', '(2+2j)', '(3+2j)'",
    ),
    "infinite numbers": (
        [np.inf] * 500,
        [-np.inf] * 500,
        None,
        "untested",
        "no finite value in the reference nor in the current window; only the share of infinite "
        "ones is tested",
    ),
    "infinite fields": (
        [{"q": np.inf}] * 500,
        [{"q": -np.inf}] * 500,
        None,
        "untested",
        "of struct<q: double> only missing values are tested",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("path", ["exact", "grid"])
def test_a_column_of_which_no_value_can_be_used_is_no_feature_without_drift(path, case):
    before, now, kind, status, reason = UNREADABLE[case]
    kinds = {"p": kind} if kind else {}
    before, now = (pd.DataFrame({"p": values}) for values in (before, now))
    if path == "grid":
        before = profile_data(before, kinds=kinds)
        now = profile_data(now, like=before)

    report = check_drift(before, now, rule=DriftRule(kinds=kinds))

    assert (report.verdict, report.n_tested) == ("insufficient", 0)
    found = report.features["p"]
    assert (found.status, found.level, found.tested, found.reason) == (
        status,
        "none",
        False,
        reason,
    )


def test_numbers_that_all_become_infinite_or_unreadable_are_still_found(check):
    before = pd.DataFrame({"x": np.arange(500) / 7, "text": [f"{i / 7}" for i in range(500)]})
    now = pd.DataFrame({"x": [np.inf] * 500, "text": ["n/a"] * 500})

    features = check(before, now).features

    assert {name: (item.status, item.level) for name, item in features.items()} == {
        "x": ("untested", "drift"),
        "text": ("unreadable", "drift"),
    }
    assert "no finite value in the current window" in features["x"].reason


@pytest.mark.parametrize("values", [["a", "b"], [True, False]])
def test_a_single_row_of_a_category_says_that_it_is_too_few(check, values):
    before, now = pd.DataFrame({"c": values * 300}), pd.DataFrame({"c": values[:1]})

    report = check(before, now, rule=DriftRule(min_rows=1))

    assert (report.verdict, report.features["c"].status) == ("insufficient", "insufficient")
    assert report.features["c"].reason == (
        "no value has enough rows for a test, of 600 in the reference, 1 in the current window"
    )


def test_a_struct_of_numbers_that_count_something_off_is_told_as_such(check):
    counted = pd.DataFrame({"s": [{"n": i} for i in range(600)]})

    assert check(counted, counted).features["s"].status == "identifier"


def lists(seed: int, lost: float = 0.0, n: int = 200) -> pa.Table:
    """Lists whose elements are lost together: the rows differ in the share that they lost."""
    rng = np.random.default_rng(seed)
    rows = []
    for size in rng.integers(1, 30, n):
        share = lost if lost in (0.0, 1.0) else rng.beta(lost, 1.0)
        rows.append([None if rng.random() < share else float(rng.normal()) for _ in range(size)])
    return pa.table({"x": pa.array(rows, pa.list_(pa.float64()))})


@pytest.mark.parametrize("lost", [0.3, 1.0])
def test_elements_that_are_lost_are_found_though_the_lists_are_as_long(check, lost):
    found = check(lists(0), lists(1, lost)).features["x"]

    assert found.level == "drift"
    assert [(c.facet, c.name) for c in found.checks if c.level == "drift"] == [
        (("elements",), "missing_rate")
    ]


def test_elements_that_are_lost_together_are_no_finding_if_as_many_were_before():
    raised = [
        check_drift(lists(2 * seed, 0.3), lists(2 * seed + 1, 0.3)).features["x"].level != "none"
        for seed in range(60)
    ]

    # 5% of 60, and two standard deviations
    assert sum(raised) <= 6


def test_a_lost_value_of_a_column_that_is_not_tested_is_still_found():
    now = intervals(300).set_column(
        0, "gap", pa.array([None] * 100 + [(1, 2, 3)] * 200, pa.month_day_nano_interval())
    )

    gap = check_drift(intervals(300), now).features["gap"]

    assert (gap.status, gap.level, gap.tested) == ("untested", "drift", True)


def test_no_kind_of_column_warns_about_arithmetic():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = window(1).iloc[:0]
        check_drift(window(1, 200), empty)
        check_drift(empty, window(1, 200))
        check_drift(window(1, 200).iloc[:1], window(1, 200))


def test_a_reference_of_the_first_version_has_no_facets_and_says_so():
    old = FeatureProfile(name="at", kind="time", stored="time", n_rows=500)
    new = profile_data(hours("2026-01-05", 7, 500)).features["at"]

    assert compare_feature(old, new, DriftRule()).status == "untested"


NATIVE = {
    "number": [i % 90 + 0.5 for i in range(400)],
    "boolean": [True, False] * 200,
    "time": pd.date_range("2026-01-01", periods=400, freq="h").tolist(),
    "category": [1, 2] * 200,
}


@pytest.mark.parametrize("kind", NATIVE)
@pytest.mark.parametrize("is_reference_text", [True, False])
def test_text_that_means_the_same_is_told_how_to_declare_it(kind, is_reference_text):
    windows = [pd.DataFrame({"x": NATIVE[kind]}), pd.DataFrame({"x": list(map(str, NATIVE[kind]))})]
    before, now = windows[::-1] if is_reference_text else windows

    found = check_drift(before, now).features["x"]

    assert (found.status, found.level) == ("type_changed", "drift")
    (said,) = re.findall(r"declare the column with kinds=\{'x': '(\w+)'\}", found.reason)
    assert check_drift(before, now, rule=DriftRule(kinds={"x": said})).verdict == "ok"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([{"a": 1}] * 400, ["q"] * 400),
        ([[1.0]] * 400, ["1"] * 400),
        ([True, False] * 200, [1, 0] * 200),
        ([pd.Timedelta("1h")] * 400, ["1h"] * 400),
    ],
)
def test_what_no_kind_reads_alike_is_told_as_another_type_alone(before, now):
    found = check_drift(pd.DataFrame({"x": before}), pd.DataFrame({"x": now})).features["x"]

    assert found.reason.startswith("the type changed from ")
    assert "kinds=" not in found.reason


def test_a_share_of_elements_is_called_one():
    rng = np.random.default_rng(3)
    lists = [list(rng.choice(["a", "b", "c"], 3)) for _ in range(1000)]
    before, now = pd.DataFrame({"x": lists[:500]}), pd.DataFrame({"x": lists[500:]})
    now["x"] = [[*each[:2], "new"] for each in now["x"]]
    found = check_drift(before, now).features["x"]
    assert "33.3% of elements carry categories the reference never had: 'new'" in found.reason
    assert "of rows" not in found.reason
