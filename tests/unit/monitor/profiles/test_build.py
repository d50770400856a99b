from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data import parquet, threads
from flytekitplugins.wbmon.data import sources as in_memory
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.profiles import build as profiling
from flytekitplugins.wbmon.monitor.profiles import count as counting
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.profile import Profile


def frame(n: int = 1000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    made = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "n": rng.integers(0, 5, n),
            "c": rng.choice(["a", "b", "c"], n),
            "b": rng.random(n) < 0.5,
            "t": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(n), unit="h"),
        }
    )
    made.loc[::10, "x"] = np.nan
    return made


def assert_same_counts(a: Profile, b: Profile) -> None:
    assert a.n_rows == b.n_rows
    assert list(a.features) == list(b.features)
    for name, one in a.features.items():
        other = b.features[name]
        exact = ("kind", "status", "n_rows", "n_missing", "n_infinite", "categories", "unseen")
        for field in exact:
            assert getattr(one, field) == getattr(other, field), (name, field)
        for field in ("edges", "counts"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        np.testing.assert_array_equal([one.minimum, one.maximum], [other.minimum, other.maximum])
        np.testing.assert_allclose(
            [one.mean, one.std], [other.mean, other.std], rtol=1e-9, atol=1e-12
        )


def test_a_profile_counts_what_is_there():
    features = profile_data(frame()).features

    assert {name: feature.kind for name, feature in features.items()} == {
        "x": "number",
        "n": "number",
        "c": "category",
        "b": "boolean",
        "t": "time",
    }
    assert features["x"].n_missing == 100
    assert features["x"].n_values == 900
    assert features["x"].counts.sum() == 900
    assert features["n"].counts.tolist()[1::2] == frame()["n"].value_counts().sort_index().tolist()
    assert sum(features["n"].counts[0::2]) == 0
    assert dict(zip(features["c"].categories, features["c"].counts, strict=False)) == (
        frame()["c"].value_counts().to_dict()
    )
    assert features["b"].counts.tolist() == [*frame()["b"].value_counts().sort_index(), 0]
    assert features["t"].minimum == dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc).timestamp()
    assert features["t"].maximum - features["t"].minimum == 999 * 3600


def test_mean_and_spread_are_those_of_the_values():
    data = frame()

    x = profile_data(data).features["x"]

    assert x.mean == pytest.approx(data["x"].mean())
    assert x.std == pytest.approx(data["x"].std(ddof=0))
    assert (x.minimum, x.maximum) == (data["x"].min(), data["x"].max())


def sources(folder: Path) -> dict[str, object]:
    data = frame()
    table = pa.Table.from_pandas(data)
    pq.write_table(table, folder / "one.parquet", row_group_size=137)
    parts = folder / "parts"
    for start in range(0, 1000, 300):
        place = parts / f"day={start}"
        place.mkdir(parents=True)
        pq.write_table(table.slice(start, 300), place / "part.parquet")
    (parts / "_SUCCESS").write_text("")
    (parts / ".hidden").write_text("no parquet")
    import polars as pl

    return {
        "pandas": data,
        "polars": pl.from_pandas(data),
        "table": table,
        "stream": pa.RecordBatchReader.from_batches(table.schema, table.to_batches(77)),
        "file": folder / "one.parquet",
        "text path": str(folder / "one.parquet"),
        "file url": f"file://{folder}/one.parquet",
        "folder": parts,
        "dataset": ds.dataset(folder / "one.parquet"),
    }


def test_the_same_rows_make_the_same_profile_wherever_they_come_from(tmp_path):
    expected = profile_data(frame())

    for data in sources(tmp_path).values():
        assert_same_counts(profile_data(data), expected)


def test_parquet_is_read_from_any_fsspec_url(tmp_path):
    table = pa.Table.from_pandas(frame())
    pq.write_table(table, tmp_path / "one.parquet")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "one.parquet"), "/bucket/data/one.parquet")

    for url in ("memory://bucket/data", "memory://bucket/data/one.parquet"):
        assert_same_counts(profile_data(url), profile_data(frame()))
    with pytest.raises(DataError, match="there is no file or folder"):
        profile_data("memory://bucket/nothing")
    memory.rm("/bucket", recursive=True)


