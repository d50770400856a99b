"""Rows that a predict function cannot score: found one by one, set aside with the reason, counted.

A batch that fails is halved until the rows that fail stand alone, so one bad row costs its batch
about `2 * log2(batch_rows)` further calls and loses nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flytekitplugins.wbmon.data.parquet_writer import PartWriter
from flytekitplugins.wbmon.errors import ScoringError
from flytekitplugins.wbmon.monitor.scoring.checkpoint import ScoringCheckpoint

if TYPE_CHECKING:
    from typing_extensions import Self

_SHOWN = 200
_PART_ROWS = 1_048_576


def quarantine_path(sink: str) -> str:
    """Where the failed rows of a sink go: into its folder, under a name that readers skip."""
    folder, slash, name = str(sink).rstrip("/").rpartition("/")
    if name.endswith(".parquet"):
        return f"{folder}{slash}_quarantine-{name}"
    return f"{folder}{slash}{name}/_quarantine"


class Quarantine:
    """Scores what can be scored; writes the rest to Parquet of its own.

    It holds the failed rows' columns and `row` (position in the data), `error_type` and `error`.
    It is kept when the run fails, too.

    Args:
        path: Where it goes, once there is a failed row: a folder, or a file by its name.
        max_error_rate: Share of rows that may fail; 0 lets the first failure through as it is.
        n_rows: Rows of the data; None if unknown, then those read so far count.
        filesystem: The fsspec file system of the path, where the caller has one.
    """

    def __init__(
        self, path: str, *, max_error_rate: float, n_rows: int | None, filesystem: Any = None
    ) -> None:
        self._path, self._files = path, filesystem
        self._rate, self._n_rows = max_error_rate, n_rows
        self._writer: PartWriter | None = None
        self._waiting: list[pa.Table] = []
        self.errors: Counter[str] = Counter()
        self.failed: pa.Table | None = None
        """The rows of the last batch that failed."""

    @property
    def n_failed(self) -> int:
        """Rows set aside so far."""
        return self.errors.total()

    @property
    def path(self) -> str:
        """Where the failed rows are; empty if none failed."""
        return self._path if self.errors else ""

    def score(
        self, score: Callable[[pa.Table], pa.Table], batch: pa.Table, first_row: int
    ) -> pa.Table | None:
        """The scored rows of a batch, in order; None if no row could be scored.

        Raises:
            ScoringError: From `score`, if no row may fail; or if more rows failed than may.
        """
        self.failed = None
        if self._rate == 0:
            return score(batch)
        try:
            scored = self._score(score, batch, first_row, first_row + batch.num_rows)
        finally:
            self._write()
        return scored

    @property
    def parts(self) -> tuple[str, ...]:
        """The files that are whole."""
        return () if self._writer is None else self._writer.parts

    def seal(self) -> None:
        """Make the failed rows so far safe."""
        if self._writer is not None:
            self._writer.end_part()

    def resume_from(self, earlier: ScoringCheckpoint) -> None:
        """Take over the rows that an earlier attempt set aside."""
        self.errors.update(earlier.errors)
        if earlier.quarantined:
            self._open().copy_from(earlier.quarantined)

    def read(self) -> Iterator[pa.Table]:
        """The failed rows of an earlier attempt."""
        yield from () if self._writer is None else self._writer.read(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close(keep=True)

    def _score(
        self, score: Callable[[pa.Table], pa.Table], batch: pa.Table, first_row: int, seen: int
    ) -> pa.Table | None:
        try:
            return score(batch)
        except ScoringError as error:
            if batch.num_rows == 1:
                self._set_aside(batch, first_row, error, seen)
                return None
        half = batch.num_rows // 2
        sides = (
            self._score(score, batch.slice(0, half), first_row, seen),
            self._score(score, batch.slice(half), first_row + half, seen),
        )
        scored = [side for side in sides if side is not None]
        return pa.concat_tables(scored, promote_options="permissive") if scored else None

    def _set_aside(self, row: pa.Table, position: int, error: ScoringError, seen: int) -> None:
        cause = error.__cause__ or error
        kind = type(cause).__name__
        reason = {"row": position, "error_type": kind, "error": str(cause)[:_SHOWN]}
        for name, value in reason.items():
            row = row.append_column(name, pa.array([value]))
        self._waiting.append(row)
        self.errors[kind] += 1
        n_rows = max(self._n_rows or 0, seen)
        if self.n_failed > self._rate * n_rows:
            counts = ", ".join(f"{name} {count}" for name, count in self.errors.most_common())
            raise ScoringError(
                f"at most {self._rate:.3%} of {n_rows} rows may fail, {self.n_failed} did so far "
                f"({counts}); they are in {self._path}. The last was row {position}: {cause}"
            ) from cause

    def _write(self) -> None:
        if not self._waiting:
            return
        self.failed, self._waiting = pa.concat_tables(self._waiting), []
        self._open().write(self.failed)

    def _open(self) -> PartWriter:
        if self._writer is None:
            self._writer = PartWriter(self._path, part_rows=_PART_ROWS, filesystem=self._files)
        return self._writer
