"""Opens any supported form of data as a `Source` that can be read part by part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from flytekitplugins.wbmon.data.frames import FrameSource, pandas_source, polars_source
from flytekitplugins.wbmon.data.pandas_types import require_known_pandas_types, with_pandas_types
from flytekitplugins.wbmon.data.parquet import ParquetSource, open_parquet
from flytekitplugins.wbmon.data.plain import PlainSource
from flytekitplugins.wbmon.data.sources import (
    PANDAS_INDEX,
    DatasetSource,
    Source,
    StreamSource,
    TableSource,
    different_names,
    no_rows,
    open_stream,
    require_different,
)
from flytekitplugins.wbmon.errors import DataError

Data: TypeAlias = Any
"""A path, URI, pandas or polars DataFrame, Arrow table, batch, reader or dataset."""


def open_source(data: Data, *, filesystem: Any = None, naming: Iterable[str] = ()) -> Source:
    """Open data of any supported form as a source.

    A folder named `day=2026-01-01` is a partition column of the files below it. It would differ
    between any two windows and look like drift, so it is in the schema only if named in `naming`.

    Args:
        data: A path or fsspec URL of a Parquet file or of a folder of them, a pandas or polars
            DataFrame, or a pyarrow Table, RecordBatch, RecordBatchReader or Dataset.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.
        naming: Partition columns that the caller wants in the schema.

    Raises:
        DataError: If there is no such file or folder, it is not Parquet, two columns of a file
            share a name, or the files of a folder disagree on the type of a column.
    """
    source = _open_known(data, filesystem)
    if isinstance(source, ParquetSource):
        source = source.with_partitions(naming)
    require_different(source.names)
    return source


def open_values(data: Data, *, naming: Iterable[str] = ()) -> PlainSource:
    """Open data of any supported form for those who ask what its values mean.

    Args:
        data: As `open_source` takes it.
        naming: Partition columns that the caller wants.

    Raises:
        DataError: As `open_source` raises it.
    """
    source = open_source(data.source if isinstance(data, PlainSource) else data, naming=naming)
    # odd values of a frame are told from the others, where a column of text would be made of all
    if isinstance(source, FrameSource) and not source.has_odd:
        source = replace(source, has_odd=True)
    return PlainSource(source)


def with_columns(source: PlainSource, names: Iterable[str]) -> PlainSource:
    """The source; without rows it needs no columns, and those that it lacks are there as well."""
    lacking = [name for name in dict.fromkeys(names) if name not in source.names]
    if source.n_rows != 0 or not lacking:
        return source
    table = no_rows(source.schema)
    for name in lacking:
        table = table.append_column(name, pa.nulls(0))
    return PlainSource(TableSource(table))


def _open_known(data: Data, filesystem: Any) -> Source:
    if isinstance(data, TableSource | StreamSource | DatasetSource | ParquetSource | FrameSource):
        return data
    if isinstance(data, str | Path):
        return open_parquet(str(data), filesystem)
    if isinstance(data, pa.RecordBatchReader):
        return open_stream(with_pandas_types(data))
    # not isinstance: `pyarrow.dataset` imports pandas, so it is never imported here
    if type(data).__module__.startswith("pyarrow.") and hasattr(data, "get_fragments"):
        require_known_pandas_types(data.schema)
        return DatasetSource(data)
    return _in_memory(data)


def _in_memory(data: Data) -> Source:
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        # by place: several columns can have one name
        kept = [i for i, name in enumerate(data.column_names) if not PANDAS_INDEX.fullmatch(name)]
        table = with_pandas_types(data.select(kept))
        return TableSource(table.rename_columns(list(different_names(table.column_names))))
    home = type(data).__module__.partition(".")[0]
    if home == "pandas" and hasattr(data, "columns"):
        return pandas_source(data, different_names(data.columns))
    if home == "polars" and hasattr(data, "to_arrow") and hasattr(data, "columns"):
        return polars_source(data, different_names(data.columns))
    raise DataError(
        "data must be a path or URI of Parquet, a pandas or polars DataFrame, or a pyarrow Table, "
        f"RecordBatch, RecordBatchReader or Dataset; got {type(data).__name__}"
    )
