"""Every way to ask through a client is one row; whoever else sees the call, too."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import CallLog, CallPolicy, instrument_openai, read_calls
from flytekitplugins.wbmon.llm.chat import chat_with
from flytekitplugins.wbmon.llm.judge import Judge
from flytekitplugins.wbmon.serving import PatternRedactor
from support.openai_server import OpenAIServer

openai = pytest.importorskip("openai", reason="the llm extra is not installed")
pydantic = pytest.importorskip("pydantic")

Rows = list[dict[str, Any]]
MESSAGES = [{"role": "user", "content": '{"x": 1}'}]
CHAT: dict[str, Any] = {"model": "house", "messages": MESSAGES}
ASK: dict[str, Any] = {"model": "house", "input": "hello"}


class Number(pydantic.BaseModel):
    x: int


@pytest.fixture
def client(server: OpenAIServer, rows: Rows) -> Any:
    plain = openai.OpenAI(base_url=server.url, api_key="x", max_retries=0)
    # what was used before is instrumented too
    assert plain.chat.completions.with_raw_response
    return instrument_openai(plain, rows.append, capture_text=True)


@pytest.fixture
def async_client(server: OpenAIServer, rows: Rows) -> Any:
    plain = openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0)
    return instrument_openai(plain, rows.append)


def read_all(manager: Any) -> None:
    with manager as events:
        list(events)


def raw(client: Any) -> Any:
    return client.chat.completions.with_raw_response


PATHS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "create": ("chat", lambda c: c.chat.completions.create(**CHAT)),
    "parse": ("chat", lambda c: c.chat.completions.parse(**CHAT, response_format=Number)),
    "beta.parse": ("chat", lambda c: c.beta.chat.completions.parse(**CHAT, response_format=Number)),
    "stream": ("chat", lambda c: list(c.chat.completions.create(**CHAT, stream=True))),
    ".stream()": ("chat", lambda c: read_all(c.chat.completions.stream(**CHAT))),
    "beta.stream": ("chat", lambda c: read_all(c.beta.chat.completions.stream(**CHAT))),
    "raw": ("chat", lambda c: raw(c).create(**CHAT)),
    "raw parse": ("chat", lambda c: raw(c).parse(**CHAT, response_format=Number).parse()),
    "raw stream": ("chat", lambda c: list(raw(c).create(**CHAT, stream=True).parse())),
    "of its own": (
        "chat",
        lambda c: openai.resources.chat.completions.Completions(c).create(**CHAT),
    ),
    "post": ("chat", lambda c: c.post("/chat/completions", cast_to=object, body=CHAT)),
    "with_options": ("chat", lambda c: c.with_options(timeout=9).chat.completions.create(**CHAT)),
    "copy of a copy": ("chat", lambda c: c.copy().copy().chat.completions.create(**CHAT)),
    "responses": ("generate_content", lambda c: c.responses.create(**ASK)),
    "responses stream": (
        "generate_content",
        lambda c: list(c.responses.create(**ASK, stream=True)),
    ),
    "responses raw": ("generate_content", lambda c: c.responses.with_raw_response.create(**ASK)),
    "embeddings": ("embeddings", lambda c: c.embeddings.create(**ASK)),
    "completions": ("text_completion", lambda c: c.completions.create(model="house", prompt="hi")),
}


@pytest.mark.parametrize("path", PATHS)
def test_whichever_way_a_client_is_asked_the_call_is_one_row(
    client: Any, rows: Rows, server: OpenAIServer, path: str
) -> None:
    operation, ask = PATHS[path]
    ask(client)

    (row,) = rows
    assert len(server.requests) == 1
    assert row["gen_ai_operation_name"] == operation
    assert row["gen_ai_response_model"].startswith("house")
    assert row["gen_ai_usage_input_tokens"] > 0
    assert row["gen_ai_usage_output_tokens"] is not None
    assert (row["attempts"], row.get("error_type")) == (1, None)


def test_what_is_no_call_of_a_model_is_no_row(client: Any, rows: Rows) -> None:
    client.post("/files", cast_to=object, body=CHAT)
    client.post("/completions/1/cancel", cast_to=object, body=CHAT)

    assert rows == []


def test_a_client_of_azure_is_logged(server: OpenAIServer, rows: Rows) -> None:
    plain = openai.AzureOpenAI(base_url=server.url, api_key="x", api_version="2026-01-01")
    instrument_openai(plain, rows.append, provider="azure").chat.completions.create(**CHAT)

    assert [row["gen_ai_provider_name"] for row in rows] == ["azure"]


def test_an_answer_that_its_parser_refuses_is_logged_with_what_it_cost(
    client: Any, rows: Rows, server: OpenAIServer
) -> None:
    server.script("length", "ok")
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**CHAT, response_format=Number)
    words = [{"role": "user", "content": "no number"}]
    with pytest.raises(pydantic.ValidationError):
        client.chat.completions.parse(model="house", messages=words, response_format=Number)

    assert [row["error_type"] for row in rows] == ["LengthFinishReasonError", "ValidationError"]
    assert [row["gen_ai_usage_output_tokens"] for row in rows] == [2, 2]
    assert rows[0]["finish_reason"] == "length"


def test_a_raw_response_that_cannot_be_parsed_still_reaches_its_caller(
    client: Any, rows: Rows
) -> None:
    words = [{"role": "user", "content": "no number"}]
    response = raw(client).parse(model="house", messages=words, response_format=Number)

    assert "no number" in response.text
    with pytest.raises(pydantic.ValidationError):
        response.parse()
    assert [row["gen_ai_usage_output_tokens"] for row in rows] == [2]


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (None, {}),
        ({"prompt_tokens": 3, "total_tokens": None}, {"input_tokens": 3}),
        ({"prompt_tokens": "many", "completion_tokens": 2}, {"output_tokens": 2}),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "total_tokens": 11,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_creation_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            {
                "input_tokens": 9,
                "output_tokens": 2,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 5,
                "reasoning_output_tokens": 1,
            },
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "total_tokens": 11,
                "cache_creation_input_tokens": 7,
                "cache_read_input_tokens": 1,
            },
            {
                "input_tokens": 9,
                "output_tokens": 2,
                "cache_read_input_tokens": 1,
                "cache_creation_input_tokens": 7,
            },
        ),
    ],
)
def test_of_a_usage_the_counts_are_taken_that_it_has(
    client: Any, rows: Rows, server: OpenAIServer, usage: Any, found: dict[str, int]
) -> None:
    server.changes = {"usage": usage, "service_tier": "flex"}
    client.chat.completions.create(**CHAT)

    (row,) = rows
    names = {name for name in row if name.startswith("gen_ai_usage_")}
    assert {name.removeprefix("gen_ai_usage_"): row[name] for name in names} == found
    assert row["openai_response_service_tier"] == "flex"
    assert "error_type" not in row


def test_tokens_written_to_a_cache_are_counted_in_the_responses_api(
    client: Any, rows: Rows, server: OpenAIServer
) -> None:
    details = {"cached_tokens": 2, "cache_write_tokens": 5}
    usage = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    usage |= {"input_tokens_details": details, "output_tokens_details": {"reasoning_tokens": 0}}
    server.changes = {"usage": usage}
    client.responses.create(**ASK)
    list(client.responses.create(**ASK, stream=True))

    assert [row["gen_ai_usage_cache_creation_input_tokens"] for row in rows] == [5, 5]


def test_a_response_without_output_is_logged_with_what_it_cost(
    client: Any, rows: Rows, server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.changes = {"output": None}
    client.responses.create(**ASK)

    assert [row["gen_ai_usage_output_tokens"] for row in rows] == [2]
    assert caplog.records == []


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_response_that_failed_is_an_error(
    client: Any, rows: Rows, server: OpenAIServer, *, is_stream: bool
) -> None:
    error = {"code": "server_error", "message": "no"}
    server.changes = {"status": "failed", "error": error, "usage": None}
    answer = client.responses.create(**ASK, stream=is_stream)
    if is_stream:
        list(answer)

    assert [row["error_type"] for row in rows] == ["server_error"]


def test_a_stream_that_is_left_at_its_finish_reason_is_logged_with_what_it_cost(
    client: Any, async_client: Any, rows: Rows
) -> None:
    asked = {"model": "house", "messages": [{"role": "user", "content": "one two"}], "stream": True}

    def is_last(chunk: Any) -> bool:
        return chunk.choices[0].finish_reason is not None

    async def ask() -> list[Any]:
        return [chunk async for chunk in await async_client.chat.completions.create(**asked)]

    stream = client.chat.completions.create(**asked)
    seen = []
    for chunk in stream:
        seen.append(chunk)
        if is_last(chunk):
            break
    assert len(rows) == 1, "although the stream is still held"
    later = asyncio.run(ask())

    assert [len(seen), len(later)] == [3, 3]
    assert [row["gen_ai_usage_output_tokens"] for row in rows] == [2, 2]
    assert [row["finish_reason"] for row in rows] == ["stop", "stop"]


class Broken:
    """A stream of which the last chunk comes, and then an error in place of the counts."""

    def __init__(self, last: Any) -> None:
        self._iterator = self.chunks(last)

    def chunks(self, last: Any) -> Iterator[Any]:
        yield last
        raise ConnectionError("lost")


def test_an_error_that_comes_in_place_of_the_counts_comes_after_the_last_chunk(
    server: OpenAIServer, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = openai.OpenAI(base_url=server.url, api_key="x")
    *_, last = plain.chat.completions.create(**CHAT, stream=True)
    monkeypatch.setattr(plain, "request", lambda *_, **__: Broken(last))
    stream = instrument_openai(plain, rows.append).chat.completions.create(**CHAT, stream=True)

    assert next(stream._iterator) is last
    with pytest.raises(ConnectionError):
        next(stream._iterator)
    assert [(row["finish_reason"], row["error_type"]) for row in rows] == [
        ("stop", "ConnectionError")
    ]


@pytest.mark.parametrize("leave", ["close", "with", "drop"])
def test_a_stream_that_nobody_reads_is_a_row(client: Any, rows: Rows, leave: str) -> None:
    stream = client.chat.completions.create(**CHAT, stream=True)
    if leave == "close":
        stream.close()
    elif leave == "with":
        with stream:
            pass
    else:
        del stream
        gc.collect()

    assert [row["finish_reason"] for row in rows] == ["abandoned"]


def test_an_asynchronous_stream_that_is_closed_is_a_row_at_once(
    async_client: Any, rows: Rows
) -> None:
    async def ask() -> None:
        async with await async_client.chat.completions.create(**CHAT, stream=True) as stream:
            async for _ in stream:
                break
        assert len(rows) == 1
        await (await async_client.chat.completions.create(**CHAT, stream=True)).close()
        await async_client.chat.completions.parse(**CHAT, response_format=Number)
        await async_client.responses.parse(**ASK)

    asyncio.run(ask())

    assert [row["finish_reason"] for row in rows] == ["abandoned", "abandoned", "stop", "stop"]


def test_a_stream_of_a_policy_is_one_row_with_the_requests_before_it(
    client: Any, rows: Rows, server: OpenAIServer
) -> None:
    pytest.importorskip("tenacity", reason="the llm extra is not installed")
    server.script("429", "ok")
    own: Rows = []
    policy = CallPolicy(wait_s=0.001, log=own.append)
    stream = policy.call(
        lambda model: client.chat.completions.create(model=model, messages=MESSAGES, stream=True),
        model="house",
    )
    assert rows == own == []
    # within another call, of which the stream is no part
    server.script("ok")
    policy.call(lambda _: list(stream), model="other")

    (row,) = rows
    assert (row["attempts"], row["rate_limited"]) == (2, True)
    assert row["gen_ai_usage_output_tokens"] == 2
    assert [each["gen_ai_request_model"] for each in own] == ["other"]


@pytest.mark.parametrize("is_instrumented", [True, False])
def test_nothing_of_a_judges_call_is_lost_on_its_way_to_the_reader(
    server: OpenAIServer, tmp_path: Any, *, is_instrumented: bool
) -> None:
    pytest.importorskip("tenacity", reason="the llm extra is not installed")
    server.answer = lambda _: '{"score": 1, "reason": "right"}'
    server.script("429:0.001", "ok")
    plain = openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0)
    with CallLog(tmp_path, "ask") as log:
        client = instrument_openai(plain, log) if is_instrumented else plain
        policy = CallPolicy(wait_s=0.001, log=log)
        chat = chat_with(client, "house", policy=policy, temperature=0.5, top_p=0.9, seed=3)
        asyncio.run(Judge(chat).judge(question="q", answer="a", expected="b"))

    (row,) = read_calls(tmp_path).to_pylist()
    found = {name: row[f"gen_ai_request_{name}"] for name in ("temperature", "top_p", "seed")}
    assert found == {"temperature": 0.5, "top_p": 0.9, "seed": 3}
    assert (row["purpose"], row["attempts"], row["rate_limited"]) == ("judge", 2, True)
    assert row["gen_ai_usage_input_tokens"] > 0
    assert row["gen_ai_response_model"] == "house-2026-01-01"
    assert json.loads(row["attempt_log"])[0]["status"] == 429


SECRETS = [{"role": "user", "content": "I am a@b.com, my key:\nsk-abcdefghijklmnopqrstuvwx"}]


def hide_names(text: str) -> str:
    return text.replace("I am", "[NAME] is")


@pytest.mark.parametrize(
    "redact",
    [
        {},
        {"redact": PatternRedactor()},
        {"redact": PatternRedactor().text},
        {"redact": None},
        {"redact": hide_names},
    ],
)
@pytest.mark.parametrize("to", ["log", "function"])
def test_texts_are_redacted_by_whatever_is_given(
    server: OpenAIServer, tmp_path: Any, to: str, redact: dict[str, Any]
) -> None:
    rows: Rows = []
    log = CallLog(tmp_path, "ask")
    plain = openai.OpenAI(base_url=server.url, api_key="x")
    sink = log if to == "log" else rows.append
    client = instrument_openai(plain, sink, capture_text=True, **redact)
    client.chat.completions.create(model="house", messages=SECRETS)
    log.close()
    (row,) = read_calls(tmp_path).to_pylist() if to == "log" else rows

    texts = row["input_text"] + row["output_text"]
    assert ("[NAME]" if redact.get("redact") is hide_names else "I am") in texts
    is_clear = to == "function" and redact.get("redact", 1) in (None, hide_names)
    assert ("a@b.com" in texts) is is_clear
    assert ("sk-abc" in texts) is is_clear


def test_messages_are_those_of_the_call_whatever_is_added_to_them_later(
    server: OpenAIServer, tmp_path: Any
) -> None:
    messages = [{"role": "user", "content": "hello"}]
    plain = openai.OpenAI(base_url=server.url, api_key="x")
    with CallLog(tmp_path, "ask") as log:
        client = instrument_openai(plain, log, capture_text=True)
        stream = client.chat.completions.create(model="house", messages=messages, stream=True)
        messages.append({"role": "assistant", "content": "later"})
        list(stream)

    (row,) = read_calls(tmp_path).to_pylist()
    assert json.loads(row["input_text"]) == [{"role": "user", "content": "hello"}]


def test_what_is_logged_of_a_request_is_what_was_sent(
    client: Any, rows: Rows, server: OpenAIServer
) -> None:
    extra = {"model": "other", "temperature": 0.5, "seed": 4, "top_p": 0.9, "max_tokens": 7}
    client.chat.completions.create(**CHAT, temperature=0.1, extra_body=extra)

    (row,) = rows
    assert server.requests[0].body["model"] == row["gen_ai_request_model"] == "other"
    names = ("temperature", "seed", "top_p", "max_tokens")
    assert [row[f"gen_ai_request_{name}"] for name in names] == [extra[name] for name in names]


@pytest.mark.parametrize("kind", ["response", "text"])
def test_of_an_answer_that_is_asked_for_as_it_came_the_counts_are_read(
    client: Any, rows: Rows, kind: str
) -> None:
    # openai has had two HTTP libraries
    http = type(raw(client).create(**CHAT).http_response)
    rows.clear()
    cast_to = http if kind == "response" else str
    answer = client.post("/chat/completions", cast_to=cast_to, body=CHAT)

    assert isinstance(answer, cast_to)
    assert [row["gen_ai_usage_input_tokens"] for row in rows] == [2]
    assert rows[0]["finish_reason"] == "stop"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_stream_that_is_open_in_a_forked_child_is_no_row_of_the_child(
    client: Any, rows: Rows
) -> None:
    stream = client.chat.completions.create(**CHAT, stream=True)
    child = os.fork()
    if not child:
        try:
            stream.response.close = lambda: None  # the connection is the parent's too
            stream.close()
        finally:
            os._exit(len(rows))
    assert os.waitpid(child, 0)[1] == 0
    list(stream)

    assert [row["finish_reason"] for row in rows] == ["stop"]


@pytest.mark.parametrize("sink", [5, "log", [], CallLog, None])
def test_what_takes_no_rows_is_no_log(server: OpenAIServer, sink: Any) -> None:
    plain = openai.OpenAI(base_url=server.url, api_key="x")
    with pytest.raises(ConfigError, match="log must be"):
        instrument_openai(plain, sink)


def test_a_class_is_no_client(rows: Rows) -> None:
    with pytest.raises(ConfigError, match="the class OpenAI"):
        instrument_openai(openai.OpenAI, rows.append)
