"""Tables below each other, of which a column may have another type in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import kind_of, text_array
from flytekitplugins.wbmon.data.objects import exact_numbers
from flytekitplugins.wbmon.data.scalars import class_name


def stacked(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables; a column that a table lacks is null there.

    Arrow's own promotion makes floats of decimals, and refuses whole numbers that no float holds.
    Here numbers of several types become the type that holds each as it is, or text if none does.

    Args:
        tables: At least one.

    Raises:
        ArrowException: If types of a column are of several kinds, such as text and numbers.
    """
    names = list(dict.fromkeys(name for table in tables for name in table.column_names))
    mixed = {name: _numbers(tables, name) for name in names if _is_mixed(tables, name)}
    if not mixed:
        return pa.concat_tables(tables, promote_options="permissive")
    nulls = [_with_nulls(table, [*mixed]) for table in tables]
    whole = pa.concat_tables(nulls, promote_options="permissive")
    return pa.table([mixed.get(name, whole[name]) for name in names], names=names)


def _is_mixed(tables: Sequence[pa.Table], name: str) -> bool:
    """Whether the column holds numbers of several types, one of which is not of whole numbers."""
    types = {table.schema.field(name).type for table in tables if name in table.column_names}
    types.discard(pa.null())
    return (
        len(types) > 1
        and all(kind_of(dtype) == "number" for dtype in types)
        and not all(pa.types.is_integer(dtype) for dtype in types)
        and not all(pa.types.is_floating(dtype) for dtype in types)
    )


def _numbers(tables: Sequence[pa.Table], name: str) -> pa.Array:
    values: list[Any] = []
    for table in tables:
        known = name in table.column_names
        values += table[name].to_pylist() if known else [None] * table.num_rows
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