def test_a_record_batch_is_a_window():
    batch = pa.RecordBatch.from_pydict({"x": [1.0, 2.0]})

    assert profile_data(batch).n_rows == 2


def test_text_is_text_however_arrow_lays_it_out():
    values = ["a", None, "b", "a"]
    kinds = [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
    ]
    expected = profile_data(pa.table({"c": pa.array(values, pa.string())})).features["c"]

    for kind in kinds:
        found = profile_data(pa.table({"c": pa.array(values, kind)}))
        assert found.features["c"].counts.tolist() == expected.counts.tolist() == [2, 1, 0]
        assert found.features["c"].n_missing == 1


def test_a_null_inside_a_dictionary_is_a_missing_value():
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0]), pa.array(["a", None]))

    found = profile_data(pa.table({"c": column})).features["c"]

    assert found.n_missing == 2
    assert found.counts.tolist() == [2, 0]


def test_numbers_of_every_width_are_counted():
    kinds = [pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.float16(), pa.float32()]
    kinds += [pa.decimal128(21, 2), pa.duration("ms")]
    for kind in kinds:
        column = pa.array([1, 2, 2, None, 3]).cast(pa.int64()).cast(kind, safe=False)
        found = profile_data(pa.table({"x": column})).features["x"]
        assert found.n_missing == 1
        assert found.counts.tolist() == [0, 1, 0, 2, 0, 1, 0]


def test_decimals_of_pandas_are_numbers():
    data = pd.DataFrame({"price": [Decimal("1.50"), Decimal("2.25"), None]})

    price = profile_data(data).features["price"]

    assert price.kind == "number"
    assert price.mean == 1.875


def test_whole_numbers_beyond_floats_keep_their_ties_apart():
    big = 2**60
    reference = profile_data(pa.table({"id": pa.array([big, big + 1, big + 1, big + 2])}))

    assert reference.features["id"].counts.tolist() == [0, 1, 0, 2, 0, 1, 0]


def test_dates_have_a_range_in_seconds():
    days = pa.array([dt.date(1970, 1, 2), dt.date(1970, 1, 3), None])
    table = pa.table({"d32": days, "d64": days.cast(pa.date64())})

    for feature in profile_data(table).features.values():
        assert (feature.kind, feature.minimum, feature.maximum) == ("time", 86400, 172800)
        assert feature.n_missing == 1


def test_a_sliced_column_with_missing_values_is_read_in_its_bounds():
    table = pa.table({"x": [None, 1.0, None, 2.0, 3.0], "b": [True, None, True, False, None]})

    found = profile_data(table.slice(2)).features

    assert found["x"].n_missing == 1
    assert found["x"].mean == 2.5
    assert found["b"].counts.tolist() == [1, 1, 0]


def test_columns_of_structures_are_counted_by_their_fields_and_elements():
    table = pa.table({"s": [{"a": 1}, None], "l": [[1], [2, 3]], "nothing": pa.nulls(2)})

    features = profile_data(table).features

    assert [feature.kind for feature in features.values()] == ["nested", "nested", "empty"]
    assert [feature.n_missing for feature in features.values()] == [1, 0, 2]


def test_a_column_is_what_most_of_its_values_are_and_the_odd_ones_are_counted():
    data = pd.DataFrame({"mixed": [1, "two", None, 3.0] * 20})

    mixed = profile_data(data).features["mixed"]

    assert (mixed.kind, mixed.mean, mixed.n_values) == ("number", 2, 40)
    assert (mixed.n_missing, mixed.n_unreadable, mixed.examples) == (20, 20, ("two",))


def test_nearly_unique_strings_are_identifiers():
    data = pd.DataFrame({"id": [f"order {i}" for i in range(500)], "few": ["a", "b"] * 250})

    features = profile_data(data).features

    assert features["id"].kind == "identifier"
    assert features["id"].counts is None
    assert features["few"].kind == "category"


def test_very_many_categories_keep_the_frequent_ones_and_the_rest_together():
    rng = np.random.default_rng(0)
    rare = [f"rare {i}" for i in rng.integers(0, 5000, 20_000)]
    data = pd.DataFrame({"c": rare + ["often"] * 20_000 + ["also"] * 10_000})

    found = profile_data(data).features["c"]

    assert found.categories == ("often", "also")
    assert found.counts.tolist() == [20_000, 10_000, 20_000]


