"""What the task's process knows of its run, apart from the log on disk.

wandb writes a log as far as the disk lets it: of a disk that is full, or a file that has reached
its limit, the log lacks rows and its end, and nothing is raised. So the task says at its end how it
ended and what it has logged, and what the log lacks is told in the run and in the log of the task.
"""

from __future__ import annotations

import resource
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    exit_record,
    summary_record,
)
from flytekitplugins.wbmon.delivery.runs.wandb_internals import BLOCK
from flytekitplugins.wbmon.storage.room import why_not_writable

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

# names in the run's summary: of a failure, and of what is lost
ERROR_KEYS = ERROR_TYPE, ERROR_MESSAGE = "error_type", "error_message"
LOST_KEY = "not_recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTally:
    """How a task ended and what it has logged.

    Attributes:
        exit_code: The task's exit code; None if its process died before it could say so.
        summary: What the summary of the run says about a failure of the task.
        n_rows: Number of rows that were logged. Of rows that are assembled from several calls, by
            `commit=False` or an explicit step, none is counted.
        failed: How many calls of each method of the run wandb has refused.
        is_whole: Whether wandb wrote the end of the log; we add one if it did not.
    """

    exit_code: int | None = None
    summary: Mapping[str, str] = field(default_factory=dict)
    n_rows: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    is_whole: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON data."""
        return {**asdict(self), "failed": dict(self.failed), "summary": dict(self.summary)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> RunTally:
        """Read what `to_dict` wrote."""
        return cls(**told)

    def lost(self, log: Path, *, n_rows: int, exit_code: int | None) -> str:
        """What was logged and is not in the log, and why, in words; empty if it has everything.

        Args:
            log: The log.
            n_rows: Number of rows that it has.
            exit_code: The exit code that it ends with; None if it has no end.
        """
        parts = []
        n_failed = self.failed.get("log", 0)
        n_logged = self.n_rows + n_failed
        if n_rows < n_logged:
            parts.append(f"{n_logged - n_rows} of {n_logged} rows")
        if not self.is_whole or (self.exit_code is not None and exit_code is None):
            # also of alerts, artifacts and the summary
            parts.append("all that was logged after the last row that it has")
        parts += [
            f"{n} call{'s' if n > 1 else ''} of run.{name}"
            for name, n in self.failed.items()
            if name != "log"
        ]
        return f"{' and '.join(parts)} ({_why_not_written(log)})" if parts else ""


def ending(
    lost: str, tally: RunTally, end: Record | None, *, summary_keys: Container[str] = ()
) -> list[Record]:
    """The records with which a copy of a log ends.

    A log may have an end that is not the task's: `wandb.finish()` in the body writes one, and wandb
    takes nothing afterwards.

    Args:
        lost: What the log lacks, in words, which is noted in the run's summary; empty if nothing.
        tally: What the task told.
        end: The last record of the log, which holds the exit code; None if it has no end.
        summary_keys: Keys of the run's summary in the log.

    Returns:
        What the summary lacks, and the end: the task's own, or that of the log if the task told
        none. There is no end if neither is known.
    """
    notes = {LOST_KEY: lost} if lost else {}
    code = None if end is None else end.exit.exit_code
    if tally.exit_code is not None:
        if code != tally.exit_code:
            end = exit_record(tally.exit_code)
        if code != tally.exit_code or not all(key in summary_keys for key in tally.summary):
            notes = {**tally.summary, **notes}
    records = [summary_record(notes)] if notes else []
    return records if end is None else [*records, end]


def _why_not_written(log: Path) -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and log.stat().st_size + BLOCK > limit:
        return f"a file may have {limit} bytes here"
    # a block is the least that wandb writes at once; the disk may have room for it again
    return why_not_writable(log.parent, BLOCK) or "wandb could not write it"
