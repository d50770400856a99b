"""Traced functions and tasks: what arrives, what is hidden, and what never stops the task."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flytekit import Secret, map_task, task, workflow

from flytekitplugins.wbmon import DriftCheck, current_run, wandb_init
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.carried_decorators import decorate, decorators_to_config
from flytekitplugins.wbmon.llm import (
    CallLog,
    CallPolicy,
    analyse_steps,
    call_attributes,
    current_trace,
    instrument_openai,
    read_spans,
    weave_init,
)
from flytekitplugins.wbmon.monitor.llm.calls.read import read_calls
from flytekitplugins.wbmon.traces import weave_client
from flytekitplugins.wbmon.traces.settings import PROVIDERS
from support.openai_server import OpenAIServer
from support.weave_server import WeaveServer

weave = pytest.importorskip("weave", reason="the llm extra is not installed")
openai = pytest.importorskip("openai", reason="the llm extra is not installed")


@weave.op
def answer(question: str) -> str:
    if question == "bad":
        raise ValueError("no answer to bad, token=hunter2hunter2")
    return question.upper()


@task
def mapped(question: str) -> str:
    return answer(question)


def traced(server: WeaveServer, **given: Any) -> weave_init:
    return weave_init("demo", "loop", api_host=server.url, delivery_timeout_s=5, **given)


def test_the_task_is_a_call_and_its_ops_are_below(server: WeaveServer) -> None:
    @traced(server)
    def ask(question: str) -> str:
        assert current_trace().url.endswith("/loop/demo/weave/traces")
        return answer(question)

    assert ask(question="hello") == "HELLO"

    (root,), (op,) = server.named("ask"), server.named("answer")
    assert op["parent_id"] == root["id"]
    assert op["inputs"] == {"question": "hello"}
    assert op["output"] == "HELLO"
    assert root["inputs"] == {"question": "hello"}
    assert root["attributes"]["flyte"]["is_local"]
    assert op["ended_at"]
    assert server.unknown == []
    assert not list(Path("wandb/weave").iterdir()), "what has arrived is cleared away"


def test_an_error_is_the_tasks_own_and_ends_its_call(server: WeaveServer) -> None:
    @traced(server)
    def ask(question: str) -> str:
        return answer(question)

    with pytest.raises(ValueError, match="no answer"):
        ask(question="bad")

    (root,) = server.named("ask")
    told = json.loads(root["exception"])
    assert told["type"] == "ValueError"
    assert "hunter2" not in root["exception"]
    assert all("text" not in frame for frame in told["traceback"]), "no source lines"


def test_inputs_outputs_attributes_and_feedback_are_redacted_and_code_is_not_sent(
    server: WeaveServer,
) -> None:
    @traced(server, redact=lambda text: text.replace("alice", "[name]"))
    def ask() -> None:
        with weave.attributes({"user": "alice"}):
            _, call = answer.call("alice")
        call.feedback.add_note("alice was here")
        answer("sk-" + "a" * 30)

    ask()

    first, second = server.named("answer")
    sent = json.dumps([first, second, server.feedback])
    assert "alice" not in sent
    assert "aaaa" not in sent
    assert first["inputs"] == {"question": "[name]"}
    assert server.feedback[0]["payload"] == {"note": "[name] was here"}
    assert all(b"def answer" not in data for _, data in server.files)


def test_what_cannot_be_redacted_is_not_recorded(server: WeaveServer) -> None:
    def refuse(text: str) -> str:
        if "secret" in text.lower():
            raise RuntimeError(text)
        return text

    @traced(server, redact=refuse)
    def ask() -> None:
        answer("a secret")

    ask()

    (op,) = server.named("answer")
    assert "secret" not in json.dumps([op["inputs"], op["output"]]).lower()
    assert "withheld" in op["inputs"]


def test_prompts_data_sets_feedback_and_costs_are_spooled_too(server: WeaveServer) -> None:
    digests = []

    @traced(server)
    def publish() -> None:
        digests.append(weave.publish(weave.StringPrompt("Hi {name}"), name="greet").digest)
        weave.publish(weave.Dataset(name="qa", rows=[{"q": 1}, {"q": 2}]))
        current_trace().client.add_cost(
            llm_id="house", prompt_token_cost=1e-6, completion_token_cost=2e-6
        )

    publish()

    (prompt,) = server.objects["loop/demo", "greet"]
    assert prompt["digest"] == digests[0]
    assert prompt["val"]["content"] == "Hi {name}"
    assert list(server.tables.values()) == [[{"q": 1}, {"q": 2}]]
    assert "house" in server.costs[0]["costs"]


def test_one_request_is_one_trace_and_one_row_of_the_call_log(
    server: WeaveServer, folder: Path
) -> None:
    @weave.op
    def chain(client: Any) -> str:
        asked = [{"role": "user", "content": "one two"}]
        return (
            client.chat.completions.create(model="house", messages=asked).choices[0].message.content
        )

    with OpenAIServer() as model:
        client = openai.OpenAI(base_url=model.url, api_key="x", max_retries=0)

        @traced(server, patch=["openai"], call_log=str(folder / "calls"))
        def ask() -> str:
            with weave.attributes({"tenant": "acme"}):
                return chain(client)

        assert ask() == "one two"

    (request,) = [call for call in server.calls.values() if "openai" in call["op_name"]]
    assert request["parent_id"] == server.named("chain")[0]["id"]
    (row,) = read_calls(folder / "calls").to_pylist()
    assert row["gen_ai_response_model"] == "house-2026-01-01"
    assert row["gen_ai_usage_input_tokens"] == 2
    assert row["gen_ai_usage_cache_read_input_tokens"] == 1
    assert row["tenant"] == "acme"
    steps = {step.name: step for step in analyse_steps(read_spans(str(folder / "calls"))).steps}
    assert {"ask", "chain"} < set(steps)
    assert steps["chain"].tokens == 0
    assert steps[next(name for name in steps if "openai" in name)].tokens == 4


def test_a_call_that_its_client_logs_too_is_one_row_the_clients(
    server: WeaveServer, folder: Path
) -> None:
    asked: dict[str, Any] = {"model": "house", "messages": [{"role": "user", "content": "one two"}]}

    async def ask_later(client: Any) -> None:
        await client.chat.completions.create(**asked)
        async for _ in await client.chat.completions.create(**asked, stream=True):
            pass

    with OpenAIServer() as model, CallLog(folder / "calls", "own") as log:
        given: dict[str, Any] = {"base_url": model.url, "api_key": "x", "max_retries": 0}
        plain = openai.OpenAI(**given)
        client = instrument_openai(openai.OpenAI(**given), log)
        elsewhere = instrument_openai(openai.OpenAI(**given), [].append)
        later = instrument_openai(openai.AsyncOpenAI(**given), log)

        @traced(server, patch=["openai"], call_log=str(folder / "calls"))
        def ask() -> None:
            for each in (client, plain, elsewhere):
                with weave.attributes({"tenant": "acme"}):
                    each.chat.completions.create(**asked)
            list(client.chat.completions.create(**asked, stream=True))
            thread = threading.Thread(target=lambda: client.chat.completions.create(**asked))
            thread.start()
            thread.join()
            asyncio.run(ask_later(later))
            model.script("429")
            with pytest.raises(openai.RateLimitError):
                client.chat.completions.create(**asked)

        ask()
        client.chat.completions.create(**asked)
    rows = read_calls(folder / "calls").to_pylist()

    assert len(rows) == len(model.requests) == 9
    by_client = [row for row in rows if row["service"] == "own"]
    assert [(row["attempts"], row["rate_limited"]) for row in by_client] == [
        *[(1, False)] * 5, (1, True), (1, False),
    ]  # fmt: skip
    assert sum(row["gen_ai_usage_input_tokens"] or 0 for row in rows) == 16
    assert [row["tenant"] for row in rows].count("acme") == 3
    assert by_client[0]["trace_id"] == server.named("ask")[0]["trace_id"]


def test_a_call_that_a_policy_logs_too_is_one_row(server: WeaveServer, folder: Path) -> None:
    def ask(client: Any, log: Any) -> None:
        CallPolicy(log=log, wait_s=0.001).call(
            lambda name: client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "one two"}]
            ),
            model="house",
        )

    with OpenAIServer() as model, CallLog(folder / "calls", "own") as log:
        plain = openai.OpenAI(base_url=model.url, api_key="x", max_retries=0)

        @traced(server, patch=["openai"], call_log=str(folder / "calls"))
        def run() -> None:
            model.script("429", "ok", "ok")
            ask(plain, log)
            ask(plain, None)

        run()
    rows = read_calls(folder / "calls").to_pylist()

    assert [row["service"] for row in rows] == ["own", "run"]
    assert [row["attempts"] for row in rows] == [2, None]
    assert [row["gen_ai_usage_input_tokens"] for row in rows] == [2, 2]


def test_parameters_and_attributes_of_a_traced_call_are_in_its_row(
    server: WeaveServer, folder: Path
) -> None:
    with OpenAIServer() as model:
        client = openai.OpenAI(base_url=model.url, api_key="x", max_retries=0)

        @traced(server, patch=["openai"], call_log=str(folder / "calls"))
        def ask() -> None:
            with call_attributes(purpose="product"):
                client.chat.completions.create(
                    model="house",
                    messages=[{"role": "user", "content": "one two"}],
                    temperature=0.5,
                    max_tokens=9,
                    seed=3,
                )
                client.embeddings.create(model="vectors", input="one", encoding_format="float")

        ask()
    row, embedded = read_calls(folder / "calls").to_pylist()

    found = [row[f"gen_ai_request_{name}"] for name in ("temperature", "max_tokens", "seed")]
    assert found == [0.5, 9, 3]
    assert (row["gen_ai_operation_name"], row["purpose"]) == ("chat", "product")
    assert embedded["gen_ai_operation_name"] == "embeddings"
    assert embedded["gen_ai_usage_output_tokens"] == 0


@weave.op
def look_up(question: str) -> str | None:
    return {"known": "an answer", "empty": ""}.get(question)


@pytest.mark.parametrize(
    ("question", "is_dead_end"), [("known", False), ("empty", True), ("unknown", True)]
)
def test_a_trace_is_a_dead_end_where_its_task_returned_nothing(
    server: WeaveServer, folder: Path, question: str, *, is_dead_end: bool
) -> None:
    @traced(server, call_log=str(folder / "calls"))
    def ask() -> str | None:
        return look_up(question)

    ask()
    report = analyse_steps(read_spans(str(folder / "calls")))

    assert (report.n_traces, report.n_dead_ends) == (1, int(is_dead_end))


def test_what_a_task_returns_is_recorded_by_its_type_alone(
    server: WeaveServer, folder: Path
) -> None:
    @traced(server, call_log=str(folder / "calls"))
    def write_down() -> None:
        look_up("known")

    @traced(server, call_log=str(folder / "calls"))
    @task
    def pair() -> tuple[str, int]:
        return look_up("known") or "", 0

    @traced(server, call_log=str(folder / "calls"))
    async def later() -> list[str]:
        return [look_up("known") or ""]

    @traced(server, call_log=str(folder / "calls"))
    def fail() -> str:
        raise KeyError("index")

    write_down()
    pair()
    asyncio.run(later())
    with pytest.raises(KeyError):
        fail()
    outputs = {
        name: server.named(name)[0]["output"] for name in ("write_down", "pair", "later", "fail")
    }
    report = analyse_steps(read_spans(str(folder / "calls")))

    assert outputs == {
        "write_down": ["NoneType"],
        "pair": ["str", "int"],
        "later": ["list"],
        "fail": None,
    }
    assert (report.n_traces, report.n_failed, report.n_dead_ends) == (4, 1, 0)


def test_after_the_task_the_client_library_is_as_it_was(
    server: WeaveServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weave.trace.util.logged_messages", [])
    create = openai.resources.chat.completions.Completions.create

    with OpenAIServer() as model:
        client = openai.OpenAI(base_url=model.url, api_key="x", max_retries=0)

        def chat() -> None:
            asked = [{"role": "user", "content": "one two"}]
            client.chat.completions.create(model="house", messages=asked)

        @traced(server, patch=["openai"])
        def outer() -> None:
            traced(server)(chat)()
            chat()

        @traced(server)
        def bare() -> None:
            traced(server, patch=["openai"])(chat)()

        outer()
        assert openai.resources.chat.completions.Completions.create is create
        chat()
        bare()
        chat()

    assert openai.resources.chat.completions.Completions.create is create
    assert "not be logged" not in caplog.text
    assert len([call for call in server.calls.values() if "openai" in call["op_name"]]) == 3


def test_what_somebody_else_patched_stays_patched(server: WeaveServer) -> None:
    own = openai.resources.chat.completions.Completions.create
    take_back = weave_client.patch("openai")
    patched = openai.resources.chat.completions.Completions.create
    assert patched is not own
    traced(server, patch=["openai"])(lambda: None)()

    assert openai.resources.chat.completions.Completions.create is patched
    take_back()
    assert openai.resources.chat.completions.Completions.create is own


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_library_may_be_named_also_one_that_is_not_installed(
    server: WeaveServer, provider: str
) -> None:
    assert callable(getattr(weave.integrations, f"patch_{provider}"))
    assert traced(server, patch=[provider])(lambda: 3)() == 3


def test_a_library_that_cannot_be_patched_is_said(
    server: WeaveServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "weave.integrations.anthropic.anthropic_sdk", None)

    traced(server, patch=["anthropic"])(lambda: None)()

    assert "calls of anthropic are not traced" in caplog.text


def test_where_weave_patches_in_another_way_its_own_function_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    asked = []
    monkeypatch.setattr(weave.integrations, "patch_groq", lambda: asked.append("groq"))
    monkeypatch.delattr("weave.integrations.patch._PATCHED_INTEGRATIONS")

    weave_client.patch("groq")()

    assert asked == ["groq"]
    assert "groq stays patched" in caplog.text


def test_coroutines_are_traced_and_generators_refused(server: WeaveServer) -> None:
    @traced(server)
    async def ask(question: str) -> str:
        await asyncio.sleep(0)
        return answer(question)

    async def ask_both() -> list[str]:
        return list(await asyncio.gather(ask(question="a"), ask(question="b")))

    assert asyncio.run(ask_both()) == ["A", "B"]
    assert len(server.named("answer")) == 2
    with pytest.raises(ConfigError, match="generator"):

        @traced(server)
        def stream() -> Any:
            yield 1


def test_tasks_of_two_projects_do_not_end_up_in_one(server: WeaveServer) -> None:
    @weave_init("other", "loop", api_host=server.url)
    def inner() -> None:
        answer("private")

    @traced(server)
    def outer() -> None:
        inner()
        answer("public")

    outer()
    inner()

    projects = {call["inputs"]["question"]: call["project_id"] for call in server.named("answer")}
    assert projects["public"] == "loop/demo"
    assert projects["private"] == "loop/other"


def test_it_works_above_and_below_task_and_asks_flyte_for_the_secret(server: WeaveServer) -> None:
    key = Secret(group="wandb", key="api_key")

    @traced(server, secret=key)
    @task
    def above(question: str) -> str:
        return answer(question)

    @task
    @traced(server, secret=key)
    def below(question: str) -> str:
        return answer(question)

    @workflow
    def both(question: str) -> tuple[str, str]:
        return above(question=question), below(question=question)

    assert tuple(both(question="hi")) == ("HI", "HI")
    assert len(server.named("answer")) == 2
    for each in (above, below):
        assert [(s.group, s.key) for s in each.security_context.secrets] == [("wandb", "api_key")]


def test_a_task_may_have_a_run_and_traces_at_once(server: WeaveServer) -> None:
    tracked = wandb_init(project="demo", entity="loop", mode="offline")

    @tracked
    @traced(server)
    @task
    def ask(question: str) -> str:
        current_run().log({"asked": 1})
        return answer(question)

    assert ask(question="hi") == "HI"
    assert len(server.named("answer")) == 1
    assert list(Path("wandb").glob("offline-run-*"))
    assert server.unknown == []


def test_a_mapped_task_is_traced_shard_by_shard(server: WeaveServer) -> None:
    @workflow
    def ask_all(questions: list[str]) -> list[str]:
        return map_task(mapped)(question=questions)

    traced(server)(mapped)
    assert ask_all(questions=["a", "b", "c"]) == ["A", "B", "C"]
    assert sorted(call["output"] for call in server.named("answer")) == ["A", "B", "C"]


def test_a_task_is_traced_before_it_is_mapped(server: WeaveServer) -> None:
    @task
    def score(question: str) -> str:
        return question

    with pytest.raises(ConfigError, match="the task that is mapped"):
        traced(server)(map_task(score))


def test_a_node_takes_its_tracing_to_the_pod(server: WeaveServer) -> None:
    key = Secret(group="wandb", key="api_key")
    node = traced(server, secret=key)(DriftCheck("traced.drift"))
    args = node.task_resolver.loader_args(None, node)
    rebuilt = node.task_resolver.load_task(args)

    assert decorators_to_config(rebuilt) == decorators_to_config(node)
    assert rebuilt.security_context.secrets[0].key == "api_key"
    assert decorate(DriftCheck("other.drift"), []) is not None
    plain = traced(server, redact=str.lower)(DriftCheck("module.drift"))
    assert "ConfigResolver" not in type(plain.task_resolver).__name__
    with pytest.raises(ConfigError, match="module level"):
        decorators_to_config(plain)


def test_disabled_traces_nothing_and_offline_keeps_everything(server: WeaveServer) -> None:
    @weave_init(enabled=False)
    def silent() -> str:
        return answer("x")

    @weave_init(mode="offline")
    def kept() -> str:
        return answer("y")

    assert (silent(), kept()) == ("X", "Y")
    assert server.requests == []
    (spool,) = Path("wandb/weave").iterdir()
    assert len((spool / "records.jsonl").read_text().splitlines()) >= 4


def test_what_cannot_be_patched_is_refused(server: WeaveServer) -> None:
    with pytest.raises(ConfigError, match="patch must name"):
        traced(server, patch=["opnai"])
    with pytest.raises(ConfigError, match="a function, a task or a node"):
        traced(server)(3)
