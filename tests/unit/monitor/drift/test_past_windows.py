from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.past_outlier import PastOutlier
from flytekitplugins.wbmon.monitor.drift.past_windows import predictive_p_value
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from flytekitplugins.wbmon.monitor.profiles.feature import name_hash
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.monitor.profiles.windows import TimeWindow, profile_windows
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

STRICT = DriftRule(min_effect=0.02, warn_effect=0.02)


def night(rng: np.random.Generator, *, shift: float = 0.0, n: int = 500) -> pd.DataFrame:
    """Every night has an effect of its own that all of its rows share."""
    effect = 0.3 * rng.normal(size=2)
    return pd.DataFrame(
        {
            "load": rng.normal(effect[0] + shift, 1, n),
            "route": rng.random(n) < 0.3 + 0.05 * effect[1],
        }
    )


@pytest.fixture(scope="module")
def season() -> tuple[np.random.Generator, Profile, list[Profile]]:
    rng = np.random.default_rng(7)
    reference = profile_data(pd.concat([night(rng) for _ in range(10)]))
    return rng, reference, [profile_data(night(rng), like=reference) for _ in range(25)]


def test_an_ordinary_night_alarms_without_past_windows_and_not_with_them(season):
    rng, reference, past = season
    nights = [profile_data(night(rng), like=reference) for _ in range(20)]

    alone = [check_drift(reference, one, rule=STRICT).drifted for one in nights]
    calibrated = [check_drift(reference, one, rule=STRICT, past=past).drifted for one in nights]

    assert np.mean(alone) >= 0.8
    assert np.mean(calibrated) <= 0.1


def test_a_night_unlike_any_other_is_drift(season):
    rng, reference, past = season

    report = check_drift(reference, night(rng, shift=2.0), rule=STRICT, past=past)

    load = report.features["load"]
    assert load.drifted
    assert load.checks[0].window_q_value < 0.05
    assert report.n_past == 25


def test_what_past_windows_excuse_is_said(season):
    rng, reference, past = season
    reports = [check_drift(reference, night(rng), rule=STRICT, past=past) for _ in range(5)]

    reasons = [report.features["load"].reason for report in reports]

    assert any("past windows differ as much from each other" in reason for reason in reasons)


def test_missing_values_are_calibrated_too(season):
    rng, reference, past = season
    one, some = night(rng), night(rng)
    one.loc[:249, "load"] = np.nan
    some.loc[:9, "load"] = np.nan

    report = check_drift(reference, one, rule=STRICT, past=past)

    checks = {check.name: check for check in report.features["load"].checks}
    assert checks["missing_rate"].window_p_value < 0.001
    assert checks["missing_rate"].level == "drift"


def test_new_categories_and_infinities_are_calibrated_too():
    rng = np.random.default_rng(0)

    def window(new: float = 0.0) -> pd.DataFrame:
        routes = np.where(rng.random(400) < new, "new", rng.choice(["a", "b"], 400))
        loads = np.where(rng.random(400) < new, np.inf, rng.random(400))
        return pd.DataFrame({"route": routes, "load": loads})

    reference = profile_data(pd.concat([window() for _ in range(5)]))
    past = [profile_data(window(0.01), like=reference) for _ in range(20)]

    report = check_drift(reference, window(0.2), past=past)

    for name, check in (("route", "new_categories"), ("load", "infinite_rate")):
        found = {item.name: item for item in report.features[name].checks}[check]
        assert found.window_p_value < 0.001
        assert found.level == "drift"


def test_fewer_than_five_past_windows_calibrate_nothing(season):
    rng, reference, past = season

    report = check_drift(reference, night(rng), rule=STRICT, past=past[:4])

    assert np.isnan(report.features["load"].checks[0].window_p_value)
    assert report.n_past == 0
    assert report.reason.endswith("; not calibrated: 4 past windows, 5 are needed")


def test_past_windows_without_the_feature_are_left_out(season):
    rng, reference, past = season
    blind = [profile_data(night(rng)[["route"]], like=reference) for _ in range(10)]

    report = check_drift(reference, night(rng, shift=2.0), past=[*past[:4], *blind])

    assert np.isnan(report.features["load"].checks[0].window_p_value)
    assert report.features["load"].drifted


