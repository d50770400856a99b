"""What a column is, is learned from the reference or declared, kept, and followed by windows."""

from __future__ import annotations

import datetime as dt
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import DriftRule, Profile, check_drift, merge_profiles, profile_data
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.profiles.facets import MAX_DEPTH
from support.child import run_python

UTC = timezone.utc


def kind(values, **how) -> str:
    return profile_data(pd.DataFrame({"x": values}), **how).features["x"].kind


def texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    words = ["late", "order", "of", "a", "red", "shoe", "and", "broken", "box", "please", "help"]
    return [" ".join(rng.choice(words, rng.integers(4, 12))) + f" {i * 7919}" for i in range(n)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "b"] * 200, "category"),
        ([f"store {i % 300}" for i in range(3000)], "category"),
        (texts(400), "text"),
        ([f"order {i}" for i in range(400)], "identifier"),
        ([f"{i:08x}-{i * 7:04x}" for i in range(400)], "identifier"),
        # digits that begin with a zero are codes
        ([f"{i:05d}" for i in range(400)], "identifier"),
        ([str(i * 37) for i in range(400)], "number"),
        ([f"{i / 7:.3f}" for i in range(400)], "number"),
        # of two decimals, with so many repeats that they could be categories
        ([f"{i % 90 + 0.25}" for i in range(4000)], "number"),
        # few whole numbers as text are names
        ([str(i % 5) for i in range(400)], "category"),
        ([f"2026-01-01T{i // 60:02d}:{i % 60:02d}Z" for i in range(400)], "time"),
        ([*(f"{i / 7:.3f}" for i in range(400)), "n/a"], "number"),
        ([[1.0, 2.0]] * 300, "vector"),
        ([[1.0] * (i % 4) for i in range(300)], "nested"),
        ([["a"]] * 300, "nested"),
        ([{"a": 1}] * 300, "nested"),
        ([timedelta(seconds=i) for i in range(300)], "duration"),
        ([None] * 300, "empty"),
        ([True, None] * 150, "boolean"),
        ([1, None, 2.5] * 100, "number"),
    ],
)
def test_what_a_column_is_is_learned_from_its_values(values, expected):
    assert kind(values) == expected


def test_windows_follow_their_reference_whatever_their_own_values_look_like():
    reference = profile_data(pd.DataFrame({"x": texts(400)}))

    window = profile_data(pd.DataFrame({"x": ["a", "b"] * 200}), like=reference)

    assert (window.features["x"].kind, window.features["x"].status) == ("text", "ok")
    assert window.features["x"].facets["length"].mean == 1


def test_whole_numbers_may_be_declared_to_be_names():
    stores = pd.DataFrame({"store": np.arange(400) % 5 + 1})
    reference = profile_data(stores, kinds={"store": "category"})
    assert reference.features["store"].categories == ("1", "2", "3", "4", "5")

    # as another writer stores them, and with a missing one
    floats = stores.astype("float64")
    floats.loc[0] = np.nan
    for window in (stores.astype("int8"), floats, stores.astype(str), stores.astype("category")):
        store = profile_data(window, like=reference).features["store"]
        assert store.status == "ok"
        assert store.counts[1:].tolist() == [80, 80, 80, 80, 0]


def test_what_is_declared_is_kept_in_the_file(tmp_path):
    frame = pd.DataFrame(
        {
            "size": ["S", "M", "L", "L"] * 100,
            "age": [30, 40, -999, 50] * 100,
            "when": np.arange(400) * 60.0,
        }
    )
    said = {"size": "S < M < L", "when": "time"}
    profile_data(frame, kinds=said, missing_values={"age": (-999,)}).save(tmp_path / "p")

    reference = Profile.load(tmp_path / "p")
    window = profile_data(frame.replace({"size": {"S": "XL"}}), like=reference)

    assert {name: item.kind for name, item in window.features.items()} == {
        "size": "ordinal",
        "age": "number",
        "when": "time",
    }
    assert (window.features["size"].n_unreadable, window.features["size"].examples) == (
        100,
        ("XL",),
    )
    assert window.features["size"].counts.tolist() == [0, 0, 0, 100, 0, 200, 0]
    assert (window.features["age"].n_missing, window.features["age"].minimum) == (100, 30)
    assert window.features["when"].maximum == 399 * 60


EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - what a database wrote for no time
SPELLINGS = [
    ([EPOCH, dt.datetime(2024, 1, 2, 3)], EPOCH),  # noqa: DTZ001
    ([EPOCH, dt.datetime(2024, 1, 2, 3)], dt.date(1970, 1, 1)),  # noqa: DTZ001
    ([EPOCH, dt.datetime(2024, 1, 2, 3)], "1970-01-01T01:00:00+01:00"),  # noqa: DTZ001
    ([EPOCH.date(), dt.date(2024, 1, 2)], EPOCH),
    ([EPOCH.date(), dt.date(2024, 1, 2)], np.datetime64("1970-01-01")),
    (pa.array([0.1, 1.0], pa.float32()), 0.1),
    (pa.array(np.float16([0.1, 1.0])), 0.1),
    (pa.array([0.1, 1.0], pa.float64()), Decimal("0.1")),
    ([False, True], False),
    ([False, True], 0),
    ([False, True], "false"),
    ([2**60, 2**60 + 1], 2**60),
    (pa.array([2**63, 2**63 + 1], pa.uint64()), 2**63),
    ([Decimal(-999), Decimal("1.5")], -999.0),
    (pa.array([-1, 5], pa.int8()), "-1"),
    ([dt.timedelta(seconds=-1), dt.timedelta(1)], -1),
    ([b"none", b"x"], "none"),
]


@pytest.mark.parametrize(("values", "missing"), SPELLINGS)
def test_a_missing_value_may_be_declared_in_any_spelling(values, missing):
    column = values if isinstance(values, pa.Array) else pa.array(values)
    table = pa.concat_tables([pa.table({"x": column})] * 100)

    assert profile_data(table, missing_values={"x": (missing,)}).features["x"].n_missing == 100


def test_missing_numbers_in_text_are_numbers():
    texts = [f"{i / 7:.3f}" for i in range(300)] + ["-999.00"] * 9

    found = profile_data(pa.table({"x": texts}), missing_values={"x": (-999,)}).features["x"]
    assert (found.kind, found.n_missing, found.minimum) == ("number", 9, 0.0)


def test_telephone_numbers_are_no_quantities():
    assert kind([f"+49170{i:07d}" for i in range(0, 10**6, 3331)]) == "identifier"
    assert kind([f"+{i / 7:.2f}" for i in range(300)]) == "number"


def test_an_ordinal_of_whole_numbers_and_one_of_names_are_compared_in_their_order():
    before = pd.DataFrame({"size": ["S", "M", "L", "L"] * 100})
    rule = DriftRule(kinds={"size": "S < M < L"})

    (check, *_) = check_drift(before, before.iloc[::-1], rule=rule).features["size"].checks
    assert (check.test, check.effect_size) == ("ks", 0)
    larger = before.replace({"S": "M"})
    found = check_drift(before, larger, rule=rule).features["size"]
    assert (found.statistic, round(found.effect_size, 2)) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("kinds", "match"),
    [
        ({"x": "nominal"}, "must be one of number, category"),
        ({"x": "S < S"}, "different names"),
        ({"x": "S < "}, "different names"),
        ({"x": 7}, "must be one of"),
    ],
)
def test_a_kind_that_does_not_exist_is_refused_before_any_work(kinds, match):
    with pytest.raises(ConfigError, match=match):
        profile_data(pd.DataFrame({"x": [1]}), kinds=kinds)
    with pytest.raises(ConfigError, match=match):
        DriftRule(kinds=kinds)


