"""Rows of a prediction log as Arrow tables of its contract, whatever a row may lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.monitor.prediction_log.fit import fit
from flytekitplugins.wbmon.monitor.prediction_log.schema import COLUMNS, FEATURE_PREFIX, RowKind
from flytekitplugins.wbmon.storage.segments.json_lines import well_formed

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


def log_table(kind: RowKind, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table: the columns of the contract, then a column for each feature.

    Fields that the contract does not know are left out.

    Args:
        kind: Which table.
        rows: As serving wrote them, without lines that are no row.
    """
    table = table_of(COLUMNS[kind], rows)
    if kind == "prediction":
        for name, column in _feature_columns(rows).items():
            table = table.append_column(name, column)
    return table


def table_of(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of some columns; a value that does not fit its column becomes null.

    Args:
        columns: Name and type, as in `COLUMNS`.
        rows: What they lack is null, what they have beyond is left out.
    """
    return pa.table(
        {
            name: _column(type_name, [row.get(name) for row in rows])
            for name, type_name in columns.items()
        }
    )


def empty_log_table(kind: RowKind) -> pa.Table:
    """The table without rows."""
    return pa.table({name: pa.array([], _TYPES[of]) for name, of in COLUMNS[kind].items()})


def _column(type_name: str, values: list[Any]) -> pa.Array:
    if type_name == "any":
        return _plain_column(values)
    try:
        return _typed(type_name, values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _typed(type_name, [fit(type_name, value) for value in values])


def _typed(type_name: str, values: list[Any]) -> pa.Array:
    if type_name == "timestamp":
        return pa.array(values, pa.string()).cast(_INSTANT)
    if type_name.startswith("map"):
        values = [list(value.items()) if isinstance(value, dict) else value for value in values]
    return pa.array(values, _TYPES[type_name])


def _plain_column(values: list[Any]) -> pa.Array:
    """Booleans, whole numbers, numbers or texts, by what the values are; null without any."""
    fitted = [fit("any", value) for value in values]
    kinds = {type(value) for value in fitted if value is not None}
    if not kinds:
        return pa.nulls(len(fitted))
    if kinds == {bool}:
        return pa.array(fitted, pa.bool_())
    if kinds == {int}:
        return pa.array(fitted, pa.int64())
    if kinds <= {int, float, bool}:
        return pa.array([None if value is None else float(value) for value in fitted])
    return pa.array([None if value is None else str(value) for value in fitted], pa.string())


def _feature_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    values: dict[str, list[Any]] = {}
    for index, row in enumerate(rows):
        for group in ("features", "cat_features"):
            given = row.get(group)
            for name, value in given.items() if isinstance(given, dict) else ():
                column = values.setdefault(well_formed(name), [None] * len(rows))
                column[index] = value
    return {f"{FEATURE_PREFIX}{name}": _plain_column(values[name]) for name in sorted(values)}
