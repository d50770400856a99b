"""The core of batch scoring: a user's predict function over a table of any size, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.errors import ConfigError, DataError, ScoringError
from flytekitplugins.wbmon.monitor.confidence import ClassCounter, ConfidenceMeter
from flytekitplugins.wbmon.monitor.parts import PartWriter
from flytekitplugins.wbmon.monitor.predictions import (
    BatchKind,
    append_columns,
    batch_for,
    batch_kind,
    predicted_columns,
)
from flytekitplugins.wbmon.monitor.quarantine import Quarantine, quarantine_path
from flytekitplugins.wbmon.monitor.reading import Source, open_source
from flytekitplugins.wbmon.records.scoring import (
    SLO,
    ScoringReport,
    SLOResult,
    SLOVerdict,
    Watch,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a scoring run has come.

    Attributes:
        n_batches: Batches done.
        n_rows: Rows scored.
        n_failed: Rows set aside.
        latency_ms: Of the last batch, inside predict.
    """

    n_batches: int
    n_rows: int
    n_failed: int
    latency_ms: float


def score_batches(  # noqa: PLR0913 - one keyword a setting
    predict: Callable[[Any], Any],
    source: Any,
    sink: str,
    *,
    batch_rows: int = 65_536,
    kind: BatchKind | None = None,
    columns: Sequence[str] | None = None,
    slos: Sequence[SLO] = (),
    part_rows: int = 1_048_576,
    filesystem: Any = None,
    max_error_rate: float = 0.0,
    watch: Watch | None = None,
    on_batch: Callable[[Progress], None] | None = None,
) -> ScoringReport:
    """Score a table batch by batch and write it, with the predictions appended, as Parquet.

    Rows keep their order. A batch is read, scored and written before the next, so memory does not
    grow with the rows. Latency is the time inside `predict`.

    Args:
        predict: Takes a batch, returns its predictions: a frame, table, series, array or mapping of
            columns, one row for each of the batch. Bind a model with `functools.partial`.
        source: Parquet by path or URI, a pandas or polars frame, an Arrow table or dataset.
        sink: Folder for the parts, or one file if it ends in `.parquet`; path or fsspec URI.
        batch_rows: Rows of a batch; the last one may be shorter.
        kind: What `predict` takes; by the annotation of its first parameter if None.
        columns: The columns that `predict` is given; all if None. All are written in any case.
        slos: Objectives on batch latency, judged at the end.
        part_rows: Rows after which a folder's next part is begun.
        filesystem: The fsspec file system of the sink, where the caller has one with credentials.
        max_error_rate: Share of rows that may make `predict` raise; in [0, 1]. They are found one
            by one and set aside with the reason in `_quarantine.parquet` beside the parts, a name
            that readers of the folder skip.
        watch: Columns of the scored data whose distribution the report tells.
        on_batch: Told after every batch how far the run has come.

    Raises:
        ConfigError: If a number is out of range, the kind is unknown or the sink holds data.
        DataError: If the source cannot be read, lacks a column, or `predict` returned something
            else than one row of columns for each row; the message names the batch.
        ScoringError: If `predict` raised for more rows than may fail; the cause is its exception.
    """
    _require_settings(batch_rows, part_rows, max_error_rate, slos)
    data = open_source(source)
    scorer = _Scorer(predict, kind or batch_kind(predict), columns)
    scorer.require_columns(data)
    quarantine = Quarantine(
        quarantine_path(sink),
        max_error_rate=max_error_rate,
        n_rows=data.n_rows,
        filesystem=filesystem,
    )
    watched = _Watched(watch or Watch())
    begin = perf_counter()
    with quarantine, PartWriter(sink, part_rows=part_rows, filesystem=filesystem) as writer:
        for batch in read_batches(data, batch_rows):
            with scorer.batch(batch) as first_row:
                scored = quarantine.score(scorer.score, batch, first_row)
                if scored is not None:
                    watched.add(scored)
                    writer.write(scored)
            if on_batch is not None:
                on_batch(scorer.progress(quarantine.n_failed))
        if not writer.has_written:
            writer.write(scorer.score_nothing(data.schema.empty_table()))
    return scorer.report(
        duration_s=perf_counter() - begin, quarantine=quarantine, watched=watched, slos=slos
    )


def read_batches(source: Source, batch_rows: int) -> Iterator[pa.Table]:
    """The rows in order as tables of `batch_rows` rows, the last one shorter."""
    waiting: list[pa.Table] = []
    n_waiting = 0
    for part in source.parts():
        for piece in part(source.schema.names):
            table = _conform(pa.Table.from_batches([piece]), source.schema)
            while n_waiting + table.num_rows >= batch_rows:
                taken = batch_rows - n_waiting
                yield pa.concat_tables([*waiting, table.slice(0, taken)])
                table, waiting, n_waiting = table.slice(taken), [], 0
            if table.num_rows:
                waiting.append(table)
                n_waiting += table.num_rows
    if waiting:
        yield pa.concat_tables(waiting)


