"""The real client against a server that fails on demand: what is logged, and what is unchanged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import call_attributes, instrument_openai
from flytekitplugins.wbmon.monitor.llm.calls.read import table_of
from support.openai_server import OpenAIServer

openai = pytest.importorskip("openai", reason="the llm extra is not installed")

ASK: dict[str, Any] = {
    "model": "house",
    "messages": [{"role": "user", "content": "one two three"}],
}


@pytest.fixture
def client(server: OpenAIServer, rows: list[dict[str, Any]]) -> Any:
    plain = openai.OpenAI(base_url=server.url, api_key="sk-test", max_retries=2)
    return instrument_openai(plain, rows.append)


@pytest.fixture
def async_client(server: OpenAIServer, rows: list[dict[str, Any]]) -> Any:
    plain = openai.AsyncOpenAI(base_url=server.url, api_key="sk-test", max_retries=2)
    return instrument_openai(plain, rows.append)


def test_a_call_is_a_row_in_the_names_of_opentelemetry(client: Any, rows: list) -> None:
    with call_attributes(tenant="acme", prompt_name="qa"):
        answer = client.chat.completions.create(**ASK)

    assert answer.choices[0].message.content == "one two three"
    (row,) = rows
    assert row["gen_ai_request_model"] == "house"
    assert row["gen_ai_response_model"] == "house-2026-01-01"
    assert row["gen_ai_usage_input_tokens"] == 3
    assert row["gen_ai_usage_output_tokens"] == 3
    assert row["gen_ai_usage_cache_read_input_tokens"] == 1
    assert row["gen_ai_usage_reasoning_output_tokens"] == 2
    assert row["finish_reason"] == "stop"
    assert (row["tenant"], row["prompt_name"]) == ("acme", "qa")
    assert (row["attempts"], row["retries"], row["rate_limited"]) == (1, 0, False)
    assert row["latency_ms"] > 0
    assert "input_text" not in row


def test_what_a_request_sets_is_a_column_and_what_it_does_not_is_none(
    client: Any, rows: list
) -> None:
    client.chat.completions.create(**ASK, temperature=0, max_completion_tokens=50, seed=7)
    client.responses.create(model="house", input="hi", max_output_tokens=9, top_p=0.5)

    first, second = table_of(rows).to_pylist()
    names = ("temperature", "top_p", "max_tokens", "seed")
    assert [first[f"gen_ai_request_{name}"] for name in names] == [0.0, None, 50, 7]
    assert [second[f"gen_ai_request_{name}"] for name in names] == [None, 0.5, 9, None]


def test_retrieved_documents_are_a_column_whether_or_not_text_is_kept(
    client: Any, rows: list
) -> None:
    found = [{"id": "doc-7", "rank": 1, "score": 0.9}, {"id": "doc-2", "rank": 2, "score": 0.4}]
    with call_attributes(retrieved_documents=found):
        client.chat.completions.create(**ASK)

    (row,) = table_of(rows).to_pylist()
    assert row["retrieved_documents"] == found
    assert row["input_text"] is None


def test_a_stream_is_logged_with_tokens_that_the_caller_did_not_ask_for(
    client: Any, rows: list, server: OpenAIServer
) -> None:
    chunks = list(client.chat.completions.create(**ASK, stream=True))

    assert all(chunk.choices for chunk in chunks), "the chunk of the usage is not shown"
    assert server.requests[0].body["stream_options"] == {"include_usage": True}
    (row,) = rows
    assert row["gen_ai_usage_output_tokens"] == 3
    assert 0 < row["time_to_first_chunk_ms"] <= row["latency_ms"]
    assert row["finish_reason"] == "stop"


def test_a_caller_who_asks_for_the_usage_of_a_stream_gets_it(client: Any) -> None:
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options=options))

    assert chunks[-1].usage.prompt_tokens == 3


def test_a_stream_that_is_left_early_is_logged_as_abandoned(client: Any, rows: list) -> None:
    stream = client.chat.completions.create(**ASK, stream=True)
    next(iter(stream))
    stream._iterator.close()

    assert rows[0]["finish_reason"] == "abandoned"


def test_a_stream_that_breaks_is_logged_with_its_error(
    client: Any, rows: list, server: OpenAIServer
) -> None:
    server.script("cut")
    chunks = list(client.chat.completions.create(**ASK, stream=True))

    assert len(chunks) == 1
    assert "gen_ai_usage_output_tokens" not in rows[0]
    assert rows[0]["error_type"] == "incomplete_response"


def test_a_stream_that_is_read_to_its_finish_reason_is_whole(client: Any, rows: list) -> None:
    stream = client.chat.completions.create(**ASK, stream=True)
    for chunk in stream:
        if chunk.choices[0].finish_reason:
            break
    stream._iterator.close()

    (row,) = rows
    assert row["finish_reason"] == "stop"
    assert "error_type" not in row


@pytest.mark.parametrize(("kind", "error"), [("ok", None), ("cut", "incomplete_response")])
def test_the_stream_of_a_raw_response_is_logged_when_it_ends(
    client: Any, rows: list, server: OpenAIServer, kind: str, error: str | None
) -> None:
    server.script(kind)
    raw = client.chat.completions.with_raw_response.create(**ASK, stream=True)
    assert rows == []
    chunks = list(raw.parse())

    assert all(chunk.choices for chunk in chunks), "the chunk of the usage is not shown"
    (row,) = rows
    assert row.get("error_type") == error
    assert row.get("gen_ai_usage_output_tokens") == (3 if error is None else None)


def test_raw_responses_of_an_asynchronous_client_are_logged(
    async_client: Any, rows: list, server: OpenAIServer
) -> None:
    async def ask() -> None:
        completions = async_client.chat.completions
        raw = await completions.with_raw_response.create(**ASK)
        assert raw.parse().choices
        stream = (await completions.with_raw_response.create(**ASK, stream=True)).parse()
        assert [each async for each in stream]
        async with completions.with_streaming_response.create(**ASK) as streamed:
            assert (await streamed.parse()).choices

    asyncio.run(ask())

    assert [row["gen_ai_usage_output_tokens"] for row in rows] == [3, 3, 3]


def test_retries_of_the_client_itself_are_seen(
    client: Any, rows: list, server: OpenAIServer
) -> None:
    server.script("429:0.01", "500", "ok")
    client.chat.completions.create(**ASK)

    (row,) = rows
    assert (row["attempts"], row["retries"], row["rate_limited"]) == (3, 2, True)
    assert [each.get("status") for each in row["attempt_log"]] == [429, 500, 200]
    assert row["attempt_log"][0]["retry_after_s"] == pytest.approx(0.01)
    assert "error_type" not in row


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("400", "BadRequestError", 400),
        ("401", "AuthenticationError", 401),
        ("404", "NotFoundError", 404),
        ("quota", "RateLimitError", 429),
    ],
)
def test_an_error_is_raised_as_before_and_logged(
    client: Any, rows: list, server: OpenAIServer, kind: str, error: str, status: int
) -> None:
    server.script(*[kind] * 3)
    with pytest.raises(getattr(openai, error)):
        client.with_options(max_retries=0).chat.completions.create(**ASK)

    (row,) = rows
    assert row["error_type"] == error
    assert row["status_code"] == status
    assert row["attempts"] == 1


def test_no_answer_at_all_is_logged_too(client: Any, rows: list, server: OpenAIServer) -> None:
    server.script("slow:1", "slow:1")
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.05, max_retries=1).chat.completions.create(**ASK)

    assert rows[0]["error_type"] == "APITimeoutError"
    assert rows[0]["attempts"] == 2


def test_what_is_no_answer_breaks_nothing(client: Any, rows: list, server: OpenAIServer) -> None:
    server.script("garbage")
    answer = client.chat.completions.create(**ASK)

    assert "gateway" in str(answer)
    assert rows[0]["attempts"] == 1
    assert "gen_ai_usage_input_tokens" not in rows[0]


def test_asynchronous_calls_and_streams_are_logged_alike(
    async_client: Any, rows: list, server: OpenAIServer
) -> None:
    async def ask() -> None:
        server.script("429:0.01", "ok")
        await async_client.chat.completions.create(**ASK)
        stream = await async_client.chat.completions.create(**ASK, stream=True)
        assert all([chunk.choices async for chunk in stream])
        server.script("400")
        with pytest.raises(openai.BadRequestError):
            await async_client.chat.completions.create(**ASK)

    asyncio.run(ask())

    assert [row["attempts"] for row in rows] == [2, 1, 1]
    assert rows[0]["rate_limited"]
    assert rows[1]["gen_ai_usage_output_tokens"] == 3
    assert rows[2]["error_type"] == "BadRequestError"


def test_calls_at_the_same_time_keep_their_own_counts(
    async_client: Any, rows: list, server: OpenAIServer
) -> None:
    async def ask_many() -> None:
        server.script("429:0.01", *["ok"] * 20)
        await asyncio.gather(*(async_client.chat.completions.create(**ASK) for _ in range(10)))

    asyncio.run(ask_many())

    assert sorted(row["attempts"] for row in rows) == [1] * 9 + [2]


def test_responses_embeddings_and_raw_responses_are_logged(client: Any, rows: list) -> None:
    client.responses.create(model="house", input="hello")
    client.embeddings.create(model="vectors", input="hello", encoding_format="float")
    raw = client.chat.completions.with_raw_response.create(**ASK)

    assert raw.parse().choices
    assert [row["gen_ai_operation_name"] for row in rows] == [
        "generate_content",
        "embeddings",
        "chat",
    ]
    assert [row["gen_ai_usage_input_tokens"] for row in rows] == [4, 3, 3]
    assert rows[1]["gen_ai_usage_output_tokens"] == 0


def test_text_is_kept_only_when_asked_and_only_when_it_could_be_cleaned(
    server: OpenAIServer, rows: list
) -> None:
    def redact(text: str) -> str:
        if "three" not in text:
            raise ValueError(text)
        return text.replace("three", "[number]")

    plain = openai.OpenAI(base_url=server.url, api_key="x")
    client = instrument_openai(plain, rows.append, capture_text=True, redact=redact)
    client.chat.completions.create(**ASK)
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "secret"}])

    assert rows[0]["output_text"] == "one two [number]"
    assert "three" not in rows[0]["input_text"]
    assert "input_text" not in rows[1]
    assert "output_text" not in rows[1]


def test_instrumenting_twice_logs_once(client: Any, rows: list) -> None:
    instrument_openai(client, rows.append).chat.completions.create(**ASK)

    assert len(rows) == 1


def test_a_log_that_fails_costs_the_application_nothing(server: OpenAIServer) -> None:
    def broken(_: dict) -> None:
        raise OSError("disk full")

    client = instrument_openai(openai.OpenAI(base_url=server.url, api_key="x"), broken)

    assert client.chat.completions.create(**ASK).choices


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="OpenAI client"):
        instrument_openai(object(), print)
