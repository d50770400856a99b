"""Requests within a policy: which are tries of one call, and which are calls of their own."""

from __future__ import annotations

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flytekitplugins.wbmon.llm import CallPolicy, instrument_openai, with_context
from flytekitplugins.wbmon.llm.chat import chat_with
from support.openai_server import OpenAIServer

openai = pytest.importorskip("openai", reason="the llm extra is not installed")
pytest.importorskip("tenacity", reason="the llm extra is not installed")

Rows = list[dict[str, Any]]
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
def plain(server: OpenAIServer) -> Any:
    return openai.OpenAI(base_url=server.url, api_key="x", max_retries=0)


@pytest.fixture
def client(plain: Any, rows: Rows) -> Any:
    return instrument_openai(plain, rows.append)


@pytest.fixture
def async_client(server: OpenAIServer, rows: Rows) -> Any:
    own = openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0)
    return instrument_openai(own, rows.append)


def policy(rows: Rows, **given: Any) -> CallPolicy:
    return CallPolicy(**{"wait_s": 0.001, "log": rows.append, **given})


def told(rows: Rows) -> list[tuple[Any, ...]]:
    return [
        (row["gen_ai_request_model"], row["attempts"], row.get("fallback_from")) for row in rows
    ]


def test_requests_that_are_answered_are_calls_of_their_own(
    client: Any, rows: Rows, server: OpenAIServer
) -> None:
    server.script("ok", "429", "ok", "ok")

    def ask(model: str) -> Any:
        client.embeddings.create(model="small", input="hello")
        return client.chat.completions.create(model=model, messages=MESSAGES)

    policy(rows).call(ask, model="house")

    assert told(rows) == [("small", 1, None), ("small", 1, None), ("house", 2, None)]
    assert [row["retries"] for row in rows] == [0, 0, 1]
    n_sent = len(server.requests)
    assert sum(row["attempts"] for row in rows) == n_sent == 4


def test_an_answer_that_the_caller_refuses_is_paid_at_its_own_model(
    client: Any, rows: Rows
) -> None:
    def ask(model: str) -> Any:
        answer = client.chat.completions.create(model=model, messages=MESSAGES)
        if model == "dear":
            raise ConnectionError("lost")
        return answer

    policy(rows, attempts=1, fallbacks=["cheap"]).call(ask, model="dear")

    assert told(rows) == [("dear", 1, None), ("cheap", 1, None)]


def test_requests_at_the_same_time_are_rows_each_with_its_own_tries(
    client: Any, async_client: Any, rows: Rows, server: OpenAIServer
) -> None:
    with ThreadPoolExecutor(4) as pool:

        def fan(model: str) -> list[Any]:
            ask = with_context(client.chat.completions.create)
            asked = [pool.submit(ask, model=model, messages=MESSAGES) for _ in range(4)]
            return [each.result() for each in asked]

        policy(rows).call(fan, model="house")
    assert told(rows) == [("house", 1, None)] * 4

    async def fan_async(model: str) -> Any:
        create = async_client.chat.completions.create
        asked = [create(model=model, messages=MESSAGES) for _ in range(4)]
        return await asyncio.gather(*asked, return_exceptions=True)

    rows.clear()
    server.script("429", "429", "429", "429")

    async def fan_until_answered(model: str) -> Any:
        answers = await fan_async(model)
        for each in answers:
            if isinstance(each, Exception):
                raise each
        return answers

    asyncio.run(policy(rows).acall(fan_until_answered, model="house"))
    assert told(rows) == [("house", 2, None)] * 4


def test_a_task_that_outlives_its_policy_is_a_row_and_so_is_the_call(
    async_client: Any, rows: Rows
) -> None:
    async def run() -> None:
        tasks = []

        async def ask(model: str) -> Any:
            create = async_client.chat.completions.create
            tasks.append(asyncio.create_task(create(model="later", messages=MESSAGES)))
            return await create(model=model, messages=MESSAGES)

        await policy(rows).acall(ask, model="house")
        await tasks[0]

    asyncio.run(run())

    assert sorted(told(rows)) == [("house", 1, None), ("later", 1, None)]


@pytest.mark.parametrize("is_instrumented", [True, False])
@pytest.mark.parametrize("who", ["outer", "inner", "both"])
def test_policies_within_policies_count_a_call_once(
    plain: Any, rows: Rows, server: OpenAIServer, who: str, *, is_instrumented: bool
) -> None:
    if is_instrumented:
        instrument_openai(plain, rows.append)
    outer = policy(rows, log=rows.append if who != "inner" else None)
    inner = policy(rows, log=rows.append if who != "outer" else None, attempts=1)
    server.script("429", "ok")

    def ask(model: str) -> Any:
        return plain.chat.completions.create(model=model, messages=MESSAGES)

    outer.call(lambda model: inner.call(ask, model=model), model="house")

    assert told(rows) == [("house", 2, None)]
    assert rows[0]["rate_limited"]


def test_a_chat_with_a_policy_within_a_policy_is_one_row(plain: Any, rows: Rows) -> None:
    chat = chat_with(plain, "house", policy=policy(rows))
    asyncio.run(policy(rows).acall(lambda _: chat(MESSAGES), model="other"))

    assert told(rows) == [("house", 1, None)]


def test_what_the_deadline_cancels_ran_out_of_time(async_client: Any, rows: Rows) -> None:
    async def run() -> None:
        async def hang(*_: Any, **__: Any) -> None:
            await asyncio.sleep(60)

        async_client._client.send = hang
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await policy(rows, deadline_s=0.05).acall(
                lambda model: async_client.chat.completions.create(model=model, messages=MESSAGES),
                model="house",
            )

    asyncio.run(run())

    (row,) = rows
    assert row["error_type"] == "TimeoutError"
    assert row["attempt_log"][-1]["error_type"] == "TimeoutError"


def test_each_request_without_an_answer_has_its_own_error_and_duration(
    server: OpenAIServer, rows: Rows
) -> None:
    own = openai.OpenAI(base_url=server.url, api_key="x", max_retries=1)
    # openai has had two HTTP libraries
    (library,) = {
        each.__module__ for each in type(own._client).__mro__ if each.__name__ == "Client"
    }
    http = importlib.import_module(library.partition(".")[0])
    errors = iter([http.ReadTimeout("late"), http.ConnectError("no route")])

    def send(*_: Any, **__: Any) -> Any:
        raise next(errors)

    own._client.send = send
    with pytest.raises(openai.APIConnectionError):
        instrument_openai(own, rows.append).chat.completions.create(model="m", messages=MESSAGES)

    first, last = rows[0]["attempt_log"]
    assert [first["error_type"], last["error_type"]] == ["APITimeoutError", "APIConnectionError"]
    # the client waits at least 0.375 s between the two
    assert first["duration_ms"] < 350 <= rows[0]["latency_ms"]
