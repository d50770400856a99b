"""Systematic sample: every k-th row of a window, as one small table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.plain import PlainSource
from flytekitplugins.wbmon.data.sources import Source, no_rows
from flytekitplugins.wbmon.data.stack import stacked


def spread_rows(source: Source | PlainSource, names: Sequence[str], max_rows: int) -> pa.Table:
    """Take every k-th row, so that at most `max_rows` rows are spread evenly over the window.

    The choice is deterministic. A source of unknown length is taken whole.
    """
    # rounded up, or the sample would exceed `max_rows`
    step = max(1, -(-(source.n_rows or 0) // max_rows))
    batches, seen = [], 0
    for part in source.parts():
        for batch in part(names):
            # the count goes on from the earlier batches: the first position that `step` divides
            rows = np.arange(-seen % step, batch.num_rows, step)
            seen += batch.num_rows
            batches.append(_plain(pa.Table.from_batches([batch.take(pa.array(rows))])))
    # gives the result its columns when no batch has them
    empty = no_rows(pa.schema([(name, source.type_of(name)) for name in names]))
    return stacked([_plain(empty), *batches])


def _plain(table: pa.Table) -> pa.Table:
    """Decode dictionary columns: text from Parquet is encoded, text from a frame is not."""
    for i, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(i, table.column_names[i], column.cast(column.type.value_type))
    return table
