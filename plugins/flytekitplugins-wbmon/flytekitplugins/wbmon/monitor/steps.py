"""Which step of a chain or agent is slow, dear or broken; which goes round in circles."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from flytekitplugins.wbmon.records.steps import Span, StepReport, StepSummary

_LOOP_FROM = 3


def analyse_steps(spans: Iterable[Span], *, loop_from: int = _LOOP_FROM) -> StepReport:
    """Summarise the steps of traces.

    A failure is charged to the step where it began: the deepest one that failed. A loop is a step
    that is asked the same thing `loop_from` times in one trace. A dead end is a trace that never
    ended, or ended with nothing and without an error.

    Args:
        spans: Of whole traces, in any order.
        loop_from: From how many times on it is a loop.
    """
    traces: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span.trace_id].append(span)
    loops: Counter[str] = Counter()
    n_failed = n_recovered = n_looping = n_dead_ends = 0
    for steps in traces.values():
        roots = [span for span in steps if not span.parent_id]
        failed = any(root.error for root in roots)
        n_failed += failed
        n_recovered += not failed and any(span.error for span in steps)
        n_dead_ends += not failed and any(r.ended_at is None or not r.has_output for r in roots)
        looping = _looping(steps, loop_from)
        n_looping += bool(looping)
        loops.update(looping)
    summaries = _summaries(traces)
    return StepReport(
        n_traces=len(traces),
        n_failed=n_failed,
        n_recovered=n_recovered,
        n_looping=n_looping,
        n_dead_ends=n_dead_ends,
        steps=summaries,
        loops=dict(loops),
        reason=_reason(len(traces), n_failed, n_looping, n_dead_ends, summaries),
    )


def spans_of_records(records: Iterable[Mapping[str, Any]]) -> list[Span]:
    """The steps among the requests of a Weave client, as its write-ahead log has them."""
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
    """A call of Weave as a step; its tokens are those of everything inside it too."""
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
        fingerprint=hashlib.sha256(inputs.encode()).hexdigest()[:16],
        has_output=call.get("output") not in (None, "", [], {}),
    )


def _with_own_tokens(spans: Sequence[Span]) -> list[Span]:
    from dataclasses import replace

    inside: dict[str, float] = defaultdict(float)
    for span in spans:
        inside[span.parent_id] += span.tokens
    return [replace(span, tokens=max(0.0, span.tokens - inside[span.id])) for span in spans]


def _tokens(usage: Mapping[str, Any]) -> float:
    given = usage.get("prompt_tokens", usage.get("input_tokens")) or 0
    made = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    return float(given + made)


def _error(exception: object) -> str:
    if not exception:
        return ""
    try:
        return str(json.loads(str(exception)).get("type") or "Error")
    except (ValueError, AttributeError):
        return str(exception).partition(":")[0][:80]


def _time(at: Any) -> datetime:
    return at if isinstance(at, datetime) else datetime.fromisoformat(at.replace("Z", "+00:00"))


def _looping(steps: Sequence[Span], loop_from: int) -> set[str]:
    counts = Counter((span.name, span.fingerprint) for span in steps if span.fingerprint)
    return {name for (name, _), n in counts.items() if n >= loop_from}


def _summaries(traces: Mapping[str, Sequence[Span]]) -> tuple[StepSummary, ...]:
    by_name: dict[str, list[Span]] = defaultdict(list)
    origins: dict[str, list[str]] = defaultdict(list)
    inside: dict[str, float] = defaultdict(float)
    for steps in traces.values():
        blamed = {span.parent_id for span in steps if span.error}
        for span in steps:
            by_name[span.name].append(span)
            if span.error and span.id not in blamed:
                origins[span.name].append(span.error)
            if not math.isnan(span.latency_ms):
                inside[span.parent_id] += span.latency_ms
    found = [_summary(name, spans, origins[name], inside) for name, spans in by_name.items()]
    return tuple(sorted(found, key=lambda each: (-each.n_origin, -each.n * each.own_ms)))


def _summary(
    name: str, spans: Sequence[Span], origins: Sequence[str], inside: Mapping[str, float]
) -> StepSummary:
    latency = np.array([span.latency_ms for span in spans if not math.isnan(span.latency_ms)])
    own = [max(0.0, s.latency_ms - inside.get(s.id, 0.0)) for s in spans if s.ended_at is not None]
    quantiles = np.percentile(latency, [50, 95]).tolist() if len(latency) else [math.nan] * 2
    return StepSummary(
        name=name,
        n=len(spans),
        n_traces=len({span.trace_id for span in spans}),
        n_errors=sum(bool(span.error) for span in spans),
        n_origin=len(origins),
        latency_ms={
            "mean": float(latency.mean()) if len(latency) else math.nan,
            "p50": quantiles[0],
            "p95": quantiles[1],
        },
        own_ms=math.fsum(own) / len(own) if own else 0.0,
        tokens=math.fsum(span.tokens for span in spans) / len(spans),
        errors=Counter(origins),
    )


def _reason(
    n: int, n_failed: int, n_looping: int, n_dead_ends: int, steps: Sequence[StepSummary]
) -> str:
    if not n:
        return "no trace in this window"
    words = f"{n_failed} of {n} traces failed"
    if steps and steps[0].n_origin:
        first = steps[0]
        kinds = ", ".join(sorted(first.errors, key=lambda kind: -first.errors[kind])[:3])
        words += f", {first.n_origin} failures begin in {first.name} ({kinds})"
    if n_looping:
        words += f"; {n_looping} go round in circles"
    if n_dead_ends:
        words += f"; {n_dead_ends} end without a result"
    return words