def test_what_is_said_of_columns_must_be_said_of_the_reference_and_of_columns():
    frame = pd.DataFrame({"x": np.arange(300)})
    reference = profile_data(frame)

    with pytest.raises(ConfigError, match="part of the reference"):
        profile_data(frame, like=reference, kinds={"x": "category"})
    with pytest.raises(DataError, match="did you mean 'x'"):
        profile_data(frame, kinds={"xs": "category"})
    with pytest.raises(ConfigError, match="must be a list of values"):
        profile_data(frame, missing_values={"x": "-999"})


def test_columns_may_be_named_as_the_frame_names_them():
    frame = pd.DataFrame({0: np.arange(300) % 3, ("a", 1): 1.0})

    profile = profile_data(frame, columns=[0, ("a", 1)], kinds={0: "category"})

    assert {name: item.kind for name, item in profile.features.items()} == {
        "0": "category",
        "('a', 1)": "number",
    }


def test_a_column_without_a_name_is_a_column():
    table = pa.table({"": [1.0] * 200, "y": [2.0] * 200})

    assert list(profile_data(table).features) == ["", "y"]
    assert profile_data(table).features[""].mean == 1


# --- one odd value


def test_an_odd_value_costs_itself_and_is_told():
    values = [*np.arange(399.0), "n/a"]
    clean = profile_data(pd.DataFrame({"x": np.arange(399.0)})).features["x"]

    x = profile_data(pd.DataFrame({"x": values})).features["x"]

    assert (x.kind, x.n_values, x.n_missing, x.n_unreadable) == ("number", 399, 0, 1)
    assert x.examples == ("n/a",)
    assert (x.mean, x.squared) == (clean.mean, clean.squared)
    assert x.dtype == "double and others"


def test_unreadable_values_have_weights():
    frame = pd.DataFrame({"x": [1.0, "?", None, 3.0] * 50, "w": [1.0, 2.0, 3.0, 4.0] * 50})

    x = profile_data(frame, weight="w").features["x"]

    assert x.weights is not None
    assert (x.weights.rows, x.weights.missing, x.weights.unreadable) == (500, 150, 100)
    assert (x.value_weight, x.unreadable_share, x.missing_share) == (250, 0.2, 0.3)


def test_nan_in_a_column_of_another_type_weighs_as_missing():
    reference = profile_data(pd.DataFrame({"x": ["a", "b"] * 50, "w": 1.0}), weight="w")
    now = pd.DataFrame({"x": [1.5, np.nan] * 50, "w": [1.0, 3.0] * 50})

    x = profile_data(now, like=reference).features["x"]

    assert (x.status, x.n_missing, x.missing_share) == ("type_changed", 50, 0.75)


def test_many_odd_values_are_a_finding_and_a_few_are_not():
    before = pd.DataFrame({"x": np.arange(1000.0)})
    for share, level in ((0.001, "none"), (0.3, "drift")):
        now = before.astype(object)
        now.iloc[: int(1000 * share)] = "broken"
        x = check_drift(before, now).features["x"]
        assert x.level == level
        assert (x.unreadable_current, x.examples) == (share, ("broken",))
    assert "unreadable values went from 0.0% to 30.0% of rows" in x.reason
    assert "'broken'" in x.reason


def test_a_column_that_cannot_be_read_at_all_says_why():
    before = pd.DataFrame({"x": np.arange(300.0)})
    rule = DriftRule(kinds={"x": "number"})

    x = check_drift(before, pd.DataFrame({"x": ["low", "high"] * 150}), rule=rule).features["x"]

    assert (x.status, x.level) == ("unreadable", "drift")
    assert "'low', 'high'" in x.reason


# --- ages


def log(start: str, delay: float, n: int = 500) -> pd.DataFrame:
    at = pd.date_range(start, periods=n, freq="s", tz="UTC")
    rng = np.random.default_rng(n)
    return pd.DataFrame({"at": at, "made": at - pd.to_timedelta(rng.gamma(2, delay, n), unit="s")})


