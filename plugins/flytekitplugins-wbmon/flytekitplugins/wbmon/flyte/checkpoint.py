"""Scoring checkpoints in Flyte's intra-task checkpoint storage."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flytekit import current_context

from flytekitplugins.wbmon.monitor.scoring.checkpoint import ScoringCheckpoint
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

if TYPE_CHECKING:
    from flytekit.core.checkpointer import Checkpoint
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class FlyteCheckpoints:
    """Checkpoints in the folder that Flyte passes from one attempt to the next.

    Errors are logged and not raised; without a checkpoint the task scores all rows again.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @classmethod
    def of_task(cls) -> Self | None:
        """The checkpoints of the running task; None if the platform provides none."""
        try:
            return cls(current_context().checkpoint)
        # flytekit's way to say that this execution has no checkpointer
        except NotImplementedError:
            return None

    def load(self) -> ScoringCheckpoint | None:
        """The checkpoint of the previous attempt; None if there is none or it is unreadable."""
        if not self._checkpoint.prev_exists():
            return None
        try:
            saved = self._checkpoint.read()
            return record_from_json(ScoringCheckpoint, saved) if saved else None
        except Exception as error:  # noqa: BLE001 - an attempt that died early has left nothing
            logger.info("no checkpoint of an earlier attempt (%s)", error)
            return None

    def save(self, checkpoint: ScoringCheckpoint) -> None:
        """Save a checkpoint for the next attempt."""
        try:
            self._checkpoint.write(record_to_json(checkpoint).encode())
        except Exception:  # a checkpoint must never break what it is to save
            logger.warning("could not save the checkpoint", exc_info=True)