def test_names_the_sample_missed_enter_the_table_while_there_is_room(monkeypatch):
    monkeypatch.setattr(in_memory, "SAMPLE_ROWS", 80)
    data = pd.DataFrame({"c": ["a", "b"] * 500})
    data.loc[437, "c"] = "rare"

    found = profile_data(data).features["c"]

    assert found.categories == ("a", "b", "rare")
    assert found.counts.tolist() == [500, 499, 1, 0]
    assert found.unseen == {}


def test_a_large_table_learns_its_grid_from_rows_all_over_it(monkeypatch):
    monkeypatch.setattr(in_memory, "SAMPLE_ROWS", 8000)
    monkeypatch.setattr(profiling, "SAMPLE_ROWS", 8000)
    monkeypatch.setattr(in_memory, "PART_ROWS", 10_000)
    rising = np.arange(100_000) / 100_000

    found = profile_data(pd.DataFrame({"x": rising})).features["x"]

    assert found.counts.sum() == 100_000
    assert found.counts.max() < 300


def test_a_large_file_learns_its_grid_from_row_groups_all_over_it(monkeypatch, tmp_path):
    monkeypatch.setattr(parquet, "SAMPLE_ROWS", 8000)
    monkeypatch.setattr(profiling, "SAMPLE_ROWS", 8000)
    monkeypatch.setattr(parquet, "PART_ROWS", 10_000)
    rising = np.arange(100_000) / 100_000
    pq.write_table(pa.table({"x": rising}), tmp_path / "x.parquet", row_group_size=2000)

    found = profile_data(tmp_path / "x.parquet").features["x"]

    assert found.counts.sum() == 100_000
    assert (found.minimum, found.maximum) == (0, 0.99999)
    assert found.counts.max() < 300


def test_a_long_stream_is_read_once_and_to_its_end(monkeypatch):
    monkeypatch.setattr(in_memory, "SAMPLE_ROWS", 3000)
    table = pa.Table.from_pandas(frame(10_000))
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(500))

    found = profile_data(reader)

    assert found.n_rows == 10_000
    assert found.features["x"].counts.sum() == 9000


