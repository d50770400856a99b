from __future__ import annotations

import json
import math
import pickle

import fsspec
import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon.errors import DataError, StorageError
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.profiles.feature import (
    UNSEEN_LIMIT,
    FeatureProfile,
    WeightSums,
    name_hash,
)
from flytekitplugins.wbmon.monitor.profiles.profile import Profile


@pytest.fixture
def profile() -> Profile:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=2000),
            "n": rng.integers(0, 10, 2000),
            "c": rng.choice(["ä", "b", "漢字"], 2000),
            "w": rng.random(2000),
        }
    )
    frame.loc[::9, "x"] = np.nan
    reference = profile_data(frame)
    return profile_data(frame.replace("b", "new"), like=reference, weight="w")


def assert_same(a: Profile, b: Profile) -> None:
    assert (a.n_rows, a.layout, a.weight) == (b.n_rows, b.layout, b.weight)
    assert_same_features(a.features, b.features)


def assert_same_features(a, b) -> None:
    assert list(a) == list(b)
    for name, feature in a.items():
        other = b[name]
        assert_same_features(feature.facets, other.facets)
        for field in set(FeatureProfile.__dataclass_fields__) - {"facets"}:
            mine, theirs = getattr(feature, field), getattr(other, field)
            if isinstance(mine, np.ndarray):
                assert mine.dtype == theirs.dtype
                np.testing.assert_array_equal(mine, theirs)
            else:
                assert mine == theirs or (math.isnan(mine) and math.isnan(theirs))


def test_a_profile_comes_back_from_its_file_bit_by_bit(profile, tmp_path):
    profile.save(tmp_path / "profile")

    assert_same(profile, Profile.load(tmp_path / "profile"))


def test_columns_of_every_kind_come_back(tmp_path):
    frame = pd.DataFrame(
        {
            "at": pd.date_range("2026-01-01", periods=300, tz="UTC"),
            "id": np.arange(300),
            "number": np.arange(300) // 2,
            "yes": np.arange(300) % 2 == 0,
            "vector": list(np.ones((300, 3))),
            "name": [f"user {i}" for i in range(300)],
            "nothing": [None] * 300,
        }
    )
    reference = profile_data(frame)
    window = profile_data(frame.drop(columns="name"), like=reference)
    merged = merge_profiles([window, window])

    for profile in (reference, window, merged):
        profile.save(tmp_path / "profile")
        assert_same(profile, Profile.load(tmp_path / "profile"))


def test_a_profile_without_features_comes_back(tmp_path):
    profile = Profile(n_rows=0, features={})

    profile.save(str(tmp_path / "deep" / "profile"))

    assert Profile.load(tmp_path / "deep" / "profile") == profile


def test_a_profile_can_live_at_any_fsspec_url(profile):
    profile.save("memory://profiles/a")

    assert_same(profile, Profile.load("memory://profiles/a"))
    fsspec.filesystem("memory").rm("/profiles", recursive=True)


def test_the_file_describes_itself(profile, tmp_path):
    profile.save(tmp_path / "profile")

    magic, header = (tmp_path / "profile").read_bytes().split(b"\n", 2)[:2]

    assert magic == b"flytekitplugins-wbmon profile"
    described = json.loads(header)
    assert described["n_rows"] == 2000
    assert [feature["name"] for feature in described["features"]] == ["x", "n", "c"]


def test_a_small_profile_makes_a_small_file(profile, tmp_path):
    profile.save(tmp_path / "profile")

    assert (tmp_path / "profile").stat().st_size < 40_000


def test_loading_what_is_not_there_says_so(tmp_path):
    with pytest.raises(DataError, match="must be a readable file"):
        Profile.load(tmp_path / "nothing")


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    (tmp_path / "evil").write_bytes(pickle.dumps({"a": 1}))

    with pytest.raises(DataError, match="does not begin like one"):
        Profile.load(tmp_path / "evil")


@pytest.mark.parametrize("keep", [40, 300, -20])
def test_a_torn_file_is_called_damaged(profile, tmp_path, keep):
    path = tmp_path / "profile"
    profile.save(path)
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(DataError, match="damaged profile"):
        Profile.load(path)


def test_a_file_of_a_newer_version_asks_for_an_upgrade(profile, tmp_path):
    path = tmp_path / "profile"
    profile.save(path)
    path.write_bytes(path.read_bytes().replace(b'"version": 3', b'"version": 9', 1))

    with pytest.raises(DataError, match=r"version 9.*upgrade"):
        Profile.load(path)


