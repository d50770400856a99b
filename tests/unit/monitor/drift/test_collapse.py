"""Times that collapse to one are found; windows of one day or of one batch are none of that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flytekitplugins.wbmon import check_drift, merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.drift.collapse import collapse_check
from flytekitplugins.wbmon.monitor.drift.report import DriftRule
from flytekitplugins.wbmon.monitor.profiles.profile import Profile

DAY = 86_400_000_000
BATCHES = [
    pd.Timestamp("2025-01-01 02:00:13.123") + pd.Timedelta(days=1.0001) * i for i in range(900)
]


def births(seed: int, n: int = 2000) -> pd.Series:
    days = np.random.default_rng(seed).integers(0, 20_000, n)
    return pd.Series(pd.Timestamp("1950-01-01") + pd.to_timedelta(days, unit="D"))


def events(seed: int, first: str, days: float, n: int = 2000, unit: str = "us") -> pd.Series:
    after = (np.random.default_rng(seed).random(n) * days * DAY).astype(np.int64)
    times = pd.Series(pd.Timestamp(first) + pd.to_timedelta(after, unit="us"))
    return times.dt.floor(unit)


def batches(seed: int, first: int, n_batches: int, n: int = 2000) -> pd.Series:
    picked = first + np.random.default_rng(seed).integers(0, n_batches, n)
    return pd.Series([BATCHES[i] for i in picked])


def some(times: pd.Series, share: float, at: str) -> pd.Series:
    """A share of the times, the first ones, set to one."""
    return times.mask(times.index < share * len(times), pd.Timestamp(at))


def never(n: int = 2000) -> pa.Table:
    days = np.full(n, 2_932_896, dtype=np.int32)
    return pa.table({"t": pa.array(days).cast(pa.date32())})


COLLAPSED = {
    "births": (births(1), some(births(2), 1, "1970-01-01")),
    "a third of the births": (births(1), some(births(2), 0.33, "1970-01-01")),
    "births, but one later": (
        births(1),
        pd.concat([some(births(2), 1, "1970-01-01"), pd.Series([pd.Timestamp("2020-01-01")])]),
    ),
    "births of which the reference has many": (
        births(1, 100_000),
        some(births(2), 1, "1970-01-01"),
    ),
    "moments, at one of the reference's day": (
        events(1, "2026-01-01", 1),
        some(events(2, "2026-01-01", 1), 1, "2026-01-01 13:00:00.123456"),
    ),
    "moments, at a later one": (
        events(1, "2026-01-01", 1),
        some(events(2, "2026-01-05", 1), 1, "2026-01-05 13:00:00.123456"),
    ),
    "two fifths of many later moments": (
        events(1, "2026-01-01", 1),
        some(events(2, "2026-01-05", 1, 20_000), 0.4, "2026-01-05 13:00:00.123456"),
    ),
}
LEGIT = {
    "births": (births(1), births(2)),
    "few births": (births(1), births(2, 120)),
    "many births": (births(1), births(2, 30_000)),
    "births with a default in both": (
        some(births(1), 0.2, "1970-01-01"),
        some(births(2, 700), 0.2, "1970-01-01"),
    ),
    "a day after a month": (events(1, "2026-01-01", 30, 30_000), events(2, "2026-01-31", 1)),
    "a day of the month": (events(1, "2026-01-01", 30, 30_000), events(2, "2026-01-20", 1)),
    "minutes of a day after a sample of a year": (
        events(1, "2025-01-01", 365, unit="min"),
        events(2, "2026-01-20", 1, unit="min"),
    ),
    "hours of a day after a sample of a year": (
        events(1, "2025-01-01", 365, unit="h"),
        events(2, "2026-01-20", 1, unit="h"),
    ),
    "the date of a day after a month": (
        events(1, "2026-01-01", 30, unit="D"),
        events(2, "2026-01-31", 1, unit="D"),
    ),
    "the date of a day after a sample of years": (
        events(1, "2023-01-01", 1000, unit="D"),
        events(2, "2026-01-31", 1, unit="D"),
    ),
    "dates of a week that begins in the reference": (
        events(1, "2025-01-01", 365, unit="D"),
        events(2, "2025-12-28", 7, unit="D"),
    ),
    "the date of a day of the reference": (
        events(1, "2025-01-01", 100, 30_000, unit="D"),
        events(2, "2025-03-20", 1, 300, unit="D"),
    ),
    "few dates, and one never": (
        some(events(1, "2025-01-01", 365, unit="D"), 0.01, "2250-01-01"),
        events(2, "2025-03-20", 1, 300, unit="D"),
    ),
    "a later batch": (batches(1, 0, 30), batches(2, 30, 1)),
    "a later batch after a sample of two years": (batches(1, 0, 700), batches(2, 701, 1)),
}


@pytest.fixture(params=["exact", "grid"])
def check(request):
    def check(before, now):
        before, now = (
            pd.DataFrame({"t": each}) if isinstance(each, pd.Series) else each
            for each in (before, now)
        )
        if request.param == "exact":
            return check_drift(before, now).features["t"]
        reference = profile_data(before)
        return check_drift(reference, profile_data(now, like=reference)).features["t"]

    return check


@pytest.mark.parametrize("case", COLLAPSED)
def test_times_that_become_one_are_found(check, case):
    found = check(*COLLAPSED[case])

    assert found.level == "drift"
    assert "one_time" in {one.name for one in found.checks if one.level == "drift"}
    assert "of rows are at one time" in found.reason


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_times_that_are_never_are_no_later_window(check, share):
    real = profile_days(births(2, int(2000 * (1 - share))))

    found = check(profile_days(births(1)), pa.concat_tables([never(int(2000 * share)), real]))

    assert found.level == "drift"


def profile_days(times: pd.Series) -> pa.Table:
    return pa.table({"t": pa.array(times.dt.date.tolist(), pa.date32())})


@pytest.mark.parametrize("case", LEGIT)
def test_windows_of_a_day_or_of_a_batch_have_no_finding(check, case):
    found = check(*LEGIT[case])

    assert [one for one in found.checks if one.name == "one_time" and one.level != "none"] == []


def test_the_hour_and_the_precision_of_batches_are_those_of_few_rows():
    """All rows of a batch share its time, which is on a full minute once in sixty batches."""
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        at = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 86_400, 31), unit="s")
        at += pd.to_timedelta(np.arange(31), unit="D")
        before = at[rng.permuted(np.arange(3000) % 30)]
        report = check_drift(pd.DataFrame({"t": before}), pd.DataFrame({"t": at[[30] * 500]}))
        alarms += report.verdict in ("warning", "drift")

    # 20 at 5 %: more than 3 have a chance of 1.6 %
    assert alarms <= 3


def test_batches_that_lose_their_hour_are_found():
    def batches(first: str, floor: str) -> pd.DataFrame:
        at = pd.Series(pd.date_range(first, periods=300, freq="97min13s")).dt.floor(floor)
        return pd.DataFrame({"t": at.repeat(10)})

    report = check_drift(batches("2026-01-01", "s"), batches("2026-03-01", "D"))

    assert report.features["t"].level == "drift"
    assert ("precision",) in {c.facet for c in report.features["t"].checks if c.level == "drift"}


def test_times_of_which_nothing_could_be_tested_are_no_feature(check):
    found = check(*LEGIT["a later batch"])

    assert (found.status, found.tested, found.checks) == ("untested", False, ())
    assert found.reason.startswith(
        "no row is earlier than the first of the reference, and of later"
    )


def test_a_reference_of_an_older_file_has_no_sketch_of_times_and_no_such_check():
    frame = pd.DataFrame({"t": births(1)})
    of = profile_data(frame).features["t"]
    old = replace(of, hashes=None, hash_counts=None)

    assert collapse_check(old, of, DriftRule()) is None
    assert collapse_check(of, old, DriftRule()) is None


def test_a_sketch_of_a_part_of_the_times_is_none_of_the_whole():
    like = profile_data(pd.DataFrame({"t": births(1)}))
    new = profile_data(pd.DataFrame({"t": births(2)}), like=like)
    bare = replace(new.features["t"], hashes=None, hash_counts=None)
    old = replace(new, features={"t": bare})

    for parts in ([old, new], [new, old]):
        assert merge_profiles(parts).features["t"].sketch is None
    assert merge_profiles([new, new]).features["t"].sketch is not None


def test_past_windows_in_which_all_times_are_one_make_it_usual():
    like = profile_data(pd.DataFrame({"t": events(0, "2026-01-01", 1)}))

    def window(seed: int) -> Profile:
        share = np.random.default_rng(seed).uniform(0.3, 0.9)
        times = some(events(seed, "2026-01-02", 1), share, "2026-01-02 13:00:00.123456")
        return profile_data(pd.DataFrame({"t": times}), like=like)

    past = [window(seed) for seed in range(1, 21)]

    assert check_drift(like, window(99)).features["t"].level == "drift"
    usual = check_drift(like, window(99), past=past).features["t"]
    assert {one.level for one in usual.checks if one.name == "one_time"} == {"none"}


def test_a_sketch_of_times_comes_back_from_its_file(tmp_path):
    frame = pd.DataFrame({"t": births(1), "n": np.arange(2000.0)})
    profile = profile_data(frame, kinds={"n": "time"})
    profile.save(tmp_path / "profile")

    for name, found in Profile.load(tmp_path / "profile").features.items():
        np.testing.assert_array_equal(found.hashes, profile.features[name].hashes)
        np.testing.assert_array_equal(found.hash_counts, profile.features[name].hash_counts)
