"""Whatever a log accepts is read back, or what a table cannot hold of it is left out: never a row.

Both logs, on a disk and in a bucket; that of predictions through compaction.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.llm import CallLog, read_calls
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from support import round_trip as rt
from support.prediction_log import read_rows
from support.s3 import S3Server

Write = Callable[..., None]
Read = Callable[[str], dict[str, Any]]
BOTH = pytest.mark.parametrize(
    ("write", "read"),
    [(rt.write_prediction, rt.read_prediction), (rt.write_call, rt.read_call)],
    ids=["predictions", "calls"],
)
slow_ones = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@BOTH
@slow_ones
@given(row=rt.columns)
@example(row={"gen_ai_usage_input_tokens": 2**63, "session_id": "\ud800", "score": math.inf})
@example(row={"schema_version": 7})
@example(row={"stage_ms": {"": 1.0, "\0": math.nan}, "attempts": 99_999})
def test_a_row_on_a_disk_is_read_back(write: Write, read: Read, row: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        write(f"{folder}/log", row, Path(folder) / "spool")
        found = read(f"{folder}/log")

    assert rt.found(found, rt.expected(row)) == rt.expected(row)
    assert found["schema_version"] == 1


@BOTH
@settings(slow_ones, max_examples=5)
@given(row=rt.columns)
def test_a_row_in_a_bucket_is_read_back(
    write: Write,
    read: Read,
    row: dict[str, Any],
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in s3.fsspec_env.items():
        monkeypatch.setenv(name, value)
    root = s3.bucket(f"row-{uuid4().hex}").root
    write(f"{root}/log", row, tmp_path / uuid4().hex)

    assert rt.found(read(f"{root}/log"), rt.expected(row)) == rt.expected(row)


@slow_ones
@given(
    features=st.dictionaries(rt.texts, st.one_of(rt.numbers, rt.texts), max_size=4),
    prediction=st.one_of(rt.numbers, rt.texts),
)
@example(features={"\0prediction": "yes", "": 10**400}, prediction="no")
def test_features_and_the_prediction_keep_their_types(
    features: dict[str, Any], prediction: Any
) -> None:
    with TemporaryDirectory() as folder:
        spool = Path(folder)
        rt.write_prediction(f"{folder}/log", {}, spool, features=features, prediction=prediction)
        row = rt.read_prediction(f"{folder}/log")

    assert repr(row["prediction"]) == repr(rt.as_any(prediction))
    # two names that differ in halves of surrogates only are one
    names = Counter(map(rt.as_text, features))
    for name, given_value in features.items():
        value = rt.as_any(given_value[:256] if isinstance(given_value, str) else given_value)
        if value is not None and names[rt.as_text(name)] == 1:
            found = row[f"feature.{rt.as_text(name)}"]
            assert (type(found), found) == (type(value), value)


@settings(slow_ones, max_examples=25)
@given(at=st.one_of(rt.instants, rt.instants.map(lambda at: at.isoformat())))
def test_a_call_of_any_zone_is_read_at_its_instant_and_compacted_on_its_day(at: Any) -> None:
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    with TemporaryDirectory() as folder:
        rt.write_call(folder, {"timestamp": at}, Path(folder))
        found = rt.read_call(folder)
        report = compact_prediction_log(folder, "api")

    assert found["timestamp"] == moment
    assert report.days == (moment.astimezone(timezone.utc).date().isoformat(),)


def test_a_call_without_a_time_that_can_be_read_has_that_of_writing(tmp_path: Path) -> None:
    begin = datetime.now(timezone.utc)
    rt.write_call(str(tmp_path), {"timestamp": "yesterday"}, tmp_path)

    assert begin <= rt.read_call(str(tmp_path))["timestamp"] <= datetime.now(timezone.utc)


def test_what_the_log_says_itself_cannot_be_said_by_a_handler(tmp_path: Path) -> None:
    log = PredictionLogger("api", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    with log.request("/answer") as request:
        request.set(kind="else", timestamp="never", request_id="x", schema_version=9, variant="new")
    log.close()
    row = rt.read_prediction(str(tmp_path))

    assert (row["request_id"], row["variant"]) == (request.request_id, "new")


def test_what_no_line_can_hold_costs_its_row_and_nothing_else(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with CallLog(tmp_path, "api") as log:
        log.log_call({"kind": "span", "value": endless})
        log.log_call(new_row(session_id="s", variant=endless))

    assert (log.n_rows, log.n_failed) == (1, 1)
    assert read_calls(tmp_path)["session_id"].to_pylist() == ["s"]


@BOTH
def test_what_is_written_is_json_in_the_strict_sense(
    write: Write, read: Read, tmp_path: Path
) -> None:
    row = {"score": math.nan, "session_id": "\ud83d\ude00\ud800", "stage_ms": {"a": math.inf}}
    write(str(tmp_path), row, tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    (path,) = tmp_path.glob("sealed/api/*.jsonl")
    for line in path.read_bytes().decode("utf-8").splitlines():
        json.loads(line, parse_constant=refuse)
    assert read_rows(tmp_path)[0]["session_id"] == "😀\ufffd"