def test_equal_weights_make_every_row_effective():
    sums = WeightSums(rows=20.0, rows_squared=40.0, missing=4.0, values_squared=32.0)
    feature = FeatureProfile(name="x", kind="number", n_rows=10, n_missing=2, weights=sums)

    assert feature.effective_rows == 10
    assert feature.effective_values == 8
    assert feature.missing_share == 0.2


@pytest.mark.parametrize(("of_errors", "of_others"), [(0.3, 0.0), (0.0, 0.1), (0.3, 0.1)])
def test_a_missing_rate_of_a_stratified_sample_has_the_variance_of_repeated_samples(
    of_errors, of_others
):
    """All errors are kept, and one in twenty of the other rows."""
    rng = np.random.default_rng(0)
    shares, rows = [], []
    for _ in range(300):
        is_error = rng.random(8_000) < 0.05
        is_lost = rng.random(8_000) < np.where(is_error, of_errors, of_others)
        kept = is_error | (rng.random(8_000) < 0.05)
        frame = pd.DataFrame(
            {
                "x": np.where(is_lost, np.nan, 1.0)[kept],
                "w": np.where(is_error, 1.0, 20.0)[kept],
            }
        )
        feature = profile_data(frame, weight="w").features["x"]
        shares.append(feature.missing_share)
        rows.append(feature.rows_of_rate(feature.missing_share))

    mean = np.mean(shares)
    assert np.median(rows) == pytest.approx(mean * (1 - mean) / np.var(shares), rel=0.2)


def test_a_rate_has_the_rows_of_the_window_if_the_weights_are_equal_or_nothing_is_lost():
    sums = WeightSums(rows=20.0, rows_squared=40.0, missing=4.0, values_squared=32.0)
    equal = FeatureProfile(name="x", kind="number", n_rows=10, n_missing=2, weights=sums)
    plain = FeatureProfile(name="x", kind="number", n_rows=10, n_missing=2)

    assert equal.rows_of_rate(equal.missing_share) == pytest.approx(10)
    assert plain.rows_of_rate(plain.missing_share) == 10
    assert equal.rows_of_rate(0.0) == equal.rows_of_rate(1.0) == equal.effective_rows == 10


def test_weights_of_zero_leave_nothing_effective():
    feature = FeatureProfile(name="x", kind="number", n_rows=10, weights=WeightSums())

    assert feature.effective_rows == 0
    assert feature.effective_values == 0
    assert math.isnan(feature.missing_share)
    assert math.isnan(feature.std)


def test_shares_of_an_empty_window_are_undefined():
    feature = FeatureProfile(name="x", kind="number")

    assert math.isnan(feature.missing_share)
    assert math.isnan(feature.infinite_share)


def test_distinct_categories_are_counted_and_then_estimated():
    few = profile_data(pd.DataFrame({"c": list("abcabc") * 20})).features["c"]
    none = profile_data(pd.DataFrame({"x": [1.0, 2.0]})).features["x"]
    rng = np.random.default_rng(0)
    reference = profile_data(pd.DataFrame({"c": ["a", "b"] * 100}))
    many = pd.DataFrame({"c": [f"name {i}" for i in rng.integers(0, 20_000, 200_000)]})

    estimated = profile_data(many, like=reference).features["c"]

    assert few.n_categories == 3
    assert math.isnan(none.n_categories)
    assert len(estimated.unseen) == UNSEEN_LIMIT
    assert estimated.n_categories == pytest.approx(20_000, rel=0.2)


def test_the_hash_of_a_name_never_changes():
    assert name_hash("amount") == 9457176112583179597
    assert 0 <= name_hash("") < 2**64
    assert name_hash("a") != name_hash("b")


def test_what_cannot_be_a_file_is_refused_by_its_path(profile, tmp_path):
    (tmp_path / "file").write_text("")

    for path in (tmp_path, tmp_path / "file" / "profile", "", f"{tmp_path}/a\0b"):
        with pytest.raises(DataError, match=r"must be saved to a file, could not write .*; give"):
            profile.save(path)
    with pytest.raises(DataError, match="must be given by its path or URL, got int"):
        profile.save(3)
    with pytest.raises(DataError, match=r"a profile must be a file, .* is another thing"):
        Profile.load(tmp_path)


def test_a_disk_that_refuses_is_a_store_that_does(profile):
    with pytest.raises(StorageError, match="/dev/full must be within reach"):
        profile.save("/dev/full")


def test_folders_that_are_not_there_are_made(profile, tmp_path):
    profile.save(tmp_path / "a" / "b" / "profile")

    assert_same(Profile.load(tmp_path / "a" / "b" / "profile"), profile)
