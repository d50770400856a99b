"""Batch scoring: applies a user's predict function to a table of any size, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.arguments import listed, listed_columns
from flytekitplugins.wbmon.data.batches import BatchKind, batch_kind, declared_outputs
from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.data.parquet_writer import PartWriter
from flytekitplugins.wbmon.data.sources import Source, no_rows
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.samples.sampler import RowSampler
from flytekitplugins.wbmon.monitor.scoring.batch_scorer import BatchScorer
from flytekitplugins.wbmon.monitor.scoring.confidence import ClassCounter, ConfidenceMeter
from flytekitplugins.wbmon.monitor.scoring.quarantine import Quarantine, quarantine_path
from flytekitplugins.wbmon.monitor.scoring.report import (
    Progress,
    ScoringReport,
    Watch,
)
from flytekitplugins.wbmon.monitor.scoring.resume import CheckpointStore, Resumption
from flytekitplugins.wbmon.monitor.scoring.slo import SLO


def score_batches(  # noqa: PLR0913 - one keyword a setting
    predict: Callable[[Any], Any],
    source: Any,
    sink: str,
    *,
    batch_rows: int = 65_536,
    kind: BatchKind | None = None,
    columns: Sequence[str] | None = None,
    outputs: Mapping[str, str] | None = None,
    slos: Sequence[SLO] = (),
    part_rows: int = 1_048_576,
    part_s: float = math.inf,
    filesystem: Any = None,
    max_error_rate: float = 0.0,
    watch: Watch | None = None,
    on_batch: Callable[[Progress], None] | None = None,
    checkpoints: CheckpointStore | None = None,
    let_through: tuple[type[Exception], ...] = (),
    sampler: RowSampler | None = None,
) -> ScoringReport:
    """Score a table batch by batch and write it with the predictions appended as Parquet.

    Rows keep their order. Each batch is read, scored and written before the next one, so memory use
    does not grow with the number of rows. Latency is the time inside `predict`.

    Args:
        predict: Takes a batch, returns its predictions: a frame, table, series, array or mapping of
            columns, one row for each of the batch. Bind a model with `functools.partial`.
        source: Parquet by path or URI, a pandas or polars frame, an Arrow table or dataset.
        sink: Folder for the parts, or one file if it ends in `.parquet`; path or fsspec URI.
        batch_rows: Rows of a batch; the last one may be shorter.
        kind: The batch type of `predict`; if None, the annotation of its first parameter decides.
        columns: The columns passed to `predict`; all if None. All columns are written in any case.
        outputs: The columns that `predict` returns, by name, with their Arrow type, such as
            `float64`, `int64` or `string`. A window without rows, and one of which every row
            failed, then has these columns, too; without them `predict` is asked with zero rows,
            which many models refuse. Any columns if None.
        slos: Objectives for the batch latency, evaluated at the end.
        part_rows: Number of rows after which a folder gets a new part.
        part_s: Age in seconds after which a folder gets a new part.
        filesystem: The fsspec file system of the sink, where the caller has one with credentials.
        max_error_rate: Share of rows on which `predict` may raise; in [0, 1]. Bisection isolates
            these rows; they are written with the reason to `_quarantine` beside the parts, a name
            that readers of the folder skip.
        watch: Columns of the scored data whose distribution the report contains.
        on_batch: Called with the progress after each batch.
        checkpoints: Storage for the progress, which is saved after each part. A run that finds a
            checkpoint there copies its parts and continues after them.
        let_through: Exceptions of `predict` that are not caused by the rows, such as a lost
            connection; they are raised unchanged.
        sampler: Keeps a sample of the rows for inspection.

    Returns:
        Counts, latencies and the summaries that were asked for.

    Raises:
        ConfigError: If a number is out of range, `columns` or `slos` are no sequences, the kind is
            unknown or the sink holds data.
        DataError: If the source cannot be read, lacks a column, or `predict` did not return
            one row of columns for each input row; the message names the batch.
        ScoringError: If `predict` raised on more rows than allowed; the cause is its exception.
    """
    slos = listed("slos", slos, "objectives")
    columns = None if columns is None else listed_columns("columns", columns)
    _require_settings(batch_rows, part_rows, max_error_rate, slos)
    data = open_source(source)
    returned = None if outputs is None else declared_outputs(outputs)
    scorer = BatchScorer(predict, kind or batch_kind(predict), columns, returned, let_through)
    scorer.require_columns(data)
    n_total = data.n_rows
    quarantine = Quarantine(
        quarantine_path(sink),
        max_error_rate=max_error_rate,
        n_rows=n_total,
        filesystem=filesystem,
    )
    resumption = Resumption(checkpoints, data)
    writer = PartWriter(
        sink,
        part_rows=part_rows,
        part_s=part_s,
        filesystem=filesystem,
        on_part=lambda: resumption.keep(scorer, writer, quarantine),
    )
    watched = _Watched(watch or Watch(), sampler)
    # the writer is closed first: its last part saves a checkpoint, which seals the quarantine
    with quarantine, writer:
        resumption.apply(scorer, writer, quarantine)
        # summaries are not in the checkpoint, so they are counted again from the copied parts
        watched.replay(writer, quarantine, scorer.columns)
        for batch in read_batches(data, batch_rows, skip=scorer.n_read):
            with scorer.batch(batch) as first_row:
                scored = quarantine.score(scorer.score, batch, first_row)
                watched.add_failed(quarantine.failed)
                if scored is not None:
                    watched.add(scored, scorer.columns)
                    writer.write(scored)
            if on_batch is not None:
                on_batch(_progress(scorer, quarantine, n_total))
        # a window without rows still gives a readable file with all its columns
        if not writer.has_written:
            writer.write(scorer.score_nothing(no_rows(data.schema)))
    return ScoringReport(
        n_rows=scorer.n_read - quarantine.n_failed,
        n_batches=scorer.n_batches,
        duration_s=resumption.duration_s,
        predict_s=sum(scorer.batch_s),
        latency_ms=scorer.latency_ms(),
        columns=scorer.columns,
        slos=tuple(scorer.judge(slo, n_failed=quarantine.n_failed) for slo in slos),
        n_failed=quarantine.n_failed,
        errors=dict(quarantine.errors.most_common()),
        quarantine=quarantine.path,
        confidence=watched.confidence.record() if watched.confidence else None,
        classes=watched.classes.record() if watched.classes else None,
        n_resumed=resumption.n_rows,
        missing=scorer.missing,
    )


def read_batches(source: Source, batch_rows: int, *, skip: int = 0) -> Iterator[pa.Table]:
    """Read the rows in order as tables of `batch_rows` rows; the last one may be shorter.

    Args:
        source: The data.
        batch_rows: Rows per table.
        skip: Number of rows to leave out at the beginning.
    """
    waiting: list[pa.Table] = []
    n_waiting = 0
    for part in source.parts():
        for piece in part(source.names):
            left_out = min(skip, piece.num_rows)
            skip -= left_out
            table = _conform(pa.Table.from_batches([piece.slice(left_out)]), source.schema)
            while n_waiting + table.num_rows >= batch_rows:
                taken = batch_rows - n_waiting
                yield pa.concat_tables([*waiting, table.slice(0, taken)])
                table, waiting, n_waiting = table.slice(taken), [], 0
            if table.num_rows:
                waiting.append(table)
                n_waiting += table.num_rows
    if waiting:
        yield pa.concat_tables(waiting)


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


class _Watched:
    """The summaries that a `Watch` asks for, and the row sampler."""

    def __init__(self, watch: Watch, sampler: RowSampler | None) -> None:
        columns = watch.confidence
        self._columns = [*columns, *([watch.classes] if watch.classes else [])]
        self._sampler = sampler
        self.confidence = ConfidenceMeter(columns, watch.low_confidence) if columns else None
        self.classes = ClassCounter(watch.classes) if watch.classes else None

    def replay(
        self, writer: PartWriter, quarantine: Quarantine, predicted: tuple[str, ...]
    ) -> None:
        """Count the rows that an earlier attempt wrote."""
        if self._columns or self._sampler is not None:
            for scored in writer.read(None if self._sampler is not None else self._columns):
                self.add(scored, predicted)
        if self._sampler is not None:
            for failed in quarantine.read():
                self.add_failed(failed)

    def add(self, scored: pa.Table, predicted: tuple[str, ...]) -> None:
        """Count a batch."""
        for meter in (self.confidence, self.classes):
            if meter is not None:
                meter.add(scored)
        if self._sampler is not None:
            self._sampler.add(scored, predicted)

    def add_failed(self, failed: pa.Table | None) -> None:
        """Count the rows of a batch that were set aside."""
        if self._sampler is not None and failed is not None:
            self._sampler.add_failed(failed)


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast to the schema: a file may lack columns, and text may come dictionary-encoded."""
    if table.schema.equals(schema):
        return table
    lacking = [name for name in schema.names if name not in table.column_names]
    for name in lacking:
        table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return table.select(schema.names).cast(schema)


def _progress(scorer: BatchScorer, quarantine: Quarantine, n_total: int | None) -> Progress:
    return Progress(
        n_batches=scorer.n_batches,
        n_rows=scorer.n_read - quarantine.n_failed,
        n_failed=quarantine.n_failed,
        n_total=n_total,
        latency_ms=1000 * scorer.last_batch_s,
    )
