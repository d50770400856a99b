"""A day whose predictions change in kind, as with two routes or a new release, is one column."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import empty_log_table, log_table
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.feedback import join_feedback
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from flytekitplugins.wbmon.monitor.service.summarize import summarize_serving
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy

WHOLE = 2**53 + 1  # the first that no float of 64 bits holds


def serve(folder: Path, *segments: list[tuple[str, Any]]) -> None:
    """Each list is a segment of predictions by route; all are labelled with the truth."""
    for rows in segments:
        log = PredictionLogger("api", str(folder), sampling=SamplingPolicy(rate=1.0))
        for route, answer in rows:
            name = log.log_prediction(
                prediction=answer, score=0.9, route=route, features={"f": answer}
            )
            log.log_feedback(name, "label", label=answer)
        log.close()
    compact_prediction_log(str(folder), "api")


@pytest.mark.parametrize(
    ("first", "second", "stored"),
    [
        ("spam", 0.7, ["spam", "0.7"]),
        ("spam", True, ["spam", "1"]),
        ("spam", WHOLE, ["spam", str(WHOLE)]),
        ("spam", 10**30, ["spam", str(10**30)]),
        (True, 1, [1, 1]),
        (True, 0.5, [1, 0.5]),
        (WHOLE, 0.5, [Decimal(WHOLE), Decimal("0.5")]),
        (False, 10**30, [0, 10**30]),
        (None, "spam", [None, "spam"]),
    ],
)
def test_predictions_of_two_segments_are_one_column_that_every_node_reads(
    tmp_path: Path, first: Any, second: Any, stored: list[Any]
) -> None:
    serve(tmp_path, [("/a", first)], [("/b", second)])
    log, feedback = tmp_path / "prediction_log", tmp_path / "feedback_log"

    def found(name: str) -> list[Any]:
        return sorted(open_source(log).column(name).to_pylist(), key=str)

    assert found("prediction") == found("feature.f") == sorted(stored, key=str)
    joined = join_feedback(log, feedback)
    n = 1 if first is None else 2
    assert (joined.report.n_predictions, joined.report.n_labelled) == (n, n)
    by_route = join_feedback(log, feedback, route="/b")
    # the truth of each is the prediction itself; its text is as it was given
    for table in (joined.table, by_route.table):
        truths = ["1" if label == "True" else label for label in table["label"].to_pylist()]
        assert table["prediction"].to_pylist() == truths
    summary = summarize_serving(tmp_path / "serving_window", predictions=log)
    assert summary.total.n_requests == 2
    assert summary.confidence is not None
    assert 0.5 <= summary.confidence.top_share <= 1
    assert profile_data(log, columns=["prediction"]).n_rows == 2


ANSWERS = st.one_of(
    st.lists(st.booleans()),
    st.lists(st.integers(-(10**40), 10**40)),
    st.lists(st.floats(-1e15, 1e15).map(lambda value: round(value, 6))),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=3)),
    st.lists(st.none()),
)


def meaning(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    # a decimal has the digits that a float is written with
    return Fraction(str(value + 0))


@given(segments=st.lists(ANSWERS, min_size=1, max_size=4))
def test_a_day_in_parts_reads_as_the_same_day_in_one_part(segments: list[list[Any]]) -> None:
    with TemporaryDirectory() as folder:
        for i, values in enumerate(segments):
            part = log_table("prediction", [{"prediction": value} for value in values])
            pq.write_table(part, f"{folder}/part-{i}.parquet")
        source = open_source(folder)
        parts = source.column("prediction").to_pylist()
    whole = log_table(
        "prediction", [{"prediction": value} for values in segments for value in values]
    )["prediction"].to_pylist()

    assert [meaning(value) for value in parts] == [meaning(value) for value in whole]


def test_a_summary_does_not_need_to_know_what_a_prediction_is(tmp_path: Path) -> None:
    windows = empty_log_table("window")
    for i, column in enumerate((pa.array([1.0]), pa.array(["spam"]))):
        pq.write_table(pa.table({"score": [0.9], "prediction": column}), tmp_path / f"{i}.parquet")

    confidence = summarize_serving(windows, predictions=tmp_path).confidence
    assert confidence is not None
    assert (confidence.n_rows, confidence.mean) == (2, 0.9)
    assert confidence.top_share != confidence.top_share
    lists = pa.table({"score": [0.9, 0.8], "prediction": [[1], [1]]})
    nested = summarize_serving(windows, predictions=lists).confidence
    assert nested is not None
    assert nested.top_share == 1