def test_a_short_night_is_not_unusual_for_being_short(season):
    rng, reference, past = season
    nights = [profile_data(night(rng, n=100), like=reference) for _ in range(20)]

    alarms = [check_drift(reference, one, rule=STRICT, past=past).drifted for one in nights]

    assert np.mean(alarms) <= 0.1


def test_past_windows_without_the_column_say_nothing_of_its_missing_values(season):
    rng, reference, _ = season
    current = night(rng)
    current.loc[:99, "load"] = np.nan
    some = [night(rng) for _ in range(8)]
    for one in some:
        one.loc[:9, "load"] = np.nan
    kept = [profile_data(one, like=reference) for one in some]
    lost = [profile_data(night(rng)[["route"]], like=reference) for _ in range(3)]
    never = [profile_data(night(rng), like=reference, columns=["route"]) for _ in range(3)]

    def p_value(windows: list[Profile]) -> float:
        checks = check_drift(reference, current, past=windows).features["load"].checks
        return next(each.window_p_value for each in checks if each.name == "missing_rate")

    assert p_value([*lost, *kept, *never]) == p_value(kept) < 0.05


def test_weights_count_as_the_rows_they_are_worth(season):
    """Equal weights change nothing, in whatever unit they are."""
    rng, reference, _ = season
    past, current = [night(rng) for _ in range(6)], night(rng, shift=0.5)
    for one in (*past, current):
        one.loc[rng.random(500) < 0.05, "load"] = np.nan

    def p_values(weight: float | None) -> list[float]:
        def profile(window: pd.DataFrame) -> Profile:
            if weight is None:
                return profile_data(window, like=reference)
            return profile_data(window.assign(w=weight), like=reference, weight="w")

        report = check_drift(reference, profile(current), past=[profile(one) for one in past])
        return [
            check.window_p_value
            for name in ("load", "route")
            for check in report.features[name].checks
        ]

    without = p_values(None)
    # the distribution, the tails and the missing values of one, the shares of the other
    assert len(without) == 4
    assert p_values(1e-4) == pytest.approx(without)
    assert p_values(1e4) == pytest.approx(without)


def test_past_windows_of_another_layout_are_refused(season):
    rng, reference, _ = season
    stranger = profile_data(night(rng))

    with pytest.raises(DataError, match="must share the layout of the reference"):
        check_drift(reference, night(rng), past=[stranger])
    with pytest.raises(DataError, match="profile the reference first"):
        check_drift(night(rng), night(rng), past=[reference])


def test_the_prediction_is_of_the_next_of_the_series():
    rng = np.random.default_rng(0)
    series = np.exp(rng.normal(size=(4000, 11)))

    p_values = [predictive_p_value(list(row[:-1]), row[-1]) for row in series]

    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.012)


@given(st.lists(st.floats(0.01, 0.9), min_size=2, max_size=20), st.floats(0.01, 0.9))
def test_the_prediction_is_that_of_students_t(distances, distance):
    logs = np.log(distances)
    # the next of a normal series varies by itself and by the mean that was learned
    spread = np.hypot(1, 1 / np.sqrt(len(logs))) * max(np.std(logs, ddof=1), 0.05)

    expected = scipy_stats.t.sf(np.log(distance), len(logs) - 1, logs.mean(), spread)

    assert predictive_p_value(distances, distance) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_three_past_distances_foretell_the_fourth_as_often_as_they_say(rng):
    n_series = 8000
    series = np.exp(rng.normal(size=(n_series, 4)))

    p_values = np.array([predictive_p_value(row[:-1], row[-1]) for row in series])

    for level in (0.05, 0.2, 0.5):  # without the mean's own error 0.07 of them would be below 0.05
        error = np.sqrt(level * (1 - level) / n_series)
        assert np.mean(p_values <= level) == pytest.approx(level, abs=4 * error)


def brute_force_p_value(windows, now, *, ordered):
    """By loops over cells, and scipy's distribution."""

    def distance(one, others):
        p = [cell / sum(one) for cell in one]
        q = [cell / sum(others) for cell in others]
        if ordered:
            found = max(abs(sum(p[: k + 1]) - sum(q[: k + 1])) for k in range(len(p)))
        else:
            found = sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2
        usual = statistics.median(sum(window) for window in windows)
        found *= min(1.0, math.sqrt(sum(one) / usual))
        return max(found, 0.5 / max(sum(one), usual))

    total = [sum(cells) for cells in zip(*windows, strict=True)]
    logs = [
        math.log(distance(each, [t - cell for t, cell in zip(total, each, strict=True)]))
        for each in windows
    ]
    spread = max(statistics.stdev(logs), 0.05) * math.sqrt(1 + 1 / len(logs))
    t = (math.log(distance(now, total)) - statistics.fmean(logs)) / spread
    return scipy_stats.t.sf(t, len(logs) - 1)


