"""Parquet files, local or remote, as one table that is read by row groups.

They are read with `pyarrow.parquet`: `pyarrow.dataset` and `Table.to_numpy` import pandas where it
is installed, a second of every pod's time that buys nothing here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.sources import (
    BATCH_ROWS,
    PANDAS_INDEX,
    PART_ROWS,
    SAMPLE_PLACES,
    SAMPLE_ROWS,
    Part,
    no_columns,
)


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
        if self.n_rows > SAMPLE_ROWS and len(groups) > SAMPLE_PLACES:
            step = (len(groups) - 1) / (SAMPLE_PLACES - 1)
            groups = [groups[round(i * step)] for i in range(SAMPLE_PLACES)]
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
                yield no_columns(self.metadata.row_group(group).num_rows)
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


def open_parquet(location: str, filesystem: Any) -> ParquetSource:
    """One file, or all files of a folder, by their footers.

    Raises:
        DataError: If there is nothing to read, it is not Parquet, or the files disagree on the type
            of a column.
    """
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
    data = [field for field in schema if not PANDAS_INDEX.fullmatch(field.name)]
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


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
