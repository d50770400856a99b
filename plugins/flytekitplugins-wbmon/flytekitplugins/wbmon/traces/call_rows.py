"""Conversion of Weave calls to rows of the call log, readable without Weave."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import WbmonError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.monitor.llm.calls.log import CallLog
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.monitor.llm.steps.spans import row_of_span, span_of_call, steps_folder
from flytekitplugins.wbmon.monitor.prediction_log.schema import CALL_COLUMNS, PREDICTION_COLUMNS

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_FROM_ATTRIBUTES = frozenset(PREDICTION_COLUMNS) | frozenset(CALL_COLUMNS)


class CallRows:
    """Writes a row for each call that used tokens itself.

    A calling op, to which Weave adds the tokens of its children, gets no row. In the folder `steps`
    of the call log, every op gets a row without text: start, duration, tokens and error.

    Args:
        destination: Folder of the call log; path or fsspec URI.
        service: Name of the calling service.
    """

    def __init__(self, destination: str, *, service: str) -> None:
        files = _filesystem(destination)
        self._log = CallLog(destination, service, filesystem=files)
        self._steps = CallLog(steps_folder(destination), service, filesystem=files)
        self._begun: dict[str, Mapping[str, Any]] = {}
        self._counted: set[str] = set()

    def note(self, kind: str, req: Mapping[str, Any]) -> None:
        """Process one request of the Weave client.

        Args:
            kind: Name of the request; only the start and the end of a call matter.
            req: Its body as plain JSON data.
        """
        if kind == "call_start":
            start = req["start"]
            self._begun[start["id"]] = start
        elif kind == "call_end":
            start = self._begun.pop(req["end"]["id"], None)
            if start is not None:
                self._end(start, req["end"])

    def close(self) -> None:
        """Close both logs."""
        self._log.close()
        self._steps.close()

    def _end(self, start: Mapping[str, Any], end: Mapping[str, Any]) -> None:
        self._steps.log_call(row_of_span(span_of_call({**start, **end})))
        usage = (end.get("summary") or {}).get("usage") or {}
        if not usage:
            return
        # a child ends before its parent, whose summary repeats the usage of the child
        if start.get("parent_id"):
            self._counted.add(start["parent_id"])
        if start["id"] in self._counted:
            return
        for model, counts in usage.items():
            self._log.log_call(_row(start, end, model, counts))


def _filesystem(destination: str) -> AbstractFileSystem | None:
    try:
        return filesystem_of_task(destination)
    except WbmonError:
        return None  # the log itself says so when it has something to send


def _row(
    start: Mapping[str, Any], end: Mapping[str, Any], model: str, counts: Mapping[str, Any]
) -> dict[str, Any]:
    attributes = {n: v for n, v in (start.get("attributes") or {}).items() if n in _FROM_ATTRIBUTES}
    input_details = counts.get("prompt_tokens_details") or counts.get("input_tokens_details") or {}
    output_details = (
        counts.get("completion_tokens_details") or counts.get("output_tokens_details") or {}
    )
    began, ended = (_time(at) for at in (start["started_at"], end["ended_at"]))
    asked = (start.get("inputs") or {}).get("model")
    row = new_row(
        trace_id=start.get("trace_id"),
        gen_ai_operation_name="chat",
        gen_ai_request_model=asked if isinstance(asked, str) else model,
        gen_ai_response_model=model,
        gen_ai_usage_input_tokens=counts.get("prompt_tokens", counts.get("input_tokens")),
        gen_ai_usage_output_tokens=counts.get("completion_tokens", counts.get("output_tokens")),
        gen_ai_usage_cache_read_input_tokens=input_details.get("cached_tokens"),
        gen_ai_usage_reasoning_output_tokens=output_details.get("reasoning_tokens"),
        latency_ms=(ended - began).total_seconds() * 1e3,
        error_type="Error" if end.get("exception") else None,
        **attributes,
    )
    return row | {"timestamp": began.isoformat()}


def _time(at: str) -> datetime:
    # Python 3.10 does not parse `Z`
    return datetime.fromisoformat(at.replace("Z", "+00:00"))
