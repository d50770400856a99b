"""Data sources of any kind behind one interface: columns that are read part by part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names

BATCH_ROWS = 131_072
PART_ROWS = 524_288
SAMPLE_ROWS = 262_144
SAMPLE_PLACES = 32

# pandas writes the row labels of a filtered or concatenated frame as if they were a column
PANDAS_INDEX = re.compile(r"__index_level_\d+__")

Part: TypeAlias = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
"""Reads the named columns of one part of the rows; columns that the part lacks are left out."""


class Source(Protocol):
    """Tabular data that can be read part by part."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types; of a frame it takes the conversion of every column."""

    def type_of(self, name: str) -> pa.DataType:
        """Type of a column."""

    @property
    def partition_names(self) -> tuple[str, ...]:
        """Partition columns, given by folder names; the schema need not contain them."""

    @property
    def n_rows(self) -> int | None:
        """Number of rows; None if it is unknown until everything has been read."""

    def parts(self) -> list[Part]:
        """Disjoint parts of the rows, in order; each may be read in its own thread."""

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """About `SAMPLE_ROWS` rows, spread over the data if possible; all if there are fewer."""

    def column(self, name: str) -> pa.ChunkedArray:
        """One column as a whole."""


@dataclass(frozen=True)
class TableSource:
    """A table in memory."""

    table: pa.Table
    partition_names: tuple[()] = ()

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return self.table.schema

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""
        return list(self.schema.names)

    def type_of(self, name: str) -> pa.DataType:
        """Type of a column."""
        return self.schema.field(name).type

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return int(self.table.num_rows)

    def parts(self) -> list[Part]:
        """Slices of `PART_ROWS` rows."""
        # at least one part, so that an empty table still tells its columns
        starts = range(0, max(self.n_rows, 1), PART_ROWS)
        # the length is spelt out: a table without columns would take a longer one for its rows
        lengths = [min(PART_ROWS, self.n_rows - start) for start in starts]
        return [
            _slice_reader(self.table.slice(start, length))
            for start, length in zip(starts, lengths, strict=True)
        ]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """Slices that are spread evenly over the table."""
        table = self.table.select(list(columns))
        if self.n_rows <= SAMPLE_ROWS:
            return table
        length = SAMPLE_ROWS // SAMPLE_PLACES
        step = (self.n_rows - length) // (SAMPLE_PLACES - 1)
        return pa.concat_tables([table.slice(i * step, length) for i in range(SAMPLE_PLACES)])

    def column(self, name: str) -> pa.ChunkedArray:
        """A view of the column."""
        return self.table.column(name)


@dataclass(frozen=True)
class StreamSource:
    """Batches that can be read only once; the first ones are kept in memory as the sample."""

    head: pa.Table
    rest: Iterator[pa.RecordBatch]
    n_rows: None = None
    partition_names: tuple[()] = ()

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return self.head.schema

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""
        return list(self.schema.names)

    def type_of(self, name: str) -> pa.DataType:
        """Type of a column."""
        return self.schema.field(name).type

    def parts(self) -> list[Part]:
        """A single part: a stream cannot be divided."""
        return [self._batches]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """The first rows."""
        return self.head.select(list(columns))

    def column(self, name: str) -> pa.ChunkedArray:
        """Always raises: reading one column would consume the others.

        Raises:
            DataError: In every case.
        """
        raise DataError(f"a stream can be read only once; column {name!r} cannot be read apart")

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        wanted = list(columns)
        yield from self.head.select(wanted).to_batches(max_chunksize=BATCH_ROWS)
        for batch in self.rest:
            yield from pa.Table.from_batches([batch]).select(wanted).to_batches(BATCH_ROWS)


