"""Where data come from: anything a user may hold, opened as one kind of thing to scan.

Nothing is loaded here. Paths and URIs are opened through fsspec, whose credentials the caller's
environment already holds; frames are wrapped, not copied.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from flytekitplugins.wbmon.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_CONVERT = 'convert it first, for example pd.read_csv("data.csv").to_parquet("data.parquet")'


def open_source(data: Any) -> pads.Dataset:
    """The data as a `pyarrow.dataset.Dataset`, to be scanned column by column or batch by batch.

    Args:
        data: A Parquet file or folder by path or URI (hive folders such as `dt=2026-01-31` become
            columns), a `pyarrow.dataset.Dataset`, a `pa.Table` or `pa.RecordBatch`, a pandas or
            polars frame, or anything with `__arrow_c_stream__`.

    Raises:
        DataError: If the data are of another type, are not Parquet, do not exist, or have two
            columns of one name.
    """
    dataset = _open(data)
    twice = sorted({name for name in dataset.schema.names if dataset.schema.names.count(name) > 1})
    if twice:
        raise DataError(f"column names must differ, found more than once: {', '.join(twice)}")
    return dataset


def require_columns(dataset: pads.Dataset, columns: Iterable[str]) -> None:
    """Check that the data have the columns.

    Raises:
        DataError: Naming the columns that are missing and those that exist.
    """
    missing = [name for name in columns if name not in dataset.schema.names]
    if missing:
        raise DataError(
            f"the data must have column {', '.join(map(repr, missing))}; "
            f"found {', '.join(dataset.schema.names) or 'no columns'}"
        )


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


def _open(data: Any) -> pads.Dataset:
    if isinstance(data, pads.Dataset):
        return data
    if isinstance(data, (str, os.PathLike)):
        return _open_path(os.fspath(data))
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if not isinstance(data, pa.Table):
        data = _table_of(data)
    return pads.dataset(data)


def _table_of(frame: Any) -> pa.Table:
    try:
        if type(frame).__module__.partition(".")[0] == "pandas":
            return pa.Table.from_pandas(frame, preserve_index=False)
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"the frame must have one type a column and different names; Arrow says: {error}"
        ) from error
    raise DataError(
        "data must be a Parquet path or URI, a pandas or polars frame, or an Arrow table or "
        f"dataset; got {type(frame).__module__}.{type(frame).__qualname__}"
    )


def _open_path(path: str) -> pads.Dataset:
    from fsspec.core import url_to_fs
    from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

    try:
        files, inner = url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise DataError(f"data must be at a path or URI that fsspec knows: {error}") from error
    local = "file" in files.protocol
    filesystem = LocalFileSystem() if local else PyFileSystem(FSSpecHandler(files))
    try:
        dataset = pads.dataset(inner, filesystem=filesystem, format="parquet", partitioning="hive")
    except FileNotFoundError as error:
        raise DataError(f"data must exist, found nothing at {path}") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"data must be Parquet, one file or a folder of files; {path} is not: {error}. "
            f"If it has another format, {_CONVERT}"
        ) from error
    if not dataset.files:
        raise DataError(f"data must hold at least one Parquet file, found none in {path}")
    return dataset
