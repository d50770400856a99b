"""Analysis of the steps of chains and agents: slow, expensive, failing and looping steps."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.steps.report import Span, StepReport, StepSummary

_LOOP_FROM = 3


def analyse_steps(
    spans: Iterable[Span],
    *,
    loop_from: int = _LOOP_FROM,
    start: datetime | None = None,
    end: datetime | None = None,
) -> StepReport:
    """Summarise the steps of traces.

    A failure is attributed to the step where it began, the deepest one that failed. A loop is a
    step that is called with the same inputs `loop_from` times or more in one trace. A dead end is a
    trace that never ended, or ended without output and without an error. A trace without its root
    never ended: a step is logged when it ends.

    A trace belongs to the window in which its root began, whenever it ended; one without its root
    to that of its first step. So windows side by side count each trace once.

    Args:
        spans: The spans of whole traces, in any order.
        loop_from: Number of identical calls that count as a loop.
        start: Begin of the window; traces that began before are left out. None for no limit.
        end: End of the window; traces that began then or later are left out. None for no limit.

    Raises:
        ConfigError: If `start` or `end` is no moment, or `start` is not before `end`.
    """
    first = None if start is None else moment("start", start)
    last = None if end is None else moment("end", end)
    if first is not None and last is not None and not first < last:
        raise ConfigError(f"start must be before end, got {first} and {last}")
    traces = {
        name: steps
        for name, steps in _traces(spans).items()
        if _is_within(_began_at(steps), first, last)
    }
    loops: Counter[str] = Counter()
    n_failed = n_recovered = n_looping = n_dead_ends = n_unfinished = 0
    for steps in traces.values():
        roots = [span for span in steps if not span.parent_id]
        failed = any(root.error for root in roots)
        n_failed += failed
        is_finished = bool(roots) and all(root.ended_at is not None for root in roots)
        n_unfinished += not failed and not is_finished
        n_recovered += not failed and is_finished and any(span.error for span in steps)
        n_dead_ends += not failed and not (is_finished and all(r.has_output for r in roots))
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
        n_unfinished=n_unfinished,
        steps=summaries,
        loops=dict(loops),
        start_at=first,
        end_at=last,
        reason=_reason(
            len(traces), n_failed, n_looping, n_dead_ends, n_unfinished, steps=summaries
        ),
    )


def _traces(spans: Iterable[Span]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.trace_id].append(span)
    return found


def _began_at(steps: Sequence[Span]) -> datetime:
    roots = [span for span in steps if not span.parent_id]
    return min(moment("the start of a step", span.started_at) for span in roots or steps)


def _is_within(at: datetime, first: datetime | None, last: datetime | None) -> bool:
    return (first is None or at >= first) and (last is None or at < last)


def _looping(steps: Sequence[Span], loop_from: int) -> set[str]:
    counts = Counter((span.name, span.fingerprint) for span in steps if span.fingerprint)
    return {name for (name, _), n in counts.items() if n >= loop_from}


def _summaries(traces: Mapping[str, Sequence[Span]]) -> tuple[StepSummary, ...]:
    by_name: dict[str, list[Span]] = defaultdict(list)
    origins: dict[str, list[str]] = defaultdict(list)
    inside: dict[str, float] = defaultdict(float)
    for steps in traces.values():
        # an error passes up through the callers: a span with a failed child did not start it
        blamed = {span.parent_id for span in steps if span.error}
        for span in steps:
            by_name[span.name].append(span)
            if span.error and span.id not in blamed:
                origins[span.name].append(span.error)
            if not math.isnan(span.latency_ms):
                inside[span.parent_id] += span.latency_ms
    found = [_summary(name, spans, origins[name], inside) for name, spans in by_name.items()]

    def order(step: StepSummary) -> tuple[float, float]:
        return -step.n_origin, 0.0 if math.isnan(step.own_ms) else -step.n * step.own_ms

    return tuple(sorted(found, key=order))


def _summary(
    name: str, spans: Sequence[Span], origins: Sequence[str], inside: Mapping[str, float]
) -> StepSummary:
    latency = np.array([span.latency_ms for span in spans if not math.isnan(span.latency_ms)])
    # parallel children can add up to more time than their parent took
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
        own_ms=math.fsum(own) / len(own) if own else math.nan,
        tokens=math.fsum(span.tokens for span in spans) / len(spans),
        errors=Counter(origins),
    )


def _reason(
    n: int,
    n_failed: int,
    n_looping: int,
    n_dead_ends: int,
    n_unfinished: int,
    *,
    steps: Sequence[StepSummary],
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
    if n_unfinished:
        words += f", {n_unfinished} of them never ended"
    return words
