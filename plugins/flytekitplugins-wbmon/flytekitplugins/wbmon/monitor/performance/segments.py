"""Divides a window into parts, by a column's values or by time, and compares each with the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.data.groups import (
    OTHER,
    Groups,
    edges_of,
    few_numbers,
    named_groups,
    ranges,
    require_scalar,
)
from flytekitplugins.wbmon.data.objects import split, value_type
from flytekitplugins.wbmon.data.whole import lost_digits
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.baseline import Baseline
from flytekitplugins.wbmon.monitor.performance.outcomes import Outcomes
from flytekitplugins.wbmon.monitor.performance.part import (
    Metric,
    Part,
)
from flytekitplugins.wbmon.monitor.performance.report import (
    Every,
    PerformanceReport,
)
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.reports.verdict import MetricVerdict
from flytekitplugins.wbmon.stats.arrays import Floats

Measure = Callable[[Outcomes, Baseline | None], PerformanceReport]

_MAX_PARTS = 50
_MAX_VALUES = 20
_RANGES = 4
_ALPHA = 0.05
_MISSING = "(missing)"
_UNITS = {"hour": "h", "day": "D", "week": "D", "month": "M"}


def segments(
    table: pa.Table, columns: Sequence[str], outcomes: Outcomes, measure: Measure, metric: str
) -> tuple[Part, ...]:
    """Measure each value of the columns as a part, and sort the parts, worst by `metric` first.

    A value is what it is, however it is stored: whole numbers keep their digits, times are divided
    by day (UTC), durations are in seconds; blank text is missing. Numbers and durations with more
    than 20 distinct values are divided at their quartiles, and a value that several quartiles share
    is a range of its own. Of more than 50 other values, the rarest are combined into one group.

    Args:
        table: The window, with the columns.
        columns: Names of the columns.
        outcomes: The measured rows of the window.
        measure: Computes the report of a part, compared with a baseline.
        metric: The metric that decides the verdict and the order.

    Raises:
        DataError: If a column holds lists or structs, or a few floats that have lost digits.
    """
    parts = [
        part
        for name in dict.fromkeys(columns)
        for part in _parts(name, _by_value(table[name], name), outcomes, measure)
    ]
    judged = _judged(parts, metric)
    return tuple(sorted(judged, key=lambda part: _badness(part, metric)))


def chunks(
    times: Floats, column: str, every: Every, outcomes: Outcomes, measure: Measure, metric: str
) -> tuple[Part, ...]:
    """Measure each period of a time column as a part, in time order.

    Args:
        times: Time of each row of the window in seconds since 1970, nan where there is none.
        column: Name of the time column.
        every: Length of a period.
        outcomes: The measured rows of the window.
        measure: Computes the report of a part, compared with a baseline.
        metric: The metric that decides the verdict.
    """
    groups = _by_time(times, every)
    return tuple(_judged(list(_parts(column, groups, outcomes, measure)), metric))


def _parts(by: str, groups: Groups, outcomes: Outcomes, measure: Measure) -> Iterator[Part]:
    for code, value in enumerate(groups.names):
        inside = groups.codes == code
        # all other rows, not the whole window: independent of the part, as the interval requires
        rest = measure(outcomes.part(~inside), None)
        report = measure(outcomes.part(inside), Baseline.of_report(rest))
        yield Part(
            by=by,
            value=value,
            status=report.status,
            n_rows=report.n_rows,
            n_labelled=report.n_labelled,
            metrics=report.metrics,
        )


def _judged(parts: list[Part], metric: str) -> list[Part]:
    tested = sum(part.status == "ok" for part in parts)
    return [replace(part, verdict=_verdict(part.metrics[metric], tested)) for part in parts]


def _verdict(metric: Metric, tested: int) -> MetricVerdict:
    # Bonferroni over the parts: among many parts some look worse by chance
    if metric.verdict in ("worse", "better") and metric.p_value * tested > _ALPHA:
        return "ok"
    return metric.verdict


def _badness(part: Part, metric: str) -> tuple[int, float]:
    """Sort key, worst first: by verdict, then by the change of the metric."""
    order = ("worse", "ok", "unknown", "better")
    loss = part.metrics[metric].change * (-1 if part.metrics[metric].higher_is_better else 1)
    # nan has no order, and would leave the parts after it unsorted
    return order.index(part.verdict), 0.0 if np.isnan(loss) else -loss


def _by_value(column: pa.ChunkedArray, name: str) -> Groups:
    require_scalar(column.type, name)
    array = column.combine_chunks()
    if kind_of(value_type(array.type)) not in ("number", "duration"):
        return _with_missing(_most_frequent(named_groups(array)))
    few = few_numbers(array, _MAX_VALUES)
    if few is not None:
        # many of such a size are a quantity, a few are names
        if lost := lost_digits(split(array).values):
            raise DataError(
                f"column {quoted_name(name)} must hold segments of which no digit is lost, {lost}"
            )
        return _with_missing(few)
    edges = edges_of(array, np.arange(1, _RANGES) / _RANGES)
    if not len(edges):
        return _with_missing(_most_frequent(named_groups(array)))
    return _with_missing(ranges(array, edges))


def _most_frequent(groups: Groups) -> Groups:
    """The groups, the rarest of more than `_MAX_PARTS` put together."""
    if len(groups.names) <= _MAX_PARTS:
        return groups
    codes, words = groups
    sizes = np.bincount(codes[codes >= 0])
    # stable: groups of equal size keep the order of appearance, so the choice is repeatable
    kept = np.argsort(-sizes, kind="stable")[: _MAX_PARTS - 1]
    # the last place is that of the code -1, missing
    place = np.full(len(words) + 1, len(kept))
    place[kept] = np.arange(len(kept))
    place[-1] = -1
    # each word outside `kept` has the code len(kept), which is that of OTHER
    return Groups(place[codes], [*(words[i] for i in kept), OTHER])


def _with_missing(groups: Groups) -> Groups:
    codes, names = groups
    if (codes >= 0).all():
        return groups
    if _MISSING in names:
        return Groups(np.where(codes >= 0, codes, names.index(_MISSING)), names)
    return Groups(np.where(codes >= 0, codes, len(names)), [*names, _MISSING])


def _by_time(times: Floats, every: Every) -> Groups:
    present = ~np.isnan(times)
    at = np.floor(times[present]).astype("datetime64[s]")
    start = at.astype(f"datetime64[{_UNITS[every]}]")
    if every == "week":
        start -= (start.astype(np.int64) + 3) % 7  # day 0, 1970-01-01, was a Thursday
    periods, place = np.unique(start, return_inverse=True)
    codes = np.full(len(times), -1)
    codes[present] = place
    return _with_missing(Groups(codes, [str(period) for period in periods]))
