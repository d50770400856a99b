"""Rows of a prediction log as Arrow tables of its contract, whatever a row may lack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.monitor.prediction_log.schema import COLUMNS, FEATURE_PREFIX, RowKind

_INSTANT = pa.timestamp("us", "UTC")
_HISTOGRAM = pa.struct(
    [
        ("scale", pa.int16()),
        ("offset", pa.int32()),
        ("counts", pa.list_(pa.int64())),
        ("zero_count", pa.int64()),
        ("sum", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
    ]
)
_DOCUMENTS = pa.list_(
    pa.struct([("id", pa.string()), ("rank", pa.int32()), ("score", pa.float64())])
)
_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "int16": pa.int16(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": _INSTANT,
    "map<string,float64>": pa.map_(pa.string(), pa.float64()),
    "map<string,int64>": pa.map_(pa.string(), pa.int64()),
    "histogram": _HISTOGRAM,
    "documents": _DOCUMENTS,
    "any": pa.null(),
}
_COERCE: Mapping[str, Callable[[Any], Any]] = {
    "string": str,
    "int16": int,
    "int64": int,
    "float64": float,
    "bool": bool,
}


def log_table(kind: RowKind, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table: the columns of the contract, then a column for each feature.

    A value that does not fit its column becomes null; fields that the contract does not know are
    left out.

    Args:
        kind: Which table.
        rows: As serving wrote them, without lines that are no row.
    """
    columns = {
        name: _column(type_name, [row.get(name) for row in rows])
        for name, type_name in COLUMNS[kind].items()
    }
    if kind == "prediction":
        columns |= _feature_columns(rows)
    return pa.table(columns)


def empty_log_table(kind: RowKind) -> pa.Table:
    """The table without rows."""
    return pa.table({name: pa.array([], _TYPES[of]) for name, of in COLUMNS[kind].items()})


def _column(type_name: str, values: list[Any]) -> pa.Array:
    if type_name == "any":
        return plain_column(values)
    if type_name == "timestamp":
        return pa.array(values, pa.string()).cast(_INSTANT)
    if type_name.startswith("map"):
        values = [list(value.items()) if isinstance(value, dict) else None for value in values]
    try:
        return pa.array(values, _TYPES[type_name])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        coerce = _COERCE.get(type_name)
        kept = [None if coerce is None else _fitting(value, coerce) for value in values]
        return pa.array(kept, _TYPES[type_name])


def plain_column(values: Iterable[Any]) -> pa.Array:
    """Booleans, whole numbers, numbers or texts, by what the values are; null without any."""
    known = list(values)
    kinds = {type(value) for value in known if value is not None}
    if not kinds:
        return pa.nulls(len(known))
    if kinds == {bool}:
        return pa.array(known, pa.bool_())
    if kinds == {int}:
        return pa.array(known, pa.int64())
    if kinds <= {int, float, bool}:
        return pa.array([None if value is None else float(value) for value in known])
    return pa.array([None if value is None else str(value) for value in known], pa.string())


def _feature_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    values: dict[str, list[Any]] = {}
    for index, row in enumerate(rows):
        for group in ("features", "cat_features"):
            for name, value in (row.get(group) or {}).items():
                column = values.setdefault(name, [None] * len(rows))
                column[index] = value
    return {f"{FEATURE_PREFIX}{name}": plain_column(values[name]) for name in sorted(values)}


def _fitting(value: Any, coerce: Callable[[Any], Any]) -> Any:
    try:
        return None if value is None else coerce(value)
    except (TypeError, ValueError, OverflowError):
        return None
