"""Rows of the call log in Weave: sampled, once, in the right project."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest
from flytekit import Secret
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    EvaluatePrompts,
    ReplayToWeave,
    SyncOfflineTraces,
    Variant,
)
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.llm import PromptRegistry, PromptTemplate, weave_init
from flytekitplugins.wbmon.monitor.llm.steps.analyze import analyse_steps
from flytekitplugins.wbmon.monitor.llm.steps.spans import span_of_call
from support import llm_functions
from support.in_process import pod_context
from support.wandb_faults import Fault
from support.weave_server import WeaveServer

pytest.importorskip("weave", reason="the llm extra is not installed")

KEY = Secret(group="wandb", key="api_key")
START = datetime(2026, 3, 2, 1, tzinfo=timezone.utc)


def calls(n: int = 200) -> StructuredDataset:
    frame = pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "timestamp": [START + timedelta(minutes=i) for i in range(n)],
            "latency_ms": 120.0,
            "gen_ai_response_model": "house",
            "gen_ai_usage_input_tokens": 7,
            "gen_ai_usage_output_tokens": 3,
            "tenant": "acme",
            "route": "/ask",
            "input_text": "my key is sk-" + "x" * 30,
            "output_text": "because",
            "error_type": [None] * (n - 2) + ["Timeout"] * 2,
        }
    )
    return StructuredDataset(dataframe=frame)


def ratings() -> StructuredDataset:
    row = {"request_id": "r0", "timestamp": START, "score": 0.0, "feedback_id": "f0"}
    return StructuredDataset(dataframe=pd.DataFrame([row | {"source": "user", "label": "wrong"}]))


def replay(server: WeaveServer, **given: object) -> ReplayToWeave:
    return ReplayToWeave(
        "ask.replay", project="demo", entity="loop", secret=KEY, api_host=server.url, **given
    )


def test_failed_and_rated_calls_always_go_and_others_at_their_rate(server: WeaveServer) -> None:
    found = replay(server, rate=0.1).compute(calls(), ratings())

    assert found.n_rows == 200
    assert 8 <= found.n_replayed <= 40
    assert found.n_left == 0
    assert len(server.calls) == found.n_replayed
    ids = {call["attributes"]["request_id"] for call in server.calls.values()}
    assert {"r0", "r198", "r199"} <= ids
    call = next(c for c in server.calls.values() if c["attributes"]["request_id"] == "r0")
    assert call["op_name"] == "/ask"
    assert call["summary"]["usage"]["house"]["prompt_tokens"] == 7
    assert "sk-x" not in call["inputs"]["text"]
    assert call["attributes"]["tenant"] == "acme"
    (rating,) = server.feedback
    assert rating["weave_ref"].endswith(call["id"])
    assert rating["payload"]["label"] == "wrong"


def test_replaying_twice_makes_no_call_twice(server: WeaveServer) -> None:
    node = replay(server, rate=1.0)
    node.compute(calls(20), ratings())
    node.compute(calls(20), ratings())

    assert len(server.calls) == 20
    assert len(server.feedback) == 1


def test_what_cannot_be_sent_waits_and_is_synced_later(server: WeaveServer, tmp_path: Path) -> None:
    server.fault = Fault("status", status=503)
    found = replay(server, rate=1.0, offline_store=str(tmp_path), deadline_s=0.5).compute(calls(5))
    assert found.n_left == 10
    assert found.kept_in.startswith(str(tmp_path))

    server.fault = None
    sync = SyncOfflineTraces(
        "ask.sync", secret=KEY, offline_store=str(tmp_path), api_host=server.url
    )
    assert sync.compute() == (1, 1, 0)
    assert len(server.calls) == 5


def test_in_a_pod_what_cannot_be_sent_waits_below_the_raw_output(
    server: WeaveServer, tmp_path: Path
) -> None:
    server.fault = Fault("status", status=503)
    frame = calls(5)
    with pod_context(tmp_path, env={"_FSEC_WANDB_API_KEY": server.key}) as context:
        found = replay(server, rate=1.0, deadline_s=0.5).compute(frame)
    notes = "".join(deck.html for deck in context.user_space_params.decks)
    assert found.kept_in.startswith(f"{tmp_path}/raw/weave-traces/")
    assert "could not be stored" not in notes

    server.fault = None
    sync = SyncOfflineTraces(
        "ask.sync", secret=KEY, offline_store=str(tmp_path / "raw"), api_host=server.url
    )
    assert sync.compute() == (1, 1, 0)
    assert len(server.calls) == 5


def frame_of(**columns: list[object]) -> StructuredDataset:
    return StructuredDataset(dataframe=pd.DataFrame(columns))


@pytest.mark.parametrize(
    ("data", "feedback", "told"),
    [
        (frame_of(time=[START], input=["a"]), None, "row 0 of the calls must have a timestamp"),
        (frame_of(time=[START], input=["a"]), None, "it has values in 'time', 'input'"),
        (frame_of(timestamp=[START, None], route=["a", "b"]), None, "row 1 .* values in 'route'"),
        (frame_of(timestamp=["noon"]), None, "a time as timestamp.* row 0 has 'noon'"),
        (frame_of(timestamp=[1_700_000_000]), None, "row 0 has 1700000000"),
        (frame_of(timestamp=[START], latency_ms=["fast"]), None, "number as latency_ms.* 'fast'"),
        (frame_of(timestamp=[START], latency_ms=[float("inf")]), None, "latency_ms.* inf"),
        (calls(2), frame_of(score=[1.0]), "row 0 of the feedback must have a request_id"),
    ],
)
def test_a_table_that_is_no_log_is_refused_before_anything_is_sent(
    server: WeaveServer, data: StructuredDataset, feedback: StructuredDataset | None, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        replay(server, rate=1.0).compute(data, feedback)
    assert server.requests == []


def test_an_error_may_be_any_text(server: WeaveServer) -> None:
    errors = ["Timeout", "500", "null", '["a"]', '{"traceback": "none"}', '{"traceback": [1]}']
    replay(server).compute(frame_of(timestamp=[START] * 6, error_type=errors))
    assert {call["exception"] for call in server.calls.values()} == set(errors)


def test_calls_without_an_id_are_sampled_and_are_the_same_calls_again(server: WeaveServer) -> None:
    times = [f"2026-03-02T01:{i // 60:02}:{i % 60:02}Z" for i in range(200)]
    table = {
        "timestamp": times,
        "error_type": [500, *[None] * 199],
        "conversation_id": range(1, 201),
    }
    node = replay(server, rate=0.2)

    first = node.compute(frame_of(**table), frame_of(request_id=["None"], score=[1.0]))

    assert 20 <= first.n_replayed <= 70
    assert node.compute(frame_of(**table)) == first
    assert len(server.calls) == first.n_replayed
    failed = next(call for call in server.calls.values() if call["exception"])
    assert (failed["exception"], failed["thread_id"]) == ("500.0", "1")
    assert server.feedback == []


def test_sending_needs_a_key(server: WeaveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(ConfigError, match="W&B key"):
        replay(server).compute(calls(2))


def test_a_prompt_published_in_a_traced_task_is_a_weave_object(
    server: WeaveServer, tmp_path: Path
) -> None:
    registry = PromptRegistry(str(tmp_path / "prompts"))

    @weave_init("demo", "loop", api_host=server.url)
    def publish() -> None:
        registry.publish(PromptTemplate.from_text("qa", "Answer {question}"), alias="production")

    publish()

    version = registry.get("qa")
    (published,) = server.objects["loop/demo", "qa"]
    assert published["digest"] == version.weave_digest
    assert published["val"]["messages"] == [{"role": "user", "content": "Answer {question}"}]


def test_an_evaluation_in_a_traced_node_is_an_evaluation_in_weave(server: WeaveServer) -> None:
    node = weave_init("demo", "loop", api_host=server.url)(
        EvaluatePrompts(
            "traced.prompts",
            answer=llm_functions.answer,
            variants=[Variant.of_text("old", "{question}"), Variant.of_text("new", "{question}!")],
        )
    )
    frame = pd.DataFrame(
        {
            "id": [str(i) for i in range(12)],
            "question": "q",
            "expected": [f"A{i}" for i in range(12)],
        }
    )
    found = node.execute(data=StructuredDataset(dataframe=frame))

    assert found.ship
    names = [call["op_name"] for call in server.calls.values()]
    assert sum("Evaluation.evaluate" in name for name in names) == 2
    assert sum("predict_and_score" in name for name in names) == 24
    assert analyse_steps(map(span_of_call, server.calls.values())).n_traces >= 1
