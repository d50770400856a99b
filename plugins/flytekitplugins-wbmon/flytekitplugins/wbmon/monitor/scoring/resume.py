"""Checkpoints of a scoring run: saving progress and resuming in a later attempt."""

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
    """Storage in which a checkpoint outlives the process; neither method may raise."""

    def load(self) -> ScoringCheckpoint | None:
        """The checkpoint of an earlier attempt; None if there is none or it cannot be read."""

    def save(self, checkpoint: ScoringCheckpoint) -> None:
        """Save a checkpoint, replacing the last one."""


class Resumption:
    """Loads the checkpoint of an earlier attempt and saves those of this one.

    Complete parts of the earlier attempt are copied and not scored again; rows of its unfinished
    part are scored again. So no row is lost or written twice.

    Args:
        store: Storage of the checkpoint; with None nothing is saved.
        source: The data; a checkpoint with other columns or another number of rows is ignored.
    """

    def __init__(self, store: CheckpointStore | None, source: Source) -> None:
        self._store, self._source = store, source
        self._begin = perf_counter()
        self._earlier = self._load()

    @property
    def n_rows(self) -> int:
        """Number of rows that the earlier attempt scored."""
        earlier = self._earlier
        return earlier.n_read - sum(earlier.errors.values()) if earlier else 0

    @property
    def duration_s(self) -> float:
        """Seconds spent by earlier attempts up to their last checkpoint, and by this one."""
        before = self._earlier.duration_s if self._earlier else 0.0
        return before + perf_counter() - self._begin

    def apply(self, scorer: BatchScorer, writer: PartWriter, quarantine: Quarantine) -> None:
        """Restore the state of the earlier attempt; start afresh if its parts are gone."""
        earlier = self._earlier
        if earlier is None:
            return
        if not writer.holds((*earlier.parts, *earlier.quarantined)):
            logger.warning("the parts of the earlier attempt are gone, scoring from the beginning")
            self._earlier = None
            return
        # before copying: an attempt that dies meanwhile must leave the next one a checkpoint
        self._save(earlier)
        writer.copy_from(earlier.parts)
        quarantine.resume_from(earlier)
        scorer.resume_from(earlier)
        logger.info("going on behind %d rows of an earlier attempt", earlier.n_read)

    def keep(self, scorer: BatchScorer, writer: PartWriter, quarantine: Quarantine) -> None:
        """Save the state of this attempt; called each time a part is complete."""
        if self._store is None:
            return
        # first the failed rows: `n_read` counts them, so a resumed run would not meet them again
        quarantine.seal()
        self._save(
            ScoringCheckpoint(
                parts=writer.parts,
                quarantined=quarantine.parts,
                source_columns=tuple(self._source.names),
                n_source=self._source.n_rows,
                n_read=scorer.n_read,
                errors=dict(quarantine.errors),
                batch_s=scorer.batch_s,
                batch_rows=scorer.batch_rows,
                columns=scorer.columns,
                missing=scorer.missing,
                duration_s=self.duration_s,
            )
        )

    def _load(self) -> ScoringCheckpoint | None:
        earlier = self._store.load() if self._store is not None else None
        if earlier is None:
            return None
        # names and length are at hand, the contents would have to be read
        known = (earlier.source_columns, earlier.n_source)
        if known != (tuple(self._source.names), self._source.n_rows):
            logger.warning("the checkpoint is of other data, scoring from the beginning")
            return None
        return earlier

    def _save(self, checkpoint: ScoringCheckpoint) -> None:
        if self._store is not None:
            self._store.save(checkpoint)
