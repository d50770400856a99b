"""Conversion of Weave calls to rows of the call log, readable without Weave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import WbmonError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.monitor.llm.calls.claims import begin_trace, end_trace, is_same_log
from flytekitplugins.wbmon.monitor.llm.calls.log import CallLog
from flytekitplugins.wbmon.monitor.llm.calls.openai_columns import parameter_columns, usage_columns
from flytekitplugins.wbmon.monitor.llm.calls.row import (
    CallScope,
    Row,
    current_scope,
    new_row,
)
from flytekitplugins.wbmon.monitor.llm.steps.spans import row_of_span, span_of_call, steps_folder
from flytekitplugins.wbmon.monitor.prediction_log.schema import CALL_COLUMNS, PREDICTION_COLUMNS

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_OPERATIONS = ((".embed", "embeddings"), (".responses.", "generate_content"))
_FROM_ATTRIBUTES = frozenset(PREDICTION_COLUMNS) | frozenset(CALL_COLUMNS)


class CallRows:
    """Writes a row for each call that used tokens itself.

    A calling op, to which Weave adds the tokens of its children, gets no row, and neither does a
    call whose row another writer gives to the same log: an instrumented client, or a policy with a
    log. In the folder `steps` of the call log, every op gets a row without text: start, duration,
    tokens and error.

    Args:
        destination: Folder of the call log; path or fsspec URI.
        service: Name of the calling service.
        current_call: Returns Weave's call under way in the running code; None outside of any.
    """

    def __init__(
        self, destination: str, *, service: str, current_call: Callable[[], Any] = lambda: None
    ) -> None:
        files = _filesystem(destination)
        self.destination = destination
        self._current_call = current_call
        self._log = CallLog(destination, service, filesystem=files)
        self._steps = CallLog(steps_folder(destination), service, filesystem=files)
        self._begun: dict[str, tuple[Mapping[str, Any], CallScope | None]] = {}
        self._counted: set[str] = set()
        begin_trace(self)

    def leave(self) -> Row:
        """Log no row for Weave's call under way; returns what is known of it, as columns."""
        call = self._current_call()
        if call is None:
            return {}
        self._counted.add(call.id)
        return {"trace_id": call.trace_id, **_columns_among(getattr(call, "attributes", None))}

    def note(self, kind: str, req: Mapping[str, Any]) -> None:
        """Process one request of the Weave client.

        Args:
            kind: Name of the request; only the start and the end of a call matter.
            req: Its body as plain JSON data.
        """
        if kind == "call_start":
            start = req["start"]
            self._begun[start["id"]] = start, current_scope()
        elif kind == "call_end":
            begun = self._begun.pop(req["end"]["id"], None)
            if begun is not None:
                self._end(*begun, req["end"])

    def close(self) -> None:
        """Close both logs."""
        end_trace(self)
        self._log.close()
        self._steps.close()

    def _end(
        self, start: Mapping[str, Any], scope: CallScope | None, end: Mapping[str, Any]
    ) -> None:
        self._steps.log_call(row_of_span(span_of_call({**start, **end})))
        # a policy logs what no client does
        is_counted = start["id"] in self._counted or (
            scope is not None
            and not scope.is_logged
            and any(is_same_log(each.sink, self.destination) for each in scope.lineage())
        )
        self._counted.discard(start["id"])
        usage = (end.get("summary") or {}).get("usage") or {}
        # a child ends before its parent, whose summary repeats the usage of the child
        if (usage or is_counted) and start.get("parent_id"):
            self._counted.add(start["parent_id"])
        if is_counted:
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
    inputs = start.get("inputs") or {}
    began, ended = (_time(at) for at in (start["started_at"], end["ended_at"]))
    asked = inputs.get("model")
    known = {
        "trace_id": start.get("trace_id"),
        "gen_ai_operation_name": _operation(str(start.get("op_name"))),
        "gen_ai_request_model": asked if isinstance(asked, str) else model,
        "gen_ai_response_model": model,
        "latency_ms": (ended - began).total_seconds() * 1e3,
        "error_type": "Error" if end.get("exception") else None,
        **parameter_columns(inputs),
        **usage_columns(counts),
        **_columns_among(start.get("attributes")),
    }
    row = new_row(**known)
    return row | {"timestamp": began.isoformat()}


def _operation(op: str) -> str:
    """What an op of a client library does, by its name, such as `openai.embeddings.create`."""
    return next((operation for part, operation in _OPERATIONS if part in op), "chat")


def _columns_among(attributes: Mapping[str, Any] | None) -> Row:
    return {n: v for n, v in (attributes or {}).items() if n in _FROM_ATTRIBUTES}


def _time(at: str) -> datetime:
    # Python 3.10 does not parse `Z`
    return datetime.fromisoformat(at.replace("Z", "+00:00"))
