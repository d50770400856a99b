"""Divides a window into parts, by a column's values or by time, and compares each with the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import (
    dense_numbers,
    is_valid,
    kind_of,
    large_strings,
    seconds,
)
from flytekitplugins.wbmon.data.class_codes import class_name
from flytekitplugins.wbmon.data.columns import float_values, is_class_name, is_number
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.outcomes import Outcomes
from flytekitplugins.wbmon.monitor.performance.report import Every, Metric, Part, PerformanceReport
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.reports.verdict import MetricVerdict
from flytekitplugins.wbmon.stats.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

Measure = Callable[[Outcomes, Mapping[str, Estimate]], PerformanceReport]

_MAX_PARTS = 50
_MAX_VALUES = 20
_RANGES = 4
_ALPHA = 0.05
_MISSING = "(missing)"
_OTHER = "(other)"
_UNITS = {"hour": "h", "day": "D", "week": "D", "month": "M"}


class Groups(NamedTuple):
    """The group of each row, and the names of the groups."""

    codes: Codes
    names: list[str]


def segments(
    table: pa.Table, columns: Sequence[str], outcomes: Outcomes, measure: Measure, metric: str
) -> tuple[Part, ...]:
    """Measure each value of the columns as a part, and sort the parts, worst by `metric` first.

    Numbers with more than 20 distinct values are divided at their quartiles. If a text column has
    more than 50 values, the rarest are combined into one group.

    Args:
        table: The window, with the columns.
        columns: Names of the columns.
        outcomes: The measured rows of the window.
        measure: Computes the report of a part, compared with a baseline.
        metric: The metric that decides the verdict and the order.

    Raises:
        DataError: If a column is neither text, number, boolean nor time.
    """
    parts = [
        part
        for name in columns
        for part in _parts(name, _by_value(table[name], name), outcomes, measure)
    ]
    judged = _judged(parts, metric)
    return tuple(sorted(judged, key=lambda part: _badness(part, metric)))


def chunks(
    table: pa.Table, column: str, every: Every, outcomes: Outcomes, measure: Measure, metric: str
) -> tuple[Part, ...]:
    """Measure each period of a time column as a part, in time order.

    Args:
        table: The window, with the column.
        column: Name of the time column.
        every: Length of a period.
        outcomes: The measured rows of the window.
        measure: Computes the report of a part, compared with a baseline.
        metric: The metric that decides the verdict.

    Raises:
        DataError: If the column does not hold times.
    """
    groups = _by_time(table[column], column, every)
    return tuple(_judged(list(_parts(column, groups, outcomes, measure)), metric))


def _parts(by: str, groups: Groups, outcomes: Outcomes, measure: Measure) -> Iterator[Part]:
    for code, value in enumerate(groups.names):
        inside = groups.codes == code
        # all other rows, not the whole window: independent of the part, as the interval requires
        rest = measure(outcomes.part(~inside), {})
        known = {
            name: Estimate(metric.value, metric.low, metric.high)
            for name, metric in rest.metrics.items()
        }
        report = measure(outcomes.part(inside), known)
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
    if is_class_name(column.type):
        return _by_text(column)
    if not is_number(column.type):
        raise DataError(
            f"segments are cut by text, numbers or booleans; column {quoted_name(name)} holds "
            f"{column.type}"
        )
    values = float_values(column)
    # infinite values count as missing: they have no place between quartiles
    present = np.isfinite(values)
    distinct = np.unique(values[present])
    if len(distinct) <= _MAX_VALUES:
        names = [class_name(value) for value in distinct.tolist()]
        return _with_missing(np.searchsorted(distinct, values), names, present)
    edges = np.unique(np.quantile(values[present], np.arange(1, _RANGES) / _RANGES))
    bounds = [f"{edge:.4g}" for edge in edges]
    names = [f"< {bounds[0]}"]
    names += [f"{low} to {high}" for low, high in pairwise(bounds)]
    names += [f"≥ {bounds[-1]}"]
    return _with_missing(np.searchsorted(edges, values, side="right"), names, present)


def _by_text(column: pa.ChunkedArray) -> Groups:
    encoded = large_strings(column).combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    present = is_valid(encoded.indices)
    codes = np.zeros(len(encoded), dtype=np.int64)
    codes[present] = dense_numbers(encoded.indices)
    if len(words) > _MAX_PARTS:
        sizes = np.bincount(codes[present])
        # stable: groups of equal size keep the order of appearance, so the choice is repeatable
        kept = np.argsort(-sizes, kind="stable")[: _MAX_PARTS - 1]
        place = np.full(len(words), len(kept))
        place[kept] = np.arange(len(kept))
        # each word outside `kept` has the code len(kept), which is that of _OTHER
        codes, words = place[codes], [*(words[i] for i in kept), _OTHER]
    return _with_missing(codes, words, present)


def _with_missing(codes: Codes, names: list[str], present: NDArray[np.bool_]) -> Groups:
    if present.all():
        return Groups(codes, names)
    return Groups(np.where(present, codes, len(names)), [*names, _MISSING])


def _by_time(column: pa.ChunkedArray, name: str, every: Every) -> Groups:
    if kind_of(column.type) != "timestamp":
        raise DataError(
            f"chunks are cut by a timestamp or date; column {quoted_name(name)} holds {column.type}"
        )
    array = column.combine_chunks()
    present = is_valid(array)
    at = seconds(array).astype("datetime64[s]")
    start = at.astype(f"datetime64[{_UNITS[every]}]")
    if every == "week":
        start -= (start.astype(np.int64) + 3) % 7  # day 0, 1970-01-01, was a Thursday
    periods, place = np.unique(start, return_inverse=True)
    codes = np.zeros(len(array), dtype=np.int64)
    codes[present] = place
    return _with_missing(codes, [str(period) for period in periods], present)
