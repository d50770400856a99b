"""Everything that takes a URL, as one call each: it writes below the URL, and reads it back.

In a notebook the environment alone leads to the store (`LIBRARY`), in a task flytekit's settings do
(`NODES`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from flytekit import FlyteContextManager
from flytekit.configuration import DataConfig
from flytekit.core.data_persistence import FileAccessProvider
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    AlertRule,
    AnalyzeSteps,
    Answer,
    CompactPredictionLog,
    EvaluatePrompts,
    JoinFeedback,
    Profile,
    Variant,
    check_drift,
    join_labels,
    load_rules,
    profile_data,
)
from flytekitplugins.wbmon.data.parquet_writer import PartWriter
from flytekitplugins.wbmon.delivery.borrowed_folder import BusyError
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.llm import (
    CallLog,
    PromptRegistry,
    PromptTemplate,
    read_calls,
    read_spans,
)
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore
from flytekitplugins.wbmon.monitor.llm.steps.report import Span
from flytekitplugins.wbmon.monitor.llm.steps.spans import row_of_span, steps_folder
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.feedback import recent_feedback
from flytekitplugins.wbmon.monitor.scoring.score import score_batches
from flytekitplugins.wbmon.publish.alerts.decide import AlertRouting, decide_and_notify
from flytekitplugins.wbmon.publish.alerts.read_heartbeat import read_heartbeat
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.storage.compare_and_swap import Version, read_file, replace_file
from flytekitplugins.wbmon.storage.filesystem import open_filesystem, write_file
from flytekitplugins.wbmon.traces.call_rows import CallRows
from support.clock import today, tomorrow
from support.examples import drift_report

NOW = datetime.now(timezone.utc)
PROMPT = PromptTemplate.from_text("qa", "Answer {question}")
ROWS = pa.table({"id": range(300), "x": [float(i % 7) for i in range(300)]})
Entry = Callable[[str, Path], None]


def written(url: str, rows: pa.Table = ROWS) -> str:
    with PartWriter(url, part_rows=1000) as writer:
        writer.write(rows)
    return url


def a_profile_is_saved_and_loaded(url: str, _: Path) -> None:
    profile_data(ROWS).save(f"{url}/reference.profile")
    assert Profile.load(f"{url}/reference.profile").n_rows == 300


def data_are_profiled_and_compared(url: str, _: Path) -> None:
    data = written(f"{url}/data")
    profile = profile_data(data)
    assert profile.n_rows == 300
    assert not check_drift(profile, data).drifted


def rows_are_scored_into_a_sink(url: str, _: Path) -> None:
    data, sink = written(f"{url}/data/night.parquet"), f"{url}/scored"
    report = score_batches(lambda batch: batch["x"], data, sink, kind="arrow")
    assert report.n_rows == profile_data(sink).n_rows == 300


def labels_are_joined(url: str, _: Path) -> None:
    labels = pa.table({"id": range(300), "label": [i % 2 for i in range(300)]})
    joined = join_labels(
        written(f"{url}/rows"), written(f"{url}/labels", labels), label="label", on="id"
    )
    assert joined.table["label"].null_count == 0


def calls_are_logged_and_read(url: str, _: Path) -> None:
    with CallLog(url, "ask") as log:
        log.log_call(new_row(gen_ai_request_model="house"))
    assert read_calls(url, service="ask").num_rows == read_calls(url).num_rows == 1


def steps_are_read(url: str, _: Path) -> None:
    log_a_step(url)
    (span,) = read_spans(url)
    assert span.name == "retrieve"


def log_a_step(url: str) -> None:
    span = Span(id="s", trace_id="t", name="retrieve", started_at=NOW, ended_at=NOW)
    with CallLog(steps_folder(url), "ask") as log:
        log.log_call(row_of_span(span))


def answers_are_kept(url: str, _: Path) -> None:
    AnswerStore(url).put("abc", Answer(text="yes"))
    kept = AnswerStore(url).get("abc")
    assert kept is not None
    assert kept.text == "yes"


def prompts_are_published(url: str, _: Path) -> None:
    PromptRegistry(url).publish(PROMPT, alias="production")
    assert PromptRegistry(url).get("qa").digest == PROMPT.digest


def an_alert_memory_is_kept(url: str, _: Path) -> None:
    MemoryFile(f"{url}/state.json").update(lambda memory: memory)
    assert MemoryFile(f"{url}/state.json").read() == AlertMemory(revision=1)


def predictions_are_served_compacted_and_joined(url: str, folder: Path) -> None:
    serve(url, folder)
    report = compact_prediction_log(url, "api")
    assert (report.n_predictions, report.n_feedback) == (1, 1)
    assert recent_feedback(url, "api", [today()])["label"].to_pylist() == ["no"]


def serve(url: str, folder: Path) -> None:
    sampling = SamplingPolicy(rate=1.0)
    log = PredictionLogger("api", url, sampling=sampling, spool=str(folder / "spool"))
    name = log.log_prediction(prediction="yes", latency_ms=1.0)
    log.log_feedback(name, "label", label="no")
    assert log.close(timeout=30.0)


def a_stale_writer_is_refused(url: str, _: Path) -> None:
    files, path = open_filesystem(f"{url}/state.json")
    assert read_file(files, path) == (None, Version())
    assert replace_file(files, path, b"first", Version())
    data, version = read_file(files, path)
    assert data == b"first"
    assert replace_file(files, path, b"second", version)
    assert not replace_file(files, path, b"late", version)
    assert not replace_file(files, path, b"late", Version())
    assert read_file(files, path)[0] == b"second"


def rules_are_loaded(url: str, _: Path) -> None:
    files, path = open_filesystem(f"{url}/rules.yaml")
    write_file(files, path, b"rules:\n  - metric: performance.accuracy\n    below: 0.8\n")
    assert load_rules(f"{url}/rules.yaml") == (AlertRule(metric="performance.accuracy", below=0.8),)
    with pytest.raises(ConfigError, match=r"none\.yaml must be a readable YAML file"):
        load_rules(f"{url}/none.yaml")
    write_file(files, path, b"")
    with pytest.raises(ConfigError, match=r"rules\.yaml must"):
        load_rules(f"{url}/rules.yaml")


def a_folder_waits_for_its_delivery(url: str, folder: Path) -> None:
    (folder / "log.txt").write_text("log")
    store = OfflineStore(url)
    assert store.find() == []
    where = store.put("runs/one", {"log.txt": folder / "log.txt"}, {"entity": "ops"})
    (stored,) = store.find()
    assert (stored.url, stored.about["entity"]) == (where, "ops")
    with store.borrow(stored, timeout_s=60, changing=()) as borrowed:
        assert (borrowed.folder / "log.txt").read_text() == "log"
        with pytest.raises(BusyError), store.borrow(stored, timeout_s=60, changing=()):
            pytest.fail("two have it")
        borrowed.remove()
    assert store.find() == []


def what_is_not_there_is_said_or_empty(url: str, _: Path) -> None:
    with pytest.raises(DataError):
        Profile.load(f"{url}/none.profile")
    assert read_calls(f"{url}/calls").num_rows == 0
    assert AnswerStore(f"{url}/answers").get("none") is None
    assert MemoryFile(f"{url}/none.json").read() == AlertMemory()
    assert compact_prediction_log(f"{url}/log", "api").n_segments == 0


LIBRARY = [
    a_profile_is_saved_and_loaded,
    data_are_profiled_and_compared,
    rows_are_scored_into_a_sink,
    labels_are_joined,
    calls_are_logged_and_read,
    steps_are_read,
    answers_are_kept,
    prompts_are_published,
    an_alert_memory_is_kept,
    predictions_are_served_compacted_and_joined,
    a_stale_writer_is_refused,
    rules_are_loaded,
    a_folder_waits_for_its_delivery,
    what_is_not_there_is_said_or_empty,
]


def a_decision_is_remembered_and_its_heartbeat_is_seen(url: str, _: Path) -> None:
    routing = AlertRouting(state_uri=f"{url}/state.json")
    drifted = replace(drift_report(), verdict="drift")
    rules = [AlertRule(metric="drift.drifted", above=0)]
    decision = decide_and_notify(rules, [drifted], at=NOW, routing=routing)
    assert (decision.fired, decision.findings) == (True, ())
    seen = read_heartbeat(at=NOW, watched_uri=routing.state_uri, data_uri=url)
    assert seen.problem == ""
    assert seen.reported_at == NOW
    assert seen.data_at is not None


def a_node_compacts_the_log_and_another_joins_its_feedback(url: str, folder: Path) -> None:
    local = folder / "log"
    serve(str(local), folder)
    for path in local.rglob("*.jsonl"):
        upload(f"{url}/{path.relative_to(local)}", path.read_bytes())
    compact = CompactPredictionLog("storage.compact", destination=url, service="api")
    outputs = compact(at=tomorrow())
    joined = JoinFeedback("storage.join")(
        predictions=outputs.predictions, feedback=outputs.feedback
    )
    assert open_data(joined.data).column("label").to_pylist() == ["no"]


def upload(url: str, data: bytes) -> None:
    access = FlyteContextManager.current_context().file_access
    access.get_filesystem_for_path(url).pipe_file(url, data)


def a_node_finds_its_prompts_and_keeps_its_answers(url: str, folder: Path) -> None:
    PromptRegistry(str(folder / "prompts")).publish(PROMPT, alias="production")
    upload(f"{url}/prompts/qa.json", (folder / "prompts/qa.json").read_bytes())
    evaluate = EvaluatePrompts(
        "storage.evaluate",
        answer="support.llm_functions:answer",
        variants=[
            Variant(name="old", model="m", prompt_name="qa"),
            Variant(name="new", model="n", prompt_name="qa"),
        ],
        registry=f"{url}/prompts",
        answer_store=f"{url}/answers",
    )
    asked = pa.table({"id": ["1"], "question": ["q1"], "expected": ["A1"]}).to_pandas()
    evaluate(data=StructuredDataset(dataframe=asked))
    assert len(listed(f"{url}/answers")) == 2


def listed(url: str) -> list[str]:
    access = FlyteContextManager.current_context().file_access
    return access.get_filesystem_for_path(url).find(url)


def a_traced_tasks_steps_are_analysed_by_a_node(url: str, _: Path) -> None:
    rows = CallRows(url, service="ask")
    start = {"id": "c", "trace_id": "t", "op_name": "retrieve", "started_at": NOW.isoformat()}
    rows.note("call_start", {"start": start})
    rows.note("call_end", {"end": {"id": "c", "ended_at": NOW.isoformat()}})
    rows.close()
    assert AnalyzeSteps("storage.steps")(call_log=url).report.n_traces == 1


def a_heartbeat_that_never_was_is_none(url: str, _: Path) -> None:
    seen = read_heartbeat(at=NOW, watched_uri=f"{url}/none.json", data_uri=f"{url}/data")
    assert (seen.reported_at, seen.data_at, seen.problem) == (None, None, "")


NODES = [
    a_heartbeat_that_never_was_is_none,
    a_decision_is_remembered_and_its_heartbeat_is_seen,
    a_node_compacts_the_log_and_another_joins_its_feedback,
    a_node_finds_its_prompts_and_keeps_its_answers,
    a_traced_tasks_steps_are_analysed_by_a_node,
]


@contextmanager
def task_with(config: DataConfig, folder: Path) -> Iterator[None]:
    """flytekit's settings of a task."""
    access = FileAccessProvider(folder, str(folder / "raw"), data_config=config)
    context = FlyteContextManager.current_context()
    with FlyteContextManager.with_context(context.with_file_access(access)):
        yield
