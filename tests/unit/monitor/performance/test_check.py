from __future__ import annotations

import decimal
import math
import subprocess
import sys
from datetime import datetime, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.measure import HIGHER_IS_BETTER
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.performance.settings import baseline_values
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json


@pytest.fixture
def night(rng):
    p = rng.beta(1, 4, 500)
    return pa.table({"fraud": (rng.random(500) < p).astype(int), "p_fraud": p, "note": ["x"] * 500})


def check(data, **changed):
    columns = {"task": "classification", "label": "fraud", "prediction": "p_fraud"}
    return check_performance(data, **columns | changed)


def values(report):
    return {name: metric.value for name, metric in report.metrics.items()}


def test_any_form_of_the_data_gives_the_same_report(night, tmp_path):
    folder = tmp_path / "night"
    folder.mkdir()
    for part in range(5):
        pq.write_table(night.slice(part * 100, 100), folder / f"part-{part}.parquet")
    forms = [folder, str(folder), night.to_pandas(), pl.from_arrow(night), night.to_reader(64)]
    assert [check(form) for form in forms] == [check(night)] * len(forms)


def test_only_the_named_columns_are_read(night, tmp_path):
    path = tmp_path / "night.parquet"
    pq.write_table(night, path)
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\0" * column.total_compressed_size
    path.write_bytes(bytes(content))
    assert check(path).n_labelled == 500


