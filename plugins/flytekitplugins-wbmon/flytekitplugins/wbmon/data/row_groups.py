"""Rows of a Parquet file, also of columns that pyarrow cannot make in one piece.

A list, struct or map must have its texts in one array. pyarrow makes several of them, and refuses,
where the texts are dictionaries and each row group has one of its own, and where they are more than
2 GB. Fewer rows at a time can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from flytekitplugins.wbmon.data.sources import BATCH_ROWS
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import quoted_name

_FEWER = 16  # times fewer rows in each attempt


def read_batches(
    file: pq.ParquetFile, columns: Sequence[str], groups: Sequence[int], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Rows of some row groups, in order.

    Args:
        file: The file.
        columns: Names of the columns, at least one.
        groups: Row groups.
        batch_rows: Rows of a batch; it has fewer where they cannot be read together.

    Raises:
        DataError: If pyarrow cannot read even one row of the columns.
    """
    apart = len(groups) > 1 and any(_has_inner_codes(_type_of(file, name)) for name in columns)
    for run in [[group] for group in groups] if apart else [list(groups)]:
        yield from _batches(file, columns, run, batch_rows)


def read_column(file: pq.ParquetFile, name: str) -> list[pa.Array]:
    """One column of the whole file.

    Raises:
        DataError: If pyarrow cannot read even one row of the column.
    """
    # `in_threads` already decodes several columns at once
    with suppress(pa.ArrowNotImplementedError):
        if not _has_inner_codes(_type_of(file, name)):
            chunks: list[pa.Array] = file.read(columns=[name], use_threads=False)[name].chunks
            return chunks
    groups = range(file.num_row_groups)
    return [batch.column(name) for batch in read_batches(file, [name], groups, BATCH_ROWS)]


def _batches(
    file: pq.ParquetFile, columns: Sequence[str], groups: list[int], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    done = 0
    try:
        for batch in file.iter_batches(
            batch_rows, row_groups=groups, columns=list(columns), use_threads=False
        ):
            yield batch
            done += batch.num_rows
    except pa.ArrowNotImplementedError as error:
        if batch_rows == 1:
            raise DataError(_refusal(file, columns, error)) from error
        fewer = max(1, batch_rows // _FEWER)
        yield from _after(done, _batches(file, columns, groups, fewer))


def _after(rows: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What comes after so many rows."""
    for batch in batches:
        if rows < batch.num_rows:
            yield batch.slice(rows)
        rows = max(0, rows - batch.num_rows)


def _type_of(file: pq.ParquetFile, name: str) -> pa.DataType:
    return file.schema_arrow.field(name).type


def _has_inner_codes(dtype: pa.DataType, *, is_inner: bool = False) -> bool:
    """Whether dictionaries lie in its lists, structs or maps."""
    if isinstance(dtype, pa.BaseExtensionType):
        return _has_inner_codes(dtype.storage_type, is_inner=is_inner)
    if pa.types.is_dictionary(dtype):
        return is_inner
    inner = (dtype.field(place).type for place in range(dtype.num_fields))
    return any(_has_inner_codes(each, is_inner=True) for each in inner)


def _refusal(
    file: pq.ParquetFile, columns: Sequence[str], error: pa.ArrowNotImplementedError
) -> str:
    types = {name: _type_of(file, name) for name in columns}
    nested = {name: dtype for name, dtype in types.items() if pa.types.is_nested(dtype)} or types
    told = " or ".join(f"{quoted_name(name)} ({dtype})" for name, dtype in nested.items())
    return (
        "each row of a column must be one that pyarrow can read from Parquet, but it refuses one "
        f"of {told}: {error}; store what such a value holds in columns of their own, in less than "
        "2 GB a row, or leave the column out"
    )
