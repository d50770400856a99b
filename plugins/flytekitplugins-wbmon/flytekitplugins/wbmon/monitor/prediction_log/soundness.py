"""What a row must hold to be counted with others: a wrong number would make all sums wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.fit import fit
from flytekitplugins.wbmon.monitor.prediction_log.schema import WINDOW_COLUMNS, RowKind
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

MOST_WEIGHT = 1e12
"""Requests that a row may stand for: one in so many is the least that is kept."""

_COUNTS = ("requests", "failed", "in_flight_max", "sampled_rows", "dropped_rows", "queue_depth_max")
# without these nothing is known of the requests; others may be null
_NEEDED = ("requests", "failed")
_MAPS = ("errors", "status")
_HISTOGRAMS = tuple(name for name, of in WINDOW_COLUMNS.items() if of == "histogram")


def unsound(kind: RowKind, row: Mapping[str, Any]) -> str:
    """Why a row of a segment cannot be counted; empty if it can.

    Args:
        kind: The kind of the row.
        row: Its fields, as somebody wrote them.
    """
    if kind == "prediction":
        return _unsound_weight(row.get("sample_weight"))
    if kind == "feedback":
        return ""
    fitted = {name: fit(of, row.get(name)) for name, of in WINDOW_COLUMNS.items()}
    for name in (*_NEEDED, *_MAPS, *_HISTOGRAMS):
        given = row.get(name)
        if given is not None and (
            fitted[name] is None or (name in _MAPS and len(fitted[name]) != len(given))
        ):
            return f"of a {name} that cannot be read"
    return unsound_window(fitted)


def unsound_window(row: Mapping[str, Any]) -> str:
    """Why the numbers of a window cannot be; empty if they can.

    Args:
        row: The columns of a window; maps may be lists of pairs.
    """
    requests = row.get("requests")
    if requests is None:
        return "without a number of requests"
    start, end = row.get("window_start"), row.get("window_end")
    if start is not None and end is not None and end < start:
        return "of a window_end before its window_start"
    if (row.get("failed") or 0) > requests:
        return "of more failed requests than requests"
    for name in (*_COUNTS, *_MAPS):
        value = row.get(name)
        counts = dict(value or ()).values() if name in _MAPS else (value,)
        if any(count is not None and count < 0 for count in counts):
            return f"of a negative count in {name}"
    wrong = [name for name in _HISTOGRAMS if not _is_histogram(row.get(name))]
    return f"of a {wrong[0]} that is no histogram" if wrong else ""


def _is_histogram(value: Any) -> bool:
    try:
        return value is None or LogHistogram.from_dict(value).n >= 0
    except DataError:
        return False


def _unsound_weight(value: Any) -> str:
    if value is None:
        return ""
    weight = fit("float64", value)
    is_weight = weight is not None and 1 <= weight <= MOST_WEIGHT
    return "" if is_weight else f"of a sample_weight that is not in [1, {MOST_WEIGHT:g}]"
