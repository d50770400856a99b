"""Mapping from requests and responses of the OpenAI API to columns of the call log.

Both are read as objects of the client and as plain JSON data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flytekitplugins.wbmon.monitor.llm.calls.row import Row

_PARAMETERS = {
    "gen_ai_request_temperature": ("temperature",),
    "gen_ai_request_top_p": ("top_p",),
    "gen_ai_request_max_tokens": ("max_completion_tokens", "max_output_tokens", "max_tokens"),
    "gen_ai_request_seed": ("seed",),
}
_OPERATIONS = {
    "chat": "chat",
    "responses": "generate_content",
    "embeddings": "embeddings",
    "completions": "text_completion",
}
_NOT_AN_ANSWER = "not_an_answer"
_CONTENTS = ("choices", "output", "data")
_ERROR = "error"
# what a server says beyond a name may be personal data
_ERROR_NAME = re.compile(r"[\w.:/-]{1,100}")
# several providers answer in the form of OpenAI, with counts under names of their own
_CACHE_READ = ("cached_tokens", "cache_read_input_tokens")
_CACHE_CREATION = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")


def request_columns(operation: str, arguments: Mapping[str, Any]) -> Row:
    """Columns of the call log known from a request; parameters it does not set are left out."""
    row: Row = {
        "gen_ai_operation_name": _OPERATIONS[operation],
        "gen_ai_request_model": str(arguments.get("model") or "") or None,
    }
    return row | parameter_columns(arguments)


def parameter_columns(arguments: Mapping[str, Any]) -> Row:
    """Columns of the parameters that a request sets, such as its temperature."""
    row: Row = {}
    for column, names in _PARAMETERS.items():
        given = [arguments[name] for name in names if name in arguments]
        if given and isinstance(given[0], int | float):  # the client has a mark for "not given"
            row[column] = given[0]
    return row


def answer_columns(answer: Any) -> Row:
    """Columns known from a response or a chunk of one; missing values are left out."""
    # events of the Responses API carry the response inside
    source = _get(answer, "response") or answer
    row: Row = {}
    for column, name in (
        ("gen_ai_response_model", "model"),
        ("openai_response_service_tier", "service_tier"),
    ):
        value = _get(source, name)
        if isinstance(value, str) and value:
            row[column] = value
    row |= usage_columns(_get(source, "usage"))
    reason = _finish_reason(source)
    if reason:
        row["finish_reason"] = reason
    told = _told_error(source, reason)
    if told:
        row["error_type"] = told
    return row


def whole_answer_columns(answer: Any) -> Row:
    """As `answer_columns`; the body of a whole response that has nothing of an answer is an error.

    Args:
        answer: What the client made of the body: an object of its own, JSON data, or a text that is
            no JSON, as of the page of a gateway. Nothing is known of any other.
    """
    row = answer_columns(answer)
    is_body = isinstance(answer, Mapping | str | bytes | int | float | list)
    # of all objects of the client, and of none of its HTTP library
    if not is_body and not hasattr(answer, "to_dict"):
        return row
    says = any(_get(answer, name) is not None for name in (*_CONTENTS, "usage"))
    if not says and "finish_reason" not in row:
        row.setdefault("error_type", _NOT_AN_ANSWER)
    return row


def usage_columns(usage: Any) -> Row:
    """Columns of token counts; a count that is missing or no number is left out."""
    input_tokens = _count(usage, "prompt_tokens", "input_tokens")
    output_tokens = _count(usage, "completion_tokens", "output_tokens")
    total_tokens = _count(usage, "total_tokens")
    if output_tokens is None and input_tokens is not None and total_tokens is not None:
        # embeddings have no output
        output_tokens = max(0, total_tokens - input_tokens)
    given = _first(usage, "prompt_tokens_details", "input_tokens_details")
    made = _first(usage, "completion_tokens_details", "output_tokens_details")
    counts = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cache_read_input_tokens": _either(given, usage, _CACHE_READ),
        "cache_creation_input_tokens": _either(given, usage, _CACHE_CREATION),
        "reasoning_output_tokens": _count(made, "reasoning_tokens"),
    }
    return {f"gen_ai_usage_{name}": n for name, n in counts.items() if n is not None}


def content_of(answer: Any) -> str:
    """The text of a response or a chunk of one; empty if it has none."""
    choice = _first_choice(answer)
    if choice is not None:
        part = _first(choice, "message", "delta")
        text = _get(choice, "text") if part is None else _get(part, "content")
        return text if isinstance(text, str) else ""
    if _get(answer, "type") == "response.output_text.delta":
        return str(answer.delta)
    text = _get(answer, "output_text")
    return text if isinstance(text, str) else ""


def is_generated(part: Any) -> bool:
    """Whether a chunk of a response has anything that the model made, be it no text.

    That is a piece of text, reasoning, refusal, audio or the call of a tool: any field of a delta
    but the role, under whatever name a provider gives it.
    """
    kind = _get(part, "type")
    if isinstance(kind, str):
        item = _get(part, "item") if kind == "response.output_item.added" else None
        is_call = str(_get(item, "type")).endswith("_call")
        return is_call or bool(kind.endswith(".delta") and _get(part, "delta"))
    choices = _get(part, "choices")
    found = choices if isinstance(choices, list | tuple) else ()
    return any(_get(each, "text") or _says(_first(each, "delta", "message")) for each in found)


def _says(delta: Any) -> bool:
    fields = delta if isinstance(delta, Mapping) else getattr(delta, "__dict__", {})
    # where the client keeps what its version has no name for
    more = _get(delta, "model_extra") or {}
    return any(value for name, value in (*fields.items(), *more.items()) if name != "role")


def _finish_reason(source: Any) -> str:
    choice = _first_choice(source)
    if choice is not None:
        return str(_get(choice, "finish_reason") or "")
    reason = _get(_get(source, "incomplete_details"), "reason")
    if reason is not None:
        # the Responses API has other words for the finish reasons of chat completions
        return "length" if reason == "max_output_tokens" else str(reason)
    return "stop" if _get(source, "status") == "completed" else ""


def _told_error(source: Any, reason: str) -> str:
    """Name of the error that an answer of status 200 tells of; empty if it tells of none."""
    # by the Responses API
    if _get(source, "status") == "failed":
        return _error_name(_get(source, _ERROR)) or "failed"
    # by gateways, of what their provider said in the midst of an answer
    if reason == _ERROR:
        told = (_get(place, _ERROR) for place in (_first_choice(source), source))
        return next(filter(None, map(_error_name, told)), _ERROR)
    # the parts of a stream, of which there are many, are looked at no further
    if _get(source, "choices") or str(_get(source, "type")).startswith("response."):
        return ""
    return _error_alone(source)


def _error_alone(source: Any) -> str:
    """Name of the error that takes the place of an answer; empty if there is none."""
    is_error = _ERROR in (_get(source, "object"), _get(source, "type"))
    error = source if is_error else _get(source, _ERROR)
    is_plain = isinstance(error, str | bool | int | float)
    if not error or is_plain or _get(source, "output") or _get(source, "data"):
        return ""
    return _error_name(error) or _NOT_AN_ANSWER


def _error_name(error: Any) -> str:
    # some have the HTTP status as their code, which tells less than a type
    found = sorted(
        (_get(error, name) for name in ("code", "type")), key=lambda each: not isinstance(each, str)
    )
    names = (str(each) for each in found if isinstance(each, str | int))
    return next((name for name in names if _ERROR_NAME.fullmatch(name)), "")


def _first_choice(answer: Any) -> Any:
    """The choice of index 0, of which a chunk of several choices may have no part."""
    choices = _get(answer, "choices")
    found = choices if isinstance(choices, list | tuple) else ()
    return next((choice for choice in found if not _get(choice, "index")), None)


def _either(details: Any, usage: Any, names: tuple[str, ...]) -> int | None:
    found = _count(details, *names)
    return _count(usage, *names) if found is None else found


def _count(source: Any, *names: str) -> int | None:
    value = _first(source, *names)
    is_count = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_count and 0 <= value < float("inf") else None


def _first(source: Any, *names: str) -> Any:
    found = (_get(source, name) for name in names)
    return next((value for value in found if value is not None), None)


def _get(source: Any, name: str) -> Any:
    if isinstance(source, Mapping):
        return source.get(name)
    try:
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001 - a property, of an answer that lacks what it is made of
        return None
