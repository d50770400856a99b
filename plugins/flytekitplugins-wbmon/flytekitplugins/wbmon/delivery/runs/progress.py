"""Progress of a run's delivery, saved in the run's folder so that nothing is sent twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flytekitplugins.wbmon.errors import DataError

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
        is_sent: Whether the whole log was sent at least once, even if it did not arrive.
        alerts: Indices of the alerts that the server accepted.
        is_confirmed: Whether the server confirmed everything.
        is_refused: Whether the server rejects the run for good, for example for a wrong key.
        reason: Why the delivery is not confirmed, in words; empty if it is.
    """

    first_line: int | None = None
    first_step: int = 0
    is_shared: bool = False
    is_sent: bool = False
    alerts: list[int] = field(default_factory=list)
    is_confirmed: bool = False
    is_refused: bool = False
    reason: str = "not delivered yet"

    @classmethod
    def load(cls, folder: Path) -> DeliveryProgress:
        """The progress saved in a run's folder; a new one if there is none.

        Raises:
            DataError: If the file is damaged, so that nobody knows what was sent.
        """
        path = folder / FILE_NAME
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"{FILE_NAME} must tell what of the run was sent, and is damaged: {error}. Remove "
                "it to send all of the run again"
            ) from error

    def save(self, folder: Path) -> None:
        """Save atomically: a process that dies leaves either the old file or the new one."""
        temporary = folder / f"{FILE_NAME}.new"
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(folder / FILE_NAME)