def test_files_of_a_folder_may_lack_a_column(tmp_path):
    pq.write_table(pa.table({"x": [1.0, 2.0], "y": ["a", "b"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": [3.0]}), tmp_path / "2.parquet")

    features = profile_data(tmp_path).features

    assert features["x"].n_values == 3
    assert (features["y"].n_rows, features["y"].n_missing) == (3, 1)


def test_whole_and_broken_numbers_of_two_files_are_one_column(tmp_path):
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": [2.0, 2.5]}), tmp_path / "2.parquet")

    assert profile_data(tmp_path).features["x"].counts.tolist() == [0, 1, 0, 2, 0, 1, 0]


def test_files_that_disagree_on_a_type_are_refused(tmp_path):
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": ["one"]}), tmp_path / "2.parquet")

    with pytest.raises(DataError, match="must agree on the types"):
        profile_data(tmp_path)


def test_a_column_of_another_type_is_a_status_and_no_error():
    reference = profile_data(frame())

    changed = profile_data(frame().assign(x="text"), like=reference).features["x"]

    assert changed.status == "type_changed"
    assert changed.counts is None
    assert (changed.n_rows, changed.n_missing) == (1000, 0)


def test_a_column_of_another_type_without_values_is_missing_values():
    reference = profile_data(frame())

    empty = profile_data(frame().assign(c=np.nan), like=reference).features["c"]

    assert empty.status == "ok"
    assert (empty.n_missing, empty.counts.tolist()) == (1000, [0, 0, 0, 0])


def test_a_column_that_the_reference_lacks_is_new():
    reference = profile_data(frame()[["x"]])

    found = profile_data(frame(), like=reference).features

    assert found["x"].status == "ok"
    assert found["c"].status == "new_column"


def test_a_column_that_the_window_lacks_is_missing_in_every_row():
    found = profile_data(frame()[["x"]], like=profile_data(frame())).features["c"]

    assert (found.status, found.n_rows, found.n_missing) == ("missing_column", 1000, 1000)


def test_an_empty_window_has_a_profile():
    reference = profile_data(frame())

    assert profile_data(frame()[:0], like=reference).n_rows == 0
    assert profile_data(pd.DataFrame(), like=reference).n_rows == 0
    assert profile_data(frame()[:0]).features["x"].counts.tolist() == [0]
    assert profile_data(pd.DataFrame()).features == {}


def test_columns_are_profiled_in_the_order_asked():
    assert list(profile_data(frame(), columns=["c", "x"]).features) == ["c", "x"]


def test_an_unknown_column_is_an_error_that_names_its_neighbour():
    with pytest.raises(DataError, match=r"'xx' is not among 'x', 'n'.*did you mean 'x'\?"):
        profile_data(frame(), columns=["xx"])


def test_columns_of_one_name_are_numbered_as_pandas_numbers_those_of_a_csv():
    doubled = pd.concat([frame()[["x"]], frame()[["x", "c"]], frame()[["x"]]], axis=1)

    assert list(profile_data(doubled).features) == ["x", "x.1", "c", "x.2"]
    assert list(profile_data(pa.table([[1], [2]], ["x", "x"])).features) == ["x", "x.1"]


def test_a_number_does_not_take_the_name_of_another_column():
    names = ["x", "x.1", "x", 1, "1", None]
    table = pd.DataFrame([[1] * 6], columns=names)

    assert list(profile_data(table).features) == ["x", "x.1", "x.2", "1", "1.1", "None"]


def test_a_csv_is_refused_with_a_way_out(tmp_path):
    frame().to_csv(tmp_path / "data.csv")

    with pytest.raises(DataError, match=r"must be Parquet, but .*data\.csv.*convert it"):
        profile_data(tmp_path / "data.csv")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 torn file PAR1"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "torn.parquet").write_bytes(content)

    with pytest.raises(DataError, match="could not be read"):
        profile_data(tmp_path / "torn.parquet")


@pytest.mark.parametrize("left", [".", "_SUCCESS", "day=2026-01-01/_SUCCESS", "_tmp/1.parquet"])
def test_a_folder_without_data_files_is_a_window_without_rows(tmp_path, left):
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    if left != ".":
        (tmp_path / left).touch()
    reference = profile_data(frame())

    memory = f"memory://{tmp_path}"
    fsspec.filesystem("memory").mkdirs(memory, exist_ok=True)
    if left != ".":
        fsspec.filesystem("memory").touch(f"{memory}/{left}")
    for uri in (tmp_path, f"{tmp_path}/", f"file://{tmp_path}", memory):
        assert profile_data(uri).n_rows == 0
        report = check_drift(reference, profile_data(uri, like=reference))
        assert report.verdict == "insufficient"
        assert "no rows" in report.unmeasured


@pytest.mark.parametrize("empty", ["", "file://"])
def test_an_empty_path_is_not_the_working_folder(tmp_path, monkeypatch, empty):
    frame().to_parquet(tmp_path / "1.parquet")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError, match="an empty one"):
        profile_data(empty)
    assert profile_data(".").n_rows == len(frame())


@pytest.mark.parametrize("empty", [pd.DataFrame(), pa.table({}), pd.DataFrame({"x": []})])
def test_a_window_without_rows_needs_neither_weights_nor_times(empty):
    data = frame().assign(w=1.0, t=pd.Timestamp("2026-01-01"))
    reference = profile_data(data, weight="w", at="t")

    window = profile_data(empty, like=reference, weight="w", at="t")
    assert (window.n_rows, window.weight, window.at) == (0, "w", "t")
    assert profile_data(empty, like=reference).n_rows == 0
    assert "no rows" in check_drift(reference, window).unmeasured
    assert merge_profiles([reference, window]).n_rows == len(data)
    assert profile_data(empty, columns=["y"], weight="w", kinds={"z": "text"}).n_rows == 0
    with pytest.raises(DataError, match="weight must name columns"):
        profile_data(frame(), like=reference, weight="w")


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no file or folder"):
        profile_data(tmp_path / "nothing")


def test_anything_else_is_refused_by_its_type():
    with pytest.raises(DataError, match="got dict"):
        profile_data({"x": [1]})


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, 1e101, 1e-101])
def test_bad_weights_are_refused(bad):
    data = frame().assign(w=1.0)
    data.loc[5, "w"] = bad

    with pytest.raises(DataError, match=r"weights? .*'w' (has 1 rows|must hold)"):
        profile_data(data, weight="w")


@pytest.mark.parametrize("scale", [1e-99, 1e99])
def test_only_the_ratios_of_weights_count(scale, tmp_path):
    weights = np.random.default_rng(1).integers(0, 4, 3000)
    data, like = frame(3000).assign(w=weights), profile_data(frame(3000))
    one = profile_data(data, like=like, weight="w")
    other = profile_data(data.assign(w=weights * scale), like=like, weight="w")

    other.save(tmp_path / "other.profile")
    loaded = Profile.load(tmp_path / "other.profile")
    for name in ("x", "n", "c", "b"):
        assert loaded.features[name].counts == pytest.approx(one.features[name].counts * scale)
    found = [check_drift(like, window).features.values() for window in (one, loaded)]
    q_values = [[feature.q_value for feature in features] for features in found]
    assert q_values[0] == pytest.approx(q_values[1], nan_ok=True)


def test_a_weight_column_that_is_missing_or_text_is_refused():
    with pytest.raises(DataError, match="weight must name columns of the data"):
        profile_data(frame(), weight="w")
    with pytest.raises(DataError, match="must hold a number in every row"):
        profile_data(frame(), weight="c")


@pytest.mark.parametrize("form", [lambda w: w.map(str), lambda w: w.astype(object), pd.Categorical])
def test_weights_are_whatever_reads_as_numbers(form):
    weights = pd.Series(np.random.default_rng(1).integers(0, 4, 3000))
    like = profile_data(frame(3000))
    numbers, texts = (
        profile_data(frame(3000).assign(w=w), like=like, weight="w").features["x"]
        for w in (weights, form(weights))
    )
    np.testing.assert_array_equal(texts.counts, numbers.counts)
    flags = profile_data(frame(3000).assign(w=weights > 0), like=like, weight="w")
    assert flags.features["x"].weights.rows == (weights > 0).sum()


def test_whole_weights_count_like_repeated_rows():
    data = frame(500).assign(w=np.random.default_rng(1).integers(0, 4, 500))
    data.loc[7, "x"] = np.inf
    reference = profile_data(frame(3000))
    repeated = data.loc[data.index.repeat(data["w"])].drop(columns="w")

    weighted = profile_data(data, like=reference, weight="w").features
    plain = profile_data(repeated, like=reference).features

    for name in ("x", "n", "c", "b"):
        np.testing.assert_allclose(weighted[name].counts, plain[name].counts)
        assert weighted[name].missing_share == pytest.approx(plain[name].missing_share)
        assert weighted[name].infinite_share == pytest.approx(plain[name].infinite_share)
        assert weighted[name].effective_values <= plain[name].effective_values
    assert weighted["x"].mean == pytest.approx(plain["x"].mean)
    assert weighted["x"].std == pytest.approx(plain["x"].std)


def test_the_weight_of_the_reference_is_used_without_asking():
    data = frame().assign(w=2.0)
    reference = profile_data(data, weight="w")

    current = profile_data(data, like=reference)

    assert current.weight == "w"
    assert "w" not in current.features
    with pytest.raises(DataError, match="weight must name"):
        profile_data(frame(), like=reference)


def test_weighted_profiles_merge_by_their_sums():
    rng = np.random.default_rng(0)
    data = frame().assign(w=rng.integers(1, 9, 1000).astype(float))
    reference = profile_data(data, weight="w")
    parts = [profile_data(part, like=reference) for part in (data[:400], data[400:])]

    merged, whole = merge_profiles(parts), profile_data(data, like=reference)

    assert_same_counts(merged, whole)
    assert merged.features["x"].weights == whole.features["x"].weights


@pytest.mark.parametrize("n_cores", [1, 3, 64, None])
def test_the_number_of_cores_does_not_change_the_profile(monkeypatch, n_cores):
    expected = profile_data(frame())
    monkeypatch.delattr(threads.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: n_cores)

    assert_same_counts(profile_data(frame()), expected)


def test_merging_nothing_is_an_error():
    with pytest.raises(DataError, match="at least one profile"):
        merge_profiles([])


def test_merging_one_profile_gives_it_back():
    profile = profile_data(frame())

    assert_same_counts(merge_profiles([profile]), profile)


def test_more_profiles_than_fit_at_once_are_merged_from_a_generator():
    reference = profile_data(frame())
    data = frame(200, seed=1)

    merged = merge_profiles(profile_data(data[i : i + 1], like=reference) for i in range(200))

    assert_same_counts(merged, profile_data(data, like=reference))
    assert merge_profiles(iter([reference])).n_rows == 1000


def test_profiles_of_different_layouts_do_not_merge():
    with pytest.raises(DataError, match="share a layout"):
        merge_profiles([profile_data(frame()), profile_data(frame(seed=1))])


def test_profiles_of_different_weights_do_not_merge():
    reference = profile_data(frame())
    data = frame().assign(w=1.0)
    parts = [profile_data(data, like=reference, weight=weight) for weight in ("", "w")]

    with pytest.raises(DataError, match="weighted by the same column"):
        merge_profiles(parts)


def test_a_part_without_a_column_adds_missing_rows_to_the_whole():
    reference = profile_data(frame())
    parts = [frame()[:400], frame()[400:].drop(columns="c")]

    merged = merge_profiles([profile_data(part, like=reference) for part in parts])

    assert merged.features["c"].status == "ok"
    assert (merged.features["c"].n_rows, merged.features["c"].n_missing) == (1000, 600)


def test_a_part_profiled_for_fewer_columns_adds_missing_rows_too():
    data = frame().assign(w=1.0)
    reference = profile_data(data, weight="w")
    parts = [
        profile_data(data[:400], like=reference),
        profile_data(data[400:], like=reference, columns=["x"]),
    ]

    merged = merge_profiles(parts).features["c"]

    assert (merged.n_rows, merged.n_missing) == (1000, 600)
    assert merged.missing_share == 0.6


def test_a_part_of_another_type_makes_the_whole_of_another_type():
    reference = profile_data(frame())
    parts = [frame()[:400], frame()[400:].assign(x="text")]

    merged = merge_profiles([profile_data(part, like=reference) for part in parts])

    assert merged.features["x"].status == "type_changed"
    assert merged.features["x"].counts is None


values = st.one_of(
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, -0.0, 2.5]),
    st.none(),
)
names = st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["a", "b"]))
flags = st.one_of(st.none(), st.booleans())
rows = st.lists(st.tuples(values, names, flags), min_size=1, max_size=60)


