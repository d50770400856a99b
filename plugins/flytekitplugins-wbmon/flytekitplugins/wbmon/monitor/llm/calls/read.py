"""The call log as a table: rows of segments with the types that the data contract gives them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.data.alike import converted
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log import arrow_schema
from flytekitplugins.wbmon.monitor.prediction_log.files import LogFiles, services_of
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    CALL_COLUMNS,
    PREDICTION_COLUMNS,
    is_day,
)
from flytekitplugins.wbmon.monitor.prediction_log.segments import (
    key_columns,
    keys_of,
    read_segment,
    written_values,
)
from flytekitplugins.wbmon.storage.segments.read import read_segments

logger = logging.getLogger(__name__)

# a model's answer is a text, and a log without one has no other type for it
_COLUMNS = {**PREDICTION_COLUMNS, **CALL_COLUMNS, "prediction": "string"}


def read_calls(
    destination: str | Path,
    *,
    service: str | None = None,
    day: str | None = None,
    filesystem: Any = None,
) -> pa.Table:
    """The rows of all segments below a call log's folder, also of those being written.

    Rows of another kind and fields nobody knows are left out. So are torn lines, such as the last
    one of a process that was killed; a warning says how many.

    Args:
        destination: The folder given to `CallLog`, a path or fsspec URL.
        service: Only this one; all of them if None.
        day: Only rows of this day (UTC), `YYYY-MM-DD`, also those that `CompactPredictionLog` has
            made Parquet of. If None, those of segments of any day.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.

    Returns:
        A table with the columns of the prediction log, and those of calls (`CALL_COLUMNS`).

    Raises:
        ConfigError: If `day` is no day.
        DataError: If a row is of a newer schema than this package knows.
    """
    if day is not None and not is_day(day):
        raise ConfigError(f"day must be a day as YYYY-MM-DD, got {day!r}")
    # first, as what is compacted meanwhile is found in the parts
    found, n_torn = [], 0
    for path, data in read_segments(str(destination), service, filesystem=filesystem):
        segment = read_segment(path, data)
        n_torn += segment.n_torn
        for (kind, of), rows in segment.rows.items():
            found += rows if kind == "prediction" and day in (None, of) else []
    if n_torn:
        logger.warning(
            "call log %s: %d lines are torn or no rows, and left out", destination, n_torn
        )
    table = table_of(found)
    if day is None:
        return table
    return _each_once([table, *_parts(str(destination), service, day, filesystem)])


def table_of(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows as a table; a column that no row has is all null."""
    return arrow_schema.table_of(_COLUMNS, list(rows))


def _parts(destination: str, service: str | None, day: str, filesystem: Any) -> Iterator[pa.Table]:
    """What was compacted of a day, with the columns of the call log."""
    services = [service] if service else services_of(destination, filesystem)
    for log in (LogFiles(destination, each, filesystem) for each in services):
        for path, _ in log.parts("prediction", day):
            part = log.read_part(path, [*_COLUMNS])
            if part is None:
                logger.warning("call log %s: %s cannot be read", destination, path)
                continue
            yield pa.table(
                {name: _column(part, name, field.type) for name, field in _fields().items()}
            )


def _fields() -> dict[str, pa.Field]:
    return {field.name: field for field in table_of([]).schema}


def _column(part: pa.Table, name: str, dtype: pa.DataType) -> pa.ChunkedArray:
    if name in part.column_names:
        column = part[name]
        if column.type == dtype:
            return column
        with suppress(pa.ArrowException):
            if pa.types.is_string(dtype):
                chunks = [
                    converted(chunk, pa.large_string()).cast(dtype) for chunk in column.chunks
                ]
                return pa.chunked_array(chunks, dtype)
            return column.cast(dtype)
    return pa.chunked_array([pa.nulls(part.num_rows, dtype)])


def _each_once(tables: list[pa.Table]) -> pa.Table:
    """The rows of all tables; of one that was read before and after its compaction, the first."""
    whole = pa.concat_tables(tables)
    first: dict[int, int] = {}
    columns = {name: written_values(whole, name) for name in key_columns("prediction")}
    for index, key in enumerate(keys_of("prediction", columns)):
        first.setdefault(key, index)
    return whole.take(pa.array([*first.values()], pa.int64()))
