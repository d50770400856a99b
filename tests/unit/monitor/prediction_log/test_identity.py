"""A value is what it was when a log of predictions is read, whatever it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.feedback import join_feedback, recent_feedback
from flytekitplugins.wbmon.monitor.prediction_log.schema import day_folder
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy

ALL = SamplingPolicy(rate=1.0)
N = 200


def joined(folder: Path | str, predictions: Sequence[Any], labels: Sequence[Any]) -> pa.Table:
    """What is read of predictions and labels that a server has logged."""
    day = datetime.now(timezone.utc).date().isoformat()
    log = PredictionLogger("api", str(folder), sampling=ALL)
    for prediction, label in zip(predictions, labels, strict=True):
        log.log_feedback(log.log_prediction(prediction=prediction), "label", label=label)
    stats = log.close()
    assert (stats.failed, stats.feedback_dropped, stats.dropped) == (0, 0, 0)
    compact_prediction_log(str(folder), "api")
    feedback = recent_feedback(str(folder), "api", [day])
    return join_feedback(day_folder(str(folder), "prediction", "api", day), feedback)


def measured(folder: Path | str, classes: Sequence[Any], labels: Sequence[Any]) -> float:
    """The accuracy of a model that is always right, and of which each class is as frequent."""
    times = N // len(classes)
    table = joined(folder, [*classes] * times, [*labels] * times)
    report: PerformanceReport = check_performance(
        table, task="classification", label="label", prediction="prediction"
    )
    assert report.n_labelled == times * len(classes)
    return report.metrics["accuracy"].value


@pytest.mark.parametrize(
    "classes",
    [[1790000000000000001, 1790000000000000002], [2**63 - 1, -(2**63)], [0, 1], [True, False]],
)
def test_classes_meet_the_text_of_themselves(tmp_path: Path, classes: list[Any]) -> None:
    assert measured(tmp_path, classes, [str(each) for each in classes]) == 1


@pytest.mark.parametrize("labels", [["true", "FALSE"], ["1", "0"]])
@pytest.mark.parametrize("classes", [[True, False], [1, 0]])
def test_truths_meet_their_words_and_their_numbers(
    tmp_path: Path, classes: list[Any], labels: list[str]
) -> None:
    assert measured(tmp_path, classes, labels) == 1


@settings(max_examples=10, deadline=None)
@given(classes=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=4, unique=True))
def test_whole_numbers_meet_their_digits(classes: list[int]) -> None:
    with TemporaryDirectory() as folder:
        assert measured(folder, classes, [str(each) for each in classes]) == 1


def test_labels_that_are_no_truths_stay_as_they_are(tmp_path: Path) -> None:
    table = joined(tmp_path, [True, False], ["yes", "True"])

    assert sorted(table["label"].to_pylist()) == ["True", "yes"]


def test_a_label_of_more_digits_than_any_number_has_stays_text(tmp_path: Path) -> None:
    digits = "1" * 100

    assert joined(tmp_path, [1], [digits])["label"].to_pylist() == [digits]
