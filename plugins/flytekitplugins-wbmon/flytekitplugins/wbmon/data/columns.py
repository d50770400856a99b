"""Whole columns by name, from any data source, as tables and numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import dense_numbers, is_text, is_valid, kind_of
from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.data.sources import StreamSource
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_columns(data: Any, names: Sequence[str] | None) -> pa.Table:
    """Read the named columns into a table; other columns are not read.

    Args:
        data: As `open_source` takes it.
        names: The columns to read, all if None; repeated names are read once.

    Raises:
        DataError: If a column does not exist; the message names those that do.
    """
    source = open_source(data)
    wanted = list(dict.fromkeys(source.names if names is None else names))
    missing = [name for name in wanted if name not in source.names]
    if missing:
        raise DataError(
            f"the data must have column {listed_names(missing)}; "
            f"found {listed_names(source.names, none='no columns')}"
        )
    if isinstance(source, StreamSource):
        # a stream cannot be read a second time, so all columns come in one pass
        batches = [batch for part in source.parts() for batch in part(wanted)]
        return pa.Table.from_batches(batches)
    return pa.table({name: source.column(name) for name in wanted})


def as_column(name: Any) -> str | None:
    """The name of a column as `open_source` has it, which makes text of every name; None of None.

    A frame may have columns named by numbers, times or tuples, and its owner gives these names.
    """
    return None if name is None else str(name)


def float_values(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A numeric, boolean or all-null column as float64, `nan` where missing; shape `(n,)`."""
    parts = [_floats(chunk) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0)


def is_number(dtype: pa.DataType) -> bool:
    """Whether a column of this type can be read as numbers; an all-null column can."""
    return kind_of(dtype) in ("number", "boolean", "duration", "empty")


def is_class_name(dtype: pa.DataType) -> bool:
    """Whether a column of this type holds text, dictionary-encoded text included."""
    return is_text(dtype.value_type if pa.types.is_dictionary(dtype) else dtype)


def _floats(chunk: pa.Array) -> NDArray[np.float64]:
    values = np.full(len(chunk), np.nan)
    if not pa.types.is_null(chunk.type):
        values[is_valid(chunk)] = dense_numbers(chunk)
    return values
