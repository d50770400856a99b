"""The call log as a table: rows of segments with the types that the data contract gives them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.monitor.prediction_log import arrow_schema
from flytekitplugins.wbmon.monitor.prediction_log.schema import CALL_COLUMNS, PREDICTION_COLUMNS
from flytekitplugins.wbmon.monitor.prediction_log.segments import read_segment
from flytekitplugins.wbmon.storage.segments.read import read_segments

logger = logging.getLogger(__name__)

# a model's answer is a text, and a log without one has no other type for it
_COLUMNS = {**PREDICTION_COLUMNS, **CALL_COLUMNS, "prediction": "string"}


def read_calls(
    destination: str | Path, *, service: str | None = None, filesystem: Any = None
) -> pa.Table:
    """The rows of all segments below a call log's folder, also of those being written.

    Rows of another kind and fields nobody knows are left out. So are torn lines, such as the last
    one of a process that was killed; a warning says how many.

    Args:
        destination: The folder given to `CallLog`, a path or fsspec URL.
        service: Only this one; all of them if None.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.

    Returns:
        A table with the columns of the prediction log, and those of calls (`CALL_COLUMNS`).

    Raises:
        DataError: If a row is of a newer schema than this package knows.
    """
    rows, n_torn = [], 0
    for path, data in read_segments(str(destination), service, filesystem=filesystem):
        segment = read_segment(path, data)
        n_torn += segment.n_torn
        for (kind, _), found in segment.rows.items():
            rows += found if kind == "prediction" else []
    if n_torn:
        logger.warning(
            "call log %s: %d lines are torn or no rows, and left out", destination, n_torn
        )
    return table_of(rows)


def table_of(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows as a table; a column that no row has is all null."""
    return arrow_schema.table_of(_COLUMNS, list(rows))