@pytest.mark.parametrize("n_now", [150, 220, 900])
def test_the_chance_of_a_window_is_that_of_a_brute_force_count(n_now):
    rng = np.random.default_rng(5)

    def window(n):
        loads = rng.normal(0.2 * rng.normal(), 1, n)
        loads[rng.random(n) < 0.1] = np.nan
        loads[rng.random(n) < 0.05] = np.inf
        routes = rng.choice(["a", "b", "c", "new"], n, p=[0.5, 0.3, 0.18, 0.02])
        return pd.DataFrame({"load": loads, "route": routes})

    first = window(3000)
    reference = profile_data(first[first.route != "new"])
    past = [profile_data(window(n), like=reference) for n in (90, 150, 200, 260, 320, 500, 700)]
    current = profile_data(window(n_now), like=reference)

    report = check_drift(reference, current, past=past)

    n_checked = 0
    for feature, name, cells, ordered in (
        ("load", "missing_rate", lambda f: [f.n_missing, f.n_rows - f.n_missing], False),
        ("load", "infinite_rate", lambda f: [f.n_infinite, f.n_rows - f.n_infinite], False),
        ("load", "distribution", lambda f: list(f.counts), True),
        ("route", "new_categories", lambda f: [f.counts[-1], sum(f.counts[:-1])], False),
        ("route", "distribution", lambda f: list(f.counts), False),
    ):
        checks = {check.name: check for check in report.features[feature].checks}
        expected = brute_force_p_value(
            [cells(each.features[feature]) for each in past],
            cells(current.features[feature]),
            ordered=ordered,
        )
        assert checks[name].window_p_value == pytest.approx(expected, rel=1e-6)
        n_checked += 1
    assert n_checked == 5


def test_five_past_windows_are_enough_if_each_has_the_feature_with_a_value():
    rng = np.random.default_rng(3)
    reference = profile_data(night(rng, n=3000))
    past = [profile_data(night(rng), like=reference) for _ in range(5)]
    current = profile_data(night(rng), like=reference)
    empty = profile_data(night(rng).assign(load=np.nan), like=reference)
    retyped = profile_data(night(rng).assign(load="text"), like=reference)
    rowless = profile_data(night(rng)[:0], like=reference)
    assert retyped.features["load"].status == "type_changed"

    def p_value(windows):
        check, *_ = check_drift(reference, current, past=windows).features["load"].checks
        return check.window_p_value

    counts = [list(window.features["load"].counts) for window in past]
    expected = brute_force_p_value(counts, list(current.features["load"].counts), ordered=True)
    assert p_value(past) == pytest.approx(expected, rel=1e-6)
    assert p_value([empty, *past, retyped, rowless]) == pytest.approx(expected, rel=1e-6)
    for missing in (empty, retyped, rowless):
        assert math.isnan(p_value([*past[:4], missing]))


def test_windows_without_any_distance_count_as_half_a_row():
    reference = profile_data(pd.DataFrame({"load": np.arange(1000.0) / 2}))
    same = profile_data(pd.DataFrame({"load": np.arange(1000.0) / 2}), like=reference)
    check, *_ = check_drift(reference, same, past=[same] * 6).features["load"].checks
    assert check.window_p_value == pytest.approx(0.5)
    shifted = profile_data(pd.DataFrame({"load": np.arange(1000.0) / 2 + 0.5}), like=reference)
    check, *_ = check_drift(reference, shifted, past=[same] * 6).features["load"].checks
    counts = [list(same.features["load"].counts)] * 6
    expected = brute_force_p_value(counts, list(shifted.features["load"].counts), ordered=True)
    assert check.window_p_value == pytest.approx(expected, rel=1e-6)
    assert 0 < expected < 0.5


