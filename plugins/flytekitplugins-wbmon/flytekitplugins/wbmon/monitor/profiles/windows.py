"""Divides a table into windows, by time and by segment, and makes a profile of each.

The table is read once, and its rows can be in any order; only the profiles are kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import is_valid
from flytekitplugins.wbmon.data.groups import Groups, require_scalar
from flytekitplugins.wbmon.data.names import encode_names
from flytekitplugins.wbmon.data.open import Data, open_values
from flytekitplugins.wbmon.data.plain import PlainSource
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.sources import known_names, stored_names
from flytekitplugins.wbmon.data.times import Counted, batch_times, require_times
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.profiles.build import count_part, unknown_columns
from flytekitplugins.wbmon.monitor.profiles.facets import Embed
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.layout import adopt_layout, as_missing_if_empty
from flytekitplugins.wbmon.monitor.profiles.merge import merge_features
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.monitor.profiles.rows import Rows, require_facets, rows_like

TimeSpan = Literal["hour", "day", "week", "month"]

MAX_WINDOWS = 10_000
_HOUR, _DAY = 3600, 86_400
_MONDAY = 3  # 1970 began on a Thursday
_LAST = datetime.max.replace(tzinfo=timezone.utc)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class TimeWindow(NamedTuple):
    """The key of a window.

    Attributes:
        segment: Value of the segment column; empty if the table is not divided by one.
        start: Start of the time span, UTC; None if the table is not divided by time.
    """

    segment: str
    start: datetime | None


class Windows(NamedTuple):
    """Profiles of all windows of a table.

    Attributes:
        profiles: Profiles by window, ordered by segment, then by time.
        n_undated: Number of rows in no window, because their time is missing or cannot be read.
        n_without_segment: Number of rows that have a time if windows are cut by it, and are in no
            window, because their segment is missing or blank.
    """

    profiles: dict[TimeWindow, Profile]
    n_undated: int
    n_without_segment: int = 0


def profile_windows(
    data: Data,
    *,
    like: Profile,
    at: str = "",
    by: TimeSpan = "day",
    segment: str = "",
    embed: Mapping[str, Embed] | None = None,
) -> Windows:
    """Profile every window of a table in the layout of a reference, in one pass.

    Args:
        data: Data in any form `profile_data` accepts; its rows may be in any order.
        like: The reference.
        at: The column with the time of a row, UTC; empty to divide by segment only. `at` and
            `segment` may be partition columns, whose values are only in folder names
            (`day=2026-01-01/…`).
        by: Length of a window: `hour`, `day`, `week` (from Monday) or `month`.
        segment: The column whose values are the segments; empty to divide by time only.
        embed: What turns texts into vectors, as for the reference.

    Returns:
        The profiles, and the numbers of rows that are in no window.

    Raises:
        ConfigError: If neither `at` nor `segment` is given, or `by` is no span.
        DataError: If a column does not exist, `segment` holds lists or structs, `at` something else
            than times (more than one of its values, and more than one in twenty), ages or the
            meaning of texts cannot be counted as in `like`, or there are more than `MAX_WINDOWS`
            windows.
    """
    source = open_values(data, naming=[at, segment, *like.features, like.weight, like.at])
    _require_cut(at, by, segment)
    if source.n_rows == 0:
        # what has no row need not have the columns that nobody could fill
        return Windows({}, 0)
    _require_columns(source, at, segment)
    known = dict.fromkeys([*like.features, *stored_names(source)])
    names = [name for name in known if name not in (at, segment, like.weight)]
    layouts = [adopt_layout(source, name, like.features.get(name)) for name in names]
    keys = [name for name in (at, segment) if name]
    rows_of = rows_like(like, embed=embed)
    # a window that has an end dates its rows
    require_facets(like, rows_of._replace(at=rows_of.at or at))
    columns = list(dict.fromkeys([*names, *keys, *rows_of.columns]))
    counted: dict[TimeWindow, list[FeatureProfile]] = {}
    n_undated = n_without_segment = 0
    dated: list[Counted] = []
    aged: list[Counted] = []
    for part in source.parts():
        for batch in part(columns):
            times = _times(batch, at, dated)
            segments = _segments(batch, segment)
            n_undated += int((~np.isfinite(times)).sum())
            n_without_segment += int((np.isfinite(times) & (segments.codes < 0)).sum())
            for window, rows in _split(batch, times, segments, at, by):
                found = count_part(_as_part(rows), layouts, _of_window(rows_of, window, by), aged)
                before = counted.get(window)
                counted[window] = (
                    found
                    if before is None
                    else [merge_features(pair) for pair in zip(before, found, strict=True)]
                )
                # checked for every group: a column of unique values would fill the memory
                _require_few(len(counted), segment)
    require_times(at, dated)
    require_times(str(rows_of.at), aged)
    profiles = {window: _profile(counted[window], like) for window in sorted(counted, key=_order)}
    return Windows(profiles, n_undated, n_without_segment)


def end_of(start: datetime, by: TimeSpan) -> datetime:
    """End (exclusive) of the time span that begins at `start`, at most the last time that there is.

    A time that has no end, such as 9999-12-31, is in the last span of the calendar.
    """
    # in December, month // 12 is 1 and month % 12 is 0: January of the next year
    if by == "month":
        year, month = start.year + start.month // 12, start.month % 12 + 1
        return _LAST if year > _LAST.year else datetime(year, month, 1, tzinfo=timezone.utc)
    length = {"hour": timedelta(hours=1), "day": timedelta(1), "week": timedelta(7)}[by]
    return start + length if start <= _LAST - length else _LAST


def _require_cut(at: str, by: str, segment: str) -> None:
    if not at and not segment:
        raise ConfigError(
            "windows must be cut by time, by segment or by both; give at= or segment="
        )
    if by not in get_args(TimeSpan):
        raise ConfigError(f"by must be one of {', '.join(get_args(TimeSpan))}; got {by!r}")


def _require_columns(source: PlainSource, at: str, segment: str) -> None:
    names = source.names
    for what, name in (("at", at), ("segment", segment)):
        if name and name not in names:
            raise DataError(unknown_columns(what, [name], known_names(source)))
    if segment:
        require_scalar(source.type_of(segment), segment)


def _require_few(n_windows: int, segment: str) -> None:
    if n_windows > MAX_WINDOWS:
        hint = f" or a column of fewer values than {segment!r}" if segment else ""
        raise DataError(
            f"there must be at most {MAX_WINDOWS:,} windows, found more; take longer spans{hint}"
        )


def _times(batch: pa.RecordBatch, at: str, counted: list[Counted]) -> NDArray[np.float64]:
    """Time of each row, nan where there is none; the epoch if rows are not divided by time."""
    if not at:
        return np.zeros(batch.num_rows)
    times = batch_times(batch.column(at), at)
    counted.append((times.n_known, times.unreadable))
    return times.values


def _segments(batch: pa.RecordBatch, segment: str) -> Groups:
    """The segment of each row; blank text is none."""
    if not segment:
        return Groups(np.zeros(batch.num_rows, dtype=np.int64), [""])
    labels = read_as("category", batch.column(segment)).values
    names, positions = encode_names(labels)
    codes = np.full(batch.num_rows, -1)
    codes[is_valid(labels)] = np.where(
        [not name.strip() for name in names], -1, np.arange(len(names))
    )[positions]
    return Groups(codes, names)


def _split(
    batch: pa.RecordBatch, times: NDArray[np.float64], segments: Groups, at: str, by: TimeSpan
) -> list[tuple[TimeWindow, pa.RecordBatch]]:
    """The rows of a batch that have a time and a segment, by window."""
    codes = segments.codes
    rows = np.flatnonzero(np.isfinite(times) & (codes >= 0))
    starts = np.zeros(batch.num_rows, dtype=np.int64)
    starts[rows] = _truncate(times[rows], by)
    # a stable sort by window; then each window is one slice of the batch
    rows = rows[np.lexsort((starts[rows], codes[rows]))]
    changes = (np.diff(starts[rows]) != 0) | (np.diff(codes[rows]) != 0)
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(rows)]
    # one `take` for the batch, because a filter for each window would read all rows every time
    ordered = batch.take(_arrow_indices(rows))
    groups = []
    for first, stop in pairwise(bounds):
        if stop > first:
            row = rows[first]
            start = _EPOCH + timedelta(seconds=int(starts[row])) if at else None
            window = TimeWindow(segments.names[codes[row]], start)
            groups.append((window, ordered.slice(first, stop - first)))
    return groups


def _truncate(times: NDArray[np.float64], by: TimeSpan) -> NDArray[np.int64]:
    """Start of the span of each time, in seconds since 1970."""
    whole = np.floor(times).astype(np.int64)
    if by == "hour":
        return whole // _HOUR * _HOUR
    days = whole // _DAY
    # floor division also rounds times before 1970 down
    if by == "week":
        days = (days + _MONDAY) // 7 * 7 - _MONDAY
    elif by == "month":
        months = days.astype("datetime64[D]").astype("datetime64[M]")
        days = months.astype("datetime64[D]").astype(np.int64)
    return days * _DAY


def _arrow_indices(rows: NDArray[Any]) -> pa.Array:
    """Row numbers as an Arrow array; `pyarrow.array` would import pandas, which is slow."""
    return pa.Array.from_buffers(
        pa.int64(), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows, dtype=np.int64))]
    )


def _of_window(rows: Rows, window: TimeWindow, by: TimeSpan) -> Rows:
    """The columns of the rows; without a column of times, a window that has an end dates them."""
    if rows.at or window.start is None:
        return rows
    return rows._replace(at=end_of(window.start, by))


def _as_part(batch: pa.RecordBatch) -> Any:
    def read(_: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield batch

    return read


def _profile(features: Sequence[FeatureProfile], like: Profile) -> Profile:
    counted = {feature.name: as_missing_if_empty(feature) for feature in features}
    n_rows = next((feature.n_rows for feature in features), 0)
    return Profile(
        n_rows=n_rows, features=counted, layout=like.layout, weight=like.weight, at=like.at
    )


def _order(window: TimeWindow) -> tuple[str, datetime]:
    return window.segment, window.start or _EPOCH
