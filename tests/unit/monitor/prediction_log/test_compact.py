from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import read_calls
from flytekitplugins.wbmon.monitor.prediction_log.compact import (
    compact_prediction_log,
    days_before,
    with_day,
)
from flytekitplugins.wbmon.monitor.prediction_log.feedback import join_feedback, recent_feedback
from flytekitplugins.wbmon.monitor.prediction_log.schema import PREDICTION_COLUMNS, day_folder
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from support.clock import today

ALL = SamplingPolicy(rate=1.0)
Serve = Callable[..., PredictionLogger]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    def build(n: int = 10, **settings: Any) -> PredictionLogger:
        log = PredictionLogger("api", str(tmp_path), **{"sampling": ALL, **settings})
        for i in range(n):
            log.log_prediction(
                features={"amount": i / 2, "n": i, "is_new": i % 2 == 0, "country": "de"},
                prediction=f"class {i % 3}",
                score=0.5,
                latency_ms=float(i),
                tenant=f"t{i % 2}",
                request_id=f"r{i}",
            )
        return log

    return build


def table(root: Path, kind: Any = "prediction", day: str = "") -> pa.Table:
    folder = Path(day_folder(str(root), kind, "api", day or today()))
    parts = sorted(folder.glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(part) for part in parts], promote_options="permissive")


def manifest(root: Path, kind: Any = "prediction", day: str = "") -> dict[str, Any]:
    path = Path(day_folder(str(root), kind, "api", day or today())) / "_manifest.json"
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def write_segment(root: Path, name: str, rows: list[Any], state: str = "sealed") -> Path:
    path = root / state / "api" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def row(request_id: str, timestamp: str = "", **more: Any) -> Any:
    at = timestamp or f"{today()}T10:00:00.000001+00:00"
    return {"kind": "prediction", "timestamp": at, "request_id": request_id, **more}


def test_rows_become_typed_columns(serve: Serve, tmp_path: Path) -> None:
    serve().close()
    report = compact_prediction_log(str(tmp_path), "api")

    rows = table(tmp_path)
    assert report.n_predictions == rows.num_rows == 10
    assert report.days == (today(),)
    assert rows.column_names[: len(PREDICTION_COLUMNS)] == list(PREDICTION_COLUMNS)
    types = {field.name: field.type for field in rows.schema}
    assert types["timestamp"] == pa.timestamp("us", "UTC")
    assert types["feature.amount"] == pa.float64()
    assert types["feature.n"] == pa.int64()
    assert types["feature.is_new"] == pa.bool_()
    assert types["feature.country"] == types["prediction"] == pa.string()
    assert rows["latency_ms"].to_pylist() == [float(i) for i in range(10)]
    windows = table(tmp_path, "window")
    assert sum(windows["requests"].to_pylist()) == 10
    assert list((tmp_path / "sealed/api").iterdir()) == []


def test_compacting_again_changes_nothing(serve: Serve, tmp_path: Path) -> None:
    serve().close()
    compact_prediction_log(str(tmp_path), "api", keep_segments=True)
    before = table(tmp_path)
    said = manifest(tmp_path)
    for path in (tmp_path / "compacted/api").iterdir():
        path.rename(tmp_path / "sealed/api" / path.name)
    again = compact_prediction_log(str(tmp_path), "api")

    assert again.n_predictions == 10
    assert again.n_duplicates == 0
    assert table(tmp_path).equals(before)
    assert manifest(tmp_path) == said


