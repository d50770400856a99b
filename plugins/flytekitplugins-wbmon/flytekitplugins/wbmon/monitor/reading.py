"""Any data a caller may hold, as batches of columns that are read once and never all at a time.

Parquet is read file by file with `pyarrow.parquet`: `pyarrow.dataset` and `Table.to_numpy` import
pandas where it is installed, a second of every pod's time that buys nothing here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from flytekitplugins.wbmon.errors import DataError

BATCH_ROWS = 131_072
PART_ROWS = 524_288
SAMPLE_ROWS = 262_144
_SAMPLE_PLACES = 32

# pandas writes the row labels of a filtered or concatenated frame as if they were a column
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")

Data: TypeAlias = Any
"""A path, URI, pandas or polars DataFrame, Arrow table, batch, reader or dataset."""

Part: TypeAlias = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
"""Reads some columns of one share of the rows; columns that the share lacks are left out."""


class Source(Protocol):
    """Rows in columns that can be read part by part."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""

    @property
    def n_rows(self) -> int | None:
        """None if only reading to the end will tell."""

    def parts(self) -> list[Part]:
        """Disjoint shares of the rows, in order; each may be read in a thread of its own."""

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """About `SAMPLE_ROWS` rows spread over the data; all of them if there are no more."""

    def column(self, name: str) -> pa.ChunkedArray:
        """One column as a whole."""


@dataclass(frozen=True)
class TableSource:
    """A table in memory."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return self.table.schema

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return int(self.table.num_rows)

    def parts(self) -> list[Part]:
        """Slices of `PART_ROWS` rows."""
        starts = range(0, max(self.n_rows, 1), PART_ROWS)
        # the length is spelt out: a table without columns would take a longer one for its rows
        lengths = [min(PART_ROWS, self.n_rows - start) for start in starts]
        return [
            _slice_reader(self.table.slice(start, length))
            for start, length in zip(starts, lengths, strict=True)
        ]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """Slices spread evenly over the table."""
        table = self.table.select(list(columns))
        if self.n_rows <= SAMPLE_ROWS:
            return table
        length = SAMPLE_ROWS // _SAMPLE_PLACES
        step = (self.n_rows - length) // (_SAMPLE_PLACES - 1)
        return pa.concat_tables([table.slice(i * step, length) for i in range(_SAMPLE_PLACES)])

    def column(self, name: str) -> pa.ChunkedArray:
        """A view of the column."""
        return self.table.column(name)


@dataclass(frozen=True)
class StreamSource:
    """Batches that can be read only once: the first of them are kept, the rest flow by."""

    head: pa.Table
    rest: Iterator[pa.RecordBatch]
    n_rows: None = None

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return self.head.schema

    def parts(self) -> list[Part]:
        """One part."""
        return [self._batches]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """The first rows."""
        return self.head.select(list(columns))

    def column(self, name: str) -> pa.ChunkedArray:
        """Not possible: the other columns would be lost."""
        raise DataError(f"a stream can be read only once; column {name!r} cannot be read apart")

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        wanted = list(columns)
        yield from self.head.select(wanted).to_batches(max_chunksize=BATCH_ROWS)
        for batch in self.rest:
            yield from pa.Table.from_batches([batch]).select(wanted).to_batches(BATCH_ROWS)


@dataclass(frozen=True)
class DatasetSource:
    """A `pyarrow.dataset.Dataset` of any format that the caller has opened."""

    dataset: Any

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return self.dataset.schema

    @property
    def n_rows(self) -> int:
        """Rows, counted by the dataset."""
        return int(self.dataset.count_rows())

    def parts(self) -> list[Part]:
        """One part a fragment."""
        return [
            _scan_reader(fragment, self.dataset.schema) for fragment in self.dataset.get_fragments()
        ] or [_slice_reader(self.dataset.schema.empty_table())]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """The first rows."""
        return self.dataset.head(SAMPLE_ROWS, columns=list(columns))

    def column(self, name: str) -> pa.ChunkedArray:
        """The column of every fragment."""
        return self.dataset.to_table(columns=[name]).column(0)


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files, together one table."""

    files: tuple[ParquetPart, ...]
    schema: pa.Schema

    @property
    def n_rows(self) -> int:
        """Rows, by the files' footers."""
        return sum(file.metadata.num_rows for file in self.files)

    def parts(self) -> list[Part]:
        """Runs of row groups of about `PART_ROWS` rows, none over the border of a file."""
        return [part.batches for file in self.files for part in file.split()]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """The first rows of row groups that lie evenly over the files."""
        groups = [
            (file, group)
            for file in self.files
            for group in range(file.metadata.num_row_groups)
            if file.metadata.row_group(group).num_rows
        ]
        if self.n_rows > SAMPLE_ROWS and len(groups) > _SAMPLE_PLACES:
            step = (len(groups) - 1) / (_SAMPLE_PLACES - 1)
            groups = [groups[round(i * step)] for i in range(_SAMPLE_PLACES)]
        limit = SAMPLE_ROWS if self.n_rows <= SAMPLE_ROWS else SAMPLE_ROWS // max(1, len(groups))
        tables = [file.first_rows(group, columns, limit) for file, group in groups]
        if not tables:
            return self.schema.empty_table().select(list(columns))
        return pa.concat_tables(tables, promote_options="permissive")

    def column(self, name: str) -> pa.ChunkedArray:
        """The column of every file, decoded in one piece a file."""
        chunks = [chunk for file in self.files for chunk in file.whole_column(name)]
        kind = chunks[0].type if chunks else self.schema.field(name).type
        return pa.chunked_array(chunks, kind)


