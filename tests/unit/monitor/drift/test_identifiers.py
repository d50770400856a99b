"""Whole numbers that count something off are not tested; measured ones always are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.identifiers import looks_like_identifier
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles import count as counting
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.profile import Profile

N = 5000


@pytest.fixture(params=["exact", "grid", "merged"])
def check(request, tmp_path):
    """All paths must answer alike."""

    def check(reference, current, rule=None):
        windows = [pd.DataFrame({"n": reference}), pd.DataFrame({"n": current})]
        if request.param == "exact":
            return check_drift(*windows, rule=rule).features["n"]
        before = profile_data(windows[0])
        if request.param == "grid":
            return check_drift(before, windows[1], rule=rule).features["n"]
        parts = [windows[1].iloc[i::4] for i in range(4)]
        now = merge_profiles([profile_data(part, like=before) for part in parts])
        now.save(tmp_path / "now.profile")
        return check_drift(before, Profile.load(tmp_path / "now.profile"), rule=rule).features["n"]

    return check


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        (np.arange(N), np.arange(N, 2 * N)),
        (np.arange(N), 1_000_000 + np.arange(N)),
        (np.random.default_rng(1).permutation(N), np.random.default_rng(2).permutation(N) + N),
        # rows of other tables, and rows that were filtered out, leave gaps
        (np.arange(N) * 17, 10**9 + np.arange(N) * 19),
        (np.arange(-N, 0), np.arange(N)),
        # the row number of the window itself
        (np.arange(N), np.arange(N // 3)),
        (np.arange(N, dtype=np.uint64) + 2**62, np.arange(N, dtype=np.uint64) + 2**62 + N),
        # as floats the ends are 511 nearer to each other at either end
        (np.arange(2**63 - 2559, 2**63 - 513, dtype=np.uint64),) * 2,
    ],
    ids=["next", "later", "shuffled", "gaps", "negative", "row number", "unsigned", "rounded"],
)
def test_running_numbers_are_told_and_not_tested(check, reference, current):
    found = check(reference, current)

    assert (found.status, found.level, found.kind) == ("identifier", "none", "number")
    assert np.isnan(found.effect_size)
    assert "name the column in the rule's features" in found.reason


def test_a_sample_of_identifiers_is_told_too(check):
    rng = np.random.default_rng(1)
    reference = rng.choice(100_000, N, replace=False)
    current = rng.choice(100_000, N, replace=False) + 100_000

    assert check(reference, current).status == "identifier"


def whole_numbers(n: int, span: int) -> FeatureProfile:
    """So many between 1 - span and 0, that all differ as far as it is known."""
    pairs = n * (n - 1) / 2
    return FeatureProfile(
        name="n", kind="number", n_rows=n, minimum=1.0 - span, maximum=0.0, differing_pairs=pairs
    )


def test_evidence_of_20_nats_is_enough():
    assert 41 * 40 / 2 / 41 == 20
    assert looks_like_identifier(whole_numbers(41, 41))
    assert not looks_like_identifier(whole_numbers(41, 42))
    assert not looks_like_identifier(whole_numbers(40, 40))


def test_a_row_more_than_there_are_whole_numbers_repeats_one():
    """Which nobody saw, because the two rows were in different batches."""
    assert looks_like_identifier(whole_numbers(5000, 5000))
    assert not looks_like_identifier(whole_numbers(5001, 5000))


def test_naming_the_column_has_it_tested(check):
    found = check(np.arange(N), np.arange(N, 2 * N), DriftRule(features=("n",)))

    assert (found.status, found.level, found.effect_size) == ("ok", "drift", 1.0)


def test_missing_identifiers_are_still_noticed():
    before = pd.DataFrame({"n": pd.array(np.arange(N), dtype="Int64")})
    now = before + N
    now.loc[: N // 3, "n"] = pd.NA

    found = check_drift(before, now).features["n"]

    assert (found.status, found.level) == ("identifier", "drift")
    assert found.reason.startswith("missing values went from 0.0% to 33.3% of rows")


def measured(name: str, seed: int, n: int = N) -> np.ndarray:
    """Whole numbers that were measured; none, or nearly none, of some of them repeat."""
    rng = np.random.default_rng(seed)
    columns = {
        "counts": rng.poisson(50, n),
        "prices in cents": (rng.lognormal(8, 1, n)).astype(np.int64),
        "balances in cents": rng.integers(0, 10**9, n),
        "bytes": rng.integers(10**6, 10**12, n),
        "distinct prices": np.unique(rng.integers(100, 10**7, 2 * n))[:n],
        "random identifiers": rng.integers(0, 2**62, n),
    }
    return rng.permutation(columns[name])


@pytest.mark.parametrize(
    "name",
    [
        "counts",
        "prices in cents",
        "balances in cents",
        "bytes",
        "distinct prices",
        "random identifiers",
    ],
)
@pytest.mark.parametrize("change", ["none", "unit", "offset", "small"])
def test_measured_numbers_are_tested_whatever_happens_to_them(check, name, change):
    """Also where nothing repeats and where the window lies wholly beyond the reference."""
    reference, current = measured(name, 1), measured(name, 2)
    if name == "distinct prices":
        current = reference.copy()
    span = int(reference.max()) - int(reference.min()) + 1
    if change == "unit":
        current = current * 1000 if name != "random identifiers" else current // 1000
    elif change == "offset":
        current = current + span if name != "random identifiers" else current // 2 + 2**61
    elif change == "small":
        current = current + span // 3

    found = check(reference, current)

    assert found.status == "ok"
    assert found.level == ("none" if change == "none" else "drift")


def test_a_measured_column_that_turns_into_a_running_number_has_drifted(check):
    found = check(measured("counts", 1), np.arange(N))

    assert (found.status, found.level) == ("ok", "drift")


def test_a_running_number_that_begins_to_repeat_has_drifted(check):
    """A join that doubles rows, for instance."""
    found = check(np.arange(N), np.arange(N, 2 * N) // 2)

    assert (found.status, found.level) == ("ok", "drift")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(100, 3000),
    span=st.integers(1, 10**7),
    shift=st.integers(0, 10**8),
)
def test_draws_from_a_distribution_are_never_taken_for_identifiers(seed, n, span, shift):
    rng = np.random.default_rng(seed)
    reference, current = rng.integers(0, span, n), shift + rng.integers(0, span, n)

    found = check_drift(pd.DataFrame({"n": reference}), pd.DataFrame({"n": current}))

    assert found.features["n"].status in ("ok", "constant")


def test_whole_numbers_that_a_missing_value_made_floats_are_the_same_numbers(check):
    found = check(np.arange(N) * 1.0, np.arange(N, 2 * N) * 1.0)

    assert (found.kind, found.status, found.level) == ("number", "identifier", "none")


def test_one_fraction_makes_numbers_measured(check):
    now = np.arange(N, 2 * N) * 1.0
    now[N // 2] += 0.5

    assert check(np.arange(N), now).status == "ok"


def test_a_column_that_turns_to_floats_is_tested(check):
    found = check(np.arange(N), np.arange(N) + 0.5 + N)

    assert (found.status, found.level) == ("ok", "drift")


def test_files_of_any_order_and_batches_of_any_size_tell_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("flytekitplugins.wbmon.data.parquet.BATCH_ROWS", 700)
    ids = np.random.default_rng(3).permutation(20_000)
    for i, part in enumerate(np.array_split(ids, 3)):
        pq.write_table(pa.table({"n": part}), tmp_path / f"{i}.parquet")
    reference = profile_data(tmp_path)

    found = check_drift(reference, pd.DataFrame({"n": np.arange(20_000, 30_000)}))

    assert found.features["n"].status == "identifier"
    assert 0 < reference.features["n"].differing_pairs < 20_000 * 19_999 / 2


def test_weighted_rows_are_told_by_their_values():
    before, now = (
        pd.DataFrame({"n": np.arange(N) + i * N, "w": np.linspace(0.5, 2, N)}) for i in range(2)
    )
    reference = profile_data(before, weight="w")
    repeated = now.assign(n=now["n"] // 2)

    assert check_drift(reference, now).features["n"].status == "identifier"
    assert check_drift(reference, repeated).features["n"].status == "ok"


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_times_as_numbers_stay_drift_but_the_reason_says_what_they_are(check, unit, scale):
    """Disk sizes are as large as times in ms are, so nothing is hidden."""
    rng = np.random.default_rng(1)
    start = 1_767_225_600  # 2026-01-01
    reference = (start + rng.integers(0, 30 * 86_400, N)) * scale + rng.integers(0, scale, N)
    current = (start + 31 * 86_400 + rng.integers(0, 86_400, N)) * scale

    found = check(reference, current)

    assert (found.status, found.level) == ("ok", "drift")
    assert f"they read as times in {unit} (from 2026-02-01 00:0" in found.reason
    assert "store them as timestamps or leave the column out" in found.reason


def test_other_numbers_that_only_grow_are_told_in_words(check):
    found = check(measured("bytes", 1), measured("bytes", 2) + 10**12)

    assert "every value is above all of the reference: if it is a running number" in found.reason


def test_nothing_is_said_of_growth_where_the_windows_overlap(check):
    found = check(measured("counts", 1), measured("counts", 2) + 20)

    assert found.level == "drift"
    assert "above all" not in found.reason


def test_nothing_is_looked_at_twice_in_columns_that_repeat(monkeypatch):
    """Values that repeat in the middle end the search; only running numbers pay for it."""
    pairs = counting.differing_pairs(np.sort(measured("counts", 1)))
    assert pairs == -np.inf
