"""Scoring that survives its process: what is kept of an attempt, and how the next goes on."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Protocol

from flytekitplugins.wbmon.data.parquet_writer import PartWriter
from flytekitplugins.wbmon.data.sources import Source
from flytekitplugins.wbmon.monitor.scoring.batch_scorer import BatchScorer
from flytekitplugins.wbmon.monitor.scoring.checkpoint import ScoringCheckpoint
from flytekitplugins.wbmon.monitor.scoring.quarantine import Quarantine

logger = logging.getLogger(__name__)


class CheckpointStore(Protocol):
    """Where a checkpoint outlives the process; neither call raises."""

    def load(self) -> ScoringCheckpoint | None:
        """What an earlier attempt saved; None if there is none that can be read."""

    def save(self, checkpoint: ScoringCheckpoint) -> None:
        """Put it in the place of the last one."""


class Resumption:
    """What an earlier attempt has done, and what this one keeps for the next.

    The whole parts of the earlier attempt are copied and scored no more; rows that it had scored
    into a part that did not become whole are scored again. So no row is written twice or lost.

    Args:
        store: Holds the checkpoint; None keeps nothing.
        source: The data; a checkpoint of other columns or another number of rows is not used.
    """

    def __init__(self, store: CheckpointStore | None, source: Source) -> None:
        self._store, self._source = store, source
        self._begin = perf_counter()
        self._earlier = self._load()

    @property
    def n_rows(self) -> int:
        """Rows that the earlier attempt had scored."""
        earlier = self._earlier
        return earlier.n_read - sum(earlier.errors.values()) if earlier else 0

    @property
    def duration_s(self) -> float:
        """Of the earlier attempts up to their last checkpoint, and of this one."""
        before = self._earlier.duration_s if self._earlier else 0.0
        return before + perf_counter() - self._begin

    def apply(self, scorer: BatchScorer, writer: PartWriter, quarantine: Quarantine) -> None:
        """Put this attempt where the earlier one was; do nothing if its parts are gone."""
        earlier = self._earlier
        if earlier is None:
            return
        if not writer.holds((*earlier.parts, *earlier.quarantined)):
            logger.warning("the parts of the earlier attempt are gone, scoring from the beginning")
            self._earlier = None
            return
        # before anything is copied: an attempt that dies in between costs the next one nothing
        self._save(earlier)
        writer.copy_from(earlier.parts)
        quarantine.resume_from(earlier)
        scorer.resume_from(earlier)
        logger.info("going on behind %d rows of an earlier attempt", earlier.n_read)

    def keep(self, scorer: BatchScorer, writer: PartWriter, quarantine: Quarantine) -> None:
        """Save where this attempt is; called when a part is whole."""
        if self._store is None:
            return
        quarantine.seal()
        self._save(
            ScoringCheckpoint(
                parts=writer.parts,
                quarantined=quarantine.parts,
                source_columns=tuple(self._source.schema.names),
                n_source=self._source.n_rows,
                n_read=scorer.n_read,
                errors=dict(quarantine.errors),
                batch_s=scorer.batch_s,
                batch_rows=scorer.batch_rows,
                columns=scorer.columns,
                duration_s=self.duration_s,
            )
        )

    def _load(self) -> ScoringCheckpoint | None:
        earlier = self._store.load() if self._store is not None else None
        if earlier is None:
            return None
        known = (earlier.source_columns, earlier.n_source)
        if known != (tuple(self._source.schema.names), self._source.n_rows):
            logger.warning("the checkpoint is of other data, scoring from the beginning")
            return None
        return earlier

    def _save(self, checkpoint: ScoringCheckpoint) -> None:
        if self._store is not None:
            self._store.save(checkpoint)
