"""Isolation of rows that a predict function cannot score; they are stored with the reason.

A failing batch is bisected until each failing row is alone, so one bad row needs about
`2 * log2(batch_rows)` further calls, and all other rows of the batch are still scored.
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
    """The path for failed rows: in the folder of the sink, under a name that readers skip."""
    folder, slash, name = str(sink).rstrip("/").rpartition("/")
    if name.endswith(".parquet"):
        return f"{folder}{slash}_quarantine-{name}"
    return f"{folder}{slash}{name}/_quarantine"


class Quarantine:
    """Scores the rows that can be scored and writes the others to separate Parquet files.

    The files hold the columns of the failed rows plus `row` (position in the data), `error_type`
    and `error`. They are kept even if the run fails.

    Args:
        path: Folder or file for the failed rows; created at the first failed row.
        max_error_rate: Share of rows that may fail, in [0, 1]; with 0 the first failure is raised.
        n_rows: Rows of the data; if None (unknown), the share is taken of the rows read so far.
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
        """Score a batch, setting aside the rows that fail.

        Returns:
            The scored rows in order; None if no row could be scored.

        Raises:
            ScoringError: If more rows failed than `max_error_rate` allows.
        """
        self.failed = None
        # no bisection: the error is final, and further calls would only delay it
        if self._rate == 0:
            return score(batch)
        try:
            scored = self._score(score, batch, first_row, first_row + batch.num_rows)
        finally:
            # in `finally`: the rows that broke the limit are what a person wants to see
            self._write()
        return scored

    @property
    def parts(self) -> tuple[str, ...]:
        """Paths of the complete files."""
        return () if self._writer is None else self._writer.parts

    def seal(self) -> None:
        """Complete the current file, so that its rows survive the process."""
        if self._writer is not None:
            self._writer.end_part()

    def resume_from(self, earlier: ScoringCheckpoint) -> None:
        """Copy the failed rows of an earlier attempt and continue its counts."""
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
        # outside `except`, or each level would chain the errors of the level above
        half = batch.num_rows // 2
        sides = (
            self._score(score, batch.slice(0, half), first_row, seen),
            self._score(score, batch.slice(half), first_row + half, seen),
        )
        scored = [side for side in sides if side is not None]
        return pa.concat_tables(scored, promote_options="permissive") if scored else None

    def _set_aside(self, row: pa.Table, position: int, error: ScoringError, seen: int) -> None:
        # the user's exception, which `BatchScorer` wrapped
        cause = error.__cause__ or error
        kind = type(cause).__name__
        reason = {"row": position, "error_type": kind, "error": str(cause)[:_SHOWN]}
        for name, value in reason.items():
            row = row.append_column(name, pa.array([value]))
        self._waiting.append(row)
        self.errors[kind] += 1
        # a stream has no known length, so it is judged by the rows read so far
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
