from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon.data.hive_partitions import partition_values, typed_partitions
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.joint import check_joint_drift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.series import drift_series
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.scoring.score import score_batches

N = 500
START = date(2026, 1, 1)


def rows(seed: int, shift: float = 0.0, n: int = N) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({"amount": rng.normal(shift, 1, n), "items": rng.poisson(3, n)})


def write(root: str, folders: str, table: pa.Table) -> None:
    with fsspec.open(f"{root}/{folders}/part-0.parquet", "wb", auto_mkdir=True) as file:
        pq.write_table(table, file, row_group_size=200)


@pytest.fixture(params=["local", "memory"])
def root(request, tmp_path):
    """Where folders are written: the disk, or a file system that only fsspec knows."""
    if request.param == "local":
        yield str(tmp_path)
    else:
        yield f"memory://{tmp_path.name}"
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


@pytest.fixture
def month(root):
    """Ten days of two regions; the last three days of `eu` are shifted."""
    for i in range(10):
        day = START + timedelta(i)
        write(root, f"month/day={day}/region=eu", rows(2 * i, shift=2.0 if i >= 7 else 0.0))
        write(root, f"month/day={day}/region=us", rows(2 * i + 1))
    return f"{root}/month"


def test_what_folders_tell_is_not_compared_unless_it_is_named(root, month):
    write(root, "next/day=2026-02-01/region=eu", rows(99, n=4000))

    for reference in (month, profile_data(month)):
        report = check_drift(reference, f"{root}/next")
        assert sorted(report.features) == ["amount", "items"]
    assert sorted(profile_data(month).features) == ["amount", "items"]


@pytest.mark.parametrize("path", ["exact", "grid"])
def test_a_rule_that_names_a_partition_column_has_it_checked(root, month, path):
    write(root, "next/day=2026-02-01/region=eu", rows(99, n=4000))
    rule = DriftRule(features=("amount", "region"))
    reference = month if path == "exact" else profile_data(month, columns=["amount", "region"])

    report = check_drift(reference, f"{root}/next", rule=rule)

    region = report.features["region"]
    assert (region.kind, region.level, region.test) == ("category", "drift", "chi_squared")
    assert region.effect_size == pytest.approx(0.5, abs=0.01)
    assert region.vanished_categories == ("us",)


def test_a_named_partition_column_is_counted_row_by_row(month):
    found = profile_data(month, columns=["day", "region"])

    region, day = found.features["region"], found.features["day"]
    assert found.n_rows == 20 * N
    assert dict(zip(region.categories, region.counts, strict=False)) == {"eu": 5000, "us": 5000}
    assert (day.kind, day.n_missing) == ("time", 0)
    first = datetime.combine(START, datetime.min.time(), timezone.utc).timestamp()
    assert (day.minimum, day.maximum) == (first, first + 9 * 86_400)


def test_a_window_made_like_a_reference_has_its_partition_columns(root, month):
    reference = profile_data(month, columns=["amount", "region"])
    parts = [
        profile_data(f"{root}/month", like=reference),
        profile_data(pd.DataFrame({"amount": [0.0], "region": ["eu"]}), like=reference),
    ]

    merged = merge_profiles(parts)

    assert merged.features["region"].counts.tolist() == [5001, 5000, 0]


def test_a_series_is_cut_by_the_days_and_regions_of_its_folders(month):
    reference = profile_data(rows(100))

    series = drift_series(month, like=reference, at="day", segment="region")

    assert len(series.windows) == 20
    assert series.n_undated == 0
    found = {
        (window.segment, window.start.day) for window in series.windows if window.report.drifted
    }
    assert found == {("eu", 8), ("eu", 9), ("eu", 10)}
    assert all(sorted(w.report.features) == ["amount", "items"] for w in series.windows)


def test_weeks_of_daily_folders_are_windows_too(month):
    series = drift_series(month, like=profile_data(rows(100)), at="day", by="week")

    assert [window.report.n_current for window in series.windows] == [8 * N, 12 * N]


def test_a_batch_scorer_is_given_the_stored_columns_only(month, tmp_path):
    seen = []

    def predict(batch: pd.DataFrame) -> pd.Series:
        seen.append(list(batch.columns))
        return batch["amount"].rename("score")

    score_batches(predict, month, str(tmp_path / "scored"))

    assert seen[0] == ["amount", "items"]


