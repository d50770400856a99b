"""Mapping from requests and responses of the OpenAI API to columns of the call log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytekitplugins.wbmon.monitor.llm.calls.row import Row

_PARAMETERS = {
    "gen_ai_request_temperature": ("temperature",),
    "gen_ai_request_top_p": ("top_p",),
    "gen_ai_request_max_tokens": ("max_completion_tokens", "max_output_tokens", "max_tokens"),
    "gen_ai_request_seed": ("seed",),
}
_OPERATIONS = {"chat": "chat", "responses": "generate_content", "embeddings": "embeddings"}


def request_columns(operation: str, arguments: Mapping[str, Any]) -> Row:
    """Columns of the call log known from a request; parameters it does not set are left out."""
    row: Row = {
        "gen_ai_operation_name": _OPERATIONS[operation],
        "gen_ai_request_model": str(arguments.get("model") or "") or None,
    }
    for column, names in _PARAMETERS.items():
        given = [arguments[name] for name in names if name in arguments]
        if given and isinstance(given[0], int | float):  # the client has a mark for "not given"
            row[column] = given[0]
    return row


def answer_columns(answer: Any) -> Row:
    """Columns known from a response or a chunk of one; missing values are left out."""
    # events of the Responses API carry the response inside
    source = getattr(answer, "response", None) or answer
    row: Row = {}
    model = getattr(source, "model", None)
    if isinstance(model, str) and model:
        row["gen_ai_response_model"] = model
    usage = getattr(source, "usage", None)
    if usage is not None:
        row |= _usage_columns(usage)
    reason = _finish_reason(source)
    if reason:
        row["finish_reason"] = reason
    return row


def content_of(answer: Any) -> str:
    """The text of a response or a chunk of one; empty if it has none."""
    for choice in getattr(answer, "choices", None) or ():
        part = getattr(choice, "message", None) or getattr(choice, "delta", None)
        return str(getattr(part, "content", None) or "")
    if getattr(answer, "type", "") == "response.output_text.delta":
        return str(answer.delta)
    text = getattr(answer, "output_text", None)
    return text if isinstance(text, str) else ""


def _usage_columns(usage: Any) -> Row:
    input_tokens = _first(usage, "prompt_tokens", "input_tokens")
    output_tokens = _first(usage, "completion_tokens", "output_tokens")
    if output_tokens is None and input_tokens is not None and hasattr(usage, "total_tokens"):
        # embeddings have no output
        output_tokens = usage.total_tokens - input_tokens
    input_details = _first(usage, "prompt_tokens_details", "input_tokens_details")
    output_details = _first(usage, "completion_tokens_details", "output_tokens_details")
    counts = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cache_read_input_tokens": _first(input_details, "cached_tokens"),
        "reasoning_output_tokens": _first(output_details, "reasoning_tokens"),
    }
    return {f"gen_ai_usage_{name}": n for name, n in counts.items() if n is not None}


def _first(source: Any, *names: str) -> Any:
    found = (getattr(source, name, None) for name in names)
    return next((value for value in found if value is not None), None)


def _finish_reason(source: Any) -> str:
    for choice in getattr(source, "choices", None) or ():
        return str(getattr(choice, "finish_reason", None) or "")
    incomplete = getattr(source, "incomplete_details", None)
    if incomplete is not None:
        reason = getattr(incomplete, "reason", None)
        # the Responses API has other words for the finish reasons of chat completions
        return "length" if reason == "max_output_tokens" else str(reason or "")
    return "stop" if getattr(source, "status", None) == "completed" else ""