@dataclass(frozen=True)
class ParquetPart:
    """Some row groups of one file; every reader opens the file for itself."""

    path: str
    open: Callable[[], Any]
    metadata: pq.FileMetaData
    schema: pa.Schema
    row_groups: tuple[int, ...] | None = None

    def reader(self) -> pq.ParquetFile:
        """The file, with its strings read as dictionaries."""
        texts = [item.name for item in self.schema if _is_text(item.type)]
        return pq.ParquetFile(self.open(), metadata=self.metadata, read_dictionary=texts)

    def split(self) -> list[ParquetPart]:
        """Parts of about `PART_ROWS` rows, at least one row group each."""
        runs: list[list[int]] = [[]]
        rows = 0
        for group in range(self.metadata.num_row_groups):
            if rows >= PART_ROWS:
                runs.append([])
                rows = 0
            runs[-1].append(group)
            rows += self.metadata.row_group(group).num_rows
        return [
            ParquetPart(self.path, self.open, self.metadata, self.schema, tuple(run))
            for run in runs
        ]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of the part; a file without any of the columns gives batches without columns."""
        present = [name for name in columns if name in self.schema.names]
        groups = self.row_groups or ()
        if not present:
            for group in groups:
                yield _no_columns(self.metadata.row_group(group).num_rows)
            return
        yield from self.reader().iter_batches(
            BATCH_ROWS, row_groups=list(groups), columns=present, use_threads=False
        )

    def first_rows(self, group: int, columns: Sequence[str], limit: int) -> pa.Table:
        """At most `limit` rows of one row group."""
        present = [name for name in columns if name in self.schema.names]
        batches, rows = [], 0
        for batch in self.reader().iter_batches(
            min(limit, BATCH_ROWS), row_groups=[group], columns=present, use_threads=False
        ):
            batches.append(batch.slice(0, limit - rows))
            rows += batch.num_rows
            if rows >= limit:
                break
        return pa.Table.from_batches(batches)

    def whole_column(self, name: str) -> list[pa.Array]:
        """One column of the whole file; nulls if the file has no such column."""
        if name not in self.schema.names:
            return [pa.nulls(self.metadata.num_rows)]
        table = self.reader().read(columns=[name], use_threads=False)
        chunks: list[pa.Array] = table.column(name).chunks
        return chunks


def open_source(data: Data, *, filesystem: Any = None) -> Source:
    """Whatever the caller holds, as a source.

    Args:
        data: A path or fsspec URL of a Parquet file or of a folder of them, a pandas or polars
            DataFrame, or a pyarrow Table, RecordBatch, RecordBatchReader or Dataset.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.

    Raises:
        DataError: If there is nothing to read, it is not Parquet, two columns have one name, or the
            files of a folder disagree on the type of a column.
    """
    source = _open_known(data, filesystem)
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
        return _open_parquet(str(data), filesystem)
    if isinstance(data, pa.RecordBatchReader):
        return _open_stream(data)
    if type(data).__module__.startswith("pyarrow.") and hasattr(data, "get_fragments"):
        return DatasetSource(data)
    return TableSource(_table(data))


def _table(data: Data) -> pa.Table:
    if isinstance(data, pa.Table):
        # by place: two columns of one name are refused later, by their name
        kept = [i for i, name in enumerate(data.column_names) if not _PANDAS_INDEX.fullmatch(name)]
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


def _open_stream(reader: pa.RecordBatchReader) -> Source:
    head, rows = [], 0
    for batch in reader:
        head.append(batch)
        rows += batch.num_rows
        if rows >= SAMPLE_ROWS:
            return StreamSource(pa.Table.from_batches(head, reader.schema), iter(reader))
    return TableSource(pa.Table.from_batches(head, reader.schema))


def _table_from_pandas(frame: Any) -> pa.Table:
    """Column by column, so that one of mixed types costs no more than itself (it becomes text)."""
    columns = []
    for position in range(frame.shape[1]):
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


def _open_parquet(location: str, filesystem: Any) -> Source:
    files = _list_files(location, filesystem)
    with ThreadPoolExecutor(min(8, len(files))) as pool:
        parts = tuple(pool.map(_open_file, files))
    try:
        schema = pa.unify_schemas([part.schema for part in parts], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"the files of {location!r} must agree on the types of their columns: {error}; "
            "write them again with one schema"
        ) from error
    data = [field for field in schema if not _PANDAS_INDEX.fullmatch(field.name)]
    return ParquetSource(parts, pa.schema(data))


def _open_file(file: tuple[str, Callable[[], Any]]) -> ParquetPart:
    path, opener = file
    try:
        metadata = pq.read_metadata(opener())
        return ParquetPart(path, opener, metadata, metadata.schema.to_arrow_schema())
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"data must be Parquet, but {path!r} could not be read: {error}; convert it first, for "
            "instance with pyarrow.parquet.write_table"
        ) from error


def _list_files(location: str, filesystem: Any) -> list[tuple[str, Callable[[], Any]]]:
    """Each file's path and how to open it, but for names with a dot or underscore in front."""
    local = location.removeprefix("file://")
    if "://" in local:
        found = _list_remote(local, filesystem)
    else:
        root = Path(local)
        if not root.exists():
            raise DataError(f"data must exist, but there is no file or folder {location!r}")
        paths = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        found = [
            (str(path), _local_opener(path))
            for path in paths
            if path == root or _is_data(path.relative_to(root).parts)
        ]
    if not found:
        raise DataError(f"data must be Parquet, but the folder {location!r} holds no data files")
    return found