def test_whole_numbers_dates_and_times_have_their_types_and_the_rest_is_text(root):
    for hour, day, moment, code, name in (
        ("5", "2026-01-01", "2026-01-01T05:00", "007", "a b/c"),
        ("12", "2026-01-02", "2026-01-02 12:00:30", "12", "ü=1"),
    ):
        parts = (f"hour={hour}", f"day={day}", f"at={quote(moment)}", f"code={code}")
        write(root, "/".join(["table", *parts, f"name={quote(name, safe='')}"]), rows(1))

    found = profile_data(f"{root}/table", columns=["hour", "day", "at", "code", "name"]).features

    kinds = {name: (feature.kind, feature.dtype) for name, feature in found.items()}
    assert kinds == {
        "hour": ("number", "int64"),
        "day": ("time", "date32[day]"),
        "at": ("time", "timestamp[us, tz=UTC]"),
        "code": ("category", "string"),
        "name": ("category", "string"),
    }
    assert set(found["name"].categories) == {"a b/c", "ü=1"}
    assert (found["hour"].minimum, found["hour"].maximum) == (5, 12)


def test_a_date_that_does_not_exist_is_text():
    (values,) = typed_partitions([partition_values(["day=2026-02-30"])])

    assert values["day"].dtype == pa.string()


def test_null_folders_and_files_outside_of_any_have_no_value(root):
    write(root, "table/region=eu", rows(1))
    write(root, "table/region=__HIVE_DEFAULT_PARTITION__", rows(2))
    write(root, "table/elsewhere", rows(3))

    region = profile_data(f"{root}/table", columns=["region"]).features["region"]

    assert (region.n_rows, region.n_missing) == (3 * N, 2 * N)


def test_a_column_that_files_hold_themselves_wins_over_the_folder_and_is_not_compared_either(root):
    stored = rows(1).append_column("region", pa.array(["stored"] * N))
    write(root, "table/region=eu", stored)

    assert sorted(profile_data(f"{root}/table").features) == ["amount", "items"]
    named = profile_data(f"{root}/table", columns=["region"])
    assert named.features["region"].categories == ("stored",)


def test_a_folder_named_like_a_partition_above_the_data_is_a_name_and_nothing_else(root, month):
    found = profile_data(f"{month}/day=2026-01-01")

    assert found.n_rows == 2 * N
    with pytest.raises(DataError, match="'day' is not among"):
        profile_data(f"{month}/day=2026-01-01", columns=["day"])


def test_a_misspelt_partition_column_is_told_with_the_nearest_name(month):
    with pytest.raises(DataError, match="did you mean 'region'"):
        profile_data(month, columns=["regin"])
    with pytest.raises(DataError, match="did you mean 'region'"):
        check_drift(month, month, rule=DriftRule(features=("regin",)))
    with pytest.raises(DataError, match="did you mean 'region'"):
        drift_series(month, like=profile_data(rows(1)), segment="regin")


def test_a_dataset_opened_with_hive_partitioning_is_treated_alike(tmp_path):
    for region, seed in (("eu", 1), ("us", 2)):
        write(str(tmp_path), f"table/region={region}", rows(seed))
    dataset = ds.dataset(tmp_path / "table", partitioning="hive")

    assert sorted(profile_data(dataset).features) == ["amount", "items"]
    assert sorted(check_drift(dataset, dataset).features) == ["amount", "items"]
    counts = profile_data(dataset, columns=["region"]).features["region"].counts
    assert counts.tolist() == [N, N, 0]


def test_the_joint_test_does_not_look_at_folders_unless_it_is_told_to(root, month):
    write(root, "next/day=2026-02-01/region=eu", rows(99))
    write(root, "before/day=2026-01-01/region=us", rows(98))

    unnamed = check_joint_drift(f"{root}/before", f"{root}/next")
    named = check_joint_drift(f"{root}/before", f"{root}/next", columns=["amount", "region"])

    assert not unnamed.drifted
    assert named.auc == pytest.approx(1.0)
    assert next(iter(named.contributions)) == "region"


def test_the_folders_of_the_prediction_log_are_columns(tmp_path: Path):
    log = tmp_path / "prediction_log" / "service=payments"
    for i in range(3):
        write(str(log), f"dt={START + timedelta(i)}", rows(i, shift=3.0 * (i == 2)))

    series = drift_series(log, like=profile_data(rows(100)), at="dt")

    assert [window.report.drifted for window in series.windows] == [False, False, True]
