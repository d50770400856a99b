"""Gateways answer with status 200 and an error: the row of the call is no success."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flytekitplugins.wbmon.llm import (
    CallLog,
    CallPolicy,
    PriceTable,
    chat_with,
    instrument_openai,
    read_calls,
)
from flytekitplugins.wbmon.monitor.llm.calls.openai_columns import (
    answer_columns,
    whole_answer_columns,
)
from flytekitplugins.wbmon.monitor.llm.cost.track import summarise_usage
from support.openai_server import OpenAIServer

openai = pytest.importorskip("openai", reason="the llm extra is not installed")
pytest.importorskip("tenacity", reason="the llm extra is not installed")

Rows = list[dict[str, Any]]
MESSAGES = [{"role": "user", "content": "hello"}]
CHAT: dict[str, Any] = {"model": "house", "messages": MESSAGES}
ASK: dict[str, Any] = {"model": "house", "input": "hello"}
NOTHING = "not_an_answer"

WAYS: dict[str, Callable[[Any], object]] = {
    "chat": lambda c: c.chat.completions.create(**CHAT),
    "raw": lambda c: c.chat.completions.with_raw_response.create(**CHAT).parse(),
    "post": lambda c: c.post("/chat/completions", cast_to=object, body=CHAT),
    "post for text": lambda c: c.post("/chat/completions", cast_to=str, body=CHAT),
    "responses": lambda c: c.responses.create(**ASK),
    "completions": lambda c: c.completions.create(model="house", prompt="hello"),
}
BODIES: dict[str, tuple[Any, str]] = {
    "type and code": ({"error": {"type": "server_error", "code": "busy"}}, "busy"),
    "type": ({"error": {"type": "server_error", "message": "no"}}, "server_error"),
    "status": ({"error": {"message": "Provider returned error", "code": 429}}, "429"),
    "status and type": ({"error": {"code": 400, "type": "BadRequestError"}}, "BadRequestError"),
    "message": ({"error": {"message": "no model for ann@corp.com"}}, NOTHING),
    "a message as its type": ({"error": {"type": "no model for ann@corp.com"}}, NOTHING),
    "text": ({"error": "no model for ann@corp.com"}, NOTHING),
    "no contents": ({"error": {"code": "busy"}, "choices": [], "output": [], "data": []}, "busy"),
    "model": ({"error": {"code": "busy"}, "model": "house", "id": "1"}, "busy"),
    "the object is the error": ({"object": "error", "type": "NotFound", "code": 404}, "NotFound"),
    "details": ({"detail": "Not Found"}, NOTHING),
    "empty": ({}, NOTHING),
    "null": ({"choices": None, "output": None, "error": None}, NOTHING),
}


@pytest.fixture
def plain(server: OpenAIServer) -> Any:
    return openai.OpenAI(base_url=server.url, api_key="x", max_retries=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_answer_is_an_error_and_reaches_the_caller_as_it_is(
    plain: Any, rows: Rows, server: OpenAIServer, way: str, body: str
) -> None:
    said, expected = BODIES[body]
    server.by_model = {"house": f"says:{json.dumps(said)}"}
    without = WAYS[way](plain)

    assert WAYS[way](instrument_openai(plain, rows.append)) == without
    (row,) = rows
    assert row["error_type"] == expected
    assert [each["error_type"] for each in row["attempt_log"]] == [expected]
    assert row["attempt_log"][0]["status"] == 200


@pytest.mark.parametrize("way", WAYS)
def test_the_page_of_a_gateway_is_no_answer(
    plain: Any, rows: Rows, server: OpenAIServer, way: str
) -> None:
    server.by_model = {"house": "garbage"}
    client = instrument_openai(plain, rows.append)
    if way == "post":  # its caller wants an object, and the client gives a text
        assert isinstance(WAYS[way](client), str)
    else:
        assert "gateway" in str(WAYS[way](client))

    assert [row["error_type"] for row in rows] == [NOTHING]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"error": {"code": 502, "message": "no"}}, "502"),
        ({"error": {"type": "overloaded"}}, "overloaded"),
        ({}, "error"),
    ],
)
def test_an_answer_that_broke_off_by_an_error_is_one(
    plain: Any, rows: Rows, server: OpenAIServer, choice: dict[str, Any], expected: str
) -> None:
    message = {"role": "assistant", "content": "hel"}
    broken = {"index": 0, "message": message, "finish_reason": "error", **choice}
    server.changes = {"choices": [broken]}
    instrument_openai(plain, rows.append).chat.completions.create(**CHAT)

    (row,) = rows
    assert (row["error_type"], row["gen_ai_usage_output_tokens"]) == (expected, 1)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        object(),
        {"choices": []},
        {"data": []},
        {"output": [], "status": "queued"},
        {"usage": {"prompt_tokens": 1}},
        {"choices": [{"index": 0}], "error": {"code": "warning"}},
        {"status": "completed"},
        SimpleNamespace(text="of another client"),
    ],
)
def test_what_may_be_an_answer_is_no_error(answer: Any) -> None:
    assert "error_type" not in whole_answer_columns(answer)


def test_an_event_that_is_an_error_tells_which() -> None:
    event = {"type": "error", "code": "busy", "message": "no", "sequence_number": 3}
    assert answer_columns(event) == {"error_type": "busy"}


def test_an_error_that_a_later_request_makes_good_is_one_row_with_it(
    plain: Any, rows: Rows, server: OpenAIServer
) -> None:
    server.script('says:{"error": {"code": "busy"}}', "ok")
    client = instrument_openai(plain, rows.append)

    def ask(model: str) -> Any:
        return client.chat.completions.create(**CHAT).choices or client.chat.completions.create(
            **CHAT
        )

    CallPolicy().call(ask, model="house")
    (row,) = rows
    assert (row["attempts"], row.get("error_type")) == (2, None)
    assert [each.get("error_type") for each in row["attempt_log"]] == ["busy", None]


def test_costs_count_it_as_an_error_and_not_as_a_call_without_counts(
    plain: Any, server: OpenAIServer, tmp_path: Path
) -> None:
    server.script('says:{"error": {"code": "busy"}}', "garbage", "ok")
    with CallLog(tmp_path, "ask") as log:
        client = instrument_openai(plain, log)
        for _ in range(3):
            client.chat.completions.create(**CHAT)

    total = summarise_usage(read_calls(tmp_path), PriceTable([])).total
    assert (total.n_calls, total.n_errors, total.n_no_usage) == (3, 2, 0)


@pytest.mark.parametrize("kind", ['says:{"error": {"code": "busy"}}', "garbage"])
def test_it_is_no_answer_of_an_evaluation_or_a_judge(
    plain: Any, server: OpenAIServer, kind: str
) -> None:
    server.script(kind)
    answer = asyncio.run(chat_with(plain, "house")(MESSAGES))
    assert (answer.text, answer.error) == ("", NOTHING if kind == "garbage" else "busy")


@pytest.mark.parametrize("kind", ['says:{"error": {"code": "busy"}}', "garbage"])
def test_of_a_stream_it_is_an_error_too(
    plain: Any, rows: Rows, server: OpenAIServer, kind: str
) -> None:
    server.script(kind)
    with suppress(openai.APIError):
        list(instrument_openai(plain, rows.append).chat.completions.create(**CHAT, stream=True))
    assert [row["error_type"] for row in rows] == ["incomplete_response"]
