"""Whole columns by name, from any data source, as tables and numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import (
    dense_numbers,
    is_valid,
    kind_of,
    seconds,
    shortest,
)
from flytekitplugins.wbmon.data.objects import has_odd, value_type
from flytekitplugins.wbmon.data.open import open_source, open_values
from flytekitplugins.wbmon.data.plain import PlainSource
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.sources import Source, StreamSource
from flytekitplugins.wbmon.data.unreadable import Unreadable, total_of
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray


class NumberColumn(NamedTuple):
    """A column of numbers.

    Attributes:
        values: The numbers, `nan` where one is missing; shape `(n,)`.
        unit: `s` if the column holds durations, which are seconds here; else empty.
        unreadable: Values that are no numbers.
        is_known: Whether the column holds any value that tells what it is.
    """

    values: NDArray[np.float64]
    unit: str = ""
    unreadable: Unreadable = Unreadable()
    is_known: bool = True


def read_columns(data: Any, names: Sequence[str] | None) -> pa.Table:
    """Read the named columns as they are stored; other columns are not read.

    Args:
        data: As `open_source` takes it.
        names: The columns to read, all if None; repeated names are read once.

    Raises:
        DataError: If a column does not exist and there are rows; the message names those that do.
    """
    return _table(open_source(data), names)


def read_values(data: Any, names: Sequence[str] | None) -> pa.Table:
    """Read the named columns in their plain form, odd values apart; other columns are not read.

    Args:
        data: As `open_values` takes it.
        names: The columns to read, all if None; repeated names are read once.

    Raises:
        DataError: If a column does not exist and there are rows; the message names those that do.
    """
    return _table(open_values(data), names)


def read_numbers(column: pa.ChunkedArray, name: str, *, may_fail: bool = False) -> NumberColumn:
    """Take a column as numbers: durations are seconds, text is read, and a blank one is missing.

    Args:
        column: A column in its plain form, also with odd values.
        name: Its name, for the message of an error.
        may_fail: Whether no value may be readable, as of the answers of a model that is down.

    Raises:
        DataError: If the column holds something else, or no value of it can be read.
    """
    dtype = value_type(column.type)
    stored = kind_of(dtype)
    if not has_odd(column.type) and (stored == "empty" or column.null_count == len(column)):
        # of whatever type: NaT alone makes a column of times of labels that have not come
        unit = "s" if stored == "duration" else ""
        return NumberColumn(np.full(len(column), np.nan), unit, is_known=False)
    if stored not in ("number", "boolean", "duration", "text", "empty"):
        raise DataError(f"column {quoted_name(name)} must be numeric, found {dtype}")
    unit = "s" if stored == "duration" else ""
    if stored != "text" and not has_odd(column.type):
        values = _joined([_quantities(chunk) for chunk in column.chunks])
        return NumberColumn(values, unit, is_known=not np.isnan(values).all())
    readings = [read_as("duration" if unit else "number", chunk) for chunk in column.chunks]
    values = _joined([_quantities(reading.values) for reading in readings])
    unreadable = total_of(reading.odd for reading in readings)
    is_known = not np.isnan(values).all()
    if unreadable.n and not is_known and not may_fail:
        raise DataError(
            f"column {quoted_name(name)} must be numeric, found {dtype} such as "
            f"{listed_names(unreadable.examples)}"
        )
    return NumberColumn(values, unit, unreadable, is_known)


def as_column(name: Any) -> str | None:
    """The name of a column as `open_source` has it, which makes text of every name; None of None.

    A frame may have columns named by numbers, times or tuples, and its owner gives these names.
    """
    return None if name is None else str(name)


def float_values(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A numeric, boolean or all-null column as float64, `nan` where missing; shape `(n,)`.

    Durations are in seconds.
    """
    return _joined([_floats(chunk) for chunk in column.chunks])


def is_number(dtype: pa.DataType) -> bool:
    """Whether a column of this type holds plain numbers, without a unit; an all-null one can."""
    return kind_of(dtype) in ("number", "boolean", "empty")


def _table(source: Source | PlainSource, names: Sequence[str] | None) -> pa.Table:
    wanted = list(dict.fromkeys(source.names if names is None else names))
    missing = [name for name in wanted if name not in source.names]
    # what has no row need not have the columns that nobody could fill
    if missing and source.n_rows != 0:
        raise DataError(
            f"the data must have column {listed_names(missing)}; "
            f"found {listed_names(source.names, none='no columns')}"
        )
    if source.is_stream if isinstance(source, PlainSource) else isinstance(source, StreamSource):
        # a stream cannot be read a second time, so all columns come in one pass
        batches = [batch for part in source.parts() for batch in part(wanted)]
        return pa.Table.from_batches(batches)
    no_value = pa.chunked_array([pa.nulls(0)])
    return pa.table({name: no_value if name in missing else source.column(name) for name in wanted})


def _joined(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.empty(0)


def _quantities(chunk: pa.Array) -> NDArray[np.float64]:
    values = _floats(chunk)
    # a label of 0.1 in 32 bits is no error of 1e-9 against a prediction of 0.1 in 64
    if pa.types.is_float32(chunk.type) or pa.types.is_float16(chunk.type):
        finite = np.isfinite(values)
        values[finite] = shortest(values[finite].astype(f"f{chunk.type.bit_width // 8}"))
    return values


def _floats(chunk: pa.Array) -> NDArray[np.float64]:
    values = np.full(len(chunk), np.nan)
    if not pa.types.is_null(chunk.type):
        is_duration = pa.types.is_duration(chunk.type)
        values[is_valid(chunk)] = seconds(chunk) if is_duration else dense_numbers(chunk)
    return values
