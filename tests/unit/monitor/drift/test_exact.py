"""The exact path: which windows it takes, and what it compares as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from flytekitplugins.wbmon.data.open import open_values
from flytekitplugins.wbmon.monitor.drift import exact
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.report import FeatureDrift


def compared(reference: Any, current: Any) -> FeatureDrift:
    return check_drift(pa.table({"x": reference}), pa.table({"x": current})).features["x"]


def test_both_windows_must_fit_and_the_limit_itself_fits(monkeypatch):
    monkeypatch.setattr(exact, "EXACT_ROWS", 100)

    def fit(*sizes: int) -> bool:
        return exact.fits_in_memory(*(open_values(pa.table({"x": range(n)})) for n in sizes))

    assert fit(100, 100)
    assert not fit(101, 100)
    assert not fit(100, 101)


def test_numbers_that_are_held_as_text_are_sorted_too():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 500), rng.normal(0.5, 1, 500)

    found = compared([f"{x:.6f}" for x in a], [f"{x:.6f}" for x in b])

    assert (found.kind, found.bound) == ("number", 0.0)
    assert found.statistic == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert found.distances["wasserstein"] == pytest.approx(
        stats.wasserstein_distance(a, b), abs=1e-6
    )


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (pa.int32(), pa.int64()),
        (pa.int64(), pa.float64()),
        (pa.int8(), pa.float32()),
        (pa.uint64(), pa.int64()),
    ],
)
def test_numbers_of_other_types_are_compared_as_the_numbers_they_are(before, now):
    whole = np.repeat(np.arange(100), 5)
    fractions = pa.types.is_floating(now)
    moved = whole + 0.5 if fractions else whole + 2**33

    found = compared(pa.array(whole, before), pa.array(moved, now))

    assert found.status == "ok"
    assert found.statistic == pytest.approx(stats.ks_2samp(whole, moved).statistic)
    assert found.distances["wasserstein"] == pytest.approx(0.5 if fractions else 2**33)


def test_each_window_keeps_the_type_that_it_has():
    sources = [
        open_values(pa.table({"x": pa.array(np.arange(200) / 7, kind)}))
        for kind in (pa.float64(), pa.float32())
    ]

    ((before, now, distances),) = exact.exact_pairs(*sources, ("x",), {})

    assert (before.dtype, now.dtype) == ("double", "float")
    assert distances == exact.ExactDistances(ks=0.0, wasserstein=0.0)


def test_numbers_beyond_a_narrower_type_are_beyond_all_of_its_numbers():
    huge, ordinary = np.full(200, 1e300), np.arange(200) / 7

    found = compared(ordinary.astype(np.float32), huge)

    assert (found.level, found.statistic) == ("drift", 1.0)


def test_a_distance_beyond_the_largest_float_is_infinite():
    signs = pd.Series([1.7e308, 1.6e308] * 100)

    found = compared(-signs, signs)

    assert (found.level, found.statistic) == ("drift", 1.0)
    assert found.distances["wasserstein"] == np.inf
