"""The checkpoint of a task's scoring, kept by Flyte from one attempt to the next."""

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
    """Checkpoints in the folder that Flyte hands from attempt to attempt.

    What goes wrong with them is logged and costs no more than the time they would have saved.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @classmethod
    def of_task(cls) -> Self | None:
        """Those of the running task; None where the platform has none."""
        try:
            return cls(current_context().checkpoint)
        except NotImplementedError:
            return None

    def load(self) -> ScoringCheckpoint | None:
        """What the attempt before this one saved; None in the first, or if it saved nothing."""
        if not self._checkpoint.prev_exists():
            return None
        try:
            saved = self._checkpoint.read()
            return record_from_json(ScoringCheckpoint, saved) if saved else None
        except Exception as error:  # noqa: BLE001 - an attempt that died early has left nothing
            logger.info("no checkpoint of an earlier attempt (%s)", error)
            return None

    def save(self, checkpoint: ScoringCheckpoint) -> None:
        """Put it where the next attempt finds it."""
        try:
            self._checkpoint.write(record_to_json(checkpoint).encode())
        except Exception:  # a checkpoint must never break what it is to save
            logger.warning("could not save the checkpoint", exc_info=True)