def test_a_task_that_broke_after_its_first_part_is_done_again(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flytekitplugins.wbmon.monitor.prediction_log.files import LogFiles

    serve().close()
    real = LogFiles.write_part
    calls: list[str] = []

    def breaks(self: Any, *arguments: Any) -> None:
        calls.append("part")
        if len(calls) == 2:
            raise OSError("the pod is gone")
        real(self, *arguments)

    monkeypatch.setattr(LogFiles, "write_part", breaks)
    with pytest.raises(OSError, match="pod"):
        compact_prediction_log(str(tmp_path), "api")
    monkeypatch.undo()
    compact_prediction_log(str(tmp_path), "api")

    assert table(tmp_path).num_rows == 10
    assert sum(table(tmp_path, "window")["requests"].to_pylist()) == 10


def test_a_torn_tail_and_unreadable_lines_are_cut_and_counted(tmp_path: Path) -> None:
    path = write_segment(
        tmp_path, "s-1", [row("a"), "{not json", '"text"', row("b"), {"kind": "else"}]
    )
    path.write_bytes(path.read_bytes() + b'{"kind":"prediction","req')
    report = compact_prediction_log(str(tmp_path), "api")

    assert table(tmp_path)["request_id"].to_pylist() == ["a", "b"]
    assert report.n_torn == 4
    assert manifest(tmp_path)["torn_lines"] == 4


def test_duplicates_within_and_across_segments_and_runs_are_left_out(tmp_path: Path) -> None:
    write_segment(tmp_path, "s-1", [row("a"), row("a"), row("b")])
    write_segment(tmp_path, "s-2", [row("b"), row("c")])
    first = compact_prediction_log(str(tmp_path), "api")
    write_segment(tmp_path, "s-3", [row("c"), row("d")])
    second = compact_prediction_log(str(tmp_path), "api")

    assert sorted(table(tmp_path)["request_id"].to_pylist()) == ["a", "b", "c", "d"]
    assert (first.n_duplicates, second.n_duplicates) == (2, 1)
    assert manifest(tmp_path)["duplicates"] == 3


def test_two_requests_that_share_an_id_are_both_kept(tmp_path: Path) -> None:
    later = f"{today()}T10:00:01.000000+00:00"
    write_segment(tmp_path, "s-1", [row("same"), row("same", timestamp=later)])
    compact_prediction_log(str(tmp_path), "api")

    assert table(tmp_path).num_rows == 2


def test_rows_go_to_the_day_they_happened_on(tmp_path: Path) -> None:
    late, early = "2026-03-01T23:59:59.999999+00:00", "2026-03-02T00:00:00.000000+00:00"
    write_segment(tmp_path, "s-1", [row("a", timestamp=late), row("b", timestamp=early)])
    report = compact_prediction_log(str(tmp_path), "api")

    assert report.days == ("2026-03-01", "2026-03-02")
    assert table(tmp_path, day="2026-03-01")["request_id"].to_pylist() == ["a"]
    assert table(tmp_path, day="2026-03-02")["request_id"].to_pylist() == ["b"]


def test_segments_of_the_dead_are_sealed_and_those_of_the_living_left(tmp_path: Path) -> None:
    dead = write_segment(tmp_path, "dead-1", [row("a")], state="open")
    write_segment(tmp_path, "alive-1", [row("b")], state="open")
    hour_ago = time.time() - 3600
    os.utime(dead, (hour_ago, hour_ago))
    report = compact_prediction_log(str(tmp_path), "api")

    assert report.n_orphans == 1
    assert table(tmp_path)["request_id"].to_pylist() == ["a"]
    assert (tmp_path / "open/api/alive-1.jsonl").exists()


def test_what_serving_dropped_is_in_the_report_and_the_manifest(
    serve: Serve, tmp_path: Path
) -> None:
    log = serve(n=50, max_queue=5, flush_interval=10.0)
    stats = log.close()
    report = compact_prediction_log(str(tmp_path), "api")

    assert stats.dropped == 45
    assert report.n_dropped == 45
    assert report.n_predictions == 5
    assert "45 rows lost" in report.reason
    assert manifest(tmp_path, "window")["dropped_rows"] == 45


def test_values_that_do_not_fit_become_null_and_unknown_fields_are_ignored(
    tmp_path: Path,
) -> None:
    odd = row("a", status_code="two hundred", latency_ms=1, colour="red", stage_ms=7, score="x")
    write_segment(tmp_path, "s-1", [odd, row("b", status_code=200, features={"x": 1.5})])
    compact_prediction_log(str(tmp_path), "api")

    rows = table(tmp_path)
    assert rows["status_code"].to_pylist() == [None, 200]
    assert rows["latency_ms"].to_pylist() == [1.0, None]
    assert rows["feature.x"].to_pylist() == [None, 1.5]
    assert "colour" not in rows.column_names


def test_a_log_of_an_earlier_release_is_read_whole(tmp_path: Path) -> None:
    # as they were written: names without a random part, escaped letters, numbers of any size
    old = tmp_path / "sealed" / "api"
    old.mkdir(parents=True)
    (old / "pod-7-0.jsonl").write_text(
        '{"kind":"prediction","schema_version":1,"timestamp":"2026-03-01T10:00:00+00:00",'
        '"request_id":"a","attempt_log":[{"model":"m"}],"session_id":"\\ud800 \\u00fc"}\n'
        '{"timestamp": "2026-03-01T12:00:00.500Z", "request_id": "b", "status_code": 99999, '
        f'"gen_ai_usage_input_tokens": 1e30, "features": {{"n": 1{40 * "0"}}}}}\n'
        '{"kind":"prediction","timestamp":"2026-03-01T23:30:00.000001-00:30","request_id":"c",'
        '"stage_ms":{"other":null},"features":7,"retrieved_documents":[{"id":1,"rank":"x"}]}\n'
    )
    calls = read_calls(tmp_path)
    report = compact_prediction_log(str(tmp_path), "api")

    assert calls["request_id"].to_pylist() == ["a", "b", "c"]
    assert calls["session_id"].to_pylist() == ["\ufffd ü", None, None]
    assert json.loads(calls["attempt_log"][0].as_py()) == [{"model": "m"}]
    assert (report.n_predictions, report.n_torn) == (3, 0)
    assert report.days == ("2026-03-01", "2026-03-02")
    assert table(tmp_path, day="2026-03-01")["feature.n"].to_pylist() == [None, 10**40]
    late = table(tmp_path, day="2026-03-02")
    instant = datetime(2026, 3, 2, microsecond=1, tzinfo=timezone.utc)
    assert late["timestamp"].to_pylist() == [instant]
    assert late["retrieved_documents"].to_pylist() == [[{"id": "1", "rank": None, "score": None}]]


@pytest.mark.parametrize("service", ["a b", "a=b", "modèle:2"])
def test_a_service_may_have_any_name_that_a_folder_may(tmp_path: Path, service: str) -> None:
    log = PredictionLogger(service, str(tmp_path), sampling=ALL)
    log.log_prediction(prediction=1.5)
    log.close()
    assert read_calls(tmp_path, service=service).num_rows == 1
    compact_prediction_log(str(tmp_path), service)

    source = open_source(day_folder(str(tmp_path), "prediction", service, today()))
    assert source.column("prediction").to_pylist() == [1.5]


def test_a_feature_seen_for_the_first_time_adds_a_column(tmp_path: Path) -> None:
    write_segment(tmp_path, "s-1", [row("a", features={"x": 1})])
    write_segment(tmp_path, "s-2", [row("b", features={"x": 1.5, "y": 2})])
    compact_prediction_log(str(tmp_path), "api")

    rows = table(tmp_path)
    assert rows["feature.x"].to_pylist() == [1.0, 1.5]
    assert rows["feature.y"].to_pylist() == [None, 2]


def test_a_newer_schema_waits_for_a_newer_package_and_the_others_are_compacted(
    tmp_path: Path,
) -> None:
    newer = write_segment(tmp_path, "s-1", [row("a"), row("b", schema_version=2)])
    write_segment(tmp_path, "s-2", [row("c")])
    report = compact_prediction_log(str(tmp_path), "api")

    assert table(tmp_path)["request_id"].to_pylist() == ["c"]
    assert newer.exists()
    assert (report.n_segments, report.n_left, report.n_torn) == (1, 1, 0)
    assert "1 of the sealed could not be compacted" in report.reason
    assert "1 of the sealed could not be compacted" in report.unmeasured


def test_it_works_on_any_file_system(serve: Serve, tmp_path: Path) -> None:
    serve().close()
    files = fsspec.filesystem("memory")
    for path in (tmp_path / "sealed/api").iterdir():
        files.put_file(str(path), f"/compaction-test/sealed/api/{path.name}")
    report = compact_prediction_log("memory://compaction-test", "api")

    assert report.n_predictions == 10
    parts = files.glob(f"/compaction-test/prediction_log/service=api/dt={today()}/part-*.parquet")
    assert len(parts) == 1


def test_a_day_without_traffic_can_be_read(tmp_path: Path) -> None:
    report = with_day(compact_prediction_log(str(tmp_path), "api"), str(tmp_path), today())
    assert (report.day, report.n_day_predictions) == (today(), 0)
    assert table(tmp_path).num_rows == 0
    assert table(tmp_path, "window").num_rows == 0


def test_the_last_word_of_each_source_counts_and_joins_the_right_prediction(
    serve: Serve, tmp_path: Path
) -> None:
    log = serve()
    log.log_feedback("r1", "label", label="class 2", source="annotator")
    log.log_feedback("r1", "label", label="class 1", source="annotator")
    log.log_feedback("r2", "label", label="class 0", source="annotator")
    log.log_feedback("r2", "thumbs", score=0.0)
    log.log_feedback("nobody", "label", label="class 0", source="annotator")
    log.close()
    compact_prediction_log(str(tmp_path), "api")
    feedback = recent_feedback(str(tmp_path), "api", ["2020-01-01", today()])
    joined = join_feedback(day_folder(str(tmp_path), "prediction", "api", today()), feedback).table

    assert feedback.num_rows == 4
    labels = dict(zip(joined["request_id"].to_pylist(), joined["label"].to_pylist(), strict=True))
    assert joined.num_rows == 10
    assert {key: label for key, label in labels.items() if label} == {
        "r1": "class 1",
        "r2": "class 0",
    }


def test_labels_are_numbers_where_predictions_are(tmp_path: Path) -> None:
    log = PredictionLogger("api", str(tmp_path), sampling=ALL)
    log.log_prediction(prediction=3.5, request_id="a")
    log.log_feedback("a", "label", label="4", score=1.0)
    log.close()
    compact_prediction_log(str(tmp_path), "api")
    joined = join_feedback(
        day_folder(str(tmp_path), "prediction", "api", today()),
        day_folder(str(tmp_path), "feedback", "api", today()),
    ).table

    assert joined["label"].to_pylist() == [4.0]
    assert joined["feedback_score"].to_pylist() == [1.0]


def test_days_are_counted_in_utc() -> None:
    east = timezone(timedelta(hours=5))
    assert days_before(datetime(2026, 3, 2, 2, tzinfo=east), 1) == "2026-02-28"


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        compact_prediction_log(str(tmp_path), "api", orphan_after_s=0)


def test_a_call_keeps_all_its_columns_and_is_read_by_day_whatever_became_of_its_segment(
    tmp_path: Path,
) -> None:
    def call(name: str, day: str = "2026-03-01", **more: Any) -> Any:
        return row(name, f"{day}T10:00:00.000001+00:00", instance="i", **more)

    said = {
        "purpose": "judge",
        "attempt_log": [{"model": "m"}],
        "gen_ai_request_temperature": 0.5,
        "gen_ai_request_seed": 7,
        "stage_ms": {"model": 1.5},
        "retrieved_documents": [{"id": "d"}],
    }
    first = write_segment(tmp_path, "s-1", [call("a", **said), call("b", prediction=1)])
    write_segment(tmp_path, "s-2", [call("c", day="2026-03-02", purpose="product")])
    before = read_calls(tmp_path, day="2026-03-01")
    lines = first.read_text()
    compact_prediction_log(str(tmp_path), "api")
    after = read_calls(tmp_path, service="api", day="2026-03-01")
    # as between the parts of a segment and its deletion
    first.write_text(lines)
    write_segment(tmp_path, "s-3", [call("d", purpose="judge")], state="open")
    both = read_calls(tmp_path, day="2026-03-01")

    assert before["request_id"].to_pylist() == ["a", "b"]
    assert before["purpose"].to_pylist() == ["judge", None]
    assert before["prediction"].to_pylist() == [None, "1"]
    assert after.equals(before)
    assert both["request_id"].to_pylist() == ["a", "b", "d"]
    assert both["purpose"].to_pylist() == ["judge", None, "judge"]
    assert read_calls(tmp_path, service="api", day="2026-03-02").num_rows == 1
    assert read_calls(tmp_path, service="else", day="2026-03-01").num_rows == 0
    assert read_calls(tmp_path, day="2026-03-03").schema.equals(before.schema)
    with pytest.raises(ConfigError, match="YYYY-MM-DD"):
        read_calls(tmp_path, day="March")
