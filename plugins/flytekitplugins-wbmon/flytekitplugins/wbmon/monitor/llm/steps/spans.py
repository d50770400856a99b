"""Spans of traces: conversion from Weave calls, and their own log."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from flytekitplugins.wbmon.monitor.llm.steps.report import Span
from flytekitplugins.wbmon.storage.json_text import read_json
from flytekitplugins.wbmon.storage.segments.json_lines import read_lines
from flytekitplugins.wbmon.storage.segments.read import read_segments

_FIELDS = tuple(each.name for each in fields(Span))


def steps_folder(destination: str) -> str:
    """The folder of the spans that belong to a call log."""
    return f"{destination.rstrip('/')}/steps"


def row_of_span(span: Span) -> dict[str, Any]:
    """A span as a row of the log."""
    row = asdict(span) | {"kind": "span", "started_at": span.started_at.isoformat()}
    return row | {"ended_at": span.ended_at.isoformat() if span.ended_at else None}


def read_spans(destination: str, *, filesystem: Any = None) -> list[Span]:
    """Read the spans that traced tasks logged; an incomplete last line is left out.

    Args:
        destination: Path or fsspec URL, as passed to `weave_init(call_log=…)`.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
    """
    found = []
    for _, data in read_segments(steps_folder(destination), filesystem=filesystem):
        for row in read_lines(data).rows:
            if row.get("kind") == "span":
                times = {name: _time(row[name]) if row[name] else None for name in _TIMES}
                found.append(Span(**{name: row[name] for name in _FIELDS} | times))
    return _with_own_tokens(found)


_TIMES = ("started_at", "ended_at")


def spans_of_records(records: Iterable[Mapping[str, Any]]) -> list[Span]:
    """The spans among the requests in the write-ahead log of a Weave client."""
    begun: dict[str, Mapping[str, Any]] = {}
    ended: dict[str, Mapping[str, Any]] = {}
    for record in records:
        if record["type"] == "call_start":
            begun[record["req"]["start"]["id"]] = record["req"]["start"]
        elif record["type"] == "call_end":
            ended[record["req"]["end"]["id"]] = record["req"]["end"]
    return _with_own_tokens(
        [span_of_call({**each, **ended.get(i, {})}) for i, each in begun.items()]
    )


def span_of_call(call: Mapping[str, Any]) -> Span:
    """A Weave call as a span; its tokens include those of its descendants."""
    name = str(call.get("op_name") or call.get("display_name") or "step")
    inputs = json.dumps(call.get("inputs"), sort_keys=True, default=str)
    usage = ((call.get("summary") or {}).get("usage") or {}).values()
    return Span(
        id=call["id"],
        trace_id=call["trace_id"],
        parent_id=call.get("parent_id") or "",
        name=name.rpartition("/")[2].partition(":")[0],
        started_at=_time(call["started_at"]),
        ended_at=_time(call["ended_at"]) if call.get("ended_at") else None,
        error=_error(call.get("exception")),
        tokens=math.fsum(_tokens(each) for each in usage),
        # a hash recognises repeated inputs without storing their text
        fingerprint=hashlib.sha256(inputs.encode()).hexdigest()[:16],
        has_output=call.get("output") not in (None, "", [], {}),
    )


def _with_own_tokens(spans: Sequence[Span]) -> list[Span]:
    inside: dict[str, float] = defaultdict(float)
    for span in spans:
        inside[span.parent_id] += span.tokens
    # Weave adds the tokens of children to their parent
    return [replace(span, tokens=max(0.0, span.tokens - inside[span.id])) for span in spans]


def _tokens(usage: Mapping[str, Any]) -> float:
    given = usage.get("prompt_tokens", usage.get("input_tokens")) or 0
    made = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    return float(given + made)


def _error(exception: object) -> str:
    if not exception:
        return ""
    try:
        return str(read_json(str(exception)).get("type") or "Error")
    except (ValueError, AttributeError):
        return str(exception).partition(":")[0][:80]


def _time(at: Any) -> datetime:
    return at if isinstance(at, datetime) else datetime.fromisoformat(at.replace("Z", "+00:00"))
