"""Opens any supported form of data as a `Source` that can be read part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from flytekitplugins.wbmon.data.parquet import ParquetSource, open_parquet
from flytekitplugins.wbmon.data.sources import (
    PANDAS_INDEX,
    DatasetSource,
    Source,
    StreamSource,
    TableSource,
    open_stream,
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
        DataError: If there is nothing to read, it is not Parquet, two columns share a name, or the
            files of a folder disagree on the type of a column.
    """
    source = _open_known(data, filesystem)
    if isinstance(source, ParquetSource):
        source = source.with_partitions(naming)
    names = source.schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"column names must be unique, but {', '.join(map(repr, repeated))} occur more than "
            "once; rename or drop the copies"
        )
    return source


def _open_known(data: Data, filesystem: Any) -> Source:
    if isinstance(data, TableSource | StreamSource | DatasetSource | ParquetSource):
        return data
    if isinstance(data, str | Path):
        return open_parquet(str(data), filesystem)
    if isinstance(data, pa.RecordBatchReader):
        return open_stream(data)
    # not isinstance: `pyarrow.dataset` imports pandas, so it is never imported here
    if type(data).__module__.startswith("pyarrow.") and hasattr(data, "get_fragments"):
        return DatasetSource(data)
    return TableSource(_table(data))


def _table(data: Data) -> pa.Table:
    if isinstance(data, pa.Table):
        # by place: two columns of one name are refused later, by their name
        kept = [i for i, name in enumerate(data.column_names) if not PANDAS_INDEX.fullmatch(name)]
        return data.select(kept)
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    home = type(data).__module__.partition(".")[0]
    if home == "pandas" and hasattr(data, "columns"):
        return _table_from_pandas(data)
    if home == "polars" and hasattr(data, "to_arrow") and hasattr(data, "columns"):
        return data.to_arrow()
    raise DataError(
        "data must be a path or URI of Parquet, a pandas or polars DataFrame, or a pyarrow Table, "
        f"RecordBatch, RecordBatchReader or Dataset; got {type(data).__name__}"
    )


def _table_from_pandas(frame: Any) -> pa.Table:
    """Convert each column on its own, so that only a column of mixed types becomes text."""
    columns = []
    for position in range(frame.shape[1]):
        # by position: a name would select both columns where two share it
        series = frame.iloc[:, position]
        try:
            columns.append(pa.Array.from_pandas(series))
        except (pa.ArrowException, TypeError, ValueError):
            texts = [None if missing else str(value) for value, missing in _items(series)]
            columns.append(pa.array(texts, pa.string()))
    names = [str(name) for name in frame.columns]
    if not names:
        return pa.table({})
    return pa.Table.from_arrays(columns, names=names)


def _items(series: Any) -> Iterator[tuple[Any, bool]]:
    return zip(series, series.isna(), strict=True)
