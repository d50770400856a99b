"""Rows that lie evenly over a window, as one small table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.sources import Source


def spread_rows(source: Source, names: Sequence[str], max_rows: int) -> pa.Table:
    """At most `max_rows` rows, evenly over the window; the same ones whenever it is called."""
    step = max(1, -(-(source.n_rows or 0) // max_rows))
    batches, seen = [], 0
    for part in source.parts():
        for batch in part(names):
            rows = np.arange(-seen % step, batch.num_rows, step)
            seen += batch.num_rows
            batches.append(_plain(pa.Table.from_batches([batch.take(pa.array(rows))])))
    empty = pa.schema([source.schema.field(name) for name in names]).empty_table()
    return pa.concat_tables([_plain(empty), *batches], promote_options="permissive")


def _plain(table: pa.Table) -> pa.Table:
    """Names as themselves: Parquet's come as dictionaries, those of a frame do not."""
    for i, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(i, table.column_names[i], column.cast(column.type.value_type))
    return table