def test_the_age_of_a_time_is_counted_from_the_time_of_its_row():
    reference = profile_data(log("2026-01-01", 60), at="at")
    window = profile_data(log("2026-03-01", 60), like=reference)
    stale = log("2026-03-01", 60)
    stale["made"] -= pd.Timedelta(days=2)

    assert reference.features["made"].facets["age"].mean == pytest.approx(120, rel=0.1)
    assert check_drift(reference, window).features["made"].level == "none"
    found = check_drift(reference, profile_data(stale, like=reference)).features["made"]
    assert found.level == "drift"
    assert found.reason.startswith("age: 100.0% of rows moved")


def test_the_age_may_be_counted_from_the_end_of_the_window():
    def end(day: int) -> datetime:
        return datetime(2026, 1, day, 1, tzinfo=UTC)

    reference = profile_data(log("2026-01-01", 60)[["made"]], at=end(1))
    window = profile_data(log("2026-01-02", 60)[["made"]], like=reference, at=end(2))
    future = profile_data(log("2099-01-02", 60)[["made"]], like=reference, at=end(2))

    assert check_drift(reference, window).features["made"].level == "none"
    assert check_drift(reference, future).features["made"].level == "drift"
    with pytest.raises(DataError, match="the window needs its time: give at="):
        profile_data(log("2026-01-02", 60)[["made"]], like=reference)
    with pytest.raises(DataError, match="must hold timestamps or dates, got double"):
        profile_data(pd.DataFrame({"made": log("2026-01-01", 6)["made"], "n": 1.0}), at="n")


@pytest.mark.parametrize("write", [str, lambda each: each.hex, lambda each: str(each).upper()])
def test_a_uuid_that_stands_for_none_is_so_in_every_form(write):
    none, other = UUID(int=2**100), UUID(int=2**99)
    said = {"missing_values": {"x": (write(none),)}}
    for values in ([none, other], [none.bytes, other.bytes], [none.hex, other.hex]):
        frame = pd.DataFrame({"x": values * 50})
        assert profile_data(frame, **said).features["x"].n_missing == 50


@pytest.mark.parametrize("odd", ["n/a", "2024-02-30", [1], 7])
def test_a_row_whose_time_cannot_be_read_has_no_age(odd):
    made = log("2026-01-01", 60)["made"]
    at = (made + pd.Timedelta(minutes=5)).map(str).astype(object)
    at[0] = odd
    profile = profile_data(pd.DataFrame({"made": made, "at": at}), at="at")
    assert profile.features["made"].facets["age"].n_missing == 1
    at = pd.Series([odd] * 30 + at.tolist()[30:], dtype=object)
    with pytest.raises(DataError, match="'at' must hold times"):
        profile_data(pd.DataFrame({"made": made, "at": at}), at="at")


# --- meaning


def about_words(texts: list[str]) -> np.ndarray:
    """A vector that says how often a text names one of four things."""
    words = ("late", "shoe", "broken", "please")
    return np.array([[text.count(word) for word in words] for text in texts], dtype=float)


def test_the_meaning_of_texts_is_compared_with_vectors_of_your_own():
    frame = pd.DataFrame({"t": [*texts(600), None]})
    embed = {"t": about_words}
    reference = profile_data(frame, embed=embed)
    same = profile_data(pd.DataFrame({"t": texts(500, 1)}), like=reference, embed=embed)
    # as long, of as many words, of the same letters
    other = pd.DataFrame({"t": [t.replace("late", "tale") for t in texts(500, 1)]})

    assert reference.features["t"].facets["meaning"].dimension == 4
    assert check_drift(reference, same).features["t"].level == "none"
    found = check_drift(reference, profile_data(other, like=reference, embed=embed)).features["t"]
    assert "meaning" in {check.facet[0] for check in found.checks if check.level == "drift"}


def test_windows_are_embedded_as_their_reference_and_by_what_returns_vectors():
    frame = pd.DataFrame({"t": texts(300)})
    reference = profile_data(frame, embed={"t": about_words})

    with pytest.raises(DataError, match="profile it with embed= and the same function"):
        profile_data(frame, like=reference)
    with pytest.raises(DataError, match=r"a matrix of 300 rows.*\(300,\)"):
        profile_data(frame, embed={"t": lambda texts: np.zeros(len(texts))})
    with pytest.raises(DataError, match="embed must name columns of the data"):
        profile_data(frame, embed={"text": about_words})


