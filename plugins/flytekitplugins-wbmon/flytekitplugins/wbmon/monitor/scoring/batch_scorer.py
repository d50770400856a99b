"""Application of one predict function to successive batches, with its latency statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.batches import (
    BatchKind,
    append_columns,
    batch_for,
    predicted_columns,
)
from flytekitplugins.wbmon.data.sources import Source
from flytekitplugins.wbmon.errors import DataError, ScoringError, error_message, error_type
from flytekitplugins.wbmon.monitor.scoring.checkpoint import ScoringCheckpoint
from flytekitplugins.wbmon.monitor.scoring.slo import (
    SLO,
    SLOResult,
    SLOVerdict,
)
from flytekitplugins.wbmon.names import listed_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERCENTILES = (50, 95, 99)
_ALL = 100.0  # per cent


class BatchScorer:
    """Applies `predict` to batches and keeps the time and the row count of each.

    Args:
        predict: Takes a batch, returns its predictions.
        kind: The type of batch that it takes.
        columns: The columns that are passed to it; all if None.
        outputs: The columns that it must return; any if None.
        let_through: Exceptions that are not caused by the rows; they are raised unchanged.
    """

    def __init__(
        self,
        predict: Callable[[Any], Any],
        kind: BatchKind,
        columns: Sequence[str] | None,
        outputs: pa.Schema | None = None,
        let_through: tuple[type[Exception], ...] = (),
    ) -> None:
        self._predict, self._kind, self._inputs = predict, kind, columns
        self._outputs = outputs
        self._let_through = let_through
        self._seconds: list[float] = []
        self._rows: list[int] = []
        self.n_read = 0
        self.columns: tuple[str, ...] = ()
        self.missing: dict[str, int] = {}

    @property
    def n_batches(self) -> int:
        """Number of batches read, including those of earlier attempts."""
        return len(self._rows)

    @property
    def batch_s(self) -> tuple[float, ...]:
        """Time inside predict of each batch, in seconds."""
        return tuple(self._seconds)

    @property
    def last_batch_s(self) -> float:
        """Time inside predict of the last batch, in seconds."""
        return self._seconds[-1]

    @property
    def batch_rows(self) -> tuple[int, ...]:
        """Rows of each batch."""
        return tuple(self._rows)

    def require_columns(self, source: Source) -> None:
        """Check that the data have every column that predict is to receive, if they have rows.

        Raises:
            DataError: If a column is missing.
        """
        missing = [name for name in self._inputs or () if name not in source.names]
        if missing and source.n_rows != 0:
            raise DataError(
                f"the data must have the columns that predict is given; {listed_names(missing)} "
                f"not found among {listed_names(source.names)}"
            )

    def resume_from(self, earlier: ScoringCheckpoint) -> None:
        """Continue from the counters of an earlier attempt."""
        self._seconds, self._rows = list(earlier.batch_s), list(earlier.batch_rows)
        self.n_read, self.columns = earlier.n_read, earlier.columns
        self.missing = dict(earlier.missing)

    @contextmanager
    def batch(self, batch: pa.Table) -> Iterator[int]:
        """Count one batch, and name it in any error raised inside.

        Yields:
            The position of its first row in the data.
        """
        first_row = self.n_read
        self._seconds.append(0.0)
        self._rows.append(batch.num_rows)
        self.n_read += batch.num_rows
        where = f"batch {len(self._rows) - 1} (rows {first_row} to {self.n_read - 1})"
        try:
            yield first_row
        except (DataError, ScoringError) as error:
            message = f"predict failed on {where}: {error}"
            # the cause is the user's own exception: ours in between would hide it
            raise type(error)(message) from error.__cause__ or error

    def score(self, batch: pa.Table) -> pa.Table:
        """Score a batch and append its predictions.

        Raises:
            DataError: If the output of predict does not fit the batch.
            ScoringError: If predict raises; the cause is its exception.
        """
        given = batch_for(batch.select(list(self._inputs or batch.column_names)), self._kind)
        begin = perf_counter()
        try:
            output = self._predict(given)
        except self._let_through:
            raise
        except Exception as error:
            raise ScoringError(f"{error_type(error)}: {error_message(error)}") from error
        finally:
            # added up, not set: the quarantine calls predict several times for one failing batch
            self._seconds[-1] += perf_counter() - begin
        scored = append_columns(batch, self._conform(predicted_columns(output, batch)))
        self.columns = tuple(scored.column_names[batch.num_columns :])
        for name in self.columns:
            self.missing[name] = self.missing.get(name, 0) + _n_missing(scored[name])
        return scored

    def score_nothing(self, empty: pa.Table) -> pa.Table:
        """The predicted columns of an empty table: as declared, or by asking predict.

        Returns:
            The empty table, without predicted columns if none are declared and predict fails on
            zero rows, or lacks a column.
        """
        if self._outputs is not None:
            self.columns = tuple(self._outputs.names)
            return append_columns(empty, self._outputs.empty_table())
        if not set(self._inputs or ()) <= set(empty.column_names):
            return empty
        try:
            with self.batch(empty):
                return self.score(empty)
        except (DataError, ScoringError):
            return empty
        finally:
            # an empty call is not a batch and must not count in the latency
            self._seconds.pop()
            self._rows.pop()

    def _conform(self, columns: pa.Table) -> pa.Table:
        """The returned columns, in the order and types that were declared."""
        if self._outputs is None:
            return columns
        if set(columns.column_names) != set(self._outputs.names):
            raise DataError(
                f"it must return the columns of outputs=, {listed_names(self._outputs.names)}; it "
                f"returned {listed_names(columns.column_names)}"
            )
        try:
            return columns.select(self._outputs.names).cast(self._outputs)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"it must return values of the types of outputs=; {error}") from error

    def latency_ms(self) -> dict[str, float]:
        """Latency of predict per batch: `mean sd min max p50 p95 p99`; `nan` without batches."""
        latency_ms = self._latency_ms()
        if not len(latency_ms):
            return dict.fromkeys(("mean", "sd", "min", "max", "p50", "p95", "p99"), math.nan)
        numbers = {
            "mean": latency_ms.mean(),
            "sd": latency_ms.std(ddof=1) if len(latency_ms) > 1 else math.nan,
            "min": latency_ms.min(),
            "max": latency_ms.max(),
        }
        numbers |= {f"p{level}": np.percentile(latency_ms, level) for level in _PERCENTILES}
        return {name: float(value) for name, value in numbers.items()}

    def judge(self, slo: SLO, *, n_failed: int = 0) -> SLOResult:
        """Compare an objective with the observed batch latencies.

        Args:
            slo: The objective.
            n_failed: Rows that could not be scored; they count as slower than any batch.
        """
        if n_failed >= self.n_read:
            return SLOResult(slo=slo, observed=math.nan, verdict="no_data")
        latency_ms = self._latency_ms()
        values = latency_ms if slo.metric == "latency_ms" else latency_ms / np.array(self._rows)
        percentile = slo.percentile / (1 - n_failed / self.n_read)
        observed = float(np.percentile(values, percentile)) if percentile <= _ALL else math.inf
        verdict: SLOVerdict = "pass" if observed <= slo.value else "fail"
        return SLOResult(slo=slo, observed=observed, verdict=verdict)

    def _latency_ms(self) -> NDArray[np.float64]:
        return np.array(self._seconds) * 1000


def _n_missing(column: pa.ChunkedArray) -> int:
    """Number of rows without a value: null, or not a number."""
    n = column.null_count
    if pa.types.is_floating(column.type):
        n += pc.sum(pc.is_nan(column)).as_py() or 0
    return int(n)
