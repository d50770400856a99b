from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.compare_feature import compare_feature
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.monitor.profiles.profile_version_1 import without_directions
from flytekitplugins.wbmon.monitor.profiles.vectors import vectors_of

DIMENSION = 24


def embeddings(seed: int, *, shift: float = 0.0, scale: float = 1.0, n: int = 2000) -> pa.Table:
    rng = np.random.default_rng(seed)
    values = scale * rng.normal(size=(n, DIMENSION)) + shift * rng.permutation(
        np.linspace(-1, 1, DIMENSION)
    )
    return pa.table({"e": pa.array(values.tolist(), pa.list_(pa.float32(), DIMENSION))})


@pytest.fixture(params=["data", "profiles"])
def check(request):
    def check(reference, current, **kwargs):
        if request.param == "profiles":
            reference = profile_data(reference)
            current = profile_data(current, like=reference)
        return check_drift(reference, current, **kwargs)

    return check


def test_vectors_of_one_distribution_have_not_drifted(check):
    report = check(embeddings(1), embeddings(2))

    assert report.verdict == "ok"
    assert report.features["e"].kind == "vector"
    assert report.features["e"].test == "sliced_ks"


def test_vectors_that_moved_have_drifted(check):
    report = check(embeddings(1), embeddings(2, shift=0.5))

    assert report.drifted
    assert "the direction that moved most" in report.features["e"].reason
    assert report.features["e"].effect_low > 0


