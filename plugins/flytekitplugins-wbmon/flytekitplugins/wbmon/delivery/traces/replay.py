"""Replay of rows of the call log as Weave calls, so that serving need not wait for tracing.

Serving writes a row for each call; a task sends a sample of the rows later, in a process of its
own, so that the traces of a tenant can only reach that tenant's project. Ids of calls are derived
from the rows, so a row with a request id that is replayed twice is one call.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.delivery.store import Kept, OfflineStore
from flytekitplugins.wbmon.delivery.traces.drain import drain_spool
from flytekitplugins.wbmon.delivery.traces.pending import DrainResult
from flytekitplugins.wbmon.delivery.traces.spool import Redact, Spool, Target
from flytekitplugins.wbmon.delivery.traces.store import clear_or_keep
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name

# fixed for ever: another value would change the ids, and send again what Weave has already
_NAMESPACE = uuid.UUID("6f2f0d5a-9d6c-4f0e-9f0b-2c1d3a5e7b91")
_USAGE = {
    "prompt_tokens": "gen_ai_usage_input_tokens",
    "completion_tokens": "gen_ai_usage_output_tokens",
    "cache_read_input_tokens": "gen_ai_usage_cache_read_input_tokens",
}
# fields of their own in a call, so not repeated among its attributes
_LEFT_OUT = frozenset({"input_text", "output_text", "timestamp", "request_id", "error_text"})


class Replayed(NamedTuple):
    """Result of a replay.

    Attributes:
        n_rows: Number of rows read.
        n_replayed: Number of rows in the sample.
        n_feedback: Number of ratings sent with them.
        result: Result of the delivery.
        kept: Where undelivered records are; its `place` is empty if none are left.
    """

    n_rows: int
    n_replayed: int
    n_feedback: int
    result: DrainResult
    kept: Kept


def replay_rows(  # noqa: PLR0913 - what is sent, what goes along, and where to
    rows: Sequence[Mapping[str, Any]],
    target: Target,
    *,
    folder: Path,
    api_key: str,
    redact: Redact,
    rate: float = 1.0,
    feedback: Sequence[Mapping[str, Any]] = (),
    open_store: Callable[[], OfflineStore] | None = None,
    store_url: str = "",
    deadline_s: float = 300.0,
) -> Replayed:
    """Send a sample of rows; failed calls and calls with a rating are always included.

    Args:
        rows: Rows of the call log. Each must have a `timestamp`; of one without a request id, its
            content is the id.
        target: Server, entity and project to send to.
        folder: Local folder for the spool.
        api_key: The W&B key.
        redact: Applied to every text.
        rate: Share of the other rows, in [0, 1]. A hash of the request id selects them, so each
            replay sends the same rows.
        feedback: Rows of the feedback log, each with a `request_id`; they are sent with their call.
        open_store: Opens the store for what cannot be delivered; None leaves that in `folder`.
        store_url: URL of the store, for messages.
        deadline_s: Time limit of the delivery in seconds, and again of the storing.

    Returns:
        Counts of the rows, the result of the delivery, and where the rest is.

    Raises:
        DataError: If a row lacks what it must have, or it is of another kind; then nothing is sent.
    """
    _check(rows, feedback)
    # by request, as feedback may come in any order and in another file than its call
    ratings: dict[str, list[Mapping[str, Any]]] = {}
    for rating in feedback:
        ratings.setdefault(str(rating["request_id"]), []).append(rating)
    spool = Spool(folder, target, redact=redact)
    n_replayed = n_feedback = 0
    for row in rows:
        request_id = _request_id(row)
        own = ratings.get(request_id, [])
        if not (own or row.get("error_type") or _share(request_id) < rate):
            continue
        call_id = _write_call(spool, row, request_id)
        n_replayed += 1
        for rating in own:
            _write_feedback(spool, call_id, rating)
            n_feedback += 1
    spool.close()
    result = drain_spool(spool.folder, api_key=api_key, deadline_s=deadline_s)
    kept = clear_or_keep(spool.folder, result, open_store, url=store_url, timeout_s=deadline_s)
    return Replayed(len(rows), n_replayed, n_feedback, result, kept)


def _check(rows: Sequence[Mapping[str, Any]], feedback: Sequence[Mapping[str, Any]]) -> None:
    for n, row in enumerate(rows):
        _require(row, "timestamp", f"row {n} of the calls")
        try:
            moment("timestamp", row["timestamp"]) + _duration(row)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(
                "a call must have a time as timestamp, or its text as ISO 8601, and a number as "
                f"latency_ms; row {n} has {quoted_name(row['timestamp'])} and "
                f"{quoted_name(row.get('latency_ms'))}"
            ) from error
    for n, rating in enumerate(feedback):
        _require(rating, "request_id", f"row {n} of the feedback")


def _require(row: Mapping[str, Any], column: str, which: str) -> None:
    if row.get(column) is None:
        raise DataError(
            f"{which} must have a {column}, as rows of the log have; it has values in "
            f"{listed_names(row, none='no column')}"
        )


def _request_id(row: Mapping[str, Any]) -> str:
    given = row.get("request_id")
    if given is not None:
        return str(given)
    # not random: a retry would choose other rows, and send the same ones as other calls
    return hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest()[:32]


def _share(request_id: str) -> float:
    # not `hash`, which differs between processes
    digest = hashlib.sha256(request_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _write_call(spool: Spool, row: Mapping[str, Any], request_id: str) -> str:
    project = f"{spool.target.entity}/{spool.target.project}"
    call_id = str(uuid.uuid5(_NAMESPACE, f"{request_id}/{row.get('timestamp')}"))
    # derived, as the log has a duration and no end
    begun = moment("timestamp", row["timestamp"])
    ended = begun + _duration(row)
    attributes = {
        name: value if isinstance(value, str | int | float | bool) else str(value)
        for name, value in row.items()
        if value is not None and name not in _LEFT_OUT
    }
    usage = {name: row.get(column) for name, column in _USAGE.items()}
    counted = {name: value for name, value in usage.items() if value is not None}
    model = row.get("gen_ai_response_model") or row.get("gen_ai_request_model") or "unknown"
    spool.write(
        "call_start",
        {
            "start": {
                "project_id": project,
                "id": call_id,
                "op_name": str(row.get("route") or row.get("gen_ai_operation_name") or "call"),
                "trace_id": str(row.get("trace_id") or call_id),
                "parent_id": None,
                "thread_id": _text(row.get("conversation_id") or row.get("session_id")),
                "started_at": begun.isoformat(),
                "attributes": {**attributes, "request_id": request_id},
                "inputs": {"text": row.get("input_text"), "model": str(model)},
            }
        },
    )
    spool.write(
        "call_end",
        {
            "end": {
                "project_id": project,
                "id": call_id,
                "ended_at": ended.isoformat(),
                "exception": _text(row.get("error_type")),
                "output": row.get("output_text"),
                "summary": {"usage": {str(model): {"requests": 1, **counted}}} if counted else {},
            }
        },
    )
    return call_id


def _write_feedback(spool: Spool, call_id: str, rating: Mapping[str, Any]) -> None:
    project = f"{spool.target.entity}/{spool.target.project}"
    given = {name: rating.get(name) for name in ("name", "score", "label", "comment", "source")}
    named = rating.get("feedback_id") or f"{call_id}/{rating.get('timestamp')}"
    spool.write(
        "feedback_create",
        {
            "id": str(uuid.uuid5(_NAMESPACE, str(named))),
            "project_id": project,
            "weave_ref": f"weave:///{project}/call/{call_id}",
            "feedback_type": "wbmon.rating",
            "payload": {name: value for name, value in given.items() if value is not None},
        },
    )


def _text(value: Any) -> str | None:
    # numbers, such as the status of an error, are refused by Weave where it wants a text
    return None if value is None else str(value)


def _duration(row: Mapping[str, Any]) -> timedelta:
    latency_ms = float(row.get("latency_ms") or 0.0)
    return timedelta(milliseconds=0.0 if math.isnan(latency_ms) else latency_ms)