def table_of(rows: list[tuple[object, ...]]) -> pa.Table:
    x, c, b = zip(*rows, strict=True)
    return pa.table(
        {
            "x": pa.array(x, pa.float64()),
            "c": pa.array(c, pa.string()),
            "b": pa.array(b, pa.bool_()),
        }
    )


@settings(max_examples=60, deadline=None)
@given(reference=rows, current=rows, data=st.data())
def test_merging_any_split_equals_the_whole(reference, current, data):
    like = profile_data(table_of(reference))
    table = table_of(current)
    cuts = data.draw(st.lists(st.integers(0, len(current)), max_size=6).map(sorted))
    bounds = [0, *cuts, len(current)]
    parts = [table.slice(a, b - a) for a, b in pairwise(bounds)]
    profiles = [profile_data(part, like=like) for part in parts]

    merged = merge_profiles(data.draw(st.permutations(profiles)))

    assert_same_counts(merged, profile_data(table, like=like))


@settings(max_examples=20, deadline=None)
@given(current=rows)
def test_merging_one_row_at_a_time_equals_the_whole(current):
    table = table_of(current)
    like = profile_data(table)
    parts = [profile_data(table.slice(i, 1), like=like) for i in range(len(current))]

    assert_same_counts(merge_profiles(parts), profile_data(table, like=like))


