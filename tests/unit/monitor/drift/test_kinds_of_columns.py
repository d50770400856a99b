"""Every kind of column is tested, in one family; what is not tested is not called a feature."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flytekitplugins.wbmon import DriftRule, check_drift, profile_data
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

    p = sorted(c.p_value for item in report.features.values() for c in item.checks)
    q = sorted(c.q_value for item in report.features.values() for c in item.checks)
    expected = np.minimum.accumulate((np.array(p) * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
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


# --- hours and weekdays


def hours(start: str, days: float, n: int = 2000) -> pd.DataFrame:
    spread = (np.arange(n) + np.random.default_rng(n).random(n)) / n
    return pd.DataFrame({"at": pd.Timestamp(start) + pd.to_timedelta(spread * days, unit="D")})


@pytest.mark.parametrize(
    ("days", "facets"),
    [
        (1, {"hour", "precision"}),
        (7, {"hour", "weekday", "precision"}),
        # half a day, and a day and a half, have more of some hours
        (0.5, {"precision"}),
        (1.5, {"precision"}),
        (10.0, {"hour", "precision"}),
        (84.5, {"hour", "weekday", "precision"}),
    ],
)
def test_the_hour_and_the_weekday_are_compared_where_windows_cover_them_evenly(days, facets):
    whole = hours("2026-01-05", 7)

    at = check_drift(whole, hours("2026-03-02", days)).features["at"]

    assert {check.facet[0] for check in at.checks if check.facet} <= facets
    assert at.level == "none"


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


def test_no_category_is_called_new_where_the_reference_has_more_than_it_lists():
    rng = np.random.default_rng(0)
    before = pd.DataFrame({"c": [f"c{i}" for i in rng.zipf(1.2, 60_000) % 20_000]})
    now = pd.DataFrame({"c": [f"d{i}" for i in rng.integers(0, 20, 500)]})

    c = check_drift(before, now).features["c"]

    assert (c.kind, c.level) == ("category", "drift")
    assert c.new_categories == ()


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
    assert features["at"].reason == "no drift: no row is earlier than the first of the reference"
    assert check(short, short).features["lists"].status in ("constant", "insufficient")


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
