"""Summary of a service from its serving windows, which count every request."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.arguments import require_share
from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.data.sources import Source
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.soundness import MOST_WEIGHT, unsound_window
from flytekitplugins.wbmon.monitor.service.outcomes import failed_requests, merged
from flytekitplugins.wbmon.monitor.service.report import (
    LATENCY_LEVELS,
    ServingConfidence,
    ServingReport,
    Traffic,
)
from flytekitplugins.wbmon.stats.interval import wilson_interval
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

_N_BINS = 10
_MINUTE_S = 60


def summarize_serving(
    windows: Any, *, predictions: Any = None, low_confidence: float = 0.5
) -> ServingReport:
    """Summarise the serving windows of a period.

    Counts, rates and percentiles cover all requests of all processes; percentiles have a relative
    error of at most 1.1 %. The confidence of the model is estimated from the sampled rows of the
    prediction log with their weights.

    Args:
        windows: The serving windows; any data that `open_source` accepts.
        predictions: The prediction log of the same period; only `score`, `prediction` and
            `sample_weight` are read. None to leave out the confidence.
        low_confidence: Rows with a lower score count as uncertain; in [0, 1].

    Returns:
        Traffic in total, by route and by tenant, and the confidence.

    Raises:
        ConfigError: If `low_confidence` is not in [0, 1].
        DataError: If the windows are not those of a prediction log.
    """
    require_share("low_confidence", low_confidence)
    rows, _, unreadable = window_rows(windows)
    total = _traffic("all", rows)
    confidence = None
    if predictions is not None:
        confidence = _confidence(open_source(predictions), low_confidence)
    return ServingReport(
        start_at=min((row["window_start"] for row in rows), default=None),
        end_at=max((row["window_end"] for row in rows), default=None),
        total=total,
        routes=_groups(rows, "route"),
        tenants=_groups(rows, "tenant"),
        peak_per_s=_peak(rows),
        in_flight_max=max((row.get("in_flight_max") or 0 for row in rows), default=0),
        n_instances=len({row["instance"] for row in rows}),
        n_sampled=sum(row.get("sampled_rows") or 0 for row in rows),
        n_dropped=sum(row.get("dropped_rows") or 0 for row in rows),
        confidence=confidence,
        reason=_reason(total) + unreadable,
    )


class WindowRows(NamedTuple):
    """The rows of serving windows that say when and how many.

    Attributes:
        rows: The rows.
        n_unreadable: Number of other rows.
        unreadable: A remark on them, to be appended to a reason; empty if there are none.
    """

    rows: list[dict[str, Any]]
    n_unreadable: int = 0
    unreadable: str = ""


def window_rows(windows: Any) -> WindowRows:
    """Read the rows of serving windows.

    Raises:
        DataError: If the data are not serving windows.
    """
    source = open_source(windows)
    needed = ("window_start", "window_end", "instance", "route", "requests", "status", "latency")
    missing = [name for name in needed if name not in source.names]
    if missing and "latency_ms" in source.names:
        raise DataError(
            "the data must be serving windows, which count every request; got a row for each "
            "request, as a prediction log or a log of model calls has them. Give the `windows` of "
            "CompactPredictionLog; the calls of a model are counted where its callers are served"
        )
    if missing:
        raise DataError(
            f"the data must be serving windows of a prediction log; {', '.join(missing)} not found "
            f"among {', '.join(source.names)}"
        )
    every = [
        row
        for part in source.parts()
        for batch in part(source.names)
        for row in pa.Table.from_batches([batch]).to_pylist()
    ]
    counted = ("window_start", "window_end", "route")
    rows = [
        row
        for row in every
        if all(row[name] is not None for name in counted) and not unsound_window(row)
    ]
    n = len(every) - len(rows)
    return WindowRows(rows, n, f"; {n} of {len(every)} windows could not be read" if n else "")


def _groups(rows: list[dict[str, Any]], column: str) -> tuple[Traffic, ...]:
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get(column) is not None:
            by_name[row[column]].append(row)
    groups = [_traffic(name, group) for name, group in by_name.items()]
    return tuple(sorted(groups, key=lambda group: (-group.n_requests, group.name)))


def _traffic(name: str, rows: list[dict[str, Any]]) -> Traffic:
    n = sum(row["requests"] for row in rows)
    failed = sum(failed_requests(row) for row in rows)
    errors: Counter[str] = Counter()
    for row in rows:
        errors.update(dict(row.get("errors") or ()))
    low, high = wilson_interval(failed, n)
    return Traffic(
        name=name,
        n_requests=n,
        n_failed=failed,
        error_rate=failed / n if n else math.nan,
        error_rate_low=low,
        error_rate_high=high,
        errors=dict(errors.most_common()),
        latency_ms=_percentiles(merged(rows, "latency")),
        first_chunk_ms=_percentiles(merged(rows, "time_to_first_chunk")),
    )


def _percentiles(histogram: LogHistogram) -> dict[str, float]:
    n = histogram.n
    if not n:
        return {}
    found = {f"p{level}": histogram.quantile(level / 100) for level in LATENCY_LEVELS}
    return found | {"mean": histogram.total / n, "max": histogram.largest}


def _peak(rows: list[dict[str, Any]]) -> float:
    """Requests per second in the busiest minute; each window counts in the minute of its start."""
    by_minute: Counter[datetime] = Counter()
    for row in rows:
        by_minute[row["window_start"].replace(second=0, microsecond=0)] += row["requests"]
    return max(by_minute.values()) / _MINUTE_S if by_minute else math.nan


def _confidence(source: Source, threshold: float) -> ServingConfidence | None:
    if "score" not in source.names:
        return None
    scores = _numbers(source, "score")
    is_weighted = "sample_weight" in source.names
    weights = _numbers(source, "sample_weight") if is_weighted else np.ones(len(scores))
    # one that says nothing, or nothing that can be, stands for itself
    weights = np.where((weights >= 1) & (weights <= MOST_WEIGHT), weights, 1.0)
    present = ~np.isnan(scores)
    if not present.any():
        return ServingConfidence(n_rows=0, threshold=threshold)
    w, s = weights[present], scores[present]
    share = float(w[s < threshold].sum() / w.sum())
    # Kish's effective sample size: unequal weights carry less information than equal ones
    effective = float(w.sum() ** 2 / (w * w).sum())
    low, high = wilson_interval(share * effective, effective)
    bins, _ = np.histogram(np.clip(s, 0, 1), bins=_N_BINS, range=(0, 1), weights=w)
    top, entropy = _variety(source, weights)
    return ServingConfidence(
        n_rows=int(present.sum()),
        mean=float((w * s).sum() / w.sum()),
        low_share=share,
        low_share_low=low,
        low_share_high=high,
        threshold=threshold,
        histogram=tuple(float(part) for part in bins / w.sum()),
        top_share=top,
        entropy_bits=entropy,
    )


def _variety(source: Source, weights: np.ndarray[Any, Any]) -> tuple[float, float]:
    if "prediction" not in source.names:
        return math.nan, math.nan
    try:
        answers = source.column("prediction").to_pylist()
    except DataError:
        # files that do not agree on what a prediction is; the rest of the report does not need it
        return math.nan, math.nan
    by_answer: dict[Any, float] = defaultdict(float)
    for answer, weight in zip(answers, weights.tolist(), strict=True):
        if answer is not None:
            by_answer[repr(answer) if isinstance(answer, list | dict) else answer] += weight
    shares = np.array(list(by_answer.values()))
    if not len(shares):
        return math.nan, math.nan
    shares /= shares.sum()
    return float(shares.max()), float(-(shares * np.log2(shares)).sum()) + 0.0


def _numbers(source: Source, name: str) -> np.ndarray[Any, Any]:
    values = source.column(name).to_pylist()
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def _reason(total: Traffic) -> str:
    if not total.n_requests:
        return "no requests"
    text = f"{total.n_requests} requests, {total.n_failed} failed"
    if total.latency_ms:
        text += f"; p99 {total.latency_ms['p99']:.4g} ms"
    for name, n in list(total.errors.items())[:1]:
        text += f"; most frequent error {name} ({n})"
    return text