@pytest.mark.parametrize("dimension", [2, 16])
def test_dimensions_that_are_exchanged_have_drifted(check, dimension):
    scales = np.linspace(10, 1, dimension)

    def scaled(seed: int, scales) -> pa.Table:
        values = np.random.default_rng(seed).normal(size=(2000, dimension)) * scales
        return pa.table({"e": values.tolist()})

    assert check(scaled(1, scales), scaled(2, scales)).verdict == "ok"
    assert check(scaled(1, scales), scaled(2, np.roll(scales, dimension // 2))).drifted


def test_a_window_of_two_lengths_tells_those_that_are_no_vectors_of_the_column():
    weights = [1.0, 3.0] * 150
    before = pa.table({"e": [[1.0, 2.0 * i] for i in range(300)], "w": weights})
    lists = [[1.0, 2.0], [1.0, 2.0, 3.0]] * 149 + [None, [np.nan, 1.0]]
    reference = profile_data(before, weight="w")

    e = profile_data(pa.table({"e": lists, "w": weights}), like=reference).features["e"]

    assert (e.n_missing, e.n_unreadable, e.examples) == (2, 149, ("3 dimensions",))
    assert e.unreadable_share == pytest.approx(149 * 3 / 600)
    assert e.missing_share == pytest.approx(4 / 600)


def test_vectors_that_spread_have_drifted(check):
    assert check(embeddings(1), embeddings(2, scale=1.6)).drifted


def test_false_alarms_of_vectors_are_rare():
    reference = profile_data(embeddings(0))

    alarms = [
        check_drift(reference, embeddings(seed, n=400)).features["e"].q_value <= 0.05
        for seed in range(1, 41)
    ]

    assert np.mean(alarms) <= 0.1


def test_vectors_that_are_missing_are_counted():
    table = embeddings(1, n=600)
    holed = pa.table({"e": pa.array([None if i % 3 else v for i, v in enumerate(table["e"])])})

    e = check_drift(profile_data(table), holed).features["e"]

    assert e.drifted
    assert e.missing_current == pytest.approx(2 / 3)


def test_vectors_of_another_length_have_no_value():
    lists = pa.array([[1.0, 2.0], [1.0], [3.0, 4.0], None, [np.nan, 1.0], [None, 1.0]])

    vectors, usable = vectors_of(lists, 2)

    assert vectors.tolist() == [[1, 2], [3, 4]]
    assert usable.tolist() == [True, False, True, False, False, False]
    reference = profile_data(embeddings(1))
    short = pa.table({"e": pa.array([[1.0, 2.0]] * 500, pa.list_(pa.float64()))})
    found = check_drift(reference, short).features["e"]
    assert (found.status, found.level) == ("unreadable", "drift")
    assert found.reason.endswith("(the dimension changed from 24 to 2 dimensions)")


def test_lists_without_any_vector_have_a_profile():
    for values in ([None, None], [[], []], []):
        table = pa.table({"e": pa.array(values, pa.list_(pa.float64()))})
        assert profile_data(table).features["e"].counts is None
        assert check_drift(table, table).verdict == "insufficient"


def test_numbers_where_vectors_were_are_a_change_of_type():
    report = check_drift(profile_data(embeddings(1)), pa.table({"e": [1.0] * 500}))

    assert report.features["e"].status == "type_changed"


def test_a_null_column_where_vectors_were_is_missing_values():
    report = check_drift(profile_data(embeddings(1)), pa.table({"e": pa.nulls(500)}))

    assert report.features["e"].status == "all_missing"


def test_weights_of_vectors_reach_the_missing_rows():
    table = embeddings(1, n=200).append_column("w", pa.array([2.0] * 200))
    profile = profile_data(table, weight="w")

    assert profile.features["e"].effective_values == pytest.approx(200)
    assert check_drift(profile, profile_data(table, like=profile)).verdict == "ok"


def test_past_windows_calibrate_vectors_too():
    reference = profile_data(embeddings(0))
    past = [profile_data(embeddings(seed), like=reference) for seed in range(1, 11)]

    quiet = check_drift(reference, embeddings(20), past=past)
    moved = check_drift(reference, embeddings(21, shift=0.5), past=past)

    assert quiet.features["e"].checks[0].window_p_value > 0.001
    assert moved.drifted


def test_a_profile_of_vectors_comes_back_from_its_file(tmp_path):
    profile = profile_data(embeddings(1))
    profile.save(tmp_path / "profile")

    restored = Profile.load(tmp_path / "profile").features["e"]

    assert restored.dimension == DIMENSION
    np.testing.assert_array_equal(restored.counts, profile.features["e"].counts)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=4).map(sorted))
def test_merging_any_split_of_vectors_equals_the_whole(cuts):
    like = profile_data(embeddings(1, n=300))
    table = embeddings(2, n=200)
    bounds = [0, *cuts, 200]
    parts = [table.slice(a, b - a) for a, b in pairwise(bounds)]

    merged = merge_profiles([profile_data(part, like=like) for part in parts])

    whole = profile_data(table, like=like).features["e"]
    np.testing.assert_array_equal(merged.features["e"].counts, whole.counts)
    assert merged.features["e"].n_missing == whole.n_missing


def test_vectors_of_the_first_version_were_projected_otherwise_and_are_not_compared():
    reference, now = (profile_data(embeddings(seed)).features["e"] for seed in (1, 2))

    found = compare_feature(without_directions(reference), now, DriftRule())

    assert (found.status, found.checks) == ("untested", ())


def table(rows: np.ndarray, dtype: type = np.float32) -> pa.Table:
    flat = pa.array(rows.astype(dtype).ravel())
    return pa.table({"e": pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])})


