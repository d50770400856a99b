"""The time to the first chunk is that of the first with anything that the model made."""

from __future__ import annotations

from typing import Any

import pytest

from flytekitplugins.wbmon.llm import instrument_openai
from flytekitplugins.wbmon.llm.open_call import CallOptions, OpenCall
from support.openai_server import OpenAIServer

openai = pytest.importorskip("openai", reason="the llm extra is not installed")

TOOL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
CALL = {"type": "function_call", "id": "f", "call_id": "c", "name": "f", "arguments": ""}
NOTHING: dict[str, dict[str, Any]] = {
    "role": {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    "nothing under its names": {
        "choices": [{"delta": {"content": None, "reasoning": "", "tool_calls": [], "audio": None}}]
    },
    "no choice": {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    "usage": {"choices": [], "usage": {"prompt_tokens": 1}},
    "end": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    "no text": {"choices": [{"index": 0, "text": "", "finish_reason": None}]},
    "no fields": {},
    "event": {"type": "response.created", "response": {"status": "in_progress", "output": []}},
    "message": {"type": "response.output_item.added", "item": {"type": "message", "content": []}},
    "no delta": {"type": "response.output_text.delta", "delta": ""},
}
GENERATED: dict[str, dict[str, Any]] = {
    **{
        name: {"choices": [{"index": 0, "delta": {"role": "assistant", name: value}}]}
        for name, value in {
            "content": "x",
            "refusal": "x",
            "tool_calls": [TOOL],
            "function_call": {"name": "f", "arguments": ""},
            "audio": {"id": "a", "data": "AAAA"},
            "reasoning": "x",
            "reasoning_content": "x",
        }.items()
    },
    "the other choice": {"choices": [{"index": 1, "delta": {"content": "x"}}]},
    "text": {"choices": [{"index": 0, "text": "x"}]},
    "whole message": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}}]},
    **{
        kind: {"type": f"response.{kind}.delta", "delta": "x"}
        for kind in (
            "output_text", "refusal", "reasoning_text", "reasoning_summary_text", "audio",
            "function_call_arguments", "custom_tool_call_input", "mcp_call_arguments",
        )
    },
    "call": {"type": "response.output_item.added", "item": CALL},
    "search": {"type": "response.output_item.added", "item": {"type": "web_search_call"}},
}  # fmt: skip


def as_object(part: dict[str, Any]) -> Any:
    types = openai.types
    kind = types.CompletionUsage
    if "choices" in part:
        is_text = any("text" in each for each in part["choices"])
        kind = types.Completion if is_text else types.chat.ChatCompletionChunk
    elif part.get("type") == "response.output_item.added":
        kind = types.responses.ResponseOutputItemAddedEvent
    return kind.construct(**part)


def first_chunk(*parts: Any) -> int | None:
    """Place of the part at which the time was taken."""
    how = CallOptions(sink=lambda _: None, clean=None, provider="openai")
    call = OpenCall(how=how, row={})
    for place, part in enumerate(parts):
        call.passes(part)
        if "time_to_first_chunk_ms" in call.row:
            return place
    return None


@pytest.mark.parametrize("form", [dict, as_object], ids=["json", "object"])
@pytest.mark.parametrize("kind", GENERATED)
def test_whatever_a_model_makes_is_its_first_chunk(form: Any, kind: str) -> None:
    nothing = [form(part) for part in NOTHING.values()]

    assert first_chunk(*nothing) is None
    assert first_chunk(*nothing, form(GENERATED[kind]), form(GENERATED["content"])) == len(nothing)


@pytest.mark.parametrize("capture_text", [False, True])
def test_a_stream_of_a_tool_call_has_a_time_to_its_first_chunk(
    server: OpenAIServer, rows: list[dict[str, Any]], *, capture_text: bool
) -> None:
    server.deltas = [{"role": "assistant", "content": ""}, {"tool_calls": [TOOL]}]
    plain = openai.OpenAI(base_url=server.url, api_key="x")
    client = instrument_openai(plain, rows.append, capture_text=capture_text)
    list(client.chat.completions.create(model="m", messages=[], stream=True))

    (row,) = rows
    assert 0 < row["time_to_first_chunk_ms"] <= row["latency_ms"]
    assert "output_text" not in row
