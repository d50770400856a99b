from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.joint import check_joint_drift
from flytekitplugins.wbmon.monitor.drift.report import DriftRule


def pair(seed: int, *, correlation: float = 0.8, n: int = 3000) -> pd.DataFrame:
    """Two columns that rise together, or apart, and look the same alone; and three bystanders."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "y": y, "noise": rng.normal(size=n)})
    frame["kind"] = rng.choice(["a", "b", None], n)
    frame["flag"] = rng.random(n) < 0.5
    frame.loc[::50, "noise"] = np.nan
    return frame


def test_windows_of_one_distribution_cannot_be_told_apart():
    found = check_joint_drift(pair(1), pair(2))

    assert found.level == "none"
    assert not found.drifted
    assert found.auc == pytest.approx(0.5, abs=0.04)
    assert found.low < 0.5 < found.high
    assert "cannot tell the windows apart" in found.reason


def test_columns_that_no_longer_rise_together_are_found():
    reference, current = pair(1), pair(2, correlation=-0.8)

    alone = check_drift(reference, current)
    together = check_joint_drift(reference, current)

    assert alone.verdict == "ok"
    assert together.drifted
    assert together.auc > 0.8
    assert together.low > 0.75
    assert set(list(together.contributions)[:2]) == {"x", "y"}
    assert "most by" in together.reason


def test_a_category_that_moved_is_found():
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"c": rng.choice(["a", "b", "c"], 2000)})
    current = pd.DataFrame({"c": rng.choice(["a", "b", "c"], 2000, p=[0.6, 0.2, 0.2])})

    found = check_joint_drift(reference, current)

    assert found.drifted
    assert list(found.contributions) == ["c"]


def test_vectors_are_looked_at_as_a_whole():
    rng = np.random.default_rng(0)

    def embeddings(shift: float) -> pa.Table:
        values = rng.normal(size=(1500, 8))
        values[:, 3] += shift
        return pa.table({"e": pa.array([None, *values.tolist()], pa.list_(pa.float32(), 8))})

    assert check_joint_drift(embeddings(0), embeddings(1.0)).drifted
    assert check_joint_drift(embeddings(0), embeddings(0)).level == "none"


def test_false_alarms_are_no_more_frequent_than_alpha():
    rng = np.random.default_rng(0)
    windows = [pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc")) for _ in range(40)]
    rule = DriftRule(min_effect=1e-9, warn_effect=1e-9)

    alarms = [
        check_joint_drift(a, b, rule=rule).drifted
        for a, b in zip(windows[:20], windows[20:], strict=True)
    ]

    assert np.mean(alarms) <= 0.15


def test_a_small_difference_is_called_negligible():
    rng = np.random.default_rng(0)
    reference, current = rng.normal(size=20_000), rng.normal(0.15, 1, 20_000)
    rule = DriftRule(min_effect=0.5, warn_effect=0.3)

    found = check_joint_drift(
        pd.DataFrame({"x": reference}), pd.DataFrame({"x": current}), rule=rule
    )

    assert found.level == "negligible"
    assert "too small to matter" in found.reason


def test_only_so_many_rows_are_used_and_the_answer_is_always_the_same():
    reference, current = pair(1), pair(2)

    first = check_joint_drift(reference, current, max_rows=1000)

    assert (first.n_reference, first.n_current) == (1000, 1000)
    assert first == check_joint_drift(reference, current, max_rows=1000)


def test_too_few_rows_give_no_answer():
    found = check_joint_drift(pair(1), pair(2, n=20))

    assert np.isnan(found.auc)
    assert found.level == "none"
    assert "too few rows" in found.reason
    assert np.isnan(check_joint_drift(pair(1)[:0], pair(2)).auc)


def test_columns_that_are_not_shared_are_refused_or_left_out():
    reference = pair(1).assign(only=1.0, other="text")
    current = pair(2).assign(other=1.0)

    assert check_joint_drift(reference, current).level == "none"
    with pytest.raises(DataError, match="columns must name columns"):
        check_joint_drift(reference, current, columns=["only"])
    with pytest.raises(DataError, match="found none among 'other'"):
        check_joint_drift(reference, current, columns=["other"])


def test_names_may_come_from_parquet_a_frame_or_a_categorical(tmp_path):
    rng = np.random.default_rng(5)
    names = pd.DataFrame({"c": rng.choice(["a", "b"], 1000), "x": rng.normal(size=1000)})
    names.to_parquet(tmp_path / "names.parquet")
    others = names.assign(c=names["c"].replace("a", "c").astype("category"))

    assert check_joint_drift(tmp_path / "names.parquet", names).level == "none"
    found = check_joint_drift(tmp_path / "names.parquet", others)

    assert found.level == "drift"
    assert next(iter(found.contributions)) == "c"
