"""Progress of a run's delivery, saved in the run's folder so that nothing is sent twice."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.room import discard_scratch, find_scratch, scratch_folder

logger = logging.getLogger(__name__)

FILE_NAME = "delivery.json"


@dataclass(slots=True, kw_only=True)
class DeliveryProgress:
    """Progress of a run's delivery.

    Attributes:
        first_line: Number of rows that the server had before the first row of this log; None until
            the server was asked. Greater than 0 for a resumed run.
        first_step: Step of the first row of this log that wandb counted.
        is_shared: Whether others have written to the run since; its rows are then told apart by
            their content, as their number says nothing.
        arrived: Length in bytes of the beginning of this log of which the server had everything
            when it was last asked while the log was written; 0 if it was not asked.
        is_sent: Whether the whole log was sent at least once, even if it did not arrive.
        alerts: Indices of the alerts that the server accepted.
        is_confirmed: Whether the server confirmed everything.
        is_refused: Whether the server rejects the run for good, for example for a wrong key.
        reason: Why the delivery is not confirmed, in words; empty if it is.
        lost: What the task logged and W&B will not have, in words, as the log lacks it or it is too
            large; empty if nothing is known to be lost.
    """

    first_line: int | None = None
    first_step: int = 0
    is_shared: bool = False
    arrived: int = 0
    is_sent: bool = False
    alerts: list[int] = field(default_factory=list)
    is_confirmed: bool = False
    is_refused: bool = False
    reason: str = "not delivered yet"
    lost: str = ""

    @classmethod
    def load(cls, folder: Path) -> DeliveryProgress:
        """The progress saved in a run's folder; a new one if there is none.

        Raises:
            DataError: If the file is damaged, so that nobody knows what was sent.
        """
        try:
            progress = cls(**json.loads(progress_file(folder).read_text()))
            progress._check()
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise DataError(
                f"{FILE_NAME} must tell what of the run was sent, and is damaged "
                f"({type(error).__name__}). Remove it to send all of the run again, also what W&B "
                "has of it already"
            ) from error
        return progress

    def _check(self) -> None:
        """Raise if a value is not of its type.

        Raises:
            TypeError: If so.
        """
        numbers = [self.first_step, self.arrived, *self.alerts]
        numbers += [] if self.first_line is None else [self.first_line]
        flags = (self.is_shared, self.is_sent, self.is_confirmed, self.is_refused)
        is_right = all(type(one) is int and one >= 0 for one in numbers)
        if not (is_right and all(type(one) is bool for one in flags)):
            raise TypeError("its counts must be numbers and its marks true or false")
        if not all(type(one) is str for one in (self.reason, self.lost)):
            raise TypeError("its reasons must be text")

    def save(self, folder: Path) -> None:
        """Save atomically: a process that dies leaves either the old file or the new one.

        On a disk that is full it is saved in a folder for temporary files. If it cannot be saved
        there either, this is logged: the delivery must go on.
        """
        try:
            _replace(folder / FILE_NAME, json.dumps(asdict(self)))
        except OSError as error:
            self._save_elsewhere(folder, error)
        else:
            discard_scratch(folder, FILE_NAME)

    def _save_elsewhere(self, folder: Path, error: OSError) -> None:
        try:
            _replace(scratch_folder(folder) / FILE_NAME, json.dumps(asdict(self)))
        except OSError:
            logger.warning("W&B: the progress of a delivery cannot be saved: %s", error)


def progress_file(folder: Path) -> Path:
    """Where the progress of a run's delivery was saved last."""
    # the one elsewhere is removed as soon as the folder of the run takes a file again
    return find_scratch(folder, FILE_NAME) or folder / FILE_NAME


def note_lost(folder: Path, lost: str) -> None:
    """Note in the progress of a run's delivery what its log lacks; nothing if that is empty."""
    # progress that is damaged is packed as it is
    with suppress(DataError):
        progress = DeliveryProgress.load(folder)
        if lost:
            progress.lost = lost
            progress.save(folder)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