@settings(max_examples=40, deadline=None)
@given(current=rows, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(current, order):
    shuffled = list(current)
    order.shuffle(shuffled)

    assert_same_counts(profile_data(table_of(shuffled)), profile_data(table_of(current)))


def test_merging_many_unseen_names_equals_the_whole_beyond_the_limit():
    like = profile_data(pd.DataFrame({"c": ["a", "b"] * 50}))
    data = pd.DataFrame({"c": [f"name {i % 700}" for i in range(2000)]})
    parts = [profile_data(data[i::3], like=like) for i in range(3)]

    assert_same_counts(merge_profiles(parts), profile_data(data, like=like))


def test_only_the_lowest_hashes_of_unseen_names_are_kept():
    kept = counting.lowest_hashes({str(i): 1.0 for i in range(1000)})

    assert len(kept) == 256
    assert kept == counting.lowest_hashes({str(i): 1.0 for i in reversed(range(1000))})


def test_a_feature_profile_is_a_plain_frozen_record():
    feature = FeatureProfile(name="x", kind="number")

    with pytest.raises(AttributeError):
        feature.name = "y"  # type: ignore[misc]


def test_numbers_that_floats_round_to_one_are_counted_once():
    numbers = np.arange(2**63, 2**63 + 5000, dtype=np.uint64)

    profile = profile_data(pd.DataFrame({"n": numbers}), kinds={"n": "number"})
    counts = profile.features["n"].counts

    assert counts.min() >= 0
    assert counts.sum() == 5000


@pytest.mark.parametrize("given", [[1], ["window"], [None], [frame(3)]], ids=repr)
def test_only_profiles_are_merged(given):
    with pytest.raises(ConfigError, match=r"profiles must hold profiles, got one .*; make each"):
        merge_profiles(given)


def test_one_profile_or_one_path_is_no_sequence_of_profiles():
    with pytest.raises(ConfigError, match="must be a sequence of profiles, got one Profile"):
        merge_profiles(profile_data(frame(3)))
    with pytest.raises(ConfigError, match="must be a sequence of profiles, got 'window'"):
        merge_profiles("window")


def test_the_name_of_one_column_is_not_taken_for_its_letters():
    with pytest.raises(ConfigError, match="columns must be a sequence of column names, got 'x'"):
        profile_data(frame(3), columns="x")


@pytest.mark.parametrize("at", [pd.NaT, float("nan"), pd.NA, np.datetime64("NaT")], ids=repr)
def test_a_time_that_is_none_dates_no_window(at):
    with pytest.raises(ConfigError, match=r"at must be a moment, such as .*, got"):
        profile_data(frame(3), at=at)


@pytest.mark.parametrize(
    "at", [pd.Timestamp("2026-02-01"), np.datetime64("2026-02-01", "ns"), dt.date(2026, 2, 1)]
)
def test_the_end_of_a_window_is_a_moment_in_any_container(at):
    times = pd.DataFrame({"t": pd.date_range("2026-01-01", periods=31)})

    age = profile_data(times, at=at).features["t"].facets["age"]

    assert (age.minimum, age.maximum) == (86_400, 31 * 86_400)


def test_the_rows_of_each_weighted_name_are_those_of_the_whole_also_merged_and_stored(tmp_path):
    rng = np.random.default_rng(0)
    names = rng.choice(["a", "b", "c", "d"], size=600, p=[0.7, 0.2, 0.09, 0.01])
    frame = pd.DataFrame({"x": names, "w": rng.choice([0.5, 1.0, 4.0], 600)})
    known = frame[frame["x"] != "d"]
    reference = profile_data(known, weight="w")
    whole = profile_data(frame, like=reference)
    parts = [profile_data(frame[i::3], like=reference) for i in range(3)]
    merged = merge_profiles(parts)
    merged.save(tmp_path / "merged")
    expected = [(names == name).sum() for name in reference.features["x"].categories]
    for profile in (whole, merged, Profile.load(tmp_path / "merged")):
        found = profile.features["x"].cell_rows
        assert found.tolist() == [*expected, (names == "d").sum()]
    assert profile_data(known[["x"]]).features["x"].cell_rows is None


@pytest.mark.parametrize(("weighted", "rows"), [(False, [2, 2, 0]), (True, [2, 2])])
def test_rows_of_names_that_no_profile_has_are_refused(tmp_path, weighted, rows):
    frame = pd.DataFrame({"x": ["a", "b"] * 50, "w": 2.0})
    profile = profile_data(frame, weight="w") if weighted else profile_data(frame[["x"]])
    wrong = replace(profile.features["x"], cell_rows=np.array(rows))
    replace(profile, features={"x": wrong}).save(tmp_path / "wrong")
    with pytest.raises(DataError, match="rows of each cell, beside weighted counts of its kind"):
        Profile.load(tmp_path / "wrong")