def test_a_check_needs_neither_pandas_nor_scipy_nor_scikit_learn(night, tmp_path):
    pq.write_table(night, tmp_path / "night.parquet")
    code = (
        "import sys\n"
        "from flytekitplugins.wbmon.monitor.performance.check import check_performance\n"
        f"check_performance({str(tmp_path)!r}, task='classification', label='fraud', "
        "prediction='p_fraud')\n"
        "print([name for name in ('pandas', 'scipy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "[]"


def test_a_stream_too_long_to_keep_is_read_once(rng):
    y = rng.integers(0, 2, 300_000)
    table = pa.table({"y": y, "q": y, "x": y})
    report = check_performance(
        table.to_reader(50_000), task="classification", label="y", prediction="q"
    )
    assert (report.n_rows, report.metrics["accuracy"].value) == (300_000, 1.0)


def test_rows_without_label_are_counted_and_left_out(night):
    labels = night["fraud"].to_pylist()
    some = [None if i % 5 == 0 else label for i, label in enumerate(labels)]
    report = check(night.set_column(0, "fraud", pa.array(some)))
    kept = np.arange(500) % 5 != 0
    assert (report.n_rows, report.n_labelled, report.coverage) == (500, 400, 0.8)
    assert values(report) == values(check(night.filter(pa.array(kept))))


def test_labelled_rows_without_prediction_are_counted_and_left_out(night):
    scores = [None if i < 50 else p for i, p in enumerate(night["p_fraud"].to_pylist())]
    scores[50] = math.nan
    report = check(night.set_column(1, "p_fraud", pa.array(scores)))
    assert (report.n_labelled, report.n_missing_prediction) == (500, 51)
    assert report.metrics["accuracy"].n == 449


@pytest.mark.parametrize("kind", [pa.int64(), pa.null(), pa.string()])
def test_a_window_without_labels_is_a_finding(night, kind):
    report = check(night.set_column(0, "fraud", pa.nulls(500, kind)))
    assert (report.status, report.n_labelled, report.worse) == ("no_labels", 0, False)
    assert list(report.metrics) == list(check(night).metrics)
    assert all(math.isnan(metric.value) for metric in report.metrics.values())
    assert "none of 500 rows has a label" in report.reason


def test_a_window_without_labels_keeps_the_classes_of_its_baseline(night):
    text = pa.array(np.where(night["fraud"].to_numpy() == 1, "yes", "no"))
    baseline = check(night.set_column(0, "fraud", text))
    report = check(night.set_column(0, "fraud", pa.nulls(500)), baseline=baseline)
    assert (report.status, report.classes) == ("no_labels", ("no", "yes"))


def test_an_empty_window_is_a_finding(night):
    report = check(night.slice(0, 0))
    assert report.status == "no_labels"
    assert math.isnan(report.coverage)


def test_few_rows_are_measured_and_not_judged(night):
    report = check(night.slice(0, 20), baseline=check(night))
    assert report.status == "insufficient"
    assert report.metrics["accuracy"].value > 0
    assert {metric.verdict for metric in report.metrics.values()} == {"unknown"}
    assert "20 rows" in report.reason


def test_a_window_of_one_class_has_no_auc_and_the_rest_goes_on(night):
    report = check(night.set_column(0, "fraud", pa.array([0] * 500)))
    assert math.isnan(report.metrics["roc_auc"].value)
    assert "one class" in report.metrics["roc_auc"].reason
    assert report.metrics["brier"].value > 0
    assert report.status == "ok"
    assert report.classes == ("0", "1")


def test_precision_without_a_positive_prediction_says_why(night):
    report = check(night, threshold=1.0)
    assert report.metrics["precision"].reason == "no row is predicted positive"
    assert report.metrics["recall"].value == 0.0


def test_a_threshold_of_zero_predicts_every_row_positive(night):
    report = check(night, threshold=0.0)
    assert report.metrics["recall"].value == 1.0
    assert report.metrics["precision"].value == pytest.approx(np.mean(night["fraud"].to_numpy()))


def test_thirty_rows_are_enough_for_a_verdict_unless_told_otherwise(night):
    assert [check(night.slice(0, n)).status for n in (29, 30)] == ["insufficient", "ok"]
    assert check(night.slice(0, 29), min_rows=29).status == "ok"


def test_text_labels_need_to_say_which_is_positive_if_the_last_is_not(night):
    text = pa.array(np.where(night["fraud"].to_numpy() == 1, "fraud", "ok"))
    report = check(night.set_column(0, "fraud", text), positive="fraud")
    assert report.classes == ("ok", "fraud")
    assert values(report) == values(check(night))


def test_text_labels_of_one_class_are_judged_if_the_positive_class_is_known(night):
    honest = night.set_column(0, "fraud", pa.array(["ok"] * 500))
    unclear = check(honest)
    assert unclear.status == "insufficient"
    assert "positive=" in unclear.reason
    assert check(honest, positive="fraud").metrics["accuracy"].value > 0.5


def test_a_baseline_report_remembers_the_classes(night):
    text = pa.array(np.where(night["fraud"].to_numpy() == 1, "yes", "no"))
    baseline = check(night.set_column(0, "fraud", text))
    report = check(night.set_column(0, "fraud", pa.array(["no"] * 500)), baseline=baseline)
    assert report.classes == ("no", "yes")
    assert report.status == "ok"


@pytest.mark.parametrize("kind", [pa.bool_(), pa.int8(), pa.float32(), pa.decimal128(4, 1)])
def test_labels_and_classes_may_be_of_any_kind_of_number(night, kind):
    labels = (
        night["fraud"].cast(pa.decimal128(20, 1)).cast(kind)
        if "decimal" in str(kind)
        else night["fraud"].cast(kind)
    )
    assert values(check(night.set_column(0, "fraud", labels))) == values(check(night))


def test_decimal_probabilities_are_read(night):
    scores = pa.array([decimal.Decimal(str(round(p, 4))) for p in night["p_fraud"].to_pylist()])
    report = check(night.set_column(1, "p_fraud", scores))
    assert report.metrics["brier"].value == pytest.approx(
        check(night).metrics["brier"].value, abs=1e-3
    )


def test_predicted_classes_alone_give_no_probability_metrics(night):
    classes = pa.array(night["p_fraud"].to_numpy() >= 0.5)
    report = check(night.append_column("q", classes), prediction="q")
    assert list(report.metrics) == ["accuracy", "precision", "recall", "f1"]
    with_score = check(night.append_column("q", classes), prediction="q", score="p_fraud")
    assert values(with_score) == values(check(night))


@pytest.fixture
def animals(rng):
    scores = rng.dirichlet(np.ones(3), 300)
    names = np.array(["bee", "cat", "ape"])
    label = names[(scores.cumsum(axis=1) < rng.random(300)[:, None]).sum(axis=1).clip(max=2)]
    columns = dict(zip(names, scores.T, strict=True))
    return pa.table({"y": label, "q": names[scores.argmax(axis=1)], **columns})


def check_animals(data, **changed):
    columns = {"task": "classification", "label": "y", "prediction": "q"}
    return check_performance(data, **columns | changed)


def test_scores_of_many_classes_come_in_sorted_order_or_by_name(animals):
    sorted_columns = check_animals(animals, score=("ape", "bee", "cat"))
    by_name = check_animals(animals, score={"cat": "cat", "ape": "ape", "bee": "bee"})
    assert sorted_columns == by_name
    assert by_name.classes == ("ape", "bee", "cat")
    assert sum(map(sum, by_name.confusion)) == 300
    assert by_name.per_class["cat"]["support"] == animals["y"].to_pylist().count("cat")


def test_dictionary_text_is_read_as_text(animals):
    coded = animals.set_column(0, "y", animals["y"].dictionary_encode())
    assert check_animals(coded) == check_animals(animals)


def test_whole_numbers_that_became_floats_are_classes(rng):
    digits = rng.integers(0, 10, 200).astype(float)
    guesses = np.where(rng.random(200) < 0.8, digits, 3.0)
    guesses[0] = np.nan
    report = check_performance(
        pa.table({"y": digits, "q": guesses}), task="classification", label="y", prediction="q"
    )
    assert report.classes == tuple(map(str, range(10)))
    assert report.n_missing_prediction == 1


def test_weights_count_rows_as_often_as_they_say(night):
    weighted = night.append_column("w", pa.array([3, 0] * 250))
    repeated = pa.concat_tables([night.filter(pa.array([True, False] * 250))] * 3)
    assert values(check(weighted, weight="w")) == pytest.approx(values(check(repeated)))
    assert check(weighted, weight="w").n_labelled == 250


def test_regression_leaves_out_infinite_values_and_counts_them(rng):
    y = rng.normal(size=100)
    q = y + 0.1
    q[3], y[4] = np.inf, -np.inf
    report = check_performance(
        pa.table({"y": y, "q": q}), task="regression", label="y", prediction="q"
    )
    assert (report.n_labelled, report.n_missing_prediction) == (99, 1)
    assert report.metrics["mae"].value == pytest.approx(0.1)
    assert report.metrics["r2"].higher_is_better
    assert not report.metrics["rmse"].higher_is_better


def test_regression_without_labels_keeps_its_metrics_undefined():
    report = check_performance(
        pa.table({"y": pa.nulls(5, pa.float64()), "q": [1.0] * 5}),
        task="regression",
        label="y",
        prediction="q",
    )
    assert list(report.metrics) == ["mae", "rmse", "mape", "r2"]
    assert report.status == "no_labels"


def worse_night(night, rng):
    swapped = np.where(rng.random(500) < 0.3, rng.random(500), night["p_fraud"].to_numpy())
    return night.set_column(1, "p_fraud", pa.array(swapped))


def test_a_clear_loss_against_a_baseline_report_is_called_worse(night, rng):
    baseline = check(night)
    report = check(worse_night(night, rng), baseline=baseline)
    loss = report.metrics["log_loss"]
    assert report.worse
    assert loss.verdict == "worse"
    assert 0 < loss.change_low < loss.change < loss.change_high
    assert loss.loss == pytest.approx(loss.change / baseline.metrics["log_loss"].value)
    assert report.reason.startswith("worse than the baseline: ")
    assert check(night, baseline=report).metrics["log_loss"].verdict == "better"


def test_the_same_window_is_neither_worse_nor_better(night):
    report = check(night, baseline=check(night))
    assert {metric.verdict for metric in report.metrics.values()} == {"ok"}
    assert not report.worse
    assert report.metrics["accuracy"].p_value == 1.0


def test_a_known_value_is_a_baseline_too(night):
    report = check(night, baseline={"accuracy": 0.999, "log_loss": 9.0})
    assert report.metrics["accuracy"].verdict == "worse"
    assert report.metrics["log_loss"].verdict == "better"
    assert report.metrics["f1"].verdict == "unknown"
    assert math.isnan(report.metrics["f1"].change)


def test_one_metric_out_of_many_that_is_just_worse_is_not_a_worse_model(night):
    measured = check(night)
    auc = measured.metrics["roc_auc"]
    report = check(night, baseline={**values(measured), "roc_auc": auc.high + 0.002})
    assert report.metrics["roc_auc"].verdict == "worse"
    assert not report.worse
    assert "may be chance" in report.reason


def test_calibration_tells_whether_the_probabilities_are_true(night, rng):
    calibration = check(night).calibration
    assert calibration.error < 3 * calibration.error_by_chance
    assert calibration.too_sure is None
    doubled = pa.array(np.minimum(night["p_fraud"].to_numpy() * 2, 1))
    off = check(night.set_column(1, "p_fraud", doubled)).calibration
    assert off.p_value < 0.001
    assert len(off.bins) > 5


def test_calibration_of_many_classes_is_that_of_the_predicted_one(animals):
    calibration = check_animals(animals, score=("ape", "bee", "cat")).calibration
    assert calibration.p_value > 0.001
    assert all(0.33 < each.score <= 1 for each in calibration.bins)
    assert check_animals(animals).calibration is None


def test_the_report_survives_json(night):
    report = check(night.slice(0, 20), baseline={"accuracy": 0.9})
    again = record_from_json(PerformanceReport, record_to_json(report))
    assert record_to_json(again) == record_to_json(report)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "ranking"}, "task must be"),
        ({"threshold": 1.5}, "threshold must be a probability"),
        ({"threshold": -0.5}, "threshold must be a probability"),
        ({"baseline": {"acuracy": 0.8}}, "did you mean 'accuracy'"),
        ({"baseline": {"zzz": 0.8}}, "must name metrics of accuracy"),
        ({"threshold": "0.5"}, r"threshold must be a probability in \[0, 1\], got '0.5'"),
        ({"threshold": None}, "threshold must be a probability"),
        ({"threshold": math.nan}, "threshold must be a probability"),
        ({"min_rows": "3"}, "min_rows must be a whole number of at least 1, got '3'"),
        ({"min_rows": None}, "min_rows must be"),
        ({"min_rows": -1}, "min_rows must be"),
        ({"segments": "country"}, "segments must be a sequence of column names, got 'country'"),
        ({"segments": 5}, "segments must be a sequence of column names"),
        ({"classes": 5}, "classes must be a sequence of classes, got 5"),
        ({"classes": "ab"}, "classes must be a sequence of classes"),
        ({"rank_by": "x"}, "rank_by must be one of accuracy"),
        ({"rank_by": ["auc"]}, "rank_by must be one of accuracy"),
        ({"rank_by": "acuracy"}, "did you mean 'accuracy'"),
        ({"rank_by": "mae"}, "rank_by must be one of accuracy"),
        ({"baseline": 3}, "baseline must be a report of check_performance.*got 3"),
        ({"baseline": {"accuracy": None}}, r"baseline of accuracy must be.*in \[0, 1\], got None"),
        ({"baseline": {"accuracy": "0.9"}}, "baseline of accuracy must be"),
        ({"baseline": {"accuracy": 5}}, "baseline of accuracy must be"),
        ({"baseline": {"accuracy": math.nan}}, "baseline of accuracy must be"),
        ({"baseline": {"log_loss": math.inf}}, "baseline of log_loss must be"),
        ({"baseline": {"r2": 0.5}}, "baseline of a classification must name"),
        ({"estimate": 3}, "estimate must be a report of estimate_performance, got 3"),
        ({"prediction_is": "score"}, "prediction_is must be"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(night, changed, message):
    with pytest.raises(ConfigError, match=message):
        check(night, **changed)


def test_none_of_several_is_none(night):
    assert record_to_json(check(night, segments=None, classes=None)) == record_to_json(check(night))


def test_a_baseline_may_be_numbers_of_any_library(night):
    found = check(night, baseline={"accuracy": np.float32(0.5), "log_loss": np.int64(2)})
    assert found.metrics["accuracy"].baseline == 0.5


def test_each_metric_has_a_range_that_its_value_is_in(night, animals):
    reports = [check(night), check_animals(animals, score=("ape", "bee", "cat"))]
    values = night.append_column("x", night["p_fraud"])
    reports.append(check_performance(values, task="regression", label="x", prediction="p_fraud"))
    for report in reports:
        known = {name: metric.value for name, metric in report.metrics.items()}
        known = {name: value for name, value in known.items() if not math.isnan(value)}
        assert baseline_values(known, report.task) == known
    assert set(HIGHER_IS_BETTER) == {name for report in reports for name in report.metrics}


def test_a_baseline_of_another_task_is_refused(night):
    values_report = check_performance(night, task="regression", label="fraud", prediction="p_fraud")
    with pytest.raises(ConfigError, match="same task"):
        check(night, baseline=values_report)


def test_a_missing_column_is_named_beside_those_that_exist(night):
    with pytest.raises(DataError, match=r"'p_frau'.*found 'fraud', 'p_fraud', 'note'"):
        check(night, prediction="p_frau")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("p_fraud", np.linspace(-0.2, 1, 500), r"in \[0, 1\]; column 'p_fraud' has 84 rows"),
        ("p_fraud", np.full(500, "a"), "must hold the same classes"),
        ("fraud", np.linspace(0, 1, 500), "fractions|whole numbers"),
        ("fraud", np.arange(500) % 5, None),
        ("fraud", np.full(500, np.inf), "whole numbers"),
        ("fraud", [datetime(2026, 1, 1, 12, tzinfo=timezone.utc)] * 500, "must hold classes"),
    ],
)
def test_columns_of_the_wrong_kind_are_refused(night, column, values, message):
    place = night.column_names.index(column)
    with pytest.raises(DataError, match=message or "needs labels of two classes"):
        check(night.set_column(place, column, pa.array(values)))


