"""The core of batch scoring: a user's predict function over a table of any size, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.errors import ConfigError, DataError, ScoringError
from flytekitplugins.wbmon.monitor.parts import PartWriter
from flytekitplugins.wbmon.monitor.predictions import (
    BatchKind,
    append_columns,
    batch_for,
    batch_kind,
    predicted_columns,
)
from flytekitplugins.wbmon.monitor.reading import Source, open_source
from flytekitplugins.wbmon.records.scoring import SLO, ScoringReport, SLOResult, SLOVerdict

_PERCENTILES = (50, 95, 99)


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

    Raises:
        ConfigError: If a number is out of range, the kind is unknown or the sink holds data.
        DataError: If the source cannot be read, lacks a column, or `predict` returned something
            else than one row of columns for each row; the message names the batch.
        ScoringError: If `predict` raised; the cause is its exception.
    """
    if batch_rows < 1 or part_rows < 1:
        raise ConfigError(
            f"batch_rows and part_rows must be at least 1, got {batch_rows} and {part_rows}"
        )
    _require_names(slos)
    scorer = _Scorer(predict, kind or batch_kind(predict), columns)
    opened = open_source(source)
    scorer.require_columns(opened)
    begin = perf_counter()
    with PartWriter(sink, part_rows=part_rows, filesystem=filesystem) as writer:
        for batch in read_batches(opened, batch_rows):
            writer.write(scorer.score(batch))
        if not scorer.seconds:
            writer.write(scorer.score_nothing(opened.schema.empty_table()))
    return scorer.report(perf_counter() - begin, slos)


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
    """Applies `predict` and keeps what the report needs: one number a batch."""

    def __init__(
        self, predict: Callable[[Any], Any], kind: BatchKind, columns: Sequence[str] | None
    ) -> None:
        self._predict, self._kind, self._inputs = predict, kind, columns
        self.seconds: list[float] = []
        self.rows: list[int] = []
        self.columns: tuple[str, ...] = ()

    def require_columns(self, source: Source) -> None:
        missing = [name for name in self._inputs or () if name not in source.schema.names]
        if missing:
            raise DataError(
                f"the data must have the columns that predict is given; {', '.join(missing)} "
                f"not found among {', '.join(source.schema.names)}"
            )

    def score(self, batch: pa.Table) -> pa.Table:
        """The batch with its predictions behind it."""
        begin = sum(self.rows)
        where = f"batch {len(self.rows)} (rows {begin} to {begin + batch.num_rows - 1})"
        try:
            given = batch_for(batch.select(list(self._inputs or batch.column_names)), self._kind)
            output = self._timed(given, where)
            scored = append_columns(batch, predicted_columns(output, batch))
        except DataError as error:
            raise DataError(f"predict failed on {where}: {error}") from error
        self.rows.append(batch.num_rows)
        self.columns = tuple(scored.column_names[batch.num_columns :])
        return scored

    def score_nothing(self, empty: pa.Table) -> pa.Table:
        """An empty window: the predicted columns too, where predict can say them for no rows."""
        try:
            scored = self.score(empty)
        except (DataError, ScoringError):
            scored = empty
        self.seconds, self.rows = [], []
        return scored

    def report(self, duration_s: float, slos: Sequence[SLO]) -> ScoringReport:
        seconds, rows = np.array(self.seconds), np.array(self.rows)
        return ScoringReport(
            n_rows=int(rows.sum()),
            n_batches=len(rows),
            duration_s=duration_s,
            predict_s=float(seconds.sum()),
            latency_ms=_latency(seconds * 1000),
            columns=self.columns,
            slos=tuple(_judge(slo, seconds * 1000, rows) for slo in slos),
        )

    def _timed(self, given: Any, where: str) -> Any:
        begin = perf_counter()
        try:
            output = self._predict(given)
        except Exception as error:
            raise ScoringError(
                f"predict failed on {where}: {type(error).__name__}: {error}"
            ) from error
        self.seconds.append(perf_counter() - begin)
        return output


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the schema's columns and types: files may lack some, readers may encode text."""
    if table.schema.equals(schema):
        return table
    lacking = [name for name in schema.names if name not in table.column_names]
    for name in lacking:
        table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return table.select(schema.names).cast(schema)


def _require_names(slos: Sequence[SLO]) -> None:
    names = [slo.name for slo in slos]
    if len(set(names)) < len(names):
        raise ConfigError(f"objectives must have different names, got {', '.join(names)}")


def _latency(latency_ms: np.ndarray[Any, Any]) -> dict[str, float]:
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


def _judge(slo: SLO, latency_ms: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> SLOResult:
    if not len(latency_ms):
        return SLOResult(slo=slo, observed=math.nan, verdict="no_data")
    values = latency_ms if slo.metric == "latency_ms" else latency_ms / rows
    observed = float(np.percentile(values, slo.percentile))
    verdict: SLOVerdict = "pass" if observed <= slo.value else "fail"
    return SLOResult(slo=slo, observed=observed, verdict=verdict)