class _Scorer:
    """Applies `predict` and keeps what the report needs: two numbers a batch."""

    def __init__(
        self, predict: Callable[[Any], Any], kind: BatchKind, columns: Sequence[str] | None
    ) -> None:
        self._predict, self._kind, self._inputs = predict, kind, columns
        self._seconds: list[float] = []
        self._rows: list[int] = []
        self._n_read = 0
        self._columns: tuple[str, ...] = ()

    def require_columns(self, source: Source) -> None:
        missing = [name for name in self._inputs or () if name not in source.schema.names]
        if missing:
            raise DataError(
                f"the data must have the columns that predict is given; {', '.join(missing)} "
                f"not found among {', '.join(source.schema.names)}"
            )

    @contextmanager
    def batch(self, batch: pa.Table) -> Iterator[int]:
        """One batch: errors name it, its time is kept; gives its first row's position."""
        first_row = self._n_read
        self._seconds.append(0.0)
        self._rows.append(batch.num_rows)
        self._n_read += batch.num_rows
        where = f"batch {len(self._rows) - 1} (rows {first_row} to {self._n_read - 1})"
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
        except Exception as error:
            raise ScoringError(f"{type(error).__name__}: {error}") from error
        finally:
            self._seconds[-1] += perf_counter() - begin
        scored = append_columns(batch, predicted_columns(output, batch))
        self._columns = tuple(scored.column_names[batch.num_columns :])
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

    def progress(self, n_failed: int) -> Progress:
        return Progress(
            n_batches=len(self._rows),
            n_rows=self._n_read - n_failed,
            n_failed=n_failed,
            latency_ms=1000 * self._seconds[-1],
        )

    def report(
        self, *, duration_s: float, quarantine: Quarantine, watched: _Watched, slos: Sequence[SLO]
    ) -> ScoringReport:
        latency_ms = np.array(self._seconds) * 1000
        return ScoringReport(
            n_rows=self._n_read - quarantine.n_failed,
            n_batches=len(self._rows),
            duration_s=duration_s,
            predict_s=sum(self._seconds),
            latency_ms=_latency(latency_ms),
            columns=self._columns,
            slos=tuple(_judge(slo, latency_ms, np.array(self._rows)) for slo in slos),
            n_failed=quarantine.n_failed,
            errors=dict(quarantine.errors.most_common()),
            quarantine=quarantine.path,
            confidence=watched.confidence.record() if watched.confidence else None,
            classes=watched.classes.record() if watched.classes else None,
        )


class _Watched:
    """The meters that a `Watch` asks for."""

    def __init__(self, watch: Watch) -> None:
        columns = watch.confidence
        self.confidence = ConfidenceMeter(columns, watch.low_confidence) if columns else None
        self.classes = ClassCounter(watch.classes) if watch.classes else None

    def add(self, scored: pa.Table) -> None:
        for meter in (self.confidence, self.classes):
            if meter is not None:
                meter.add(scored)


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the schema's columns and types: files may lack some, readers may encode text."""
    if table.schema.equals(schema):
        return table
    lacking = [name for name in schema.names if name not in table.column_names]
    for name in lacking:
        table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return table.select(schema.names).cast(schema)


def _require_settings(
    batch_rows: int, part_rows: int, max_error_rate: float, slos: Sequence[SLO]
) -> None:
    if batch_rows < 1 or part_rows < 1:
        raise ConfigError(
            f"batch_rows and part_rows must be at least 1, got {batch_rows} and {part_rows}"
        )
    if not 0 <= max_error_rate <= 1:
        raise ConfigError(f"max_error_rate must be a share in [0, 1], got {max_error_rate}")
    names = [slo.name for slo in slos]
    if len(set(names)) < len(names):
        raise ConfigError(f"objectives must have different names, got {', '.join(names)}")


def _latency(latency_ms: NDArray[np.float64]) -> dict[str, float]:
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


def _judge(slo: SLO, latency_ms: NDArray[np.float64], rows: NDArray[np.int64]) -> SLOResult:
    if not len(latency_ms):
        return SLOResult(slo=slo, observed=math.nan, verdict="no_data")
    values = latency_ms if slo.metric == "latency_ms" else latency_ms / rows
    observed = float(np.percentile(values, slo.percentile))
    verdict: SLOVerdict = "pass" if observed <= slo.value else "fail"
    return SLOResult(slo=slo, observed=observed, verdict=verdict)