def test_a_column_whose_meaning_is_asked_for_is_text_whatever_its_values_look_like():
    # a number apart these are few sentences: an identifier, if nothing is said
    orders = pd.DataFrame({"t": [f"late shoe, order {i}" for i in range(300)]})
    assert kind(orders["t"]) == "identifier"

    found = profile_data(orders, embed={"t": about_words}).features["t"]

    assert (found.kind, found.facets["meaning"].kind) == ("text", "vector")
    with pytest.raises(ConfigError, match="kinds declares 't' something else"):
        profile_data(orders, embed={"t": about_words}, kinds={"t": "category"})
    with pytest.raises(DataError, match="whose vectors the reference has, which 't' has not"):
        profile_data(orders, like=profile_data(orders), embed={"t": about_words})


def test_a_field_of_a_struct_may_be_called_as_a_facet_is():
    names = ("age", "meaning", "elements", "length", "words")
    frame = pd.DataFrame({"s": [dict.fromkeys(names, float(i % 7)) for i in range(300)]})
    reference = profile_data(frame)

    assert list(reference.features["s"].facets) == list(names)
    assert check_drift(reference, frame).features["s"].level == "none"
    lost = pd.DataFrame({"s": [{**row, "words": None} for row in frame["s"]]})
    [found] = [c for c in check_drift(reference, lost).features["s"].checks if c.level == "drift"]
    assert (found.facet, found.name) == (("words",), "missing_rate")


# --- the laws of profiles hold for facets


def table(n: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "text": [t if i % 7 else None for i, t in enumerate(texts(n, seed))],
            "id": [f"{i:08x}" for i in rng.integers(0, 2**31, n)],
            "at": pa.array(rng.integers(0, 10**15, n), pa.timestamp("us")),
            "tags": [rng.choice(["a", "b", "c"], i % 4).tolist() for i in range(n)],
            "boxes": [
                [{"w": float(w), "of": "paper"} for w in rng.normal(size=i % 3)] for i in range(n)
            ],
            "place": [{"city": "ab"[i % 2], "at": {"lat": float(i)}} for i in range(n)],
            "weight": rng.random(n) + 0.5,
        }
    )


def assert_same(a, b) -> None:
    assert (a.kind, a.status, a.n_rows, a.n_missing, a.n_unreadable) == (
        (b.kind, b.status, b.n_rows, b.n_missing, b.n_unreadable)
    )
    assert a.categories == b.categories
    for name in ("counts", "edges", "hashes", "hash_counts"):
        mine, theirs = getattr(a, name), getattr(b, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-9)
    for key, count in a.unseen.items():
        assert b.unseen[key] == pytest.approx(count)
    if a.weights is not None:
        assert b.weights.values_squared == pytest.approx(a.weights.values_squared)
        assert b.weights.rows == pytest.approx(a.weights.rows)
    assert list(a.facets) == list(b.facets)
    for name, facet in a.facets.items():
        assert_same(facet, b.facets[name])


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 600), max_size=4),
    weight=st.sampled_from([None, "weight"]),
    seed=st.integers(0, 3),
)
def test_parts_merge_to_the_whole_facets_included(cuts, weight, seed):
    reference = profile_data(table(600, 9), weight=weight)
    whole = table(600, seed)
    bounds = [0, *sorted(cuts), 600]
    parts = [profile_data(whole.slice(a, b - a), like=reference) for a, b in pairwise(bounds)]

    merged, at_once = merge_profiles(parts), profile_data(whole, like=reference)

    for name, feature in at_once.features.items():
        assert_same(feature, merged.features[name])


