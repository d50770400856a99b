"""Numbers that floats do not tell apart are counted by all their digits, or by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import Profile, check_drift, merge_profiles, profile_data

Frame = Callable[[Sequence[int]], Any]
STEPS = np.random.default_rng(0).integers(0, 3, 600).tolist()


def arrow(dtype: pa.DataType) -> Frame:
    return lambda values: pa.table({"x": pa.array(map(Decimal, values)).cast(dtype)})


def of_objects(values: Sequence[Any]) -> Any:
    return pd.DataFrame({"x": pd.Series(values, dtype=object)})


FITTING: dict[str, Frame] = {
    "int64": lambda values: pa.table({"x": pa.array(values, pa.int64())}),
    "uint64": lambda values: pa.table({"x": pa.array(values, pa.uint64())}),
    "pandas uint64": lambda values: pd.DataFrame({"x": np.array(values, dtype=np.uint64)}),
    "decimal128": arrow(pa.decimal128(38, 0)),
    "decimal256": arrow(pa.decimal256(76, 2)),
    "objects": of_objects,
    "decimals": lambda values: of_objects(list(map(Decimal, values))),
    "polars Int128": lambda values: pl.DataFrame({"x": pl.Series(values, dtype=pl.Int128)}),
}
WIDE = ("decimal128", "decimal256", "objects", "decimals", "polars Int128")


def verdicts(reference: Any, current: Any) -> set[tuple[str, str]]:
    """Verdict and status, of data and of profiles, also of stored ones."""
    profile = profile_data(reference)
    window = profile_data(current, like=profile)
    reports = [check_drift(*pair) for pair in ((reference, current), (profile, window))]
    return {(report.verdict, report.features["x"].status) for report in reports}


@pytest.mark.parametrize("held_so", FITTING)
@pytest.mark.parametrize("then_so", ["int64", "uint64", "decimals"])
def test_whole_numbers_that_floats_round_to_one_are_told_apart(held_so: str, then_so: str) -> None:
    before = [2**60 + step for step in STEPS]
    reference, current = FITTING[held_so], FITTING[then_so]

    assert verdicts(reference(before), current(before)) == {("ok", "ok")}
    assert verdicts(reference(before), current([n + 100 for n in before])) == {("drift", "ok")}
    feature = profile_data(reference(before)).features["x"]
    assert feature.edges is not None
    assert feature.edges.tolist() == [2**60, 2**60 + 1, 2**60 + 2]


@pytest.mark.parametrize("held_so", WIDE)
@pytest.mark.parametrize("stray", [2**70, -(2**70), 2**63])
def test_one_number_beyond_64_bits_costs_itself(held_so: str, stray: int) -> None:
    before, frame = [2**60 + step for step in STEPS], FITTING[held_so]
    after = [n + 100 for n in before]

    assert verdicts(frame(before), frame([*after, stray])) == {("drift", "ok")}
    assert verdicts(frame([*before, stray]), frame(after)) == {("drift", "ok")}
    assert verdicts(frame(before), frame([*before, stray])) == {("ok", "ok")}
    counts = profile_data(frame([*before, stray]), like=profile_data(frame(before))).features["x"]
    assert counts.counts is not None
    assert counts.counts[0 if stray < 0 else -1] == 1
    assert stray in (counts.minimum, counts.maximum)


@pytest.mark.parametrize("held_so", [*WIDE, "uint64"])
def test_numbers_that_nothing_holds_are_names(held_so: str) -> None:
    least = 2**64 - 103 if held_so == "uint64" else 10**30
    before, frame = [least + step for step in STEPS], FITTING[held_so]

    assert profile_data(frame(before)).features["x"].kind == "category"
    assert verdicts(frame(before), frame(before)) == {("ok", "ok")}
    assert verdicts(frame(before), frame([n + 100 for n in before])) == {("drift", "ok")}


def test_names_that_hardly_repeat_are_identifiers() -> None:
    reference = of_objects([10**30 + i for i in range(600)])
    texts = pa.table({"x": [str(10**30 + i) for i in range(600)]})

    for data in (reference, texts):
        assert profile_data(data).features["x"].kind == "identifier"


def test_running_numbers_beyond_64_bits_are_identifiers_without_drift() -> None:
    numbers = np.arange(600, dtype=np.uint64) + np.uint64(2**63)
    before, after = (pd.DataFrame({"x": part}) for part in (numbers, numbers + np.uint64(600)))

    assert profile_data(before).features["x"].kind == "identifier"
    assert verdicts(before, after) == {("ok", "ok")}


def test_windows_beside_the_grid_are_not_called_the_same() -> None:
    layout = profile_data(FITTING["int64"]([2**60 + step for step in STEPS]))
    before, after = (
        profile_data(FITTING["int64"]([2**60 + n] * 600), like=layout) for n in (10, 11)
    )

    assert check_drift(before, after).features["x"].status == "untested"


def test_quantities_of_many_digits_stay_numbers() -> None:
    amounts = np.random.default_rng(1).lognormal(size=600)
    long = [Decimal(str(a)) * 1000 + Decimal(i).scaleb(-25) for i, a in enumerate(amounts)]

    feature = profile_data(of_objects(long)).features["x"]
    assert (feature.kind, feature.n_values) == ("number", 600)
    assert verdicts(of_objects(long), of_objects(long)) == {("ok", "ok")}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.00000000000000000001", "1.00000000000000000002"),
        ("1.5", "1.50000000000000000001"),
        ("1", "1.00000000000000000001"),
    ],
)
def test_decimals_that_are_one_float_are_not_the_same(before: str, after: str) -> None:
    reference, current = ([Decimal(text)] * 600 for text in (before, after))

    assert verdicts(of_objects(reference), of_objects(current)) == {("drift", "ok")}
    assert ("ok", "ok") not in verdicts(of_objects(reference), of_objects(reference))


def test_a_constant_is_one_whatever_holds_it() -> None:
    for frame in FITTING.values():
        assert verdicts(frame([2**60 + 1] * 600), FITTING["int64"]([2**60 + 1] * 600)) == {
            ("ok", "constant")
        }


def test_declared_numbers_that_floats_do_not_tell_apart_are_not_called_the_same() -> None:
    before = [10**30 + 1 + step for step in STEPS]
    reference = profile_data(of_objects(before), kinds={"x": "number"})

    report = check_drift(reference, of_objects([n + 100 for n in before]))
    found = report.features["x"]
    assert (report.verdict, found.status) == ("insufficient", "untested")
    assert "kinds={'x': 'category'}" in found.reason


def test_a_written_number_among_long_ones_rounds_none() -> None:
    before = [2**60 + step for step in STEPS]
    mixed: list[Any] = [str(before[0]), *before[1:]]

    assert verdicts(of_objects(before), of_objects(mixed)) == {("ok", "ok")}
    moved = [mixed[0], *(n + 100 for n in before[1:])]
    assert verdicts(of_objects(before), of_objects(moved)) == {("drift", "ok")}


@settings(max_examples=40, deadline=None)
@given(
    before=st.lists(st.integers(2**60, 2**60 + 5), min_size=1, max_size=20),
    after=st.lists(
        st.integers(2**60 - 3, 2**60 + 9) | st.integers(-(2**80), 2**80), min_size=2, max_size=20
    ),
    weight=st.booleans(),
)
def test_a_window_is_counted_by_its_digits_in_any_parts(
    before: list[int], after: list[int], weight: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def data(values: list[int]) -> Any:
        return of_objects(values).assign(w=1.0)

    reference = profile_data(data(before), columns=["x"], weight="w" if weight else None)
    path = tmp_path_factory.mktemp("profile") / "reference"
    reference.save(path)
    reference = Profile.load(path)
    edges = sorted(set(before))
    ends = [-(2**99), *edges, 2**99]
    expected = [
        sum(low < n < high for n in after) if i % 2 == 0 else sum(n == low for n in after)
        for i in range(2 * len(edges) + 1)
        for low, high in [(ends[(i + 1) // 2], ends[(i + 1) // 2 + (i % 2 == 0)])]
    ]

    whole = profile_data(data(after), like=reference).features["x"]
    parts = [profile_data(data([n]), like=reference) for n in after]
    for feature in (whole, merge_profiles(parts).features["x"]):
        assert feature.counts is not None
        assert feature.counts.tolist() == expected
        assert (feature.minimum, feature.maximum) == (float(min(after)), float(max(after)))


def ids(first: int) -> list[int]:
    return [first + 4_194_304 * i for i in range(600)]


@pytest.mark.parametrize("first", [100_001, 1_500_000_000_000_000_000])
def test_running_numbers_are_explained_alike_as_numbers_and_as_text(first: int) -> None:
    before, after = ids(first), ids(first + 600 * 4_194_304)
    reasons = set()
    for frame in (FITTING["int64"], FITTING["uint64"], FITTING["decimals"]):
        reasons.add(check_drift(frame(before), frame(after)).features["x"].reason)
    texts = [pa.table({"x": list(map(str, values))}) for values in (before, after)]
    reasons.add(check_drift(*texts).features["x"].reason)
    profile = profile_data(texts[0])
    reasons.add(check_drift(profile, profile_data(texts[1], like=profile)).features["x"].reason)

    (reason,) = reasons
    assert "every value is above all of the reference" in reason