def wide(seed: int, n: int = 1000, *, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Vectors of 384 components whose variances decay, on axes that are turned."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(384, 384)))[0]
    spread = np.arange(1.0, 385.0) ** -0.5
    rows = scale * np.random.default_rng(seed).normal(size=(n, 384)) * spread
    rows[:, 0] += shift
    return rows @ turn


def test_ten_percent_more_in_all_of_many_dimensions_is_drift(check):
    assert check(table(wide(1)), table(wide(2, scale=1.1))).drifted


def test_the_mean_of_the_main_direction_of_many_is_drift(check):
    report = check(table(wide(1)), table(wide(2, shift=0.4)))

    assert report.drifted
    assert report.features["e"].effect_size >= 0.1


def test_directions_learned_from_few_vectors_of_many_dimensions_are_no_drift(check):
    """Counted along them themselves, nearly all would lie farther out than those of a window."""
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(12):
        before, now = (table(rng.normal(size=(300, 200))) for _ in range(2))
        p_values.append(check(before, now).features["e"].p_value)

    assert np.mean(np.array(p_values) <= 0.05) <= 0.2


@pytest.mark.parametrize("stored", [np.float16, np.float32, np.float64])
def test_normed_vectors_have_no_drift_of_their_length_in_another_precision(check, stored):
    rng = np.random.default_rng(5)
    before, now = (rng.normal(size=(600, 64)) for _ in range(2))
    normed = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (before, now)]

    report = check(table(normed[0], np.float32), table(normed[1], stored))

    assert report.features["e"].level == "none"


def test_vectors_near_the_largest_number_are_compared(check):
    rng = np.random.default_rng(16)
    before, now = (rng.uniform(-1, 1, (400, 6)) * 1.7e308 for _ in range(2))

    with np.errstate(all="raise"):
        same = check(table(before, np.float64), table(now, np.float64))
        moved = check(table(before, np.float64), table(now * 0.1, np.float64))

    assert same.features["e"].level == "none"
    assert moved.drifted


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((300, 3)),
        np.ones((300, 3)),
        np.outer(np.arange(300.0), [1, 0, 0]),
        np.repeat(np.eye(3), 100, axis=0),
        np.arange(300.0)[:, None],
        np.array([[1.0, 2.0]]),
    ],
)
def test_vectors_that_hardly_differ_have_a_profile_and_no_drift(tmp_path, rows):
    profile = profile_data(table(rows))
    profile.save(tmp_path / "profile")

    restored = Profile.load(tmp_path / "profile")
    again = profile_data(table(rows), like=restored)

    np.testing.assert_array_equal(again.features["e"].counts, profile.features["e"].counts)
    assert check_drift(restored, again).features["e"].level == "none"
    merged = merge_profiles([again, again])
    assert merged.features["e"].counts.sum() == 2 * again.features["e"].counts.sum()


def test_a_window_of_one_vector_alone_has_a_length_and_perhaps_no_learned_slice():
    reference = profile_data(embeddings(1))
    # equal vectors are all counted along learned directions, or none is
    for value in range(12):
        one = table(np.full((500, DIMENSION), 0.01 * value))
        found = check_drift(reference, one).features["e"]
        assert found.drifted
        assert 0.5 < found.effect_size <= 1


def test_principal_directions_are_learned_once_and_kept():
    reference = profile_data(embeddings(1))
    layout = reference.features["e"]

    window = profile_data(embeddings(2), like=reference).features["e"]

    assert layout.directions.shape == (4 * DIMENSION,)
    np.testing.assert_array_equal(window.directions, layout.directions)
    assert len(window.counts) == (32 + 1 + 4) * 129
    slices = window.counts.reshape(37, 129).sum(axis=1)
    assert set(slices[:33]) == {2000}
    assert len(set(slices[33:])) == 1
    assert slices[33] == pytest.approx(1500, abs=100)
    assert profile_data(embeddings(1)).layout == reference.layout


def test_past_windows_calibrate_the_length_of_vectors():
    def night(seed: int, scale: float = 1.0) -> pa.Table:
        mood = 1 + 0.01 * np.random.default_rng(seed).normal()
        return table(wide(seed, 300, scale=scale * mood))

    reference = profile_data(night(0))
    past = [profile_data(night(seed), like=reference) for seed in range(1, 9)]

    quiet, larger = (
        check_drift(reference, night(20, scale), past=past).features["e"] for scale in (1.0, 1.4)
    )

    assert not quiet.drifted
    assert larger.drifted
    assert larger.checks[0].window_p_value < 0.01