def test_ids_are_not_classes():
    ids = pa.table({"y": np.arange(2000), "q": np.arange(2000)})
    with pytest.raises(DataError, match="at most 1000 classes"):
        check_performance(ids, task="classification", label="y", prediction="q")


@pytest.mark.parametrize("weight", [-1.0, math.inf, None])
def test_a_weight_that_is_no_weight_is_refused(night, weight):
    broken = night.append_column("w", pa.array([1.0] * 499 + [weight], pa.float64()))
    with pytest.raises(DataError, match="has 1 rows that are not"):
        check(broken, weight="w")


@pytest.mark.parametrize("factor", [1e-200, 1e300])
def test_weights_that_cannot_be_squared_are_refused(night, factor):
    weighted = night.append_column("w", pa.array(np.full(500, 1.5 * factor)))
    with pytest.raises(DataError, match=r"0 or in \[1e-100, 1e\+100\]; column 'w' has"):
        check(weighted, weight="w")


@pytest.mark.parametrize("factor", [1e-99, 1e99])
def test_only_the_ratios_of_weights_count(night, factor):
    weight = np.arange(500) % 3.0
    plain = check(night.append_column("w", pa.array(weight)), weight="w")
    scaled = check(night.append_column("w", pa.array(weight * factor)), weight="w")
    for name, metric in plain.metrics.items():
        same = scaled.metrics[name]
        assert (same.value, same.low) == pytest.approx((metric.value, metric.low), rel=1e-9)


