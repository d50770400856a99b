"""The call log as a table: rows of segments with the types that the data contract gives them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.monitor.prediction_log.schema import CALL_COLUMNS, PREDICTION_COLUMNS
from flytekitplugins.wbmon.monitor.prediction_log.segments import segment_contents

_TYPES = {
    "string": pa.string(),
    "int16": pa.int16(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "any": pa.string(),
    "map<string,float64>": pa.map_(pa.string(), pa.float64()),
    "documents": pa.list_(
        pa.struct([("id", pa.string()), ("rank", pa.int32()), ("score", pa.float64())])
    ),
}
SCHEMA = pa.schema(
    [(name, _TYPES[kind]) for name, kind in {**PREDICTION_COLUMNS, **CALL_COLUMNS}.items()]
)


def read_calls(
    destination: str | Path, *, service: str | None = None, filesystem: Any = None
) -> pa.Table:
    """The rows of all segments below a call log's folder, also of those being written.

    A last line that is torn is left out, as are rows of another kind and fields nobody knows.

    Args:
        destination: The folder given to `CallLog`, a path or fsspec URL.
        service: Only this one; all of them if None.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.

    Returns:
        A table with the columns of the prediction log, and those of calls (`CALL_COLUMNS`).
    """
    texts = segment_contents(str(destination), service=service or "", filesystem=filesystem)
    return table_of(row for text in texts for row in parse_rows(text))


def table_of(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows as a table; a column that no row has is all null."""
    typed = [_typed(row) for row in rows]
    return pa.Table.from_pylist(typed, schema=SCHEMA)


def parse_rows(text: bytes) -> Iterator[dict[str, Any]]:
    """The calls among the lines of a segment; the torn end of one is cut off."""
    for line in text[: text.rfind(b"\n") + 1].splitlines():
        row = json.loads(line)
        if row.get("kind", "prediction") == "prediction":
            yield row


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    found = {name: row.get(name) for name in SCHEMA.names}
    at = found["timestamp"]
    if isinstance(at, str):
        found["timestamp"] = datetime.fromisoformat(at.replace("Z", "+00:00"))
    stages = found["stage_ms"]
    if isinstance(stages, dict):
        found["stage_ms"] = list(stages.items())
    if found["attempt_log"] is not None and not isinstance(found["attempt_log"], str):
        found["attempt_log"] = json.dumps(found["attempt_log"])
    if found["prediction"] is not None:
        found["prediction"] = str(found["prediction"])
    return found
