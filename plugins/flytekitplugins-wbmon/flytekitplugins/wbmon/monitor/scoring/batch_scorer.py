"""One predict function applied to batch after batch, and what a report tells of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.batches import (
    BatchKind,
    append_columns,
    batch_for,
    predicted_columns,
)
from flytekitplugins.wbmon.data.sources import Source
from flytekitplugins.wbmon.errors import DataError, ScoringError
from flytekitplugins.wbmon.monitor.scoring.checkpoint import ScoringCheckpoint
from flytekitplugins.wbmon.monitor.scoring.report import SLO, SLOResult, SLOVerdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERCENTILES = (50, 95, 99)


class BatchScorer:
    """Applies `predict` and keeps two numbers a batch.

    Args:
        predict: Takes a batch, returns its predictions.
        kind: What it takes.
        columns: The columns that it is given; all if None.
        let_through: Exceptions that say nothing of the rows and are raised as they are.
    """

    def __init__(
        self,
        predict: Callable[[Any], Any],
        kind: BatchKind,
        columns: Sequence[str] | None,
        let_through: tuple[type[Exception], ...] = (),
    ) -> None:
        self._predict, self._kind, self._inputs = predict, kind, columns
        self._let_through = let_through
        self._seconds: list[float] = []
        self._rows: list[int] = []
        self.n_read = 0
        self.columns: tuple[str, ...] = ()

    @property
    def n_batches(self) -> int:
        """Batches read, those of earlier attempts included."""
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
        """Raise a `DataError` if the data lack a column that predict is given."""
        missing = [name for name in self._inputs or () if name not in source.schema.names]
        if missing:
            raise DataError(
                f"the data must have the columns that predict is given; {', '.join(missing)} "
                f"not found among {', '.join(source.schema.names)}"
            )

    def resume_from(self, earlier: ScoringCheckpoint) -> None:
        """Take over what an earlier attempt has done."""
        self._seconds, self._rows = list(earlier.batch_s), list(earlier.batch_rows)
        self.n_read, self.columns = earlier.n_read, earlier.columns

    @contextmanager
    def batch(self, batch: pa.Table) -> Iterator[int]:
        """One batch: errors name it, its time is kept; gives its first row's position."""
        first_row = self.n_read
        self._seconds.append(0.0)
        self._rows.append(batch.num_rows)
        self.n_read += batch.num_rows
        where = f"batch {len(self._rows) - 1} (rows {first_row} to {self.n_read - 1})"
        try:
            yield first_row
        except (DataError, ScoringError) as error:
            message = f"predict failed on {where}: {error}"
            raise type(error)(message) from error.__cause__ or error

    def score(self, batch: pa.Table) -> pa.Table:
        """The batch with its predictions behind it."""
        given = batch_for(batch.select(list(self._inputs or batch.column_names)), self._kind)
        begin = perf_counter()
        try:
            output = self._predict(given)
        except self._let_through:
            raise
        except Exception as error:
            raise ScoringError(f"{type(error).__name__}: {error}") from error
        finally:
            self._seconds[-1] += perf_counter() - begin
        scored = append_columns(batch, predicted_columns(output, batch))
        self.columns = tuple(scored.column_names[batch.num_columns :])
        return scored

    def score_nothing(self, empty: pa.Table) -> pa.Table:
        """A window without rows: the predicted columns, too, where predict takes no rows."""
        try:
            with self.batch(empty):
                return self.score(empty)
        except (DataError, ScoringError):
            return empty
        finally:
            self._seconds.pop()
            self._rows.pop()

    def latency_ms(self) -> dict[str, float]:
        """Of a batch, inside predict: `mean sd min max p50 p95 p99`; `nan` without batches."""
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

    def judge(self, slo: SLO) -> SLOResult:
        """An objective held against the batches."""
        latency_ms = self._latency_ms()
        if not len(latency_ms):
            return SLOResult(slo=slo, observed=math.nan, verdict="no_data")
        values = latency_ms if slo.metric == "latency_ms" else latency_ms / np.array(self._rows)
        observed = float(np.percentile(values, slo.percentile))
        verdict: SLOVerdict = "pass" if observed <= slo.value else "fail"
        return SLOResult(slo=slo, observed=observed, verdict=verdict)

    def _latency_ms(self) -> NDArray[np.float64]:
        return np.array(self._seconds) * 1000