@pytest.mark.parametrize("distance", [0.1, 0.103, 0.12])
def test_the_least_spread_of_log_distances_is_a_twentieth(distance):
    spread = 0.05 * math.sqrt(1 + 1 / 10)
    expected = scipy_stats.t.sf(math.log(distance / 0.1) / spread, 9)
    assert predictive_p_value([0.1] * 10, distance) == pytest.approx(expected, rel=1e-6)


def test_equal_distances_do_not_make_the_next_one_impossible():
    assert predictive_p_value([0.1] * 10, 0.1) == pytest.approx(0.5)
    assert predictive_p_value([0.1] * 10, 0.2) < 0.001


@pytest.mark.parametrize(
    ("past", "found"),
    [
        (lambda profile: profile, "must be a sequence of profiles of windows, got one Profile"),
        (lambda profile: {"night": profile}, "must be a sequence of .*, got one dict"),
        (lambda profile: [profile, None], "must hold profiles, got one NoneType; make each with"),
        (lambda _: "night", "must be a sequence of profiles of windows, got 'night'"),
    ],
)
def test_past_windows_are_a_sequence_of_profiles(season, past, found):
    reference = season[1]

    with pytest.raises(ConfigError, match=f"past {found}"):
        check_drift(reference, reference, past=past(reference))


def seven_past(make, kind=None):
    """A reference of 3000 rows, seven past windows and the current one."""
    rng = np.random.default_rng(11)
    first = pd.DataFrame({"x": make(rng, 3000, 0)})
    reference = profile_data(first, kinds={"x": kind} if kind else {})
    windows = [
        pd.DataFrame({"x": make(rng, n, i + 1)})
        for i, n in enumerate((90, 150, 200, 260, 320, 500, 700, 220))
    ]
    return first, reference, windows


def codes(rng, n, window):
    """Few numbers, and some that each window but the reference has."""
    share = 0.0 if window == 0 else 0.05 * (1 + window % 4) * (1 + (window == 8))
    return np.where(rng.random(n) < share, 2.5 + rng.integers(0, 3, n), rng.integers(0, 8, n))


def moments(rng, n, window):
    """Times of which some are before 2026, some at its first moment, and some at another one."""
    early = rng.random(n) < (0.0 if window == 0 else 0.04 * (1 + window % 4))
    same = rng.random(n) < (0.0 if window == 0 else 0.1 * (1 + window % 3))
    seconds = np.where(early, -1, rng.random(n) < 0.95) * rng.random(n) * 86_400
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta((seconds * 1e6).astype(int), unit="us")
    return pd.Series(times).mask(same, pd.Timestamp("2026-01-01 12:00:00.123456"))


def customers(rng, n, window):
    """Identifiers, of which more and more are of others; nearly all in the current window."""
    other = rng.random(n) < (0.97 if window == 8 else 0.05 * (window % 4))
    who = rng.integers(0, 400, n) + np.where(other, 1000, 0)
    return [f"u-{i:05d}" for i in who]


def new_and_known(values, first):
    new = sum(value not in first for value in values)
    return [new, len(values) - new]


def at_one_time(values, first):
    """Rows that the most frequent time has beyond a usual one, and the others."""
    counts = sorted(pd.Series(values).value_counts(), reverse=True)
    usual = sum(counts[1:]) / (len(counts) - 1)
    more = len(values) - len(counts) * usual
    return [more, len(values) - more]


def before_the_first(values, first):
    early = sum(value < min(first) for value in values)
    return [early, len(values) - early]


