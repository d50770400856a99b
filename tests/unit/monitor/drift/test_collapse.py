"""Times that collapse to one are found; windows of one day or of one batch are none of that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flytekitplugins.wbmon import check_drift, merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.drift.collapse import collapse_check, comes_in_batches
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.stats.distinct import sketch_distinct

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


# --- profiles made by hand, of which the shares can be counted

RULE = DriftRule()
_2100 = 4_102_444_800.0
_2101 = 4_133_980_800.0
_2150 = 5_680_281_600.0
_9999 = 253_402_300_799.0
SPACE = 2**64 // 5000


def feature(hashes: list[int], *, day: int = 1000, cells: tuple[int, ...] = (), **fields: float):
    """Times with these hashes, `day` of a thousand of which are days; all between first and last.

    Args:
        hashes: The hash of each row.
        day: So many of a thousand times are of the precision of a day.
        cells: Rows before, at the first time of the reference, between, at the last, after it.
        fields: The smallest, the largest and the mean time; of the year 2001 if not given.
    """
    sketch = sketch_distinct(np.array(hashes, dtype=np.uint64))
    precision = FeatureProfile(
        name="precision",
        kind="category",
        n_rows=1000,
        categories=("day", "second"),
        counts=np.array([day, 1000 - day, 0]),
    )
    return FeatureProfile(
        name="t",
        kind="time",
        n_rows=len(hashes),
        hashes=sketch.hashes,
        hash_counts=sketch.counts,
        counts=np.array(cells or (0, 0, len(hashes), 0, 0)),
        facets={"precision": precision},
        **{"minimum": 1e9, "mean": 1.01e9, "maximum": 1.02e9, **fields},
    )


def found_of(reference: FeatureProfile, current: FeatureProfile) -> Check:
    check = collapse_check(reference, current, RULE)
    assert check is not None
    return check


def spaced(first: int, n: int, times: int = 1) -> list[int]:
    """Hashes of `n` times, each in so many rows, evenly over all hashes."""
    return [(first + i) * SPACE for i in range(n)] * times


# 300 of a thousand rows at one time, and 350 times in two rows each: a usual time has two
AT_ONE, OTHERS = [17], [100 + i for i in range(350)]
PAIRS = 300 * AT_ONE + 2 * OTHERS
SHARE = 1 - 351 * 2 / 1000


def test_the_share_of_precise_times_at_one_is_what_it_has_beyond_a_usual_one():
    moments = feature(spaced(0, 1000), day=0)
    # of the other 700 each is alone, so 701 are different and 299 rows repeat one
    single = feature(300 * AT_ONE + [100 + i for i in range(700)], day=0)

    check = found_of(moments, single)

    assert (check.name, check.test) == ("one_time", "rarefaction")
    assert check.effect_size == pytest.approx(0.299)
    assert check.statistic == pytest.approx(0.299)
    assert check.p_value < 1e-6
    assert 0.2 < check.effect_low < check.effect_size
    certain = collapse_check(moments, single, DriftRule(alpha=0.001))
    assert certain.effect_low < check.effect_low
    # where the others come twice, more rows repeat a time than are at one
    twice = found_of(moments, feature(PAIRS, day=0))
    assert twice.effect_size == pytest.approx(SHARE)
    assert twice.statistic == pytest.approx(0.649)
    assert twice.effect_low == twice.effect_size


def test_times_that_all_come_twice_are_at_no_one_time():
    check = found_of(feature(spaced(0, 1000), day=0), feature(2 * [*range(500)], day=0))

    assert check.statistic == pytest.approx(0.5)
    assert (check.effect_size, check.effect_low, check.p_value) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("n_there", [0, 1, 50, 200])
def test_days_are_at_one_by_what_it_has_beyond_twice_its_rows_in_the_reference(n_there):
    """The reference has every day in its sketch."""
    reference = feature(n_there * AT_ONE + [2000 + i for i in range(1000 - n_there)])

    check = found_of(reference, feature(PAIRS))

    assert check.effect_size == pytest.approx(max(0.0, SHARE - 2 * n_there / 1000))
    assert (check.p_value < 0.05) == (n_there < 200)


@pytest.mark.parametrize(
    ("at", "rows"), [(7, 0), (1022, 1), (1023, 1), (1024, 20)], ids=["no row", "in", "last", "out"]
)
def test_a_day_outside_the_sketch_of_the_reference_counts_as_its_most_frequent_one(at, rows):
    """Of 5000 days the sketch has the 1024 with the lowest hashes, one of which has 20 rows."""
    days = [day for day in spaced(0, 5000) if day != 7 * SPACE]
    # without that one, the last of them is one farther
    reference = feature([*days, SPACE, *19 * [3 * SPACE]])
    assert reference.hashes[-1] == 1024 * SPACE
    at += at > 7

    current = feature(300 * [at * SPACE] + 2 * [i * SPACE + 1 for i in range(350)])

    assert found_of(reference, current).effect_size == pytest.approx(SHARE - 2 * rows / 1000)


@pytest.mark.parametrize(
    ("cells", "earlier"),
    [
        ((100, 50, 50, 300, 500), 0.2),
        ((0, 0, 200, 800, 0), 0.2),
        ((200, 0, 0, 0, 800), 0.2),
        ((0, 900, 100, 0, 0), SHARE),
        ((0, 0, 0, 500, 500), None),
        ((0, 0, 40, 460, 500), None),
    ],
)
def test_days_count_if_they_are_before_the_last_of_the_reference(cells, earlier):
    check = collapse_check(feature(spaced(0, 1000)), feature(PAIRS, cells=cells), RULE)

    if earlier is None:
        assert check is None
    else:
        assert check.effect_size == pytest.approx(earlier)


def test_days_that_are_never_count_as_if_they_were_earlier():
    reference, all_later = feature(spaced(0, 1000)), (0, 0, 0, 0, 1000)

    def effect(share: float, others: float, cells: tuple[int, ...] = all_later) -> float:
        mean = share * _9999 + (1 - share) * others
        return found_of(
            reference, feature(PAIRS, cells=cells, mean=mean, maximum=_9999)
        ).effect_size

    # the least share that has this mean: all others may be as late as can be
    assert effect(0.2, _2100) == pytest.approx(0.2)
    assert 0.15 < effect(0.2, 1e9) < 0.2
    assert effect(0.1, _2100, (100, 0, 0, 0, 900)) == pytest.approx(0.2)
    # a single time without an end
    rare = feature(PAIRS, cells=all_later, mean=1.01e9, maximum=_9999)
    assert collapse_check(reference, rare, RULE) is None
    rare = feature(PAIRS, cells=(100, 0, 0, 0, 900), mean=1.01e9, maximum=_9999)
    assert found_of(reference, rare).effect_size == pytest.approx(0.1)


@pytest.mark.parametrize("last", [_2100, _2101, _2150, _9999])
def test_a_reference_with_times_that_are_never_does_not_tell_what_is_later(last):
    reference = feature(spaced(0, 1000), maximum=last)

    assert collapse_check(reference, feature(PAIRS), RULE) is None


def test_days_of_the_next_century_are_never():
    reference, later = feature(spaced(0, 1000)), (0, 0, 0, 0, 1000)
    now = feature(PAIRS, cells=later, minimum=_2101, mean=_2150, maximum=_2150)

    assert found_of(reference, now).effect_size == pytest.approx(SHARE)
    # its first second is not
    now = feature(PAIRS, cells=later, minimum=_2100, mean=_2100, maximum=_2100)
    assert collapse_check(reference, now, RULE) is None


@pytest.mark.parametrize(
    ("n_repeats", "are_batches"), [(0, False), (10, False), (11, True), (15, True), (400, True)]
)
def test_times_of_which_more_than_a_hundredth_repeats_are_those_of_batches(n_repeats, are_batches):
    moments = feature(spaced(0, 1000 - n_repeats) + n_repeats * [SPACE], day=0)

    check = collapse_check(moments, feature(PAIRS, day=0, cells=(0, 0, 0, 0, 1000)), RULE)

    assert (check is None) == are_batches


DAY = 86_400


def seconds_of(form: str, n: int, seconds: int, unit: float) -> np.ndarray:
    """Seconds since the start of a day, of `n` rows that are spread or in batches."""
    rng = np.random.default_rng(3)
    found = rng.random(4 * n) * seconds
    if form == "busy hours":
        hour = found % DAY / 3600
        found = found[rng.random(4 * n) < 0.15 + 0.85 * np.exp(-(((hour - 14) / 4) ** 2))]
    elif form.endswith("batches"):
        found = rng.choice(found[: int(form.split(maxsplit=1)[0])], n)
    return np.floor(found[:n] / unit) * unit


@pytest.mark.parametrize(
    ("form", "n", "seconds", "unit", "are_batches"),
    [
        *((form, 2000, DAY, 1, False) for form in ("flat", "busy hours")),
        *((form, 20_000, DAY, 1, False) for form in ("flat", "busy hours")),
        ("flat", 300_000, DAY, 1, False),
        ("busy hours", 20_000, DAY, 1e-3, False),
        ("busy hours", 5000, DAY, 60, False),
        ("flat", 5000, 1000, 1, False),
        # fewer than 500 times may be those of batches
        ("flat", 5000, 400, 1, True),
        ("flat", 5000, 400 * 3600, 3600, True),
        ("flat", 5000, 1000 * 3600, 3600, False),
        ("700 batches", 4000, 700 * DAY, 1, True),
        ("700 batches", 4000, DAY, 1, True),
        ("2000 batches", 20_000, DAY, 1, True),
        ("2000 batches", 20_000, DAY, 1e-3, True),
        ("700 batches", 4000, 7 * DAY, 60, True),
    ],
)
def test_times_that_repeat_by_chance_are_not_those_of_batches(form, n, seconds, unit, are_batches):
    at = pd.to_datetime(1.7e9 // DAY * DAY + seconds_of(form, n, seconds, unit), unit="s")
    reference = pd.DataFrame({"t": at})
    frozen = pd.DataFrame({"t": [at.max().ceil("D") + (at[0] - at[0].floor("D"))] * 500})

    assert comes_in_batches(profile_data(reference).features["t"]) == are_batches
    found = check_drift(reference, frozen).features["t"].checks
    assert any((check.name, check.level) == ("one_time", "drift") for check in found) != are_batches


@pytest.mark.parametrize("day", [0, 400, 500, 501, 600, 1000])
def test_times_are_days_if_most_of_them_are(day):
    reference = feature(spaced(0, 1000), day=day)

    check = collapse_check(reference, feature(PAIRS, cells=(0, 0, 0, 0, 1000)), RULE)

    assert (check is None) == (day > 500)


def test_times_of_unknown_precision_may_be_those_of_batches():
    of = feature(spaced(0, 1000), day=0)
    bare = replace(of.facets["precision"], counts=None, categories=())
    now = feature(PAIRS, cells=(0, 0, 0, 0, 1000))

    assert collapse_check(replace(of, facets={"precision": bare}), now, RULE) is None
    assert collapse_check(replace(of, facets={}), now, RULE) is None
    assert collapse_check(of, now, RULE) is not None


def test_the_share_of_a_warning_is_enough():
    reference, now = feature(spaced(0, 1000)), feature(PAIRS, cells=(200, 0, 0, 0, 800))
    share = found_of(reference, now).effect_size

    check = collapse_check(reference, now, DriftRule(warn_effect=share, min_effect=0.5))

    assert check is not None
    assert check.p_value < 1e-6
