"""Tables below each other, of which a column may have another type in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.data.alike import common_type, converted, logged_type, read_type
from flytekitplugins.wbmon.data.arrow import kind_of, text_array
from flytekitplugins.wbmon.data.objects import exact_numbers
from flytekitplugins.wbmon.data.plain import plain
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import DataError

_EXACT_DIGITS = 15  # of a decimal that a float of 64 bits is told by


def stacked(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables; a column that a table lacks is null there.

    Args:
        tables: At least one.

    Raises:
        DataError: If types of a column are of several kinds, such as text and numbers.
    """
    names = list(dict.fromkeys(name for table in tables for name in table.column_names))
    mixed = {name: _column(tables, name) for name in names if _is_mixed(tables, name)}
    if not mixed:
        return pa.concat_tables(tables, promote_options="permissive")
    nulls = [_with_nulls(table, [*mixed]) for table in tables]
    whole = pa.concat_tables(nulls, promote_options="permissive")
    return pa.table([mixed.get(name, whole[name]) for name in names], names=names)


def joined(chunks: Sequence[pa.Array]) -> pa.ChunkedArray:
    """The values of all arrays as a column of one type.

    Numbers of several types become the type that holds each as it is, or text if none does.

    Args:
        chunks: At least one.

    Raises:
        DataError: If they are of several kinds, such as text and numbers.
    """
    if len({chunk.type for chunk in chunks}) == 1:
        return pa.chunked_array(chunks)
    chunks = [plain(chunk) for chunk in chunks]
    types = dict.fromkeys(chunk.type for chunk in chunks)
    dtype = common_type(types)
    if dtype is None:
        raise DataError(
            f"a column must be of one kind in all parts, found {', '.join(map(str, types))}; "
            "write them again with one schema"
        )
    if kind_of(dtype) == "number" and not all(_is_held(chunk, dtype) for chunk in chunks):
        return pa.chunked_array([_numbers(chunks)])
    return pa.chunked_array([converted(chunk, dtype) for chunk in chunks], dtype)


def logged(chunks: Sequence[pa.Array]) -> pa.ChunkedArray | None:
    """The values of a column of a log as they are read of its files; None if they cannot be.

    Args:
        chunks: The column of each file; at least one.
    """
    dtype = logged_type(chunk.type for chunk in chunks)
    if dtype is None:
        return None
    return joined([converted(chunk, read_type(chunk.type, dtype)) for chunk in chunks])


def _is_mixed(tables: Sequence[pa.Table], name: str) -> bool:
    types = {table.schema.field(name).type for table in tables if name in table.column_names}
    return len(types - {pa.null()}) > 1


def _column(tables: Sequence[pa.Table], name: str) -> pa.ChunkedArray:
    chunks: list[pa.Array] = []
    for table in tables:
        known = name in table.column_names
        chunks += table[name].chunks if known else [pa.nulls(table.num_rows)]
    # of an empty table
    chunks = chunks or [pa.nulls(0)]
    return joined(chunks)


def _is_held(array: pa.Array, dtype: pa.DataType) -> bool:
    """Whether numbers are exactly as they are in their common type, which is float64 or does."""
    if not pa.types.is_float64(dtype):
        return True
    if pa.types.is_decimal(array.type):
        return bool(array.type.precision <= _EXACT_DIGITS)
    if pa.types.is_integer(array.type):
        try:
            array.cast(dtype)
        except pa.ArrowInvalid:
            return False
    return True


def _numbers(chunks: Sequence[pa.Array]) -> pa.Array:
    values: list[Any] = [value for chunk in chunks for value in chunk.to_pylist()]
    numbers = exact_numbers(values)
    if numbers is not None:
        return numbers
    return text_array([None if value is None else class_name(value) for value in values])


def _with_nulls(table: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in names:
        if name in table.column_names:
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.nulls(table.num_rows))
    return table