def test_text_where_a_number_must_be_is_refused(animals):
    with pytest.raises(DataError, match="'y' must be numeric, found string"):
        check_performance(animals, task="regression", label="y", prediction="cat")


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (("ape", "bee"), "one column for each of the 3 classes"),
        ("ape", "one column for each of the 3 classes"),
        ({"ape": "ape", "bee": "bee"}, "none for 'cat'"),
        (("ape", "ape", "cat"), "add up to 1"),
    ],
)
def test_scores_that_do_not_fit_the_classes_are_refused(animals, score, message):
    with pytest.raises(DataError, match=message):
        check_animals(animals, score=score)


def test_a_report_renders_itself(night):
    report = check(night, baseline=check(night))
    assert "roc_auc" in report.to_html()
    assert report.to_dict()["n_rows"] == 500


def test_a_pandas_frame_with_missing_values_is_read(night):
    frame = night.to_pandas()
    frame.loc[:9, "fraud"] = np.nan
    assert isinstance(frame, pd.DataFrame)
    assert check(frame).n_labelled == 490


@pytest.mark.parametrize(
    "made",
    [
        np.array,
        lambda values: pd.Series([*values[:-1], "n/a"], dtype=object),
        lambda values: pa.array([Decimal(value) for value in values]),
    ],
)
@pytest.mark.parametrize("step", [1, 2**54])
def test_errors_of_whole_numbers_are_exact(made, step):
    labels = [2**62 + step * i for i in range(60)]
    data = {"y": made(labels), "p": made([each + 100 + i % 2 for i, each in enumerate(labels)])}
    data = pa.table(data) if isinstance(data["y"], pa.Array) else pd.DataFrame(data)
    report = check_performance(data, task="regression", label="y", prediction="p")
    n = report.metrics["mae"].n
    assert report.metrics["mae"].value == pytest.approx(100 + (n // 2) / n, rel=1e-12)
    spread = step * np.arange(n, dtype=float)
    errors = 100 + np.arange(n) % 2
    expected = 1 - (errors**2).sum() / ((spread - spread.mean()) ** 2).sum()
    assert report.metrics["r2"].value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weight", "is_told"),
    [
        (np.r_[np.full(3, 1000.0), np.ones(497)], True),
        (np.r_[np.full(10, 100.0), np.ones(490)], True),
        (np.r_[1e6, np.ones(499)], True),
        (np.where(np.arange(500) % 5, 1.0, 5.0), False),
        (np.full(500, 7.0), False),
    ],
    ids=["three rows", "ten rows", "one row", "a sampled log", "equal"],
)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_where_a_few_rows_have_the_weight_no_mean_has_an_interval(task, weight, is_told):
    """What those few could also have been is not seen: such intervals covered 39 %.

    Shares have one, since what a row could have been is known of them: right or wrong.
    """
    rng = np.random.default_rng(1)
    score = rng.random(500)
    label = (rng.random(500) < score).astype(int)
    if task == "regression":
        score = score + 5
        label = score + rng.normal(size=500) / 3
    frame = pd.DataFrame({"y": label, "s": score, "w": weight})
    report = check_performance(frame, task=task, label="y", prediction="s", weight="w")
    shares = ("accuracy", "precision", "recall", "f1")
    for name, metric in report.metrics.items():
        without = is_told and name not in shares
        assert math.isnan(metric.low) is without
        assert bool(metric.reason) is without
    first = report.metrics["brier" if task == "classification" else "r2"]
    if is_told and weight.max() < 1e6:
        assert "rows in effect, 30 are needed" in first.reason or "losses carry" in first.reason


def test_an_area_needs_rows_of_each_class_among_the_heavy_ones():
    """Of 150 flagged rows and 50 that stand for 2,500, unseen positives could make the area."""
    score = np.r_[np.linspace(0.31, 0.99, 150), np.linspace(0.01, 0.29, 50)]
    weight = np.where(score > 0.3, 1.0, 50.0)
    for n_missed, is_known in ((0, False), (12, True)):
        label = np.r_[np.arange(150) % 2, np.arange(50) < n_missed]
        frame = pd.DataFrame({"y": label, "s": score, "w": weight})
        report = check_performance(
            frame, task="classification", label="y", prediction="s", weight="w"
        )
        for name in ("roc_auc", "pr_auc", "log_loss", "brier"):
            metric = report.metrics[name]
            assert math.isnan(metric.low) is not is_known
            if not is_known:
                assert metric.reason.startswith("5 rows in effect of each class are needed, found")
                assert metric.reason.endswith("of '1'")


def test_few_rows_of_equal_weight_keep_their_intervals():
    frame = pd.DataFrame({"y": [0, 1, 1, 0, 1], "s": [0, 1, 0, 0, 1], "w": 3.0})
    report = check_performance(
        frame, task="classification", label="y", prediction="s", weight="w", min_rows=1
    )
    assert report.metrics["accuracy"].low < report.metrics["accuracy"].high
