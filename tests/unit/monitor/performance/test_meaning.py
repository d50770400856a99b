"""What predictions and classes mean: said, remembered by the baseline, and only then learned."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from flytekitplugins.wbmon.data.class_codes import code_column
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.estimate import estimate_performance
from flytekitplugins.wbmon.monitor.performance.importance import permutation_importance
from flytekitplugins.wbmon.monitor.performance.meaning import (
    NOTHING_KNOWN,
    Meaning,
    complete,
    prediction_is,
)
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from support.containers import STORAGES, data_of

OF_CLASSES = ["accuracy", "precision", "recall", "f1"]
NEW = ("prediction_is", "positive", "positive_from", "unit", "n_unreadable", "unreadable")


def check(data: Any, **given: Any) -> PerformanceReport:
    return check_performance(
        data, **{"task": "classification", "label": "y", "prediction": "p", **given}
    )


def codes(rng: np.random.Generator, of: Any, n: int = 400) -> pd.DataFrame:
    """Class codes, of which one prediction is missing, so that pandas made floats of them."""
    y = rng.choice(of, n)
    p = np.where(rng.random(n) < 0.2, rng.choice(of, n), y).astype(float)
    p[0] = np.nan
    return pd.DataFrame({"y": y, "p": p})


def accuracy(frame: pd.DataFrame) -> float:
    known = frame.dropna()
    return float(metrics.accuracy_score(known.y.astype(int), known.p.astype(int)))


@pytest.mark.parametrize("of", [[0, 1], [1, 2], [-1, 1], [0, 1, 2], [7, 1000]])
@pytest.mark.parametrize("label_type", [int, float])
def test_class_codes_that_became_floats_are_classes(rng, of, label_type) -> None:
    frame = codes(rng, of).astype({"y": label_type})
    report = check(frame)
    assert report.metrics["accuracy"].value == accuracy(frame)
    assert list(report.metrics) == OF_CLASSES
    assert (report.prediction_is, report.n_missing_prediction) == ("class", 1)
    assert report.classes == tuple(map(str, sorted(of)))


def test_classes_whose_labels_have_not_come_are_classes(rng) -> None:
    whole = codes(rng, [0, 1, 2])
    partly = whole.assign(y=whole.y.where(whole.y != 2))
    baseline = check(whole)
    alone, compared = check(partly), check(partly, baseline=baseline)
    without = partly[partly.p != 2]
    for frame, report in (
        (partly, alone),
        (partly, compared),
        (without, check(without, baseline=baseline)),
        (without, check(without, classes=[0, 1, 2])),
    ):
        assert report.metrics["accuracy"].value == accuracy(frame)
        assert list(report.metrics) == OF_CLASSES
        assert report.classes == ("0", "1", "2")


def test_zeros_and_ones_that_became_floats_are_no_probabilities(rng) -> None:
    frame = codes(rng, [0, 1])
    as_classes, as_scores = (check(frame, prediction_is=each) for each in ("class", "probability"))
    assert check(frame) == as_classes
    for name in OF_CLASSES:
        assert as_classes.metrics[name].value == as_scores.metrics[name].value
    assert "log_loss" not in as_classes.metrics
    assert as_scores.metrics["log_loss"].value > 1


def test_a_night_of_hard_scores_is_of_probabilities_if_the_baseline_was(rng) -> None:
    p = rng.random(300)
    scores = pd.DataFrame({"y": (rng.random(300) < p).astype(int), "p": p})
    baseline = check(scores)
    assert baseline.prediction_is == "probability"
    hard = scores.assign(p=scores.p.round())
    assert check(hard).prediction_is == "class"
    remembered = check(hard, baseline=baseline)
    assert list(remembered.metrics) == list(baseline.metrics)
    # what is said comes before what is remembered
    assert list(check(hard, baseline=baseline, prediction_is="class").metrics) == OF_CLASSES


def test_a_class_stays_a_class_where_probabilities_came(rng) -> None:
    baseline = check(codes(rng, [0, 1]))
    scores = pd.DataFrame({"y": [0, 1] * 50, "p": rng.random(100)})
    with pytest.raises(DataError, match=r"'p' must hold classes.*give probabilities as `score`"):
        check(scores, baseline=baseline)


def test_whole_scores_of_text_classes_are_probabilities() -> None:
    frame = pd.DataFrame({"y": ["no", "yes"] * 50, "p": [0.0, 1.0] * 49 + [1.0, 0.0]})
    report = check(frame)
    assert (report.prediction_is, report.metrics["accuracy"].value) == ("probability", 0.98)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"prediction_is": "score"}, ConfigError, "must be 'class' or 'probability'"),
        ({"prediction_is": "probability", "score": "p"}, ConfigError, "needs no `score`"),
        ({"classes": "ab"}, ConfigError, "must be a sequence"),
        ({"positive": "maybe"}, DataError, "must be one of the classes 'no', 'yes'; got 'maybe'"),
    ],
)
def test_a_meaning_that_cannot_be_is_refused(given, error, message) -> None:
    frame = pd.DataFrame({"y": ["no", "yes"] * 20, "p": [0.5, 0.25] * 20})
    with pytest.raises(error, match=message):
        check(frame, **given)


def test_old_reports_are_read_and_are_baselines(rng) -> None:
    p = rng.random(100)
    words = np.where(rng.random(100) < p, "churn", "stay")
    frame = pd.DataFrame({"y": words, "p": p})
    plain = json.loads(record_to_json(check(frame, positive="churn")))
    assert set(NEW) < set(plain)
    old = record_from_json(
        PerformanceReport, json.dumps({k: v for k, v in plain.items() if k not in NEW})
    )
    assert (old.prediction_is, old.positive, old.unit, old.n_unreadable) == ("", "", "", 0)
    report = check(frame, baseline=old)
    assert report.classes == ("stay", "churn")
    assert (report.positive, report.positive_from) == ("churn", "baseline")
    again = record_from_json(PerformanceReport, record_to_json(report))
    assert record_to_json(again) == record_to_json(report)


ANNOUNCED = "positive class 'stay' (last in order; pass positive= if it is another)"


@pytest.fixture
def churn(rng) -> pd.DataFrame:
    p = rng.random(400)
    return pd.DataFrame({"y": np.where(rng.random(400) < p, "churn", "stay"), "p": p})


def test_a_positive_class_that_nobody_named_is_announced(churn) -> None:
    guessed = check(churn)
    assert (guessed.positive, guessed.positive_from) == ("stay", "order")
    assert ANNOUNCED in guessed.reason
    assert ANNOUNCED.replace("'", "&#x27;") in guessed.to_html()
    # the scores are those of churn
    assert guessed.metrics["roc_auc"].high < 0.5
    assert "clearly below 0.5: 'churn' may be meant by the scores" in guessed.reason

    said = check(churn, positive="churn")
    assert (said.positive, said.positive_from) == ("churn", "setting")
    assert "positive" not in said.reason
    assert "below 0.5" not in said.reason
    assert said.metrics["roc_auc"].value == pytest.approx(
        metrics.roc_auc_score(churn.y == "churn", churn.p)
    )

    remembered = check(churn, baseline=said)
    assert (remembered.positive, remembered.positive_from) == ("churn", "baseline")
    assert remembered.classes == said.classes
    assert check(churn, baseline=said, positive="stay").positive == "stay"


@pytest.mark.parametrize(
    ("labels", "positive"),
    [([0, 1], "1"), ([False, True], "1"), (["false", "true"], "true")],
)
def test_one_and_true_are_positive_by_convention(labels, positive) -> None:
    report = check(pd.DataFrame({"y": labels * 50, "p": labels * 50}))
    assert (report.positive, report.positive_from) == (positive, "convention")
    assert "positive class" not in report.reason


def test_more_than_two_classes_have_no_positive_one() -> None:
    report = check(pd.DataFrame({"y": list("abc") * 50, "p": list("abc") * 50}))
    assert (report.positive, report.positive_from, report.positive_class) == ("", "", "")


def test_the_only_class_of_a_window_is_named() -> None:
    report = check(pd.DataFrame({"y": ["ok"] * 50, "p": ["ok"] * 50}))
    assert "'ok' is the only class" in report.reason
    assert "ok" in report.to_html()
    assert report.confusion == ((50.0,),)


def test_an_even_score_is_not_called_that_of_the_other_class(rng) -> None:
    frame = pd.DataFrame({"y": rng.choice(["a", "b"], 400), "p": rng.random(400)})
    assert "below 0.5" not in check(frame).reason


def test_scores_come_in_sorted_order_whichever_class_is_positive(churn) -> None:
    frame = churn.assign(q=np.where(churn.p > 0.5, "churn", "stay"), p_stay=1 - churn.p)
    report = check(frame, prediction="q", score=("p", "p_stay"), positive="churn")
    truth = (churn.y == "churn").astype(int)
    assert report.metrics["log_loss"].value == pytest.approx(metrics.log_loss(truth, churn.p))


def test_an_estimate_announces_its_positive_class_too(churn) -> None:
    window = churn.drop(columns="y")
    given = {"reference": churn, "label": "y", "prediction": "p"}
    guessed = estimate_performance(window, **given)
    assert (guessed.positive, guessed.prediction_is) == ("stay", "probability")
    assert ANNOUNCED in guessed.reason
    said = estimate_performance(window, positive="churn", **given)
    assert said.classes == ("stay", "churn")
    assert "positive class" not in said.reason


def test_an_estimate_of_predicted_classes_knows_the_positive_one(churn) -> None:
    """Whose name does not come last."""
    named = churn.assign(q=np.where(churn.p > 0.5, "churn", "stay"))
    report = estimate_performance(
        named.drop(columns="y"),
        reference=named,
        label="y",
        prediction="q",
        score="p",
        positive="churn",
    )
    measured = check(named, prediction="q", score="p", positive="churn")
    assert report.metrics["accuracy"].value == pytest.approx(
        measured.metrics["accuracy"].value, abs=0.05
    )


def test_hard_scores_of_a_window_are_what_they_are_in_the_reference(rng) -> None:
    p = rng.random(400)
    reference = pd.DataFrame({"y": (rng.random(400) < p).astype(int), "p": p})
    window = pd.DataFrame({"p": rng.choice([0.0, 1.0], 100)})
    report = estimate_performance(window, reference=reference, label="y", prediction="p")
    assert report.prediction_is == "probability"
    assert report.metrics["accuracy"].value > 0


def test_importance_takes_the_positive_class_that_is_named(rng, caplog) -> None:
    x = rng.normal(size=500)
    rows = pd.DataFrame({"x": x, "z": rng.normal(size=500), "y": np.where(x > 0, "churn", "stay")})
    given = {"features": ["x", "z"], "label": "y"}

    def churns(batch: pd.DataFrame) -> pd.Series:
        return 1 / (1 + np.exp(-batch["x"]))

    named = permutation_importance(churns, rows, positive="churn", **given)
    assert (named["x"], named["z"]) == (1.0, 0.0)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        permutation_importance(churns, rows, **given)
    assert "is 'stay', the last in order; pass positive=" in caplog.text
    with pytest.raises(DataError, match="one of the classes 'churn', 'stay'; got 'left'"):
        permutation_importance(churns, rows, positive="left", **given)


def test_importance_counts_classes_by_what_they_are(rng) -> None:
    big = np.array([2**53 + 1, 2**53 + 2])
    x = rng.integers(0, 2, 400)
    rows = pd.DataFrame({"x": x, "z": rng.normal(size=400), "y": big[x]})
    rows["y"] = rows.y.astype(object)
    rows.loc[:9, "y"] = "n/a"

    def predict(batch: pd.DataFrame) -> np.ndarray:
        return big[batch["x"].to_numpy()]

    found = permutation_importance(predict, rows, features=["x", "z"], label="y", metric="accuracy")
    assert found == {"x": 1.0, "z": 0.0}
    with pytest.raises(DataError, match="must return classes as those of 'y'"):
        permutation_importance(
            lambda batch: batch["x"].astype(str), rows, features=["x"], label="y", metric="accuracy"
        )


# --- identity, missing and odd values


def test_classes_of_64_bits_are_not_one(rng) -> None:
    a, b = 1234567890123456789, 1234567890123456790
    y = rng.choice([a, b], 1000)
    p = np.where(rng.random(1000) < 0.3, a + b - y, y)
    for form in (pd.DataFrame, pl.DataFrame, pa.table):
        report = check(form({"y": y, "p": p}))
        assert report.metrics["accuracy"].value == metrics.accuracy_score(y, p)
        assert report.classes == (str(a), str(b))


def test_empty_texts_are_labels_and_predictions_that_have_not_come(rng) -> None:
    truth = rng.choice(["fraud", "ok"], 500)
    said = np.where(rng.random(500) < 0.1, "ok", truth)
    came = np.where(rng.random(500) < 0.3, "", truth)
    gave = np.where(rng.random(500) < 0.2, " ", said)
    report = check(pd.DataFrame({"y": came, "p": gave}))
    known = (came != "") & (gave != " ")
    assert report.metrics["accuracy"].value == np.mean(truth[known] == said[known])
    assert report.n_labelled == np.sum(came != "")
    assert report.n_missing_prediction == np.sum((came != "") & (gave == " "))
    assert report.classes == ("fraud", "ok")


def test_other_columns_are_not_converted() -> None:
    class Unreadable:
        def __str__(self) -> str:
            raise AssertionError("nobody asked for it")

    frame = pd.DataFrame(
        {"y": [0, 1] * 20, "p": [0, 1] * 20, "o": pd.Series([Unreadable()] * 40, dtype=object)}
    )
    assert check(frame).metrics["accuracy"].value == 1.0


@pytest.mark.parametrize("form", [pd.DataFrame, pl.DataFrame])
def test_an_unreadable_value_is_counted_and_missing(rng, form) -> None:
    y = rng.integers(0, 2, 200)
    score = rng.random(200)
    labels, scores = list(y), list(score)
    labels[3], labels[4], scores[5] = "n/a", "?", "error"
    columns = {"y": labels, "p": scores}
    if form is pd.DataFrame:
        odd = pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in columns.items()})
    else:
        odd = pl.DataFrame({k: pl.Series(v, dtype=pl.Object) for k, v in columns.items()})
    report = check(odd)
    kept = np.delete(np.arange(200), [3, 4, 5])
    expected = check(pd.DataFrame({"y": y[kept], "p": score[kept]}))
    assert {k: m.value for k, m in report.metrics.items()} == {
        k: m.value for k, m in expected.metrics.items()
    }
    assert (report.n_labelled, report.n_missing_prediction, report.n_unreadable) == (198, 1, 3)
    assert report.unreadable == ("'n/a' in 'y'", "'?' in 'y'", "'error' in 'p'")
    told = "3 unreadable values taken for missing ('n/a' in 'y', '?' in 'y', 'error' in 'p')"
    assert told in report.reason
    assert "3 unreadable" in report.to_html()
    numbers = {each.address: each.value for each in report.measurements()}
    assert numbers["performance.n_unreadable"] == 3


def test_text_of_numbers_is_measured_and_text_of_words_is_refused() -> None:
    frame = pd.DataFrame({"y": ["1.5", "2", " ", "n/a"] * 20, "p": [1.5, 3.0, 1.0, 1.0] * 20})
    report = check(frame, task="regression")
    assert report.metrics["mae"].value == 0.5
    assert (report.n_labelled, report.n_unreadable) == (40, 20)
    words = pd.DataFrame({"y": ["low", "high"] * 20, "p": [1.5, 3.0] * 20})
    with pytest.raises(DataError, match=r"'y' must be numeric, found .*such as 'low', 'high'"):
        check(words, task="regression")


def test_a_weight_that_cannot_be_read_is_an_error() -> None:
    weights = pd.Series([1, 2, "n/a"] * 20, dtype=object)
    frame = pd.DataFrame({"y": [0, 1, 1] * 20, "p": [0, 1, 1] * 20, "w": weights})
    with pytest.raises(DataError, match="'w' has 20 rows that are not, such as 'n/a'"):
        check(frame, weight="w")


# --- units


def durations(rng) -> pd.DataFrame:
    y, p = (pd.to_timedelta(rng.integers(0, 100, 300), unit="s") for _ in range(2))
    return pd.DataFrame({"y": y.astype("m8[ns]"), "p": p.astype("m8[us]")})


def test_durations_are_measured_in_seconds_and_the_report_says_so(rng) -> None:
    frame = durations(rng)
    off = (frame.y.dt.total_seconds() - frame.p.dt.total_seconds()).to_numpy()
    report = check(frame, task="regression")
    assert report.metrics["mae"].value == pytest.approx(np.abs(off).mean())
    assert report.metrics["rmse"].value == pytest.approx(np.sqrt((off**2).mean()))
    assert report.unit == "s"
    assert report.reason.startswith(f"mae {np.abs(off).mean():.4g} s [")
    assert f"{np.abs(off).mean():.4g} s</td>" in report.to_html()
    units = {each.name: each.unit for each in report.measurements()}
    assert (units["mae"], units["rmse"], units["r2"]) == ("s", "s", "")
    worse = check(frame, task="regression", baseline={"mae": 1.0})
    assert worse.reason.startswith(f"worse than the baseline: mae {np.abs(off).mean():.4g} s")
    assert "against 1 s" in worse.reason


@pytest.mark.parametrize("name", STORAGES["duration"])
@given(seconds=st.lists(st.integers(-1000, 1000), min_size=1, max_size=20))
def test_the_same_durations_in_any_unit_have_no_error(name: str, seconds: list[int]) -> None:
    values = [timedelta(seconds=each) for each in seconds]
    storage = STORAGES["duration"][name]
    data = data_of({"y": storage.make(values), "p": storage.make(values)}, storage.library)
    assert check(data, task="regression").metrics["mae"].value == 0
    if storage.library == "arrow":
        later = pa.array([each + timedelta(seconds=2) for each in values], pa.duration("ms"))
        mixed = pa.table({"y": storage.make(values), "p": later})
        assert check(mixed, task="regression").metrics["mae"].value == 2


def test_a_duration_against_a_plain_number_is_refused(rng) -> None:
    frame = durations(rng)
    numbers = frame.assign(p=frame.p.dt.total_seconds())
    with pytest.raises(DataError, match="in one unit; found durations against plain numbers"):
        check(numbers, task="regression")
    both = numbers.assign(y=frame.y.dt.total_seconds())
    baseline = check(both, task="regression")
    with pytest.raises(ConfigError, match="in the same unit; it is in no unit, this in s"):
        check(frame, task="regression", baseline=baseline)
    estimate = estimate_performance(
        both, reference=both, label="y", prediction="p", task="regression"
    )
    with pytest.raises(ConfigError, match="in the unit of the window; it is in no unit"):
        check(frame, task="regression", estimate=estimate)
    of_time = estimate_performance(
        frame, reference=frame, label="y", prediction="p", task="regression"
    )
    assert of_time.unit == "s"
    assert f"mean absolute error {of_time.metrics['mae'].value:.4g} s expected" in of_time.reason
    with pytest.raises(DataError, match="in the unit of the reference, s; found no unit"):
        estimate_performance(numbers, reference=frame, label="y", prediction="p", task="regression")


def test_a_duration_is_neither_a_weight_nor_a_probability(rng) -> None:
    frame = pd.DataFrame({"y": [0, 1] * 20, "p": [0, 1] * 20})
    frame["d"] = pd.to_timedelta(frame.p, unit="s")
    with pytest.raises(DataError, match="weights must be plain numbers; column 'd'"):
        check(frame, weight="d")
    with pytest.raises(DataError, match="probabilities must be plain numbers; column 'd'"):
        check(frame, score="d")


def test_an_unlabelled_night_of_durations_has_their_unit(rng) -> None:
    frame = durations(rng).assign(y=None)
    baseline = check(durations(rng), task="regression")
    report = check(frame, task="regression", baseline=baseline)
    assert (report.status, report.unit) == ("no_labels", "s")


@settings(deadline=None)
@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=30),
    st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=30),
)
def test_the_error_is_that_of_the_numbers_in_every_container(y: list[int], p: list[int]) -> None:
    n = min(len(y), len(p))
    y, p = y[:n], p[:n]
    expected = metrics.mean_absolute_error(y, p)
    forms = [
        pa.table({"y": pa.array(y, pa.int32()), "p": pa.array(p, pa.float64())}),
        pa.table({"y": pa.array(map(Decimal, y), pa.decimal128(20, 2)), "p": p}),
        pd.DataFrame({"y": pd.Series(y, dtype=object), "p": pd.array(p, dtype="Int64")}),
        pd.DataFrame({"y": [str(each) for each in y], "p": pd.Categorical(p)}),
        pl.DataFrame({"y": y, "p": pl.Series(p, dtype=pl.Float32)}),
    ]
    for form in forms:
        found = check(form, task="regression").metrics["mae"].value
        assert found == pytest.approx(expected, abs=1e-6)


def test_predictions_of_three_classes_that_are_all_missing_are_missing_classes() -> None:
    frame = pd.DataFrame({"y": [0, 1, 2] * 20, "p": [np.nan] * 60})
    report = check(frame)
    assert (report.prediction_is, report.n_missing_prediction) == ("class", 60)
    assert check(frame.assign(y=[0, 1] * 30)).prediction_is == "probability"


@pytest.mark.parametrize("placeholder", ["", "  ", "n/a"])
def test_labels_of_which_most_have_not_come_are_still_numbers(
    rng: np.random.Generator, placeholder: str
) -> None:
    y = rng.integers(0, 2, 400)
    said = np.where(rng.random(400) < 0.8, y, 1 - y)
    p = rng.random(400)
    labels = pd.Series(y, dtype=object)
    labels[:300] = placeholder
    n_unreadable = 300 * bool(placeholder.strip())
    classes = check(pd.DataFrame({"y": labels, "p": said}))
    assert (classes.n_labelled, classes.n_unreadable) == (100, n_unreadable)
    assert classes.metrics["accuracy"].value == (y == said)[300:].mean()
    scores = check(pd.DataFrame({"y": labels, "p": p}))
    assert scores.metrics["brier"].value == pytest.approx(((y - p)[300:] ** 2).mean())
    turned = check(pd.DataFrame({"y": said, "p": labels}))
    assert turned.n_missing_prediction == 300


def test_words_are_not_read_as_numbers_because_one_number_is_among_them(
    rng: np.random.Generator,
) -> None:
    y = pd.Series(rng.choice(["yes", "no"], 400), dtype=object)
    y[0] = 1
    with pytest.raises(DataError, match="must hold the same classes"):
        check(pd.DataFrame({"y": y, "p": rng.integers(0, 2, 400)}))


@pytest.mark.parametrize("none", [pd.NaT, None, np.nan, pd.Timedelta("nat")])
@pytest.mark.parametrize("p", [pd.Timedelta(seconds=3), 3.5, 1])
def test_labels_of_which_none_has_come_are_of_any_unit(none: Any, p: Any) -> None:
    frame = pd.DataFrame({"y": [none] * 60, "p": [p] * 60})
    report = check(frame, task="regression")
    assert report.status == "no_labels"
    assert report.unit == ("s" if isinstance(p, pd.Timedelta) else "")


def test_errors_near_the_largest_float_are_measured() -> None:
    frame = pd.DataFrame({"y": [8e307, -8e307] * 50, "p": [-8e307, 8e307] * 50})
    report = check(frame, task="regression")
    for name in ("mae", "rmse"):
        assert report.metrics[name].value == pytest.approx(1.6e308)
    assert report.metrics["mape"].value == pytest.approx(2)
    assert report.metrics["r2"].value == pytest.approx(-3)


def test_errors_too_large_for_a_number_are_undefined_and_say_so() -> None:
    frame = pd.DataFrame({"y": [1.7e308, -1.7e308] * 50, "p": [-1.7e308, 1.7e308] * 50})
    report = check(frame, task="regression")
    assert np.isnan(report.metrics["rmse"].value)
    assert "too large" in report.metrics["rmse"].reason


def test_a_regression_has_no_meaning_of_predictions(rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match="prediction_is must be of a classification"):
        check(codes(rng, [0, 1]), task="regression", prediction_is="class")


# --- classes that nobody knows, and numbers that are none


@pytest.fixture
def rare(rng) -> pd.DataFrame:
    """Two classes, of which the rarer one is often missed."""
    y = (rng.random(5000) < 0.1).astype(int)
    return pd.DataFrame({"y": y, "p": np.where(rng.random(5000) < 0.3, 0, y)})


def test_one_label_of_a_new_class_makes_no_other_metrics(rare) -> None:
    baseline = check(rare)
    stray = rare.copy()
    stray.loc[7, "y"] = 2

    report = check(stray, baseline=baseline)

    kept = rare.drop(index=7)
    assert report.classes == ("0", "1")
    assert report.metrics["recall"].value == metrics.recall_score(kept.y, kept.p)
    assert report.metrics["precision"].value == metrics.precision_score(kept.y, kept.p)
    assert (report.n_labelled, report.n_unreadable) == (4999, 1)
    assert "1 unreadable value taken for missing ('new class 2' in 'y')" in report.reason
    # a class that exists may be named
    named = check(stray, baseline=baseline, classes=(2,))
    assert (named.classes, named.n_unreadable) == (("0", "1", "2"), 0)


def test_one_unknown_class_does_not_end_a_check_of_probabilities(rng) -> None:
    y = rng.choice(["no", "yes"], 400)
    frame = pd.DataFrame({"y": y, "p": 0.2 + 0.5 * (y == "yes") + 0.2 * rng.random(400)})
    baseline = check(frame, positive="yes")
    frame.loc[3, "y"] = "unknown"

    report = check(frame, baseline=baseline)

    kept = frame.drop(index=3)
    assert report.metrics["roc_auc"].value == metrics.roc_auc_score(kept.y == "yes", kept.p)
    assert report.unreadable == ("'new class unknown' in 'y'",)


def test_classes_of_a_baseline_of_one_class_may_be_joined_by_others() -> None:
    one = check(pd.DataFrame({"y": ["ok"] * 50, "p": ["ok"] * 50}))
    both = pd.DataFrame({"y": ["ok", "bad"] * 50, "p": ["ok", "bad"] * 50})

    report = check(both, baseline=one)
    assert (report.classes, report.n_unreadable) == (("bad", "ok"), 0)


def test_a_window_of_other_classes_than_its_baseline_has_no_labels(rare) -> None:
    words = rare.replace({0: "no", 1: "yes"})

    report = check(words, baseline=check(rare))

    assert (report.status, report.n_labelled) == ("no_labels", 0)
    assert "'new class no' in 'y'" in report.reason


@pytest.mark.parametrize("y_type", [int, str, float, bool])
@pytest.mark.parametrize("p_type", [float, str, "decimal"])
def test_probabilities_are_probabilities_in_every_type(rng, y_type, p_type) -> None:
    y = rng.integers(0, 2, 400)
    p = (0.25 + 0.4 * y + 0.25 * rng.random(400)).round(4)
    # a few are names of classes, too
    p[:3] = y[:3] = [0, 1, 1]
    stored = [Decimal(str(each)) for each in p] if p_type == "decimal" else p.astype(p_type)

    report = check(pd.DataFrame({"y": y.astype(y_type), "p": stored}))

    assert report.prediction_is == "probability"
    assert report.metrics["roc_auc"].value == metrics.roc_auc_score(y, p)
    assert report.metrics["accuracy"].value == metrics.accuracy_score(y, p >= 0.5)


def test_texts_of_whole_numbers_and_words_are_classes(rng) -> None:
    for classes in (
        ["0", "1"],
        ["0.0", "1.0"],
        ["v1.5", "v2"],
        ["0.5", "half", "all"],
        ["0.25", "0.75"],
    ):
        y = rng.choice(classes, 200)
        assert check(pd.DataFrame({"y": y, "p": y})).prediction_is == "class"


def test_probabilities_in_percent_are_refused_unless_they_are_said_to_be_classes(rng) -> None:
    y = rng.integers(0, 2, 400)
    frame = pd.DataFrame({"y": y, "p": 20 + 30 * y + rng.integers(0, 40, 400)})

    with pytest.raises(DataError, match=r"classes of the label, '0', '1'; it holds \d+ others"):
        check(frame)
    assert len(check(frame, prediction_is="class").classes) > 20


def test_a_few_fractions_among_class_codes_cost_themselves(rare) -> None:
    frame = rare.astype(float)
    frame.loc[[3, 4], "y"] = [0.5, np.inf]

    report = check(frame, prediction_is="class")

    assert (report.n_unreadable, report.n_labelled) == (2, 4998)
    assert report.unreadable == ("'0.5' in 'y'", "'inf' in 'y'")
    frame["y"] += rare.index % 10 / 10
    with pytest.raises(DataError, match="must hold classes"):
        check(frame, prediction_is="class")


def test_an_infinite_probability_is_a_missing_one(rng) -> None:
    y = rng.integers(0, 2, 400)
    p = 0.25 + 0.4 * y + 0.25 * rng.random(400)
    report = check(pd.DataFrame({"y": y, "p": np.append(p[:-2], [np.inf, -np.inf])}))

    assert (report.n_missing_prediction, report.n_labelled, report.n_unreadable) == (2, 400, 2)
    assert report.metrics["roc_auc"].value == metrics.roc_auc_score(y[:-2], p[:-2])


@pytest.mark.parametrize("classes", [[-1, 1], [1, 2]])
def test_the_positive_class_of_other_codes_is_announced(classes) -> None:
    report = check(pd.DataFrame({"y": classes * 50, "p": classes * 50}))
    assert (report.positive_from, f"positive class '{classes[1]}'" in report.reason) == (
        "order",
        True,
    )


def test_an_estimate_counts_what_it_could_not_read_in_the_reference_and_in_features(rng) -> None:
    x = rng.normal(size=300)
    frame = pd.DataFrame({"x": x, "p": x, "y": x + rng.normal(size=300)}).astype(object)
    bad = frame.copy()
    bad.loc[1, "y"] = "n/a"
    bad.loc[2, "x"] = "?"
    window = frame.drop(columns="y")
    window.loc[5, "x"] = "-"

    report = estimate_performance(
        window, reference=bad, label="y", prediction="p", task="regression", features=["x"]
    )

    assert report.n_unreadable == 3
    assert report.unreadable == ("'n/a' in 'y'", "'?' in 'x'", "'-' in 'x'")
    scores = pd.DataFrame({"y": [0, 1] * 100, "p": [0.2, 0.8] * 100}).astype(object)
    scores.loc[0, "y"] = "n/a"
    of_classes = estimate_performance(scores, reference=scores, label="y", prediction="p")
    assert (of_classes.n_unreadable, of_classes.unreadable) == (1, ("'n/a' in 'y'",))


@pytest.mark.parametrize(
    ("labels", "predictions", "expected"),
    [
        ([0, 1], [0.5, 1.0], "probability"),
        (["no", "yes"], [0.0, 1.0], "probability"),
        # whole scores, which are none of the classes
        ([5, 7], [0.0, 1.0], "probability"),
        ([5, 7], [5.0, 7.0], "class"),
        # classes that no label has yet
        ([0, 1], [0.0, -1.0], "class"),
        ([0, 1], [0.0, 2.0], "class"),
        ([0, 1, 2], [0.0, 1.0], "class"),
        ([0, 1], [0, 1], "class"),
        ([0, 1], ["0", "1"], "class"),
    ],
)
def test_values_tell_what_predictions_are(labels: list[Any], predictions: list[Any], expected):
    table = pa.table({"p": predictions})
    truth = code_column(pa.chunked_array([labels]), "y")
    assert prediction_is(table, "p", truth, (), NOTHING_KNOWN) == expected


def test_a_third_class_leaves_nothing_of_the_positive_one() -> None:
    of_two = Meaning(("a", "b"), "class", positive="a", positive_from="baseline")
    assert complete(of_two, ("a", "b", "c")) == Meaning(("a", "b", "c"), "class")


IDS = [UUID(int=2**100 + i * 7**40) for i in range(2)]
SPELLED = {
    "upper": lambda each: str(each).upper(),
    "hex": lambda each: each.hex,
    "braces": lambda each: f"{{{each}}}",
    "urn": lambda each: each.urn,
}


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
@pytest.mark.parametrize("of_labels", [lambda each: each, lambda each: each.bytes, str])
def test_a_class_that_is_a_uuid_is_its_value(spelled, of_labels) -> None:
    frame = pd.DataFrame(
        {
            "y": pd.Series([of_labels(IDS[i % 2]) for i in range(60)], dtype=object),
            "p": [spelled(IDS[i % 2 if i else 1]) for i in range(60)],
            "score": [0.2, 0.8] * 30,
            "country": [spelled(IDS[0]), str(IDS[0])] * 30,
        }
    )
    names = tuple(sorted(map(str, IDS)))
    given = {"score": {spelled(IDS[1]): "score", IDS[0]: "rest"}, "classes": [spelled(IDS[0])]}
    report = check(
        frame.assign(rest=1 - frame["score"]),
        positive=spelled(IDS[1]),
        segments=["country"],
        **given,
    )
    assert report.metrics["accuracy"].value == pytest.approx(59 / 60)
    assert (sorted(report.classes), report.positive) == (list(names), str(IDS[1]))
    assert [part.value for part in report.segments] == [str(IDS[0])]
    later = check(frame.assign(y=frame["p"], p=frame["y"]), baseline=report)
    assert (later.n_unreadable, later.metrics["accuracy"].value) == (0, pytest.approx(59 / 60))


def test_a_name_that_is_nearly_a_uuid_is_a_name() -> None:
    frame = pd.DataFrame({"y": ["A" * 31, "B" * 33] * 30, "p": ["a" * 31, "B" * 33] * 30})
    assert check(frame).metrics["accuracy"].value == 0.5
