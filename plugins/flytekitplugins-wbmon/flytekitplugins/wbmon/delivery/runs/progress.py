"""What of a run has reached W&B, kept beside the run so that nothing is sent twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE_NAME = "delivery.json"


@dataclass(slots=True, kw_only=True)
class DeliveryProgress:
    """The state of a run's delivery.

    Attributes:
        first_line: Lines of history that the server had before this run's first row; None until
            the server was asked. More than 0 for a run that goes on from day to day.
        first_step: Added to the steps of this run's rows.
        is_sent: Whether the whole log was sent once, whether or not it arrived.
        alerts: Numbers of the alerts that were accepted.
        is_confirmed: Whether the server confirmed everything.
        is_refused: Whether the server will never take it as it is.
        reason: Why it is not confirmed, in words.
    """

    first_line: int | None = None
    first_step: int = 0
    is_sent: bool = False
    alerts: list[int] = field(default_factory=list)
    is_confirmed: bool = False
    is_refused: bool = False
    reason: str = "not delivered yet"

    @classmethod
    def load(cls, folder: Path) -> DeliveryProgress:
        """The progress of a run's folder; a new one if there is none."""
        path = folder / FILE_NAME
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return cls()

    def save(self, folder: Path) -> None:
        """Write it, so that a process that dies leaves the old one or the new one."""
        temporary = folder / f"{FILE_NAME}.new"
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(folder / FILE_NAME)
