"""Metrics that hang on few rows, or on rows that belong together, say so and raise no alarm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport


def of_binary(frame, **given) -> PerformanceReport:
    return check_performance(frame, task="classification", label="y", prediction="p", **given)


def of_values(frame, **given) -> PerformanceReport:
    return check_performance(frame, task="regression", label="y", prediction="p", **given)


def scored(rng, n, n_positive):
    y = np.arange(n) < n_positive
    return pd.DataFrame({"y": y.astype(int), "p": rng.uniform(0.01, 0.6, n) + 0.3 * y})


@pytest.mark.parametrize("n_positive", [1, 9])
def test_mean_losses_of_a_rare_class_have_a_value_and_no_verdict(rng, n_positive):
    before = of_binary(scored(rng, 400, 100))
    report = of_binary(scored(rng, 400, n_positive), baseline=before)
    for name in ("pr_auc", "log_loss", "brier"):
        metric = report.metrics[name]
        assert metric.value > 0
        assert np.isnan(metric.low)
        assert metric.verdict == "unknown"
        rows = f"10 rows of each class are needed, found {n_positive} of '1'"
        assert metric.reason == rows
    assert not np.isnan(report.metrics["accuracy"].low)


def test_ten_rows_of_each_class_are_enough(rng):
    assert not np.isnan(of_binary(scored(rng, 400, 10)).metrics["log_loss"].low)


def test_a_baseline_of_a_rare_class_is_not_taken_for_exactly_known(rng):
    rare = of_binary(scored(rng, 400, 4))
    metric = of_binary(scored(rng, 400, 200), baseline=rare).metrics["log_loss"]
    assert metric.verdict == "unknown"
    assert metric.reason.startswith("the baseline has no interval: 10 rows")
    assert not np.isnan(metric.low)


def test_of_several_classes_the_rare_ones_count_together(rng):
    scores = rng.dirichlet(np.ones(4), 300)
    frame = pd.DataFrame({f"s{i}": scores[:, i] for i in range(4)})

    def log_loss(labels):
        frame["y"] = frame["p"] = labels
        columns = tuple(f"s{i}" for i in range(4))
        return of_binary(frame, score=columns, classes=(0, 1, 2, 3)).metrics["log_loss"]

    few = log_loss(np.repeat([0, 1, 2, 3], [291, 3, 3, 3]))
    assert few.reason == "10 rows of each class are needed, found 9 of classes other than '0'"
    assert not np.isnan(log_loss(np.repeat([0, 1, 2, 3], [290, 4, 3, 3])).low)


def test_errors_of_a_heavy_tail_are_announced_and_no_verdict_hangs_on_them(rng):
    y = rng.normal(10, 1, 500)
    calm = pd.DataFrame({"y": y, "p": y + rng.normal(size=500)})
    wild = calm.copy()
    wild.loc[:2, "p"] += 300
    report = of_values(wild, baseline=of_values(calm))
    assert report.loss_tail_share > 0.9
    assert "the largest 1 % of squared errors carry" in report.reason
    for name in ("rmse", "r2"):
        assert report.metrics[name].verdict == "unknown"
        assert report.metrics[name].reason.startswith("the largest 1 % of losses carry 100%")
    assert of_values(calm).loss_tail_share < 0.15
    assert "largest" not in of_values(calm).reason
    # nor on such errors of the baseline
    assert of_values(calm, baseline=of_values(wild)).metrics["rmse"].verdict == "unknown"


def test_rows_whose_label_is_zero_have_no_percentage_error(rng):
    y = rng.uniform(1, 2, 100)
    y[:7] = 0
    report = of_values(pd.DataFrame({"y": y, "p": y * 1.1 + 0.01}))
    assert report.metrics["mape"].n == 93
    assert report.metrics["mape"].value == pytest.approx((0.1 + 0.01 / y[7:]).mean())
    assert "mape leaves out 7 of 100 rows, whose label is 0" in report.reason


def customers(rng, n_customers, size, *, shift=0.0):
    """Scores of customers whose rows share what the model does not see."""
    who = np.repeat(np.arange(n_customers), size)
    unseen = 2 * rng.normal(size=n_customers)[who]
    y = rng.random(len(who)) < 1 / (1 + np.exp(-unseen - rng.normal(size=len(who))))
    p = np.clip(
        0.5 + 0.2 * (y - 0.5) + (rng.normal(size=len(who)) + unseen) / 8 + shift, 0.01, 0.99
    )
    return pd.DataFrame({"y": y.astype(int), "p": p, "who": who, "odd": who % 2})


def test_copies_of_rows_in_their_cluster_leave_the_intervals_of_the_rows(rng):
    rows = customers(rng, 300, 1)
    copies = pd.concat([rows] * 4, ignore_index=True)
    alone, together = of_binary(rows), of_binary(copies, cluster="who")
    naive = of_binary(copies)
    assert together.n_clusters == 300
    for name, metric in alone.metrics.items():
        width = metric.high - metric.low
        assert together.metrics[name].value == pytest.approx(metric.value)
        assert together.metrics[name].high - together.metrics[name].low == pytest.approx(
            width, rel=0.05
        )
        assert naive.metrics[name].high - naive.metrics[name].low < 0.6 * width


def test_clusters_count_in_segments_chunks_calibration_and_against_a_baseline(rng):
    rows = customers(rng, 60, 20)
    rows["at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rows["who"] % 3, unit="D")
    given = {"segments": ("odd",), "time": "at"}
    naive, found = (of_binary(rows, **given, **more) for more in ({}, {"cluster": "who"}))
    for part in ("segments", "chunks"):
        for narrow, wide in zip(getattr(naive, part), getattr(found, part), strict=True):
            ends = [each.metrics["log_loss"] for each in (narrow, wide)]
            assert np.diff([each.high - each.low for each in ends])[0] > 0
            assert np.diff([each.change_high - each.change_low for each in ends])[0] > 0
    assert found.calibration is not None
    assert naive.calibration is not None
    assert found.calibration.p_value > naive.calibration.p_value
    again = customers(rng, 60, 20)
    changes = [
        of_binary(again, baseline=base, **more).metrics["accuracy"]
        for base, more in ((naive, {}), (found, {"cluster": "who"}))
    ]
    assert changes[1].change_high - changes[1].change_low > 1.1 * (
        changes[0].change_high - changes[0].change_low
    )


def test_rows_without_a_cluster_are_clusters_of_their_own(rng):
    rows = customers(rng, 100, 2)
    rows["who"] = ["a", None, " ", "b"] * 50
    assert of_binary(rows, cluster="who").n_clusters == 2 + 100
    values = pd.DataFrame({"y": rng.normal(9, 1, 40), "p": rng.normal(9, 1, 40)})
    values["who"] = np.where(np.arange(40) < 10, np.nan, 7.0)
    assert of_values(values, cluster="who").n_clusters == 11


def test_a_column_of_lists_names_no_clusters(rng):
    rows = customers(rng, 20, 2)
    rows["who"] = [[1]] * 40
    with pytest.raises(DataError, match="clusters must be named by"):
        of_binary(rows, cluster="who")


@pytest.mark.parametrize("n_clusters", [1, 2])
def test_one_cluster_tells_no_error(rng, n_clusters):
    rows = customers(rng, n_clusters, 100 // n_clusters)
    report = of_binary(rows, cluster="who", min_rows=10)
    for metric in report.metrics.values():
        assert np.isnan(metric.low) or metric.high - metric.low > 0.6
    assert "Performance report" in report.to_html()
