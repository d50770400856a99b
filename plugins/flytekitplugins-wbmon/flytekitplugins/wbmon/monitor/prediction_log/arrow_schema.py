"""Converts rows of a prediction log to Arrow tables with the schema of the data contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.data.objects import exact_numbers
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.monitor.prediction_log.fit import fit
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    CALL_COLUMNS,
    COLUMNS,
    FEATURE_PREFIX,
    RowKind,
)
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

_OF_KIND = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


def log_table(kind: RowKind, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table: the columns of the contract, then a column for each feature.

    Columns of calls (`CALL_COLUMNS`) are there if a row has them. Fields that the contract does not
    know are left out.

    Args:
        kind: The kind of rows, which determines the columns.
        rows: Rows as serving wrote them; missing fields become null.
    """
    columns = COLUMNS[kind]
    if kind == "prediction":
        given = {name for row in rows for name, value in row.items() if value is not None}
        columns = {**columns, **{n: of for n, of in CALL_COLUMNS.items() if n in given}}
    table = table_of(columns, rows)
    if kind == "prediction":
        for name, column in _feature_columns(rows).items():
            table = table.append_column(name, column)
    return table


def table_of(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of some columns; a value that does not fit its column becomes null.

    Args:
        columns: Type of each column by its name, as in `COLUMNS`.
        rows: Missing fields become null; fields without a column are left out.
    """
    return pa.table(
        {
            name: _column(type_name, [row.get(name) for row in rows])
            for name, type_name in columns.items()
        }
    )


def log_types(kind: RowKind) -> dict[str, pa.DataType]:
    """The type of each column that a log may have; text if any fits."""
    columns = {**COLUMNS[kind], **(CALL_COLUMNS if kind == "prediction" else {})}
    return {name: pa.string() if of == "any" else _TYPES[of] for name, of in columns.items()}


def empty_log_table(kind: RowKind) -> pa.Table:
    """A table without rows, with the columns of the contract."""
    types = log_types(kind)
    return pa.schema([(name, types[name]) for name in COLUMNS[kind]]).empty_table()


def _column(type_name: str, values: list[Any]) -> pa.Array:
    if type_name == "any":
        return _plain_column(values)
    arrow = _TYPES[type_name]
    # values nested differently from their type can crash the process inside Arrow
    if not pa.types.is_nested(arrow):
        with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
            return _array(values, arrow)
    return _array([fit(type_name, value) for value in values], arrow)


def _array(values: list[Any], arrow: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(arrow):  # Arrow parses text in a cast only, not in `pa.array`
        return pa.array(values, pa.string()).cast(arrow)
    if pa.types.is_map(arrow):
        values = [None if value is None else list(value.items()) for value in values]
    return pa.array(values, arrow)


def _plain_column(values: list[Any]) -> pa.Array:
    """A column of bool, int64, float64, decimals or text: the first that holds all as they are."""
    arrow = _plain_type(values)
    with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
        if arrow is not None:
            return pa.array(values, arrow)
    fitted = [fit("any", value) for value in values]
    arrow = _plain_type(fitted)
    if arrow not in (None, pa.int64()):
        return pa.array(fitted, arrow)
    numbers = None if str in map(type, fitted) else exact_numbers(fitted)
    if numbers is not None:
        return numbers
    # as `converted` makes text of the numbers of another segment
    return pa.array([None if value is None else class_name(value) for value in fitted], pa.string())


def _plain_type(values: list[Any]) -> pa.DataType | None:
    """The Arrow type for values of one Python type; None for several types or another one."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1:
        return None
    return _OF_KIND.get(kinds.pop()) if kinds else pa.null()


def _feature_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    values: dict[str, list[Any]] = {}
    for index, row in enumerate(rows):
        for group in ("features", "cat_features"):
            given = row.get(group)
            for name, value in given.items() if isinstance(given, dict) else ():
                feature = well_formed(name)
                # not `setdefault`, which would make a column for every value
                column = values.get(feature)
                if column is None:
                    column = values[feature] = [None] * len(rows)
                column[index] = value
    return {f"{FEATURE_PREFIX}{name}": _plain_column(values[name]) for name in sorted(values)}
