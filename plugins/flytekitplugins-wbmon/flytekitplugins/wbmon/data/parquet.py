"""Local or remote Parquet files as one table that is read row group by row group.

The files are read with `pyarrow.parquet`, because `pyarrow.dataset` and `Table.to_numpy` import
pandas wherever it is installed, which takes each pod about a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flytekitplugins.wbmon.data.alike import common_type, converted, logged_type, read_type
from flytekitplugins.wbmon.data.files import DataFile, list_files
from flytekitplugins.wbmon.data.hive_partitions import (
    Constant,
    constant_column,
    partition_values,
    typed_partitions,
)
from flytekitplugins.wbmon.data.pandas_types import told_of_pandas_types
from flytekitplugins.wbmon.data.row_groups import read_batches, read_column
from flytekitplugins.wbmon.data.sources import (
    BATCH_ROWS,
    PANDAS_INDEX,
    PART_ROWS,
    SAMPLE_PLACES,
    SAMPLE_ROWS,
    Part,
    TableSource,
    no_columns,
    no_rows,
    require_different,
)
from flytekitplugins.wbmon.data.stack import joined, stacked
from flytekitplugins.wbmon.errors import DataError, StorageError
from flytekitplugins.wbmon.names import quoted_name

_OF_A_LOG = frozenset({"schema_version", "request_id", "sample_weight"})
"""Columns of every prediction log."""


@dataclass(frozen=True)
class ParquetSource:
    """One table that is stored in several Parquet files.

    Attributes:
        files: The files, in the order of their rows.
        schema: The columns offered to readers.
        partitions: The partition columns of the folders, whether `schema` offers them or not.
        refused: Why columns cannot be read, of those on whose type the files disagree; they are of
            no type in `schema`.
    """

    files: tuple[ParquetPart, ...]
    schema: pa.Schema
    partitions: pa.Schema
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns offered to readers."""
        return list(self.schema.names)

    def type_of(self, name: str) -> pa.DataType:
        """Type of a column."""
        _require_read(self.refused, (name,))
        return self.schema.field(name).type

    def with_partitions(self, names: Iterable[str]) -> ParquetSource:
        """The same source with the named partition columns added to its schema."""
        wanted = {*names} - {*self.schema.names}
        offered = [field for field in self.partitions if field.name in wanted]
        return replace(self, schema=pa.schema([*self.schema, *offered])) if offered else self

    @property
    def partition_names(self) -> tuple[str, ...]:
        """Names of the partition columns."""
        return tuple(self.partitions.names)

    @property
    def n_rows(self) -> int:
        """Number of rows, read from the footers of the files."""
        return sum(file.metadata.num_rows for file in self.files)

    def parts(self) -> list[Part]:
        """Consecutive row groups of about `PART_ROWS` rows; no part spans two files."""
        return [part.batches for file in self.files for part in file.split()]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """The first rows of row groups that are spread evenly over the files."""
        groups = [
            (file, group)
            for file in self.files
            for group in range(file.metadata.num_row_groups)
            if file.metadata.row_group(group).num_rows
        ]
        if self.n_rows > SAMPLE_ROWS and len(groups) > SAMPLE_PLACES:
            # the first and the last row group are always among them
            step = (len(groups) - 1) / (SAMPLE_PLACES - 1)
            groups = [groups[round(i * step)] for i in range(SAMPLE_PLACES)]
        limit = SAMPLE_ROWS if self.n_rows <= SAMPLE_ROWS else SAMPLE_ROWS // max(1, len(groups))
        tables = [file.first_rows(group, columns, limit) for file, group in groups]
        if not tables:
            return no_rows(self.schema).select(list(columns))
        return stacked(tables)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all files, decoded one file at a time."""
        chunks = [chunk for file in self.files for chunk in file.whole_column(name)]
        return joined(chunks) if chunks else pa.chunked_array([], self.type_of(name))


@dataclass(frozen=True)
class ParquetPart:
    """Some row groups of one file; each reader opens its own handle, so threads can share it.

    Attributes:
        path: Where the file is.
        open: Opens it.
        metadata: Its footer.
        schema: Its columns as they are stored.
        folders: Partition columns, which its folders give.
        row_groups: Those of this part; None for all.
        types: Types of columns that other files of the dataset store in another one.
        refused: Why columns cannot be read, by name.
    """

    path: str
    open: Callable[[], Any]
    metadata: pq.FileMetaData
    schema: pa.Schema
    folders: Mapping[str, Constant] = field(default_factory=dict)
    row_groups: tuple[int, ...] | None = None
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def reader(self) -> pq.ParquetFile:
        """Open the file so that its strings are read as dictionaries."""
        # repeated strings are then decoded once, and counting works on their codes
        texts = [item.name for item in self.schema if _is_text(item.type)]
        return pq.ParquetFile(self.open(), metadata=self.metadata, read_dictionary=texts)

    def split(self) -> list[ParquetPart]:
        """Split the file into parts of about `PART_ROWS` rows, of one row group or more each."""
        runs: list[list[int]] = [[]]
        rows = 0
        for group in range(self.metadata.num_row_groups):
            if rows >= PART_ROWS:
                runs.append([])
                rows = 0
            runs[-1].append(group)
            rows += self.metadata.row_group(group).num_rows
        return [replace(self, row_groups=tuple(run)) for run in runs]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read the part in batches; a file with none of the columns yields batches of null rows."""
        constants = self._constants(columns)
        for batch in self._stored_batches(columns, self.row_groups or (), BATCH_ROWS):
            yield _with_constants(batch, constants) if constants else batch

    def first_rows(self, group: int, columns: Sequence[str], limit: int) -> pa.Table:
        """At most `limit` rows of one row group."""
        constants = self._constants(columns)
        batches, rows = [], 0
        for batch in self._stored_batches(columns, (group,), min(limit, BATCH_ROWS)):
            batches.append(_with_constants(batch.slice(0, limit - rows), constants))
            rows += batch.num_rows
            if rows >= limit:
                break
        table = pa.Table.from_batches(batches)
        return table.select([name for name in columns if name in table.column_names])

    def whole_column(self, name: str) -> list[pa.Array]:
        """One column of the whole file; all null if the file lacks it."""
        _require_read(self.refused, (name,))
        if name in self.folders:
            return [constant_column(self.folders[name], self.metadata.num_rows)]
        if name not in self.schema.names:
            return [pa.nulls(self.metadata.num_rows)]
        return [self._converted(name, chunk) for chunk in read_column(self.reader(), name)]

    def _converted(self, name: str, array: pa.Array) -> pa.Array:
        return converted(array, self.types[name]) if name in self.types else array

    def _constants(self, columns: Sequence[str]) -> Mapping[str, Constant]:
        return {name: self.folders[name] for name in columns if name in self.folders}

    def _stored_batches(
        self, columns: Sequence[str], groups: Sequence[int], batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        _require_read(self.refused, columns)
        present = [name for name in columns if name in self.schema.names]
        # a batch without columns would lose its number of rows
        if not present:
            for group in groups:
                yield no_columns(self.metadata.row_group(group).num_rows)
            return
        for batch in read_batches(self.reader(), present, groups, batch_rows):
            if self.types.keys().isdisjoint(present):
                yield batch
                continue
            named = zip(batch.schema.names, batch.columns, strict=True)
            yield pa.RecordBatch.from_arrays(
                [self._converted(name, array) for name, array in named], names=batch.schema.names
            )


def open_parquet(location: str, filesystem: Any) -> ParquetSource | TableSource:
    """Open one file, or all files of a folder, by reading their footers.

    The files of a prediction log, which has what a service answers over time, may store a column in
    another kind: see `logged_type`.

    A folder without data files, as a night without rows leaves it, is a table without rows and
    columns.

    Raises:
        DataError: If the location does not exist, or a file is not Parquet. That files disagree on
            the type of a column is an error only for those who read it.
    """
    files = list_files(location, filesystem)
    if not files:
        return TableSource(pa.table({}))
    # reading a footer is mostly waiting for the store; more threads than cores pay off
    with ThreadPoolExecutor(min(8, len(files))) as pool:
        parts = tuple(pool.map(_open_file, files))
    for part in parts:
        require_different(part.schema.names)
    data, refused = _common_schema([part.schema for part in parts], location)
    values = typed_partitions([partition_values(file.folders) for file in files])
    partitions = [
        data.field(name) if name in data.names else pa.field(name, value.dtype)
        # the first file stands for all: each has a value, or null, for every partition column
        for name, value in values[0].items()
    ]
    return ParquetSource(
        tuple(
            replace(_of_dataset(part, own, data), refused=refused)
            for part, own in zip(parts, values, strict=True)
        ),
        data,
        pa.schema(partitions),
        refused,
    )


def _require_read(refused: Mapping[str, str], columns: Sequence[str]) -> None:
    for name in columns:
        if name in refused:
            raise DataError(refused[name])


def _common_schema(schemas: Sequence[pa.Schema], location: str) -> tuple[pa.Schema, dict[str, str]]:
    """The columns of all files, but the row labels of pandas; and why some cannot be read."""
    types: dict[str, list[pa.DataType]] = {}
    for stored in (item for schema in schemas for item in schema):
        if not PANDAS_INDEX.fullmatch(stored.name):
            types.setdefault(stored.name, []).append(stored.type)
    type_of_all = logged_type if types.keys() >= _OF_A_LOG else common_type
    common = {name: type_of_all(found) for name, found in types.items()}
    refused = {
        name: f"the files of {location!r} must agree on the types of their columns, but "
        f"{quoted_name(name)} is {' and '.join(dict.fromkeys(map(str, types[name])))}; write them "
        "again with one schema, or leave the column out"
        for name, dtype in common.items()
        if dtype is None
    }
    return pa.schema({name: dtype or pa.null() for name, dtype in common.items()}), refused


def _of_dataset(part: ParquetPart, folders: Mapping[str, Constant], data: pa.Schema) -> ParquetPart:
    """The part with the values of its folders, and the types that its dataset has.

    A column stored in the files takes precedence over the folders. Numbers stay as they are, unless
    others are text: a number of any type can be read, and no type may hold those of all files.
    """
    kept = {name: value for name, value in folders.items() if name not in data.names}
    types = {
        stored.name: dtype
        for stored in part.schema
        if stored.name in data.names
        and (dtype := read_type(stored.type, data.field(stored.name).type)) != stored.type
    }
    return replace(part, folders=kept, types=types)


def _open_file(file: DataFile) -> ParquetPart:
    try:
        metadata = pq.read_metadata(file.open())
        schema = metadata.schema.to_arrow_schema()
        if told_of_pandas_types(schema):
            schema = metadata.schema.to_arrow_schema()
        return ParquetPart(file.path, file.open, metadata, schema)
    except StorageError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"data must be Parquet, but {file.path!r} could not be read: {error}; convert it "
            "first, for instance with pyarrow.parquet.write_table"
        ) from error


def _with_constants(batch: pa.RecordBatch, constants: Mapping[str, Constant]) -> pa.RecordBatch:
    added = [constant_column(value, batch.num_rows) for value in constants.values()]
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *added], names=[*batch.schema.names, *constants]
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