def test_the_same_table_has_the_same_profile_from_a_frame_and_from_a_file(tmp_path):
    made = table(500, 1)
    pq.write_table(made, tmp_path / "t.parquet", row_group_size=77)

    expected = profile_data(made).features
    for data in (made.to_pandas(), pl.from_arrow(made), tmp_path / "t.parquet"):
        for name, feature in profile_data(data).features.items():
            assert_same(feature, expected[name])


def test_a_profile_with_facets_comes_back_from_its_file(tmp_path):
    reference = profile_data(table(300, 1), weight="weight")
    reference.save(tmp_path / "p")

    for name, feature in Profile.load(tmp_path / "p").features.items():
        assert_same(feature, reference.features[name])


def test_elements_of_a_list_count_as_the_row_they_are_of():
    tags = profile_data(pa.table({"t": [["a"] * 10, ["b"], [], None] * 50})).features["t"]

    elements = tags.facets["elements"]

    assert dict(zip(elements.categories, elements.counts.tolist(), strict=False)) == {
        "a": pytest.approx(50),
        "b": pytest.approx(50),
    }
    assert elements.effective_values == pytest.approx(100)
    assert tags.facets["length"].counts[1::2].tolist() == [50, 50, 50]


def test_lists_in_structs_in_lists_are_looked_into_to_a_depth():
    deep: object = 1.0
    for _ in range(9):
        deep = [{"x": deep}]

    feature = profile_data(pa.table({"deep": [deep] * 200})).features["deep"]

    depth = 0
    while feature.facets:
        feature = list(feature.facets.values())[-1]
        depth += 1
    assert depth == MAX_DEPTH + 1


REPEATED = pa.StructArray.from_arrays(
    [pa.array([1, 2] * 50), pa.array(["u", "v"] * 50)], ["a", "a"]
)
ONE_EACH = pa.array(range(101), pa.int32())


@pytest.mark.parametrize(
    "array",
    [
        pa.ListArray.from_arrays(ONE_EACH, REPEATED),
        pa.ListViewArray.from_arrays(ONE_EACH[:-1], pa.array([1] * 100, pa.int32()), REPEATED),
        pa.StructArray.from_arrays([REPEATED], ["elements"]),
    ],
    ids=["list", "view", "struct"],
)
def test_fields_of_one_name_are_told_apart_as_columns_are(array):
    table = pa.table({"s": array})
    names = profile_data(pa.table({"s": REPEATED})).features["s"].facets
    within = profile_data(table).features["s"].facets["elements"].facets

    assert list(names) == list(within) == ["a", "a.1"]
    assert within["a"].kind == "number"
    assert within["a.1"].kind == "category"


def test_fields_of_one_name_are_compared_each_with_its_own():
    moved = pa.StructArray.from_arrays([REPEATED.field(0), pa.array(["w"] * 100)], ["a", "a"])

    report = check_drift(profile_data(pa.table({"s": REPEATED})), pa.table({"s": moved}))

    drifted = [c.facet for c in report.features["s"].checks if c.level == "drift"]
    assert drifted
    assert all(facet == ("a.1",) for facet in drifted)


def test_lists_that_python_cannot_hold_are_told_by_the_names_that_their_fields_get():
    names = pa.table({"s": pa.array(["x", "y"] * 50)})
    table = pa.table({"s": pa.ListArray.from_arrays(ONE_EACH, REPEATED)})

    window = profile_data(table, like=profile_data(names, kinds={"s": "category"}))

    assert window.features["s"].n_unreadable == 100
    assert window.features["s"].examples[0] == "[{'a': 1, 'a.1': 'u'}]"


@pytest.mark.parametrize(
    "dtype",
    [
        pa.list_(pa.float64()),
        pa.list_(pa.float32(), 3),
        pa.list_(pa.int16(), 3),
        pa.large_list(pa.int64()),
        pa.list_(pa.decimal128(9, 2)),
        pa.list_view(pa.int32()),
    ],
    ids=str,
)
def test_a_vector_with_a_number_that_stands_for_none_is_missing(dtype):
    vectors = [[1, i % 5, -999 if i % 4 == 0 else 3] if i % 10 else None for i in range(200)]
    table = pa.table({"v": pa.array(vectors, dtype)})

    feature = profile_data(table, missing_values={"v": (-999,)}).features["v"]

    assert (feature.kind, feature.dimension) == ("vector", 3)
    assert (feature.n_missing, feature.n_unreadable) == (60, 0)


