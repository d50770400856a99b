"""What a window has that the reference does not, where profiles know a sample of the values."""

from __future__ import annotations

import math
import string
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from flytekitplugins.wbmon import DriftRule, check_drift, profile_data
from flytekitplugins.wbmon.monitor.drift.novelty import (
    known_rows,
    new_categories,
    new_categories_check,
    new_identifiers_check,
)
from flytekitplugins.wbmon.monitor.drift.report import Check, FeatureDrift
from flytekitplugins.wbmon.monitor.profiles.feature import (
    UNSEEN_LIMIT,
    FeatureProfile,
    WeightSums,
    name_hash,
)
from flytekitplugins.wbmon.stats.unseen import unseen_category_test

ALPHA = 0.05
N, M = 20_000, 5_000


def column(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": values})


def feature(before: Any, now: Any, **kinds: str) -> FeatureDrift:
    return check_drift(column(before), column(now), rule=DriftRule(kinds=kinds)).features["x"]


def check_of(found: FeatureDrift, name: str) -> Check:
    return next(check for check in found.checks if check.name == name)


def drawn(rng: np.random.Generator, n: int, *, k: int, slope: float) -> np.ndarray:
    """`n` of `k` names with Zipf shares."""
    shares = 1.0 / np.arange(1, k + 1) ** slope
    return np.char.add("c", rng.choice(k, n, p=shares / shares.sum()).astype(str))


# --- categories beyond those that have their own count


@pytest.mark.parametrize("share", [0.75, 1.0])
def test_rare_categories_that_were_replaced_are_found_and_their_share_is_right(share):
    rng = np.random.default_rng(1)
    before = drawn(rng, 60_000, k=6_000, slope=0.9)
    now = drawn(rng, 20_000, k=6_000, slope=0.9)
    codes = np.char.lstrip(now, "c").astype(int)
    # only names that are too rare for the table, and each name wholly or not
    gone = (codes > 500) & (codes % 100 < 100 * share)
    replaced = np.where(gone, np.char.add("d", now), now)

    found = feature(before, replaced)

    truth = np.isin(replaced, before, invert=True).mean() - np.isin(now, before, invert=True).mean()
    check = check_of(found, "new_categories")
    assert found.kind == "category"
    assert found.level == "drift"
    assert check.effect_size == pytest.approx(truth, rel=0.25)
    assert check.effect_low <= truth
    assert found.new_categories
    assert all(name.startswith("dc") for name in found.new_categories[:20])


@pytest.mark.parametrize("slope", [0.5, 0.9, 1.3])
@pytest.mark.parametrize("k", [3_000, 30_000])
def test_new_rare_categories_of_a_long_tail_are_chance(k, slope):
    alarms = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found = feature(
            drawn(rng, N, k=k, slope=slope), drawn(rng, M, k=k, slope=slope), x="category"
        )
        alarms += found.level in ("warning", "drift")

    # 12 at 5 %: more than 3 have a chance of 0.2 %
    assert alarms <= 3


def test_the_share_of_replaced_categories_counts_weights():
    rng = np.random.default_rng(2)
    before, now = drawn(rng, N, k=4_000, slope=0.9), drawn(rng, M, k=4_000, slope=0.9)
    codes = np.char.lstrip(now, "c").astype(int)
    gone = (codes > 300) & (codes % 2 == 0)
    replaced = np.where(gone, np.char.add("d", now), now)
    weights = np.where(gone, 4.0, 1.0)
    reference = profile_data(column(before).assign(w=1.0), kinds={"x": "category"}, weight="w")
    window = profile_data(column(replaced).assign(w=weights), like=reference)

    check = check_of(check_drift(reference, window).features["x"], "new_categories")

    assert check.effect_size == pytest.approx(weights[gone].sum() / weights.sum(), rel=0.3)
    assert check.level == "drift"


def test_past_windows_say_whether_new_categories_are_usual():
    rng = np.random.default_rng(3)

    def names(tag: str) -> pd.DataFrame:
        """A third of the rows in categories of this window alone."""
        own = np.char.add(f"{tag}-", rng.integers(0, 200, M // 3).astype(str))
        return column(np.concatenate([drawn(rng, M, k=4_000, slope=0.9), own]))

    reference = profile_data(names("r"), kinds={"x": "category"})
    past = [profile_data(names(f"p{day}"), like=reference) for day in range(8)]
    as_ever = profile_data(names("now"), like=reference)
    others = column(np.char.add("d", drawn(rng, M, k=4_000, slope=0.9)))
    renamed = profile_data(others, like=reference)

    assert check_drift(reference, as_ever).features["x"].level == "drift"
    assert check_drift(reference, as_ever, past=past).features["x"].level == "none"
    assert check_drift(reference, renamed, past=past).features["x"].level == "drift"


def even(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    return np.char.add("c", rng.integers(0, k, n).astype(str))


@pytest.mark.parametrize("name", ["new", "c77", "c78", "c79"])
@pytest.mark.parametrize(("k", "n"), [(1_100, 5_000), (3_000, 6_000), (3_000, 20_000)])
def test_rows_that_gather_in_one_of_thousands_of_categories_are_found(k, n, name):
    """Whether or not the sample of names has it, and whether or not it is new."""
    rng = np.random.default_rng(9)
    now = even(rng, n, k)
    gathered = np.where(rng.random(n) < 0.4, name, now)

    found = feature(even(rng, n, k), gathered, x="category")

    assert found.level == "drift"
    largest = max(check.effect_size for check in found.checks if check.level == "drift")
    assert largest == pytest.approx(0.4, abs=0.08)
    assert all(check.effect_low <= 0.41 for check in found.checks)


@pytest.mark.parametrize(("k", "n"), [(1_100, 5_000), (3_000, 6_000), (5_000, 5_000)])
def test_thousands_of_even_categories_do_not_alarm(k, n):
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = feature(even(rng, n, k), even(rng, n, k), x="category")
        assert found.status == "ok"
        alarms += any(check.q_value <= ALPHA for check in found.checks)

    # 20 at 5 %: more than 4 have a chance of 0.3 %
    assert alarms <= 4


def test_past_windows_say_whether_rows_gather_in_few_categories():
    rng = np.random.default_rng(10)

    def window(share: float) -> pd.DataFrame:
        now = even(rng, 12_000, 3_000)
        return column(np.where(rng.random(12_000) < share, "one", now))

    reference = profile_data(window(0.0), kinds={"x": "category"})
    shares = 2 * (0.3, 0.35, 0.4, 0.45, 0.3, 0.4, 0.45, 0.35)
    usual = [profile_data(window(share), like=reference) for share in shares]
    quiet = [profile_data(window(0.0), like=reference) for _ in shares]
    now = profile_data(window(0.4), like=reference)

    assert check_drift(reference, now, past=usual).features["x"].level == "none"
    assert check_drift(reference, now, past=quiet).features["x"].level == "drift"


# --- identifiers


def customers(rng: np.random.Generator, n: int, tag: str = "u") -> np.ndarray:
    return np.char.add(f"{tag}-", rng.integers(0, 4_000, n).astype(str))


def test_replaced_identifiers_are_told_and_past_windows_decide():
    rng = np.random.default_rng(4)
    reference = profile_data(column(customers(rng, N)))
    past = [profile_data(column(customers(rng, M)), like=reference) for _ in range(8)]
    replaced = profile_data(column(customers(rng, M, "v")), like=reference)

    alone = check_drift(reference, replaced).features["x"]
    among = check_drift(reference, replaced, past=past).features["x"]

    assert alone.kind == "identifier"
    assert check_of(alone, "new_identifiers").level == "negligible"
    assert check_of(alone, "new_identifiers").effect_size > 0.9
    assert check_of(among, "new_identifiers").level == "drift"
    told = "of rows have values that the reference never had, where known ones should recur"
    assert told in among.reason


def test_replaced_identifiers_say_what_decides():
    rng = np.random.default_rng(5)
    # the prefix stays, so that nothing but the identifiers is new
    before, now = rng.integers(0, 4_000, N), rng.integers(4_000, 8_000, M)

    found = feature([f"u-{i:04d}" for i in before], [f"u-{i:04d}" for i in now])

    assert found.level == "negligible"
    assert "past windows (past=) tell whether that is usual" in found.reason
    assert "too small" not in found.reason


def test_orders_that_are_new_in_every_window_are_usual():
    def lines(first: int) -> pd.DataFrame:
        return column([f"o-{first + i // 3:09d}" for i in range(M)])

    reference = profile_data(lines(0))
    past = [profile_data(lines(10**5 * day), like=reference) for day in range(1, 9)]
    now = profile_data(lines(10**6), like=reference)

    assert check_drift(reference, now).verdict == "ok"
    found = check_drift(reference, now, past=past).features["x"]
    assert check_of(found, "new_identifiers").level == "none"
    assert found.level in ("none", "negligible")


def test_identifiers_that_recur_are_no_new_ones():
    rng = np.random.default_rng(6)

    found = feature(customers(rng, N), customers(rng, M))

    assert found.kind == "identifier"
    assert "new_identifiers" not in {check.name for check in found.checks}


@pytest.mark.parametrize("share", [0.15, 0.3, 0.7])
def test_some_new_identifiers_are_told_and_no_drift_without_past_windows(share):
    rng = np.random.default_rng(6)
    now = np.where(rng.random(M) < share, customers(rng, M, "v"), customers(rng, M))

    reference = profile_data(column(customers(rng, N)))
    found = check_drift(reference, column(now)).features["x"]
    past = [profile_data(column(customers(rng, M)), like=reference) for _ in range(8)]
    among = check_drift(reference, column(now), past=past).features["x"]

    assert found.kind == "identifier"
    assert check_of(found, "new_identifiers").level == "negligible"
    # rather too small: of new ones that are alone, some may be so by chance
    assert 0.75 * share < check_of(found, "new_identifiers").effect_size < share + 0.03
    assert check_of(among, "new_identifiers").level == "drift"


def test_identifiers_of_one_row_each_are_always_new():
    rng = np.random.default_rng(7)
    before, now = (np.char.add("t", rng.integers(0, 2**62, n).astype(str)) for n in (N, M))

    found = feature(before, now)

    assert (found.kind, found.level) == ("identifier", "none")
    assert "new_identifiers" not in {check.name for check in found.checks}


@pytest.mark.parametrize("n_lines", [2, 3, 4])
@pytest.mark.parametrize("n_orders", [200, 900, 3_000])
def test_lines_of_orders_are_identifiers_however_many_there_are(n_orders, n_lines):
    def lines(first: int) -> list[str]:
        return [f"o{first + i:09d}" for i in range(n_orders) for _ in range(n_lines)]

    found = feature(lines(0), lines(10**6))

    assert found.kind == "identifier"
    assert found.level in ("none", "negligible")


# --- what identifiers are made of

_BASE32 = np.array(list("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
_BASE36 = np.array(list(string.digits + string.ascii_lowercase))
_BASE62 = np.array(list(string.digits + string.ascii_letters))
_HEX = np.array(list("0123456789abcdef"))
_MONTH_MS = 30 * 86_400_000
_START_MS = 1_790_000_000_000


def written(number: int, alphabet: np.ndarray, places: int) -> str:
    text = ""
    for _ in range(places):
        text = alphabet[number % len(alphabet)] + text
        number //= len(alphabet)
    return text


def moments(rng: np.random.Generator, n: int, month: int) -> list[int]:
    first = _START_MS + month * _MONTH_MS
    return (first + np.sort(rng.integers(0, _MONTH_MS // 30, n))).tolist()


def random_texts(rng: np.random.Generator, n: int, alphabet: np.ndarray, k: int) -> list[str]:
    return ["".join(row) for row in rng.choice(alphabet, (n, k))]


def uuid7(rng: np.random.Generator, n: int, month: int) -> list[str]:
    numbers = (at << 80 | int.from_bytes(rng.bytes(10), "big") for at in moments(rng, n, month))
    return [str(uuid.UUID(int=i & ~(0xF << 76) | (7 << 76))) for i in numbers]


def uuid4(rng: np.random.Generator, n: int, month: int) -> list[str]:
    return [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(n)]


def ulid(rng: np.random.Generator, n: int, month: int) -> list[str]:
    rest = random_texts(rng, n, _BASE32, 16)
    return [
        written(at, _BASE32, 10) + r for at, r in zip(moments(rng, n, month), rest, strict=True)
    ]


def object_id(rng: np.random.Generator, n: int, month: int) -> list[str]:
    rest = random_texts(rng, n, _HEX, 16)
    return [f"{at // 1000:08x}{r}" for at, r in zip(moments(rng, n, month), rest, strict=True)]


def ksuid(rng: np.random.Generator, n: int, month: int) -> list[str]:
    rest = random_texts(rng, n, _BASE62, 21)
    times = (at // 1000 - 1_400_000_000 for at in moments(rng, n, month))
    return [written(at, _BASE62, 6) + r for at, r in zip(times, rest, strict=True)]


def cuid(rng: np.random.Generator, n: int, month: int) -> list[str]:
    rest = random_texts(rng, n, _BASE36, 16)
    times = moments(rng, n, month)
    return [f"c{written(at, _BASE36, 8)}{r}" for at, r in zip(times, rest, strict=True)]


def hexadecimal(rng: np.random.Generator, n: int, month: int) -> list[str]:
    return random_texts(rng, n, _HEX, 8)


def order(rng: np.random.Generator, n: int, month: int) -> list[str]:
    return [f"ORD-2026{month + 1:02d}{1 + i * 28 // n:02d}-{i:06d}" for i in range(n)]


@pytest.mark.parametrize(
    "make",
    [uuid7, uuid4, ulid, object_id, ksuid, cuid, hexadecimal, order],
    ids=lambda m: m.__name__,
)
def test_identifiers_of_a_later_window_do_not_alarm(make: Callable[..., list[str]]):
    """A time is written at the beginning of most; each window has another."""
    alarms = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found = feature(make(rng, 2_000, 0), make(rng, 1_000, 1 + seed))
        assert found.kind == "identifier"
        alarms += found.level in ("warning", "drift")

    # 8 at 5 %: more than 2 have a chance of 0.6 %
    assert alarms <= 2


@pytest.mark.parametrize(
    ("before", "now", "facet"),
    [
        ("AB-{0:06d}", "ZZ-{0:06d}", "words"),
        ("AB{0:06d}", "ZZ{0:06d}", "words"),
        ("https://a.example.com/{0:x}", "https://b.example.org/{0:x}", "words"),
        ("user.{0:06d}@firm.de", "user.{0:06d}@other.de", "words"),
        ("{0:012x}", "{0:012X}", "alphabet"),
        ("{0:012x}", "{0:013x}", "format"),
        ("{0:012x}-z", "{0:012x}-ж", "words"),
        ("t{0:014d}", "t{0:012d}.7", "format"),
    ],
)
def test_another_pattern_of_identifiers_is_found(before, now, facet):
    rng = np.random.default_rng(8)
    one, other = (rng.integers(2**40, 2**47, n).tolist() for n in (2_000, 1_000))

    found = feature([before.format(i) for i in one], [now.format(i) for i in other])

    assert found.level == "drift"
    assert facet in {check.facet[0] for check in found.checks if check.level == "drift"}


# --- columns of which nothing can be told


def test_a_column_without_any_value_in_both_windows_is_not_counted_as_tested():
    report = check_drift(
        pd.DataFrame({"x": [None] * 500, "y": np.arange(500) % 7}),
        pd.DataFrame({"x": [None] * 500, "y": np.arange(500) % 7}),
    )

    assert report.features["x"].status == "all_missing"
    assert report.n_tested == 1
    assert "(1 of 2 columns tested)" in report.reason


# --- profiles made by hand, of which the rows can be counted

RULE = DriftRule(alpha=0.02)


def named(table: dict[str, int], outside: dict[str, int]) -> FeatureProfile:
    """Categories with the names outside the table that a profile remembers of them."""
    lowest = sorted(outside, key=name_hash)[:UNSEEN_LIMIT]
    return FeatureProfile(
        name="x",
        kind="category",
        n_rows=sum(table.values()) + sum(outside.values()),
        categories=tuple(table),
        counts=np.array([*table.values(), sum(outside.values())]),
        unseen={name: outside[name] for name in lowest},
    )


def identified(rows: dict[int, int], kind: Any = "identifier") -> FeatureProfile:
    """Identifiers with these hashes, and the rows of each."""
    return FeatureProfile(
        name="x",
        kind=kind,
        n_rows=sum(rows.values()),
        hashes=np.array(sorted(rows), dtype=np.uint64),
        hash_counts=np.array([rows[each] for each in sorted(rows)], dtype=np.int64),
    )


def without_sketch(of: FeatureProfile) -> FeatureProfile:
    return replace(of, hashes=None, hash_counts=None)


BEFORE = {f"c{i}": 3 for i in range(1400)}
NOW = {f"c{i}": 2 for i in range(600, 1500)}


def test_names_that_both_windows_would_remember_stand_for_all_outside_the_table():
    reference, current = named({"a": 5000, "b": 60}, BEFORE), named({"a": 2000, "b": 50}, NOW)
    limit = min(sorted(map(name_hash, some))[UNSEEN_LIMIT - 1] for some in (BEFORE, NOW))
    shared = [name for name in {**BEFORE, **NOW} if name_hash(name) < limit]
    a, b = ([some.get(name, 0) for name in shared] for some in (BEFORE, NOW))
    of_shared, outside = sum(b), 1800 / (1800 + 2050)
    new = sum(2 for name in shared if name not in BEFORE)

    check = new_categories_check(reference, current, RULE)

    assert check is not None
    n_new, p_value, effect = unseen_category_test(a, b)
    assert (check.name, check.test) == ("new_categories", "unseen")
    assert check.statistic == n_new == new
    assert check.p_value == pytest.approx(p_value)
    assert check.effect_size == pytest.approx(outside * effect)
    assert known_rows(check, reference, current) == pytest.approx([of_shared - new, new])
    assert set(new_categories(reference, current)) == {name for name in shared if name in NOW} - {
        *BEFORE
    }


def test_the_bound_of_a_share_that_a_sample_stands_for_is_as_much_smaller():
    new = {f"d{i}": 2 for i in range(1000)}
    reference, current = named({"a": 5000}, BEFORE), named({"a": 6000}, new)
    limit = min(sorted(map(name_hash, some))[UNSEEN_LIMIT - 1] for some in (BEFORE, new))
    sampled = 2 * sum(name_hash(name) < limit for name in new)

    check = new_categories_check(reference, current, RULE)

    # a quarter of the rows is outside the table; Hoeffding's bound is for those in the sample
    assert check is not None
    margin = (check.effect_size - check.effect_low) / 0.25
    assert math.exp(-2 * sampled * margin**2) == pytest.approx(0.02)
    assert check.effect_low > 0


def test_no_name_of_a_sample_may_be_new():
    outside = dict.fromkeys(BEFORE, 5)

    assert new_categories_check(named({"a": 9}, BEFORE), named({"a": 9}, outside), RULE) is None


def test_of_more_names_than_are_remembered_all_are_new_to_a_table_of_all():
    new = {f"d{i}": 1 for i in range(300)}
    reference, current = (
        named({"a": 980, "once": 1, "twice": 2, "b": 17}, {}),
        named({"a": 1700, "once": 0, "twice": 0, "b": 0}, new),
    )

    check = new_categories_check(reference, current, RULE)

    # Good and Turing: one row of a thousand is alone, so another of a thousand is expected new
    assert check is not None
    assert (check.name, check.test, check.statistic) == ("new_categories", "unseen", 300)
    assert check.effect_size == pytest.approx(0.15 - 0.001)
    share = 301 / 3000
    error = math.sqrt(share * (1 - share) * (1 / 1000 + 1 / 2000) + 2 / 1000**2)
    assert check.effect_low == pytest.approx(0.149 - scipy_stats.norm.isf(0.02) * error)
    assert check.p_value == pytest.approx(scipy_stats.norm.sf(0.149 / error))
    assert known_rows(check, reference, current) is None
    # too few rows to say so
    few = named({"a": 3, "once": 1}, {})
    check = new_categories_check(few, named({"a": 1700, "once": 0}, new), RULE)
    assert check is not None
    assert check.effect_low == 0.0


def test_one_row_of_a_new_category_is_told():
    check = new_categories_check(named({"a": 900}, {"k": 4}), named({"a": 99}, {"n": 1}), RULE)

    assert check is not None
    assert check.statistic == 1
    assert new_categories_check(named({"a": 900}, {"k": 4}), named({"a": 99}, {}), RULE) is None


def test_names_of_the_reference_outside_the_table_are_known():
    reference, current = (
        named({"a": 900, "b": 0}, {"k": 90}),
        named({"a": 70, "b": 0}, {"k": 20, "n": 10}),
    )
    check = new_categories_check(reference, current, RULE)

    assert check is not None
    assert known_rows(check, reference, current) == pytest.approx([20, 10])
    # a table of all names tells new ones without them
    bare = named({"a": 900, "b": 0}, {})
    check = new_categories_check(bare, current, RULE)
    assert check is not None
    assert known_rows(check, bare, current) is None
    assert known_rows(replace(check, name="distribution"), reference, current) is None


def test_new_names_are_told_by_their_rows_and_then_in_the_order_of_letters():
    current = named({"a": 9}, {"y": 2, "z": 7, "x": 2, "k": 3})

    assert new_categories(named({"a": 9}, {"k": 1}), current) == ("z", "x", "y")


def test_a_name_that_a_full_list_would_not_hold_is_not_called_new():
    full = {f"c{i}": 1 for i in range(UNSEEN_LIMIT)}
    last = max(map(name_hash, full))
    above, below = (
        next(f"n{i}" for i in range(10**6) if (name_hash(f"n{i}") > last) == side)
        for side in (True, False)
    )
    current = named({"a": 9}, {above: 2, below: 1})

    assert new_categories(named({"a": 9}, full), current) == (below,)
    # one name less, and every name is known
    assert len(full.popitem()) == 2
    assert new_categories(named({"a": 9}, full), current) == (above, below)


@pytest.mark.parametrize("n_known", [0, 9, 11, 50])
def test_rows_in_new_identifiers_are_counted(n_known):
    before = dict.fromkeys(range(100), 10)
    now = dict.fromkeys(range(100 - n_known, 200 - n_known), 10)

    check = new_identifiers_check(identified(before), identified(now), RULE)

    assert check is not None
    assert (check.name, check.statistic) == ("new_identifiers", 1000 - 10 * n_known)
    known = known_rows(check, identified(before), identified(now))
    assert known == pytest.approx([10 * n_known, 1000 - 10 * n_known])


def test_replaced_identifiers_of_the_share_of_a_warning_are_told():
    one, other = (identified(dict.fromkeys(range(at, at + 100), 10)) for at in (0, 95))
    check = new_identifiers_check(one, other, RULE)

    assert check is not None
    share = check.effect_size
    just = DriftRule(alpha=0.02, warn_effect=share, min_effect=share)
    assert new_identifiers_check(one, other, just) == check
    more = DriftRule(alpha=0.02, warn_effect=share + 1e-9, min_effect=1.0)
    assert new_identifiers_check(one, other, more) is None


def test_an_identifier_of_one_row_is_known_too():
    before = {i: 10 if i < 50 else 1 for i in range(100)}
    now = dict.fromkeys(range(85, 185), 10)

    check = new_identifiers_check(identified(before), identified(now), RULE)
    assert check is not None
    assert known_rows(check, identified(before), identified(now)) == pytest.approx([150, 850])


def test_identifiers_that_are_alone_in_the_reference_lets_expect_new_ones():
    before, now = dict.fromkeys(range(100), 1), dict.fromkeys(range(100, 200), 1)

    assert new_identifiers_check(identified(before), identified(now), RULE) is None


def test_only_identifiers_with_a_sketch_can_be_replaced():
    before, now = dict.fromkeys(range(100), 10), dict.fromkeys(range(100, 200), 10)
    one, other = identified(before), identified(now)
    check = new_identifiers_check(one, other, RULE)

    assert check is not None
    assert new_identifiers_check(identified(before, "text"), identified(now, "text"), RULE) is None
    assert known_rows(check, identified(before, "text"), identified(now, "text")) is None
    assert known_rows(replace(check, name="repeats"), one, other) is None
    assert new_identifiers_check(without_sketch(one), other, RULE) is None
    assert new_identifiers_check(one, without_sketch(other), RULE) is None
    assert new_identifiers_check(one, identified({}), RULE) is None
    # a past window of an older file
    assert known_rows(check, one, without_sketch(other)) == pytest.approx([0, 0])


def test_weights_of_names_are_scaled_to_the_rows_that_they_stand_for():
    """A thousand rows of the weight 3 are a thousand rows."""

    def weighted(of: FeatureProfile) -> FeatureProfile:
        return replace(
            of,
            counts=3.0 * np.asarray(of.counts),
            unseen={name: 3.0 * n for name, n in of.unseen.items()},
            weights=WeightSums(rows=3.0 * of.n_rows, values_squared=9.0 * of.n_rows),
        )

    for before, now in (
        (named({"a": 900}, {"k": 90}), named({"a": 700}, {"k": 20, "n": 40})),
        (named({"a": 5000}, BEFORE), named({"a": 2000}, NOW)),
    ):
        plain = new_categories_check(before, now, RULE)
        check = new_categories_check(weighted(before), weighted(now), RULE)
        assert plain is not None
        assert check is not None
        assert check.p_value == pytest.approx(plain.p_value)
        assert check.effect_size == pytest.approx(plain.effect_size)
        assert known_rows(check, weighted(before), weighted(now)) == pytest.approx(
            known_rows(plain, before, now)
        )
