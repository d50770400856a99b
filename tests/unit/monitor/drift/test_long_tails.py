"""Categories of which most are rare: every window has some that the reference lacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.report import FeatureDrift
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data

N_WINDOWS = 40
MOST_FINDINGS = 6  # nominal 5 %, and three Monte-Carlo errors

Window = Callable[[np.random.Generator, int], pa.Table]


def drawn(rng: np.random.Generator, n: int) -> list[str]:
    return [f"v{i}" for i in rng.zipf(1.6, n)]


def values(rng: np.random.Generator, n: int) -> pa.Table:
    return pa.table({"k": drawn(rng, n)})


def lists(rng: np.random.Generator, n: int) -> pa.Table:
    return pa.table({"k": [drawn(rng, size) for size in np.resize([1, 2, 2, 3], n)]})


def texts(rng: np.random.Generator, n: int) -> pa.Table:
    # in letters, or it would be no prose
    words = ["".join(chr(97 + int(digit)) for digit in name[1:]) for name in drawn(rng, 8 * n)]
    return pa.table({"k": [" ".join(words[i::n]) for i in range(n)]})


def with_new(table: pa.Table, share: float) -> pa.Table:
    """The table with one new category in every row of its first `share`."""
    rows = table["k"].to_pylist()
    for i in range(round(share * len(rows))):
        rows[i] = "new" if isinstance(rows[i], str) else ["new", *rows[i][1:]]
    return pa.table({"k": rows})


def is_found(feature: FeatureDrift) -> bool:
    return any(check.q_value <= 0.05 for check in feature.checks)


@pytest.mark.slow
@pytest.mark.parametrize("window", [values, lists, texts])
@pytest.mark.parametrize(("n", "m"), [(150, 5000), (600, 600), (3000, 300)])
@pytest.mark.parametrize("by_profile", [False, True])
def test_a_long_tail_is_no_finding(window: Window, n: int, m: int, by_profile: bool):
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(N_WINDOWS):
        reference, current = window(rng, n), window(rng, m)
        before = profile_data(reference) if by_profile else reference
        feature = check_drift(before, current).features["k"]
        found += is_found(feature)

    assert found <= MOST_FINDINGS


WEIGHTS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "nearly alike": lambda rng, n: rng.choice([1.0, 1.01], n),
    "one or three": lambda rng, n: rng.choice([1.0, 3.0], n),
    "a sampled log": lambda rng, n: np.where(rng.random(n) < 0.3, 100.0, 1.0),
    "skewed": lambda rng, n: rng.lognormal(0, 0.7, n),
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("n", "m"), [(3000, 3000), (1000, 5000)])
@pytest.mark.parametrize("merged", [False, True], ids=["whole", "merged"])
def test_a_long_tail_of_weighted_rows_is_no_finding(weights: str, n: int, m: int, merged: bool):
    """A single row can weigh more than one, and is the only one of its name all the same."""
    rng = np.random.default_rng(3)

    def window(size: int) -> pa.Table:
        names = [f"v{i}" for i in rng.zipf(1.3, size)]
        return pa.table({"k": names, "w": WEIGHTS[weights](rng, size)})

    found = 0
    for _ in range(20):
        reference = profile_data(window(n), weight="w")
        if merged:
            halves = [profile_data(window(n // 2), like=reference) for _ in range(2)]
            reference = merge_profiles(halves)
        current = profile_data(window(m), like=reference)
        found += is_found(check_drift(reference, current).features["k"])
    # nominal 5 %, and three Monte-Carlo errors
    assert found <= 4


def test_new_categories_of_weighted_rows_are_found():
    rng = np.random.default_rng(4)
    rows = [f"v{i}" for i in rng.zipf(2.0, 6000)]
    weight = rng.choice([1.0, 3.0], 6000)
    reference = profile_data(pa.table({"k": rows[:3000], "w": weight[:3000]}), weight="w")
    new = [f"n{i}" for i in range(600)]
    current = pa.table({"k": [*rows[3000:5400], *new], "w": weight[3000:]})
    found = check_drift(reference, profile_data(current, like=reference)).features["k"]
    assert found.drifted


@pytest.mark.parametrize("window", [values, lists])
@pytest.mark.parametrize(("n", "m"), [(300, 5000), (600, 600), (3000, 300)])
def test_a_new_category_is_found_in_spite_of_a_long_tail(window: Window, n: int, m: int):
    rng = np.random.default_rng(1)
    found = [
        check_drift(window(rng, n), with_new(window(rng, m), 0.2)).features["k"] for _ in range(10)
    ]

    assert sum(map(is_found, found)) >= 9


def test_new_names_beyond_those_that_are_remembered_are_found():
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(10):
        rows = drawn(rng, 5000)
        # a fifth of the rows is of a thousand new names, each of them rare
        rows[:1000] = [f"new {i}" for i in range(1000)]
        k = check_drift(values(rng, 300), pa.table({"k": rows})).features["k"]
        check = next(check for check in k.checks if check.name == "new_categories")
        found += check.level == "drift"
        assert 0 <= check.effect_low <= check.effect_size < 0.3

    assert found >= 9