def _list_remote(location: str, filesystem: Any) -> list[tuple[str, Callable[[], Any]]]:
    if filesystem is None:
        import fsspec

        filesystem, root = fsspec.core.url_to_fs(location)
    else:
        root = filesystem._strip_protocol(location)  # noqa: SLF001 - fsspec has no public name
    paths = sorted(filesystem.find(root))
    if not paths and not filesystem.exists(root):
        raise DataError(f"data must exist, but there is no file or folder {location!r}")
    return [
        (filesystem.unstrip_protocol(path), _remote_opener(filesystem, path))
        for path in paths
        if path == root or _is_data(tuple(path.removeprefix(root).strip("/").split("/")))
    ]


def _is_data(parts: Sequence[str]) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)


def _local_opener(path: Path) -> Callable[[], Any]:
    return lambda: pa.memory_map(str(path)) if path.stat().st_size else io.BytesIO()


def _remote_opener(filesystem: Any, path: str) -> Callable[[], Any]:
    return lambda: filesystem.open(path, "rb")


def _slice_reader(table: pa.Table) -> Part:
    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        present = table.select([name for name in columns if name in table.schema.names])
        if not present.num_columns:
            yield _no_columns(table.num_rows)
            return
        yield from present.to_batches(max_chunksize=BATCH_ROWS)

    return read


def _scan_reader(fragment: Any, schema: pa.Schema) -> Part:
    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from fragment.to_batches(
            schema=schema, columns=list(columns), batch_size=BATCH_ROWS, use_threads=False
        )

    return read


def _no_columns(rows: int) -> pa.RecordBatch:
    # a name no column of the caller has; pyarrow forgets the rows of a batch without columns
    return pa.RecordBatch.from_arrays([pa.nulls(rows)], names=["\0"])


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
