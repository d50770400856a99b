"""Whose word on a prediction counts, and what is told of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon import JoinFeedback
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.feedback import (
    JoinedFeedback,
    join_feedback,
    recent_feedback,
)
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.monitor.prediction_log.schema import SOURCES
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.storage.segments.layout import segment_folder

START = datetime(2026, 3, 2, tzinfo=timezone.utc)


def predictions(*ids: str | None, **columns: Sequence[Any]) -> pa.Table:
    """Predictions a minute apart."""
    rows = [
        {
            "timestamp": (START + timedelta(minutes=place)).isoformat(),
            "request_id": request_id,
            "prediction": "x",
            **{name: values[place] for name, values in columns.items()},
        }
        for place, request_id in enumerate(ids)
    ]
    return log_table("prediction", rows)


def feedback(*rows: dict[str, Any]) -> pa.Table:
    """Feedback of an hour later, a minute apart; on `r` under the name `label` by default."""
    return log_table(
        "feedback",
        [
            {
                "timestamp": (START + timedelta(hours=1, minutes=place)).isoformat(),
                "request_id": "r",
                "name": "label",
                **row,
            }
            for place, row in enumerate(rows)
        ],
    )


def label_of(joined: JoinedFeedback, request_id: str = "r") -> Any:
    (found,) = (row["label"] for row in joined.table.to_pylist() if row["request_id"] == request_id)
    return found


def test_a_later_judge_does_not_replace_the_label_of_an_annotator() -> None:
    said = feedback(
        {"source": "annotator", "label": "first"},
        {"source": "annotator", "label": "annotator"},
        {"source": "user", "label": "user"},
        {"source": "code", "label": "code"},
        {"source": "llm_judge", "label": "judge"},
    )
    joined = join_feedback(predictions("r"), said)
    assert label_of(joined) == "annotator"
    assert (joined.report.n_disputed, joined.report.n_labelled) == (1, 1)
    assert "1 are disputed by sources" in joined.report.reason

    facts = join_feedback(predictions("r"), said, sources=("code", "annotator"))
    assert label_of(facts) == "code"
    assert facts.report.n_left_out == 2


@given(st.permutations(SOURCES), st.permutations(SOURCES), st.integers(1, 4))
def test_the_first_source_that_speaks_decides_in_whatever_order_they_do(
    spoken: list[str], order: list[str], n: int
) -> None:
    said = feedback(*({"source": each, "label": each} for each in spoken[:n]))
    joined = join_feedback(predictions("r"), said, sources=order)
    assert label_of(joined) == min(spoken[:n], key=order.index)
    assert joined.report.n_disputed == (n > 1)


def test_sources_that_agree_and_one_that_changes_its_mind_dispute_nothing() -> None:
    said = feedback(
        {"source": "annotator", "label": "1"},
        {"source": "annotator", "label": "2"},
        {"source": "llm_judge", "label": "2.0"},
    )
    numbers = predictions("r", prediction=[3.0])
    joined = join_feedback(numbers, said)
    assert label_of(joined) == 2.0
    assert joined.report.n_disputed == 0


def test_a_label_without_a_source_is_that_of_a_user() -> None:
    said = feedback({"label": "user"}, {"source": "llm_judge", "label": "judge"})
    assert label_of(join_feedback(predictions("r"), said)) == "user"


def test_names_are_told_apart() -> None:
    said = feedback(
        {"name": "thumbs", "score": 1.0, "feedback_id": "form"},
        {"name": "label", "label": "yes", "feedback_id": "form"},
        {"name": "stars", "score": 4.0, "feedback_id": "form"},
    )
    found = {
        name: join_feedback(predictions("r"), said, name=name).table.to_pylist()[0]
        for name in ("thumbs", "label", "stars")
    }
    assert {name: (row["label"], row["feedback_score"]) for name, row in found.items()} == {
        "thumbs": (None, 1.0),
        "label": ("yes", None),
        "stars": (None, 4.0),
    }


def test_of_rows_with_one_request_id_the_last_one_has_the_label() -> None:
    """A client that tried again with its `x-request-id`: one answer came."""
    rows = predictions("a", "same", "same", None, None, variant=["0", "1", "2", "3", "4"])
    later_first = rows.take([2, 1, 0, 3, 4])
    said = feedback({"request_id": "same", "label": "yes"}, {"request_id": "a", "label": "no"})
    joined = join_feedback(later_first, said)

    assert joined.table["request_id"].to_pylist() == ["same", "same", "a", None, None]
    labels = dict(zip(joined.table["variant"].to_pylist(), joined.table["label"].to_pylist(),
                      strict=True))  # fmt: skip
    assert labels == {"0": "no", "1": None, "2": "yes", "3": None, "4": None}
    assert (joined.report.n_repeated, joined.report.n_labelled) == (1, 2)
    assert "1 predictions have the request id of a later one" in joined.report.reason


def test_an_attempt_that_failed_does_not_take_the_label() -> None:
    rows = predictions("same", "same", prediction=["x", None])
    joined = join_feedback(rows, feedback({"request_id": "same", "label": "yes"}))
    assert joined.table["label"].to_pylist() == ["yes"]
    assert joined.report.n_repeated == 0


def test_feedback_on_requests_that_the_log_does_not_have_is_counted() -> None:
    rows = predictions("r", "other", route=["/a", "/b"])
    said = feedback(
        {"label": "yes"},
        {"label": "yes", "request_id": "other"},
        {"label": "yes", "request_id": "unknown"},
        {"label": "no", "request_id": "unknown"},
    )
    joined = join_feedback(rows, said, route="/a")
    # that of another route is known
    assert (joined.report.n_unmatched, joined.report.n_labelled) == (1, 1)
    assert joined.report.coverage == 1.0


def test_nothing_to_join_is_not_measured() -> None:
    none = join_feedback(predictions(), feedback({"label": "yes"})).report
    assert none.unmeasured == "no prediction in this window"
    assert math.isnan(none.coverage)
    unlabelled = join_feedback(
        predictions("r"),
        feedback({"name": "thumbs", "score": 1.0}, {"source": "code", "label": "yes"}),
        sources=["annotator"],
    ).report
    assert unlabelled.unmeasured == (
        "none of 1 predictions has feedback named 'label'; 1 rows are of other sources"
    )
    assert unlabelled.reason == unlabelled.unmeasured
    assert unlabelled.unmeasured in unlabelled.to_html().replace("&#x27;", "'")


def test_what_cannot_be_joined_is_refused() -> None:
    with pytest.raises(DataError, match="request_id not found"):
        join_feedback(predictions("r").drop_columns(["request_id"]), feedback({"label": "yes"}))
    for sources in ((), "user"):
        with pytest.raises(ConfigError, match="sources"):
            join_feedback(predictions("r"), feedback({"label": "yes"}), sources=sources)
        with pytest.raises(ConfigError, match="sources"):
            JoinFeedback("t.wrong.join", sources=sources)


def test_feedback_without_an_id_is_kept_row_by_row(tmp_path: Path) -> None:
    """As another program may write it: each row is a word of its own."""
    log = PredictionLogger("api", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    log.log_feedback("a", "label", label="yes")
    log.close()
    (segment,) = Path(segment_folder(str(tmp_path), "sealed", "api")).iterdir()
    lines = segment.read_text().splitlines()
    # two names and two requests at the same moment, and one row written twice
    (said,) = [line for line in lines if '"kind":"feedback"' in line.replace(" ", "")]
    bare = said.replace('"a:user:label"', "null")
    assert bare != said
    rows = [bare, bare, bare.replace('"label","', '"thumbs","'), bare.replace('"a"', '"b"')]
    rows[2] = bare.replace('"name":"label"', '"name":"thumbs"')
    segment.write_text("".join(f"{row}\n" for row in rows))
    report = compact_prediction_log(str(tmp_path), "api")

    day = datetime.now(timezone.utc).date().isoformat()
    kept = recent_feedback(str(tmp_path), "api", [day]).to_pylist()
    assert sorted((row["request_id"], row["name"]) for row in kept) == [
        ("a", "label"),
        ("a", "thumbs"),
        ("b", "label"),
    ]
    assert (report.n_feedback, report.n_duplicates) == (3, 1)


@given(
    st.fixed_dictionaries(
        {
            name: st.integers(0, 2)
            for name in ("n_predictions", "n_feedback", "n_windows", "n_duplicates", "n_torn")
        }
    )
)
def test_a_compaction_of_no_known_day_is_measured_if_it_found_a_row(counts: dict[str, int]) -> None:
    report = CompactionReport(service="api", n_segments=1, reason="", **counts)
    n_torn = counts["n_torn"]
    n_rows = sum(counts.values()) - n_torn
    # a line that could not be read is a finding, too
    assert bool(report.unmeasured) == (n_rows == 0 or n_torn > 0)
    assert (f"none of {n_torn} lines of api" in report.unmeasured) == (n_rows == 0 < n_torn)
    (rate,) = (each.value for each in report.measurements() if each.name == "lost_rate")
    assert math.isnan(rate) if n_rows + n_torn == 0 else rate == n_torn / (n_rows + n_torn)