@pytest.mark.parametrize(
    ("make", "name", "cells"),
    [
        (codes, "new_values", new_and_known),
        (moments, "earlier", before_the_first),
        (moments, "one_time", at_one_time),
        (customers, "new_identifiers", new_and_known),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_the_chance_of_what_is_new_is_that_of_a_brute_force_count(make, name, cells):
    kind = "identifier" if make is customers else None
    first, reference, windows = seven_past(make, kind)
    profiles = [profile_data(window, like=reference) for window in windows]

    found = check_drift(reference, profiles[-1], past=profiles[:-1]).features["x"]

    known = set(first["x"])
    *past, now = (cells(list(window["x"]), known) for window in windows)
    (check,) = (check for check in found.checks if check.name == name)
    expected = brute_force_p_value(past, now, ordered=False)
    assert check.window_p_value == pytest.approx(expected, rel=1e-6)
    assert 1e-9 < expected < 1


def test_the_chance_of_new_names_is_that_of_those_outside_the_table_that_are_compared():
    def make(rng, n, window):
        rare = rng.random(n) < 0.7
        new = rng.random(n) < (0.0 if window == 0 else 0.1 * (1 + window % 4))
        names = np.where(new, 20_000 + rng.integers(0, 50, n), rng.integers(0, 9000, n))
        return np.where(rare, np.char.add("c", names.astype(str)), "often")

    _, reference, windows = seven_past(make, "category")
    profiles = [profile_data(window, like=reference) for window in windows]
    of_reference = reference.features["x"]

    found = check_drift(reference, profiles[-1], past=profiles[:-1]).features["x"]

    def known_and_new(profile):
        window, full = profile.features["x"].unseen, 256
        limits = [
            max(map(name_hash, each)) if len(each) == full else 2**64
            for each in (of_reference.unseen, window)
        ]
        compared = {name: n for name, n in window.items() if name_hash(name) < min(limits)}
        new = sum(n for name, n in compared.items() if name not in of_reference.unseen)
        return [sum(compared.values()) - new, new]

    *past, now = map(known_and_new, profiles)
    (check,) = (check for check in found.checks if check.name == "new_categories")
    expected = brute_force_p_value(past, now, ordered=False)
    assert check.window_p_value == pytest.approx(expected, rel=1e-6)
    assert np.asarray(of_reference.counts)[-1] > 0


def test_past_windows_of_older_files_have_no_share_at_one_time():
    _, reference, windows = seven_past(moments)
    *past, now = (profile_data(window, like=reference) for window in windows)
    bare = [
        replace(each, features={"x": replace(each.features["x"], hashes=None, hash_counts=None)})
        for each in past
    ]

    def p_value(windows):
        checks = check_drift(reference, now, past=windows).features["x"].checks
        (found,) = (check.window_p_value for check in checks if check.name == "one_time")
        return found

    assert math.isnan(p_value(bare))
    assert math.isnan(p_value([*past[:4], *bare]))
    assert p_value([*past[:5], *bare]) == p_value(past[:5]) < 1


def test_a_field_of_a_struct_in_a_struct_is_calibrated_as_the_column_that_it_is():
    rng = np.random.default_rng(12)

    def window(n: int) -> pd.DataFrame:
        loads = rng.normal(rng.normal(), 1, n)
        others = rng.normal(size=n)
        rows = zip(loads.tolist(), others.tolist(), strict=True)
        fields = [{"a": {"b": load}, "b": {"a": other}} for load, other in rows]
        return pd.DataFrame({"load": loads, "other": others, "fields": fields})

    reference = profile_data(window(2000))
    past = [profile_data(window(n), like=reference) for n in (100, 200, 200, 300, 400, 500)]

    report = check_drift(reference, window(250), past=past)

    inner = {(c.facet, c.name): c.window_p_value for c in report.features["fields"].checks}
    for path, name in ((("a", "b"), "load"), (("b", "a"), "other")):
        for flat in report.features[name].checks:
            assert 0 < inner[path, flat.name] == flat.window_p_value < 1


def test_past_windows_of_older_files_have_no_fields_to_compare():
    rng = np.random.default_rng(13)

    def window(n: int) -> pd.DataFrame:
        return pd.DataFrame({"fields": [{"a": load} for load in rng.normal(size=n).tolist()]})

    reference = profile_data(window(2000))
    past = [profile_data(window(300), like=reference) for _ in range(6)]
    bare = [
        replace(each, features={"fields": replace(each.features["fields"], facets={})})
        for each in past
    ]
    now = profile_data(window(300), like=reference)

    def p_value(windows):
        check, *_ = check_drift(reference, now, past=windows).features["fields"].checks
        return check.window_p_value

    assert math.isnan(p_value(bare))
    assert p_value([*bare, *past]) == p_value(past) < 1


def nights(n: int, *, bad: Sequence[int] = (), seed: int = 21) -> tuple[Profile, list[Profile]]:
    """A reference and past nights, of which some are two standard deviations off."""
    rng = np.random.default_rng(seed)
    reference = profile_data(pd.concat([calm_night(rng) for _ in range(10)]))
    past = [calm_night(rng, shift=2.0 if place in bad else 0.0) for place in range(n)]
    return reference, [profile_data(each, like=reference) for each in past]


def calm_night(rng: np.random.Generator, *, shift: float = 0.0) -> pd.DataFrame:
    load = rng.normal(0.05 * rng.normal() + shift, 1, 500)
    return pd.DataFrame({"load": load, "route": rng.random(500) < 0.3})


@pytest.mark.parametrize("n", [7, 14, 28])
def test_one_bad_night_is_named_and_fenced_on_request(n):
    reference, past = nights(n, bad=[3])
    current = profile_data(calm_night(np.random.default_rng(22), shift=1.0), like=reference)

    blind = check_drift(reference, current, past=past)
    fenced = check_drift(reference, current, past=past, rule=DriftRule(fence_past=True))
    without = check_drift(reference, current, past=[*past[:3], *past[4:]])

    assert blind.past_outliers == (PastOutlier(window="past[3]", features=("load",)),)
    assert fenced.past_outliers == blind.past_outliers
    assert f"1 of {n} past windows unlike the others, which can hide drift: past[3] (in load)" in (
        blind.reason
    )
    assert f"1 of {n} past windows left out where unlike the others: past[3] (in load)" in (
        fenced.reason
    )
    assert fenced.n_past == blind.n_past == n
    load, route = ("load", "route")
    checks = [report.features[load].checks[0] for report in (blind, fenced, without)]
    assert checks[1].window_p_value == pytest.approx(checks[2].window_p_value)
    assert checks[0].window_p_value > 5 * checks[1].window_p_value
    assert fenced.features[load].drifted
    # of a check in which it is like the others, the night is one of them
    same = [report.features[route].checks[0].window_p_value for report in (blind, fenced)]
    assert same[0] == same[1]


def test_several_bad_nights_do_not_hide_each_other():
    reference, past = nights(28, bad=[3, 9, 20])

    report = check_drift(reference, past[0], past=past[1:])

    assert [each.window for each in report.past_outliers] == ["past[2]", "past[8]", "past[19]"]


def test_of_nights_without_a_bad_one_few_are_named():
    named = []
    for seed in range(40):
        reference, past = nights(12, seed=seed)
        named.append(bool(check_drift(reference, past[0], past=past[1:]).past_outliers))

    assert np.mean(named) <= 0.15


def test_a_report_with_outliers_survives_the_trip_through_json_and_an_old_one_is_read():
    reference, past = nights(7, bad=[3])
    report = check_drift(reference, past[0], past=past)

    stored = record_to_json(report)

    assert record_from_json(DriftReport, stored).past_outliers == report.past_outliers
    old = json.loads(stored)
    del old["past_outliers"]
    del old["rule"]["fence_past"]
    assert record_from_json(DriftReport, json.dumps(old)).past_outliers == ()


@given(
    st.lists(st.lists(st.floats(0.01, 0.9), min_size=2, max_size=9), min_size=1, max_size=5),
    st.floats(0.01, 0.9),
)
def test_groups_of_distances_share_their_spread_and_not_their_mean(groups, distance):
    logs = [np.log(group) for group in groups]
    degrees = sum(map(len, logs)) - len(logs)
    residuals = np.concatenate([each - each.mean() for each in logs])
    spread = max(np.sqrt((residuals**2).sum() / degrees), 0.05) * np.sqrt(1 + 1 / len(logs[0]))

    expected = scipy_stats.t.sf(np.log(distance), degrees, logs[0].mean(), spread)

    found = predictive_p_value(groups[0], distance, groups[1:])
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_prediction_of_a_weekday_holds_where_weekdays_differ_in_size(rng):
    scales = np.array([1.0, 3.0, 0.2])
    p_values = []
    for _ in range(4000):
        groups = [list(np.exp(each)) for each in rng.normal(np.log(scales)[:, None], 0.5, (3, 4))]
        p_values.append(predictive_p_value(groups[2], 0.2 * np.exp(rng.normal(0, 0.5)), groups[:2]))

    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.014)


MONDAY = datetime(2026, 1, 5, tzinfo=timezone.utc)


def weeks(n_days: int, seed: int = 5) -> tuple[Profile, dict[TimeWindow, Profile]]:
    """Days whose weekends are a standard deviation higher."""
    rng = np.random.default_rng(seed)
    starts = [MONDAY + timedelta(days=day) for day in range(n_days)]
    table = pd.concat(
        [
            pd.DataFrame({"at": start, "load": rng.normal(rng.normal(0, 0.1), 1, 400)}).assign(
                load=lambda each, start=start: each["load"] + (start.weekday() >= 5)
            )
            for start in starts
        ]
    )
    reference = profile_data(table[["load"]])
    return reference, profile_windows(table, like=reference, at="at").profiles


def test_a_day_is_compared_with_those_of_its_weekday():
    reference, days = weeks(36)
    *past, today = days
    assert today.start.weekday() == 0
    before = {window: days[window] for window in past}
    saturday = next(window for window in reversed(past) if window.start.weekday() == 5)
    like_weekend = days[saturday]

    def p_value(current: Profile, start: datetime | None) -> float:
        report = check_drift(reference, current, past=before, start=start)
        assert report.n_past == 35
        return report.features["load"].checks[0].window_p_value

    assert p_value(days[today], today.start) > 0.05
    # a Monday that is like a weekend: unusual among Mondays, hardly among all days
    assert p_value(like_weekend, None) > 0.01
    assert p_value(like_weekend, today.start) < 0.001
    counts: dict[int, list[list[int]]] = {}
    for window in past:
        cells = list(days[window].features["load"].counts)
        counts.setdefault(window.start.weekday(), []).append(cells)
    expected = brute_force_of_weekdays(counts, 0, list(like_weekend.features["load"].counts))
    assert p_value(like_weekend, today.start) == pytest.approx(expected, rel=1e-6)


def brute_force_of_weekdays(counts, weekday, now):
    """All windows have as many rows, so distances need no scale."""

    def distance(one, others):
        total = np.sum(others, axis=0)
        shares = np.cumsum(one) / np.sum(one) - np.cumsum(total) / np.sum(total)
        return np.log(np.abs(shares).max())

    logs = {
        day: [distance(one, [*group[:i], *group[i + 1 :]]) for i, one in enumerate(group)]
        for day, group in counts.items()
    }
    degrees = sum(len(group) - 1 for group in logs.values())
    squares = sum(((np.array(group) - np.mean(group)) ** 2).sum() for group in logs.values())
    own = logs[weekday]
    spread = np.sqrt(squares / degrees * (1 + 1 / len(own)))
    t = (distance(now, counts[weekday]) - np.mean(own)) / spread
    return scipy_stats.t.sf(t, degrees)


def test_fewer_than_three_windows_of_the_weekday_calibrate_nothing():
    reference, days = weeks(20)
    sunday = MONDAY + timedelta(days=20)

    report = check_drift(reference, next(iter(days.values())), past=days, start=sunday)

    assert report.n_past == 0
    assert report.reason.endswith("not calibrated: 2 past windows of a Sunday, 3 are needed")
    assert math.isnan(report.features["load"].checks[0].window_p_value)


def test_past_windows_are_named_by_their_start():
    reference, days = weeks(28)
    bad = list(days)[12]
    shifted = pd.DataFrame({"load": np.random.default_rng(1).normal(5, 1, 400)})
    days[bad] = profile_data(shifted, like=reference)

    today = MONDAY + timedelta(days=28)
    report = check_drift(reference, next(iter(days.values())), past=days, start=today)

    assert [each.window for each in report.past_outliers] == ["2026-01-17"]


def test_a_start_needs_past_windows_that_have_one():
    reference, past = nights(6)
    with pytest.raises(ConfigError, match="start tells the weekday of the window, so past must"):
        check_drift(reference, past[0], past=past, start=MONDAY)
    of_segments = {TimeWindow("a", None): past[0]}
    with pytest.raises(ConfigError, match="start tells the weekday"):
        check_drift(reference, past[0], past=of_segments, start=MONDAY)
    assert check_drift(reference, past[0], past=of_segments).reason.endswith(
        "not calibrated: 1 past window, 5 are needed"
    )


def test_windows_without_rows_calibrate_nothing():
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=500)})
    reference = profile_data(frame)
    empty = profile_data(frame[:0], like=reference)
    assert check_drift(reference, frame, past=[empty] * 6).n_past == 0
    full = [profile_data(frame[i::10], like=reference) for i in range(5)]
    assert check_drift(reference, frame, past=[empty, *full]).n_past == 5