def test_what_stands_for_none_does_so_within_lists_and_structs():
    frame = pd.DataFrame(
        {
            "tags": [["a", ""], ["b"], [""], []] * 30,
            "about": [{"x": -999, "y": ""}, {"x": 1, "y": "q"}] * 60,
            "in": [[{"x": -999}], [{"x": 2}, {"x": 3}]] * 60,
        }
    )
    none = {"tags": ("", 1), "about": (-999, ""), "in": (-999,)}

    reference = profile_data(frame, missing_values=none)

    for profile in (reference, profile_data(frame, like=reference)):
        tags, about = profile.features["tags"], profile.features["about"]
        assert tags.facets["elements"].categories == ("a", "b")
        assert tags.facets["elements"].n_missing == 60
        # the length of a list is none of its values
        assert tags.facets["length"].n_missing == 0
        assert (about.facets["x"].minimum, about.facets["x"].n_missing) == (1.0, 60)
        assert (about.facets["y"].categories, about.facets["y"].n_missing) == (("q",), 60)
        assert profile.features["in"].facets["elements"].facets["x"].minimum == 2.0


DAYS = [dt.date(2026, 1, 1 + day % 20) for day in range(200)]
MIDNIGHTS = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in DAYS]
HELD = {
    "date32": pa.table({"day": pa.array(DAYS, pa.date32())}),
    "date64": pa.table({"day": pa.array(DAYS, pa.date64())}),
    "seconds": pa.table({"day": pa.array(DAYS, pa.date32()).cast(pa.timestamp("s"))}),
    "zoned": pa.table({"day": pa.array(MIDNIGHTS, pa.timestamp("ns", "Europe/Berlin"))}),
    "objects": pd.DataFrame({"day": pd.Series(DAYS, dtype=object)}),
    "mixed": pd.DataFrame({"day": pd.Series(DAYS[:100] + MIDNIGHTS[100:], dtype=object)}),
    "pandas": pd.DataFrame({"day": pd.to_datetime(pd.Series(DAYS))}),
    "categories": pd.DataFrame({"day": pd.Series(DAYS, dtype="category")}),
    "polars": pl.DataFrame({"day": DAYS}),
    "text": pd.DataFrame({"day": list(map(str, DAYS))}),
}


@pytest.mark.parametrize("held", HELD)
def test_a_day_is_one_category_whether_it_is_a_date_or_its_midnight(held):
    reference = profile_data(HELD[held], kinds={"day": "category"})

    assert reference.features["day"].categories[:2] == ("2026-01-01", "2026-01-02")
    for window in HELD.values():
        feature = profile_data(window, like=reference).features["day"]
        assert (feature.unseen, feature.n_unreadable) == ({}, 0)
        np.testing.assert_array_equal(feature.counts, reference.features["day"].counts)


