"""What a release of weave, openai, tenacity and genai-prices must be able to do, in short.

Needs pytest, the package with its `llm` extra, and `tests/support`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flytekit import Secret, task
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import ReplayToWeave, SyncOfflineTraces
from flytekitplugins.wbmon.llm import (
    CallLog,
    CallPolicy,
    PriceTable,
    PromptRegistry,
    PromptTemplate,
    current_trace,
    instrument_openai,
    read_calls,
    weave_init,
)
from support.openai_server import OpenAIServer
from support.wandb_faults import Fault
from support.weave_server import KEY, WeaveServer, json_digest

weave = pytest.importorskip("weave", reason="the llm extra is not installed")
openai = pytest.importorskip("openai", reason="the llm extra is not installed")

SECRET = Secret(group="wandb", key="api_key")


@pytest.fixture
def server() -> Iterator[WeaveServer]:
    """A healthy Weave server."""
    with WeaveServer() as server:
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test, with a key of its own."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_DIR", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@weave.op
def inner(number: int) -> int:
    if number < 0:
        raise ValueError("below zero")
    return number + 1


@weave.op
def outer(number: int) -> int:
    return inner(number) * 2


@weave.op
def count(n: int) -> Any:
    yield from range(n)


@weave.op
async def later(number: int) -> int:
    await asyncio.sleep(0)
    return inner(number)


def traced(server: WeaveServer, **given: Any) -> weave_init:
    return weave_init("demo", "loop", api_host=server.url, delivery_timeout_s=10, **given)


def test_ops_of_every_kind_arrive_below_the_task(
    server: WeaveServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def both() -> list[int]:
        return list(await asyncio.gather(later(1), later(2)))

    @traced(server, id="attempt-1")
    @task
    def work(number: int) -> int:
        with pytest.raises(ValueError, match="below zero"):
            outer(-1)
        assert list(count(3)) == [0, 1, 2]
        assert asyncio.run(both()) == [2, 3]
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(copy_context().run, inner, 7).result() == 8
        return outer(number)

    assert work(number=4) == 10

    assert "weave" not in caplog.text.lower(), "nothing is warned of"
    assert server.unknown == []
    (root,) = server.named("work")
    assert {call["thread_id"] for call in server.calls.values()} == {"attempt-1"}
    assert {call["trace_id"] for call in server.calls.values()} == {root["trace_id"]}
    assert all(call["attributes"]["flyte"]["is_local"] for call in server.calls.values())
    failed, good = sorted(server.named("outer"), key=lambda call: call["inputs"]["number"])
    assert "below zero" in failed["exception"]
    assert (good["output"], good["parent_id"]) == (10, root["id"])
    by_input = {call["inputs"]["number"]: call for call in server.named("inner")}
    assert by_input[4]["parent_id"] == good["id"]
    assert by_input[7]["parent_id"] == root["id"]
    assert len(server.named("later")) == 2
    assert all(call["ended_at"] for call in server.named("count"))
    assert type(work(number=4)) is int


def test_what_is_published_has_the_digest_that_the_server_gives_it(
    server: WeaveServer, folder: Path
) -> None:
    registry = PromptRegistry(str(folder / "prompts"))
    refs = []

    @traced(server)
    def publish() -> None:
        refs.append(weave.publish(weave.StringPrompt("Hi {name}"), name="greet"))
        refs.append(weave.publish(weave.Dataset(name="qa", rows=[{"q": 1}, {"q": 2}])))
        refs.append(weave.publish({2: "b", 10: "a", "nan": float("nan")}, name="odd"))
        registry.publish(PromptTemplate.from_text("ask", "Answer {question}"), alias="production")
        log = weave.EvaluationLogger(name="nightly", model="now", dataset="items")
        row = log.log_prediction(inputs={"q": 1}, output="one")
        row.log_score(scorer="exact", score=1.0)
        row.finish()
        log.log_summary({"exact": 1.0})
        _, call = inner.call(1)
        call.feedback.add_note("good")
        current_trace().client.add_cost(
            llm_id="house", prompt_token_cost=1e-6, completion_token_cost=2e-6
        )

    publish()

    assert server.unknown == []
    for ref in refs:
        (stored,) = server.objects["loop/demo", ref.name]
        assert ref.digest == stored["digest"] == json_digest(stored["val"])
    assert [{"q": 1}, {"q": 2}] in server.tables.values()
    assert set(server.aliased("ask")) == {"production"}
    assert any("predict_and_score" in call["op_name"] for call in server.calls.values())
    assert {"note": "good"} in [each["payload"] for each in server.feedback]
    assert "house" in server.costs[0]["costs"]


def test_an_outage_costs_no_call(server: WeaveServer, folder: Path) -> None:
    server.fault = Fault("status", status=503)
    store = str(folder / "store")
    settings = {"api_host": server.url, "delivery_timeout_s": 0.5, "offline_store": store}

    @weave_init("demo", "loop", **settings)
    def work() -> int:
        return outer(1)

    assert work() == 4
    assert server.calls == {}

    server.fault = None
    sync = SyncOfflineTraces("s", secret=SECRET, offline_store=store, api_host=server.url)
    assert sync.compute() == (1, 1, 0)
    assert [call["output"] for call in server.named("outer")] == [4]


def test_logged_calls_are_replayed(server: WeaveServer) -> None:
    at = datetime(2026, 3, 2, tzinfo=timezone.utc)
    rows = [
        {"request_id": f"r{i}", "timestamp": at + timedelta(minutes=i), "latency_ms": 1.0}
        for i in range(5)
    ]
    calls = StructuredDataset(dataframe=pd.DataFrame(rows))
    node = ReplayToWeave("r", project="demo", entity="loop", secret=SECRET, api_host=server.url)

    assert node.compute(calls).n_left == 0
    assert len(server.calls) == node.compute(calls).n_replayed


def test_openai_is_patched_for_the_task_only(server: WeaveServer) -> None:
    create = openai.resources.chat.completions.Completions.create

    with OpenAIServer() as model:
        client = openai.OpenAI(base_url=model.url, api_key="x", max_retries=0)
        asked = [{"role": "user", "content": "one two"}]

        @traced(server, patch=["openai"], call_log="calls")
        def ask() -> str:
            stream = client.chat.completions.create(model="house", messages=asked, stream=True)
            assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
            done = client.chat.completions.create(model="house", messages=asked)
            return str(done.choices[0].message.content)

        assert ask() == "one two"

    assert openai.resources.chat.completions.Completions.create is create
    assert len([call for call in server.calls.values() if "openai" in call["op_name"]]) == 2
    rows = read_calls("calls").to_pylist()
    assert [row["gen_ai_usage_input_tokens"] for row in rows if row["gen_ai_usage_input_tokens"]]


def test_calls_are_logged_tried_again_and_priced() -> None:
    log = CallLog("calls", "ask")

    with OpenAIServer() as model:
        model.script("429", "500", "ok", "ok")
        own = openai.OpenAI(base_url=model.url, api_key="x", max_retries=0)
        client = instrument_openai(own, log)
        asked = [{"role": "user", "content": "one two"}]
        policy = CallPolicy(attempts=3, wait_s=0.01)
        done = policy.call(
            lambda name: client.chat.completions.create(model=name, messages=asked), model="house"
        )
        assert done.choices[0].message.content == "one two"
        stream = client.chat.completions.create(model="house", messages=asked, stream=True)
        assert list(stream)

    log.close()
    whole, streamed = read_calls("calls").to_pylist()
    assert (whole["attempts"], whole["rate_limited"]) == (3, 1)
    assert streamed["gen_ai_usage_input_tokens"] == 2
    at = datetime(2025, 3, 1, tzinfo=timezone.utc)
    cost = PriceTable().cost_usd("gpt-4o-mini", input_tokens=1_000_000, output_tokens=0, at=at)
    assert cost == pytest.approx(0.15)
