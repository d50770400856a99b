"""Named columns of any data, whole, as the arrays that the statistics take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.reading import StreamSource, open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_columns(data: Any, names: Sequence[str]) -> pa.Table:
    """Some columns of the data as a table; the others are not read.

    Args:
        data: As `open_source` takes it.
        names: The wanted columns; one that is named twice is read once.

    Raises:
        DataError: If a column does not exist; the message names those that do.
    """
    source = open_source(data)
    wanted = list(dict.fromkeys(names))
    missing = [name for name in wanted if name not in source.schema.names]
    if missing:
        raise DataError(
            f"the data must have column {', '.join(map(repr, missing))}; "
            f"found {', '.join(source.schema.names) or 'no columns'}"
        )
    if isinstance(source, StreamSource):
        batches = [batch for part in source.parts() for batch in part(wanted)]
        return pa.Table.from_batches(batches)
    return pa.table({name: source.column(name) for name in wanted})


def float_values(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A numeric, boolean or wholly missing column as float64, `nan` where missing; shape `(n,)`.

    Raises:
        ValueError: If the column is of another type.
    """
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if not (is_number(column.type) or pa.types.is_null(column.type)):
        raise ValueError(f"{column.type} is not a number")
    column = pc.fill_null(column.cast(pa.float64(), safe=False), np.nan)
    # `to_numpy` would import pandas, which costs more than the whole check
    parts = [
        np.frombuffer(chunk.buffers()[1], np.float64, len(chunk), chunk.offset * 8)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def is_number(kind: pa.DataType) -> bool:
    """Whether an Arrow type is an integer, floating or decimal one."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text, dictionary-encoded text included."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