@pytest.mark.parametrize(
    "none", [dt.date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"]
)
@pytest.mark.parametrize("held", ["date32", "zoned", "mixed"])
def test_a_day_that_stands_for_none_does_so_in_every_container(held, none):
    said = {"kinds": {"day": "category"}, "missing_values": {"day": (none,)}}

    feature = profile_data(HELD[held], **said).features["day"]

    assert feature.n_missing == 10
    assert "2026-01-01" not in feature.categories


@pytest.mark.parametrize("like", ["int64", "float64", "uint64", object])
@pytest.mark.parametrize(
    ("per_second", "unit"), [(10**3, "ms"), (10**6, "us"), (10**9, "ns")], ids=str
)
def test_numbers_in_another_unit_are_no_times_whatever_the_window_holds(per_second, unit, like):
    seconds = np.arange(1_767_225_600, 1_767_225_600 + 200 * 3600, 3600)
    frame = pd.DataFrame({"t": (seconds * per_second).astype(like)})
    rule = DriftRule(kinds={"t": "time"})
    reference = profile_data(pd.DataFrame({"t": seconds}), kinds=rule.kinds)

    window = profile_data(frame, like=reference).features["t"]
    alone = check_drift(frame, frame, rule=rule)
    against = check_drift(reference, frame)

    assert (window.n_unreadable, window.n_missing) == (200, 0)
    assert (alone.verdict, alone.features["t"].status) == ("insufficient", "unreadable")
    assert against.verdict == "drift"
    for report in (alone, against):
        hint = f"are seconds since 1970, and these read as {unit} \\(from 2026-01-01 00:00\\): "
        assert re.search(f"{hint}divide them by {per_second:,}", report.features["t"].reason)


def test_infinite_numbers_that_are_declared_times_have_no_hour():
    frame = pd.DataFrame({"t": [0.0, np.inf, np.nan, 1e12] * 50})

    feature = profile_data(frame, kinds={"t": "time"}).features["t"]

    assert (feature.n_infinite, feature.n_missing, feature.n_unreadable) == (50, 50, 50)
    assert feature.facets["hour"].n_values == 50


OF_PANDAS = {
    "time 120": pd.period_range("2026-01-01", periods=120, freq="D"),
    "category 120": pd.arrays.IntervalArray.from_breaks([0.0, 1.5, 2.0]).repeat(60),
}


@pytest.mark.parametrize("given_first", ["table.to_reader()", "table", "path"])
@pytest.mark.parametrize("expected", OF_PANDAS)
def test_types_of_pandas_are_known_also_where_nobody_has_used_them_before(
    expected, given_first, tmp_path
):
    pd.DataFrame({"p": OF_PANDAS[expected]}).to_parquet(tmp_path / "data.parquet")
    program = f"""
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from flytekitplugins.wbmon import profile_data
from flytekitplugins.wbmon.errors import DataError
path = {str(tmp_path / "data.parquet")!r}
table, dataset = pq.read_table(path), ds.dataset(path)
assert not isinstance(table.schema.field("p").type, pa.BaseExtensionType)
first = profile_data({given_first}).features["p"]
print(first.kind, first.n_values)
try:
    profile_data(dataset)
except DataError as error:
    print(error)
for data in (table.to_reader(), table, ds.dataset(path), path):
    feature = profile_data(data).features["p"]
    print(feature.kind, feature.n_values)
"""
    done = run_python(program, home=tmp_path)
    assert done.returncode == 0, done.stderr
    first, refused, *others = done.stdout.splitlines()
    assert "must be made when Arrow knows them" in refused
    assert [first, *others] == [expected] * 5


@pytest.mark.parametrize("share", [0.45, 0.5, 0.55])
def test_numbers_and_text_of_one_column_are_read_as_the_reference_says(share):
    rng = np.random.default_rng(4)

    def window(n: int) -> pd.DataFrame:
        numbers = rng.random(n) < share
        values = np.where(numbers, rng.integers(0, 9, n), rng.choice(["a", "b"], n).astype(object))
        return pd.DataFrame({"x": pd.Series(values, dtype=object)})

    reference = profile_data(window(3000))
    reports = [check_drift(reference, window(300)) for _ in range(30)]

    assert {report.features["x"].status for report in reports} == {"ok"}
    assert sum(report.verdict != "ok" for report in reports) <= 4


def test_what_lies_below_a_missing_struct_is_missing():
    tags = pa.array([["a", "b"], ["c"], ["a"]] * 40)
    missing = pa.array([False, True, False] * 40)
    table = pa.table({"s": pa.StructArray.from_arrays([tags], ["tags"], mask=missing)})

    tags_of = profile_data(table).features["s"].facets["tags"]

    assert tags_of.n_missing == 40
    assert tags_of.facets["elements"].categories == ("a", "b")
    assert tags_of.facets["length"].maximum == 2