@dataclass(frozen=True)
class DatasetSource:
    """A `pyarrow.dataset.Dataset` of any format, opened by the caller."""

    dataset: Any

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return self.dataset.schema

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""
        return list(self.schema.names)

    def type_of(self, name: str) -> pa.DataType:
        """Type of a column."""
        return self.schema.field(name).type

    @property
    def partition_names(self) -> tuple[str, ...]:
        """Columns of the partitioning with which the caller opened it."""
        partitioning = getattr(self.dataset, "partitioning", None)
        return () if partitioning is None else tuple(partitioning.schema.names)

    @property
    def n_rows(self) -> int:
        """Number of rows, counted by the dataset."""
        return int(self.dataset.count_rows())

    def parts(self) -> list[Part]:
        """One part for each fragment."""
        # without fragments, one empty part still tells the columns
        return [
            _scan_reader(fragment, self.dataset.schema) for fragment in self.dataset.get_fragments()
        ] or [_slice_reader(no_rows(self.dataset.schema))]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """The first rows."""
        return self.dataset.head(SAMPLE_ROWS, columns=_fields(columns))

    def column(self, name: str) -> pa.ChunkedArray:
        """The column of every fragment."""
        return self.dataset.to_table(columns=_fields([name])).column(0)


def stored_names(source: Source) -> list[str]:
    """Columns that are stored in the rows: all but the partition columns."""
    return [name for name in source.names if name not in source.partition_names]


def known_names(source: Source) -> list[str]:
    """All columns that a caller can ask for, partition columns included."""
    return list(dict.fromkeys([*source.names, *source.partition_names]))


def require_different(names: Sequence[str]) -> None:
    """Check that columns, which are read by their names, have different ones.

    Raises:
        DataError: If two share a name.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"columns of files must have different names, but {listed_names(repeated)} occur more "
            "than once; rename or drop the copies"
        )


def open_stream(reader: pa.RecordBatchReader) -> Source:
    """Open a batch reader; it becomes a table if it ends within `SAMPLE_ROWS` rows."""
    head, rows = [], 0
    for batch in reader:
        head.append(batch)
        rows += batch.num_rows
        if rows >= SAMPLE_ROWS:
            return StreamSource(pa.Table.from_batches(head, reader.schema), iter(reader))
    return TableSource(pa.Table.from_batches(head, reader.schema))


def _slice_reader(table: pa.Table) -> Part:
    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        present = table.select([name for name in columns if name in table.schema.names])
        if not present.num_columns:
            yield no_columns(table.num_rows)
            return
        yield from present.to_batches(max_chunksize=BATCH_ROWS)

    return read


def _scan_reader(fragment: Any, schema: pa.Schema) -> Part:
    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        present = [name for name in columns if name in schema.names]
        if not present:
            yield no_columns(fragment.count_rows())
            return
        yield from fragment.to_batches(
            schema=schema, columns=_fields(present), batch_size=BATCH_ROWS, use_threads=False
        )

    return read


def _fields(names: Sequence[str]) -> dict[str, Any]:
    """The columns of a scan; a name alone would be taken apart at its dots."""
    return {name: pc.field(name) for name in names}


def no_columns(rows: int) -> pa.RecordBatch:
    """A batch of `rows` rows that has none of the requested columns."""
    # a name no column of the caller has; pyarrow forgets the rows of a batch without columns
    return pa.RecordBatch.from_arrays([pa.nulls(rows)], names=["\0"])


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table of these columns without rows."""
    # not `empty_table`, which knows no unions, and no lists of extension types or run ends
    return pa.Table.from_batches([], schema)


def different_names(names: Iterable[Any]) -> tuple[str, ...]:
    """Column names as text, each once: of several equal ones the second becomes `….1`, and so on.

    pandas names the columns of a CSV file in the same way.
    """
    texts = [str(name) for name in names]
    taken, found = set(texts), []
    seen: dict[str, int] = {}
    for text in texts:
        n, name = seen.get(text, 0), text
        while n and name in taken:
            name = f"{text}.{n}"
            n += 1
        seen[text] = n or 1
        taken.add(name)
        found.append(name)
    return tuple(found)
