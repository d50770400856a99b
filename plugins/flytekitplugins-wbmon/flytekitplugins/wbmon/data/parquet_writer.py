"""Writer of Parquet files that readers see either complete or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.names import listed_names
from flytekitplugins.wbmon.storage.filesystem import make_parent, move_file, open_filesystem

if TYPE_CHECKING:
    from typing_extensions import Self


class PartWriter:
    """Appends tables to a folder of part files, or to a single file.

    A part is written under a name that readers skip (`_incomplete-…`) and renamed once it is
    complete, so a run that fails leaves only complete parts. Memory use does not grow with the
    number of rows written.

    Args:
        sink: Path or fsspec URI of a folder, or of one file if it ends in `.parquet`. It must not
            exist yet, or be an empty folder.
        part_rows: Number of rows after which a folder gets a new part; a table is never split.
        part_s: Age in seconds after which a folder gets a new part, checked at each write.
        filesystem: The fsspec file system of the sink, where the caller has one with credentials.
        on_part: Called after each part is complete.

    Raises:
        ConfigError: If the sink already holds data.
    """

    def __init__(
        self,
        sink: str,
        *,
        part_rows: int,
        part_s: float = math.inf,
        filesystem: Any = None,
        on_part: Callable[[], None] | None = None,
    ) -> None:
        self._files, path = open_filesystem(sink, filesystem=filesystem)
        self._is_file = path.endswith(".parquet")
        self._folder = path.rpartition("/")[0] if self._is_file else path
        self._name = path.rpartition("/")[2] if self._is_file else ""
        self._part_rows, self._part_s, self._on_part = part_rows, part_s, on_part
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None
        self._handle: Any = None
        self._parts: list[str] = []
        self._rows_in_part = 0
        self._begun_at = 0.0
        self._require_empty(str(sink), path)

    @property
    def has_written(self) -> bool:
        """Whether any table was written, even one without rows."""
        return self._schema is not None

    @property
    def parts(self) -> tuple[str, ...]:
        """Full paths of the complete parts, in order."""
        return tuple(self._parts)

    def holds(self, parts: Sequence[str]) -> bool:
        """Whether all these parts of another writer still exist."""
        return all(self._files.exists(part) for part in parts)

    def copy_from(self, parts: Sequence[str]) -> None:
        """Copy the complete parts of another writer, in order, as the first parts of this one."""
        for part in parts:
            unfinished, whole = self._paths()
            make_parent(self._files, unfinished)
            # copied under the skipped name first: a copy that breaks must not look like a part
            self._files.cp_file(open_filesystem(part, filesystem=self._files)[1], unfinished)
            move_file(self._files, unfinished, whole)
            self._parts.append(self._files.unstrip_protocol(whole))
            with self._files.open(whole, "rb") as file:
                self._schema = self._schema or pq.read_schema(file)

    def read(self, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Read the complete parts, table by table as they were written.

        Args:
            columns: The columns to read; all if None.
        """
        for part in self._parts:
            with self._files.open(part, "rb") as handle:
                file = pq.ParquetFile(handle)
                for group in range(file.metadata.num_row_groups):
                    yield file.read_row_group(group, columns=columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(keep=error is None)

    def close(self, *, keep: bool) -> None:
        """Complete the current part, or remove it if `keep` is false."""
        if self._writer is not None:
            self._end_part(keep=keep)

    def write(self, table: pa.Table) -> None:
        """Append a table; the first one fixes column names and types.

        Raises:
            DataError: If a later table has other columns, or values that do not fit the type.
        """
        if self._schema is None:
            self._schema = _typed(table.schema)
        if self._writer is None:
            self._begin_part()
        # one row group a table, so that `read` gives back the same tables
        self._writer.write_table(_conform(table, self._schema), row_group_size=table.num_rows or 1)  # type: ignore[union-attr]
        self._rows_in_part += table.num_rows
        is_full = self._rows_in_part >= self._part_rows
        if not self._is_file and (is_full or monotonic() - self._begun_at >= self._part_s):
            self._end_part(keep=True)

    def end_part(self) -> None:
        """Complete the current part now; does nothing if the sink is one file."""
        if self._writer is not None and not self._is_file:
            self._end_part(keep=True)

    def _require_empty(self, sink: str, path: str) -> None:
        if self._is_file:
            taken = self._files.exists(path)
        else:
            taken = self._files.exists(path) and bool(self._files.find(path))
        if taken:
            raise ConfigError(
                f"the sink must not hold data yet, {sink} does; choose another or remove it first"
            )

    def _paths(self) -> tuple[str, str]:
        name = self._name or f"part-{len(self._parts):05d}.parquet"
        folder = f"{self._folder}/" if self._folder else ""
        return f"{folder}_incomplete-{name}", f"{folder}{name}"

    def _begin_part(self) -> None:
        unfinished, _ = self._paths()
        make_parent(self._files, unfinished)
        self._handle = self._files.open(unfinished, "wb")
        self._writer = pq.ParquetWriter(self._handle, self._schema, compression="zstd")
        self._rows_in_part, self._begun_at = 0, monotonic()

    def _end_part(self, *, keep: bool) -> None:
        unfinished, whole = self._paths()
        # cleared first: when closing fails, `close` must not try it a second time
        writer, self._writer = self._writer, None
        try:
            writer.close()  # type: ignore[union-attr]
            self._handle.close()
        finally:
            if not keep:
                self._files.rm(unfinished)
        if keep:
            move_file(self._files, unfinished, whole)
            self._parts.append(self._files.unstrip_protocol(whole))
            if self._on_part is not None:
                self._on_part()


def _typed(schema: pa.Schema) -> pa.Schema:
    """Replace null types by float64: an all-null first batch does not show the type."""
    return pa.schema(
        [
            field.with_type(pa.float64()) if pa.types.is_null(field.type) else field
            for field in schema
        ]
    )


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if sorted(table.column_names) != sorted(schema.names):
        raise DataError(
            f"it must return the same columns for every batch; the first had "
            f"{listed_names(schema.names)}, this one has {listed_names(table.column_names)}"
        )
    try:
        # predict may return columns in another order, or int where the first batch had float
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(
            f"it must return the same types for every batch, {error}; the first had "
            f"{', '.join(f'{field.name}: {field.type}' for field in schema)}"
        ) from error
