"""A value is what it was when a log of predictions is read, whatever it is."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.join_labels import join_labels
from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.data.stack import stacked
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.feedback import join_feedback, recent_feedback
from flytekitplugins.wbmon.monitor.prediction_log.schema import day_folder
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy

ALL = SamplingPolicy(rate=1.0)
N = 200
NAMES = ["prediction", "feature.x"]
# where some type or other ends
WHOLE = st.builds(
    lambda power, more: 2**power + more,
    st.sampled_from([53, 63, 64, 127, 250, 300]),
    st.integers(-2, 2),
)


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
    return join_feedback(day_folder(str(folder), "prediction", "api", day), feedback).table


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
    [
        [1790000000000000001, 1790000000000000002],
        [2**63 - 1, -(2**63)],
        [2**63 + 1, 2**63 + 2],
        [10**90 + 1, 10**90 + 2],
        [0, 1],
        [True, False],
        [1.0, 2.0],
        [1, "a"],
        [True, "a"],
        [uuid.UUID(int=5), uuid.UUID(int=6)],
        [date(2026, 1, 1), date(2026, 1, 2)],
        [time(1, 2), time(2, 3)],
        [np.datetime64("2026-01-01"), np.datetime64("2026-01-02")],
    ],
    ids=str,
)
def test_classes_meet_the_text_of_themselves(tmp_path: Path, classes: list[Any]) -> None:
    assert measured(tmp_path, classes, [str(each) for each in classes]) == 1


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize(
    "classes",
    [
        [Colour.RED, Colour.BLUE],
        [Level.LOW, Level.HIGH],
        [np.int8(3), np.int8(4)],
        [np.uint64(2**64 - 1), np.uint64(2**64 - 2)],
        [np.bool_(True), np.bool_(False)],
        [np.float32(3), np.float32(4)],
        [np.str_("a"), np.str_("b")],
        [Decimal(7), Decimal("8.0")],
        [Decimal(10**20 + 1), Decimal(10**20 + 2)],
        [Decimal("0.12345678901234567891"), Decimal("0.12345678901234567892")],
        [datetime.fromisoformat(at) for at in ("2026-01-01", "2026-01-01T03:00:00+02:00")],
        [timedelta(seconds=1), timedelta(seconds=2)],
        [np.datetime64(1, "ns"), np.datetime64(2, "ns")],
        [pd.Timestamp(1), pd.Timestamp(2)],
        [pd.Timedelta(1), pd.Timedelta(2)],
        [b"\xff", b"a"],
        [1, "a"],
        [True, 0.5, "a"],
        [date(2026, 1, 1), uuid.UUID(int=7), "a", 2**70],
        [10**100 + 1, 10**100 + 2],
    ],
    ids=str,
)
def test_classes_of_any_sort_meet_themselves(tmp_path: Path, classes: list[Any]) -> None:
    assert measured(tmp_path, classes, classes) == 1


@settings(max_examples=12, deadline=None)
@given(
    classes=st.one_of(
        st.lists(st.one_of(WHOLE, st.integers()), min_size=2, max_size=3, unique=True),
        st.lists(st.uuids(), min_size=2, max_size=3, unique=True),
        st.lists(st.dates(), min_size=2, max_size=3, unique=True),
        st.lists(st.datetimes(), min_size=2, max_size=3, unique=True),
        st.lists(st.timedeltas(), min_size=2, max_size=3, unique=True),
        st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=2, max_size=3, unique=True),
    )
)
def test_classes_of_one_sort_meet_themselves(classes: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        assert measured(folder, classes, classes) == 1


@pytest.mark.parametrize("labels", [["yes", "No"], ["1.0", "0.0"], ["True", "false"], [1.0, 0.0]])
def test_booleans_meet_words_for_them_by_every_path(tmp_path: Path, labels: list[Any]) -> None:
    assert measured(tmp_path, [True, False], labels) == 1
    predictions = {
        "request_id": [f"r{i}" for i in range(N)],
        "prediction": [True, False] * (N // 2),
    }
    table = {"request_id": predictions["request_id"], "label": labels * (N // 2)}
    for made in (pa.table(table), pd.DataFrame(table), pd.DataFrame(table, dtype=object)):
        labelled = join_labels(pa.table(predictions), made, label="label").table
        report = check_performance(
            labelled, task="classification", label="label", prediction="prediction"
        )
        assert (report.n_labelled, report.metrics["accuracy"].value) == (N, 1)


def test_a_word_that_is_no_truth_among_many_is_one_label_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    labels = pa.array(["n/a", *["yes", "no"] * N])
    table = pa.table({"label": labels, "prediction": [True, *[True, False] * N]})
    report = check_performance(table, task="classification", label="label", prediction="prediction")

    assert (report.n_labelled, report.metrics["accuracy"].value) == (2 * N, 1)


@pytest.mark.parametrize("labels", [["true", "FALSE"], ["1", "0"]])
@pytest.mark.parametrize("classes", [[True, False], [1, 0]])
def test_truths_meet_their_words_and_their_numbers(
    tmp_path: Path, classes: list[Any], labels: list[str]
) -> None:
    assert measured(tmp_path, classes, labels) == 1


@settings(max_examples=12, deadline=None)
@given(classes=st.lists(st.one_of(WHOLE, st.integers()), min_size=2, max_size=4, unique=True))
def test_whole_numbers_of_any_size_meet_their_digits(classes: list[int]) -> None:
    with TemporaryDirectory() as folder:
        assert measured(folder, classes, [str(each) for each in classes]) == 1


def test_labels_that_are_no_truths_stay_as_they_are(tmp_path: Path) -> None:
    table = joined(tmp_path, [True, False], ["maybe", "True"])

    assert sorted(table["label"].to_pylist()) == ["True", "maybe"]


def test_a_label_of_more_digits_than_any_number_has_stays_text(tmp_path: Path) -> None:
    digits = "1" * 100

    assert joined(tmp_path, [1], [digits])["label"].to_pylist() == [digits]


def test_a_list_is_the_json_of_itself(tmp_path: Path) -> None:
    assert measured(tmp_path, [["a"], ["b"]], ['["a"]', '["b"]']) == 1


NUMBERS = st.one_of(
    WHOLE.filter(lambda number: abs(number) < 10**50),
    st.integers(-5, 5),
    st.sampled_from([0.5, -0.25, 1e-30, 3.0]),
    st.booleans(),
)


@settings(max_examples=12, deadline=None)
@given(parts=st.lists(st.lists(NUMBERS, min_size=1, max_size=3), min_size=1, max_size=3))
def test_numbers_are_the_same_in_one_part_or_in_several(parts: list[list[Any]]) -> None:
    # that booleans and numbers of two parts disagree is told when they are read
    assume(not any(all(isinstance(each, bool) for each in part) for part in parts))
    day = datetime.now(timezone.utc).date().isoformat()
    with TemporaryDirectory() as folder:
        for part in parts:
            log = PredictionLogger("api", folder, sampling=ALL)
            for value in part:
                log.log_prediction(features={"x": value}, prediction=value)
            log.close()
            compact_prediction_log(folder, "api")
        source = open_source(day_folder(folder, "prediction", "api", day))
        table = stacked([pa.Table.from_batches([b]) for p in source.parts() for b in p(NAMES)])

    logged = sorted(_exactly(value) for part in parts for value in part)
    for name in NAMES:
        assert sorted(map(_exactly, table[name].to_pylist())) == logged


def _exactly(value: Any) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(str(value))
