from __future__ import annotations

import numpy as np
import pytest

from flytekitplugins.wbmon.stats.density_ratio import density_ratio, share_outside
from flytekitplugins.wbmon.stats.influence import effective_rows


def ratio(reference, current, weight=None, current_weight=None):
    """With mean 1 over the reference, as the ratio itself has."""
    found = density_ratio(
        reference,
        current,
        np.ones(len(reference)) if weight is None else weight,
        np.ones(len(current)) if current_weight is None else current_weight,
    )
    assert found.shape == (len(reference),)
    assert found.max() == 1
    assert (found > 0).all()
    return found / np.average(found, weights=weight)


@pytest.mark.parametrize(("by", "sd"), [(1.0, 1.0), (-0.5, 1.0), (0.0, 0.7)])
def test_of_normal_features_it_is_the_ratio_of_their_densities(rng, by, sd):
    reference, current = rng.normal(size=(20_000, 2)), rng.normal(size=(20_000, 2))
    current[:, 0] = by + sd * current[:, 0]
    x = reference[:, 0]
    expected = np.exp(x**2 / 2 - (x - by) ** 2 / (2 * sd**2)) / sd
    inside = np.abs(x) < 2
    found = ratio(reference, current)[inside]
    assert found == pytest.approx(expected[inside], rel=0.25, abs=0.05)


def test_of_categories_it_is_the_ratio_of_their_shares(rng):
    before, now = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    reference = rng.choice([0.0, 4.0, 9.0], size=(20_000, 1), p=before)
    current = rng.choice([0.0, 4.0, 9.0], size=(10_000, 1), p=now)
    found = ratio(reference, current)
    for value, expected in zip([0.0, 4.0, 9.0], now / before, strict=True):
        assert found[reference[:, 0] == value] == pytest.approx(expected, rel=0.1)


def test_missing_values_count_as_a_value(rng):
    reference, current = rng.normal(size=(10_000, 1)), rng.normal(size=(10_000, 1))
    reference[:1000], current[:4000] = np.nan, np.nan
    found = ratio(reference, current)
    assert found[:1000] == pytest.approx(4.0, rel=0.1)
    assert found[1000:].mean() == pytest.approx(0.6 / 0.9, rel=0.1)


@pytest.mark.parametrize("weighted", ["reference", "current"])
def test_rows_count_by_their_weight_on_either_side(rng, weighted):
    rows = {"reference": 1.0, "current": 1.0}
    frames = {name: rng.choice([0.0, 1.0], size=(8000, 1)) for name in rows}
    weights = {
        name: np.where(frame[:, 0] == 1, 3.0, 1.0) if name == weighted else np.ones(8000)
        for name, frame in frames.items()
    }
    found = ratio(frames["reference"], frames["current"], weights["reference"], weights["current"])
    ones, zeros = (found[frames["reference"][:, 0] == value].mean() for value in (1, 0))
    # three quarters of one window against half of the other
    expected = (0.5 / 0.75, 0.5 / 0.25) if weighted == "reference" else (0.75 / 0.5, 0.25 / 0.5)
    assert (ones, zeros) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("scale", [1e-300, 1e-5, 1e5, 1e300])
def test_units_do_not_matter(rng, scale):
    reference, current = rng.normal(size=(500, 2)), rng.normal(0.5, 1, size=(500, 2))
    plain = ratio(reference, current)
    assert ratio(reference * scale, current * scale) == pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize(
    "column",
    [
        np.full(300, 5.0),
        np.full(300, np.nan),
        np.r_[np.zeros(299), 1e308],
        np.r_[np.full(150, -1.7e308), np.full(150, 1.7e308)],
        np.geomspace(1e-300, 1e300, 300),
        np.r_[np.zeros(270), np.arange(30.0)],
    ],
    ids=["constant", "missing", "one huge", "two huge", "all sizes", "mostly zero"],
)
def test_odd_columns_change_nothing_where_nothing_changed(rng, column):
    rows = np.column_stack([column, rng.normal(size=300)])
    found = density_ratio(rows, rows[rng.permutation(300)], np.ones(300), np.ones(300))
    assert effective_rows(found) > 290


@pytest.mark.parametrize(("n", "m", "d"), [(500, 1000, 200), (20_000, 50, 30), (100, 30, 10)])
def test_many_features_of_few_rows_leave_an_unchanged_window_as_it_is(rng, n, m, d):
    """Fitted to all of them a regression would always tell so few rows from the reference."""
    reference, current = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    assert effective_rows(density_ratio(reference, current, np.ones(n), np.ones(m))) > 0.9 * n
    current[:, 1] += 1
    found = density_ratio(reference, current, np.ones(n), np.ones(m))
    assert np.average(reference[:, 1], weights=found) == pytest.approx(
        current[:, 1].mean(), abs=0.3
    )
    # of normal rows that moved by one standard deviation 1 / e is left
    assert 0.2 * n < effective_rows(found) < 0.6 * n


@pytest.mark.parametrize("weight", [1.0, 0.1, 7.0])
def test_rounding_is_no_difference(rng, weight):
    """A constant, whose mean is not quite itself in floats of weighted rows."""
    rows = np.column_stack([np.full(3000, 0.1), rng.choice([0.1, 0.3], size=3000)])
    weights = weight * rng.uniform(0.5, 2, 3000)
    found = density_ratio(rows, rows[rng.permutation(3000)], weights, np.full(3000, weight))
    assert found.tolist() == [1.0] * 3000


def test_windows_that_share_nothing_leave_few_rows(rng):
    reference, current = rng.normal(size=(1000, 1)), rng.normal(20, 1, size=(1000, 1))
    assert effective_rows(density_ratio(reference, current, *np.ones((2, 1000)))) < 100


def test_without_a_feature_that_varies_all_rows_are_alike():
    rows = np.full((10, 2), 3.0)
    assert density_ratio(rows, rows + 1, *np.ones((2, 10))).tolist() == [1.0] * 10


NAN = np.nan


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        (np.arange(100.0), [-1.0, 0.0, 99.0, 100.0], 0.5),
        (np.repeat([0.0, 1.0], 50), [0.0, 1.0, 0.5, 7.0], 0.5),
        (np.full(100, 5.0), [5.0, 5.0, 5.0, 100.0], 0.25),
        (np.arange(100.0), [1.0, NAN, NAN, NAN], 0.75),
        (np.r_[NAN, np.arange(99.0)], [1.0, NAN, NAN, NAN], 0.0),
        (np.full(100, NAN), [NAN, NAN, NAN, 1.0], 0.25),
    ],
    ids=["range", "codes", "constant", "never missing", "once missing", "always missing"],
)
def test_rows_that_the_reference_does_not_reach_are_counted(reference, current, expected):
    known, now = np.zeros(100), np.zeros(4)
    found = share_outside(
        np.column_stack([known, reference]), np.column_stack([now, current]), np.ones(4)
    )
    assert found == pytest.approx(expected)


def test_rows_outside_count_by_their_weight():
    found = share_outside(np.zeros((9, 1)), np.array([[0.0], [1.0]]), np.array([1.0, 3.0]))
    assert found == pytest.approx(0.75)
