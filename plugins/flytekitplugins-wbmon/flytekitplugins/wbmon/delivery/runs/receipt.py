"""What the offline store knows of a run's delivery, noted in the run's folder for the worker.

The task's process writes to the store, and the worker to W&B. If both die, whoever delivers the
stored run must know what the worker has sent. So the worker waits, before it sends more, until its
progress is in the store too.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.storage.json_text import read_json

FILE_NAME = "stored.json"
_POLL_S = 0.05
# a store that hangs must not keep rows from W&B
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the store knows.

    Attributes:
        n_alerts: Number of alerts that the store has or is about to get.
        first_line: As in `DeliveryProgress`.
        alerts: Those of the stored alerts that the server has accepted.
    """

    n_alerts: int
    first_line: int | None
    alerts: tuple[int, ...]

    @classmethod
    def of(cls, progress: DeliveryProgress, n_alerts: int) -> Receipt:
        """What the store knows when it has this progress and so many alerts."""
        alerts = tuple(sorted(number for number in progress.alerts if number < n_alerts))
        return cls(n_alerts=n_alerts, first_line=progress.first_line, alerts=alerts)

    @classmethod
    def load(cls, folder: Path) -> Receipt | None:
        """The receipt in a run's folder; None if nothing of the run is in a store."""
        try:
            found = read_json((folder / FILE_NAME).read_text())
            return cls(**{**found, "alerts": tuple(found["alerts"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def save(self, folder: Path) -> None:
        """Save atomically."""
        temporary = folder / f"{FILE_NAME}.new"
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(folder / FILE_NAME)

    def covers(self, progress: DeliveryProgress) -> bool:
        """Whether the store knows all of the progress that concerns what it has."""
        return Receipt.of(progress, self.n_alerts) == self


class ReceiptWait:
    """Waits until the store knows the progress of a delivery, if it has the run at all.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._given_up: Receipt | None = None

    @property
    def is_open(self) -> bool:
        """Whether something is stored of which nobody has asked W&B, or that W&B has not taken."""
        receipt = Receipt.load(self._folder)
        return receipt is not None and (
            receipt.first_line is None or len(receipt.alerts) < receipt.n_alerts
        )

    def wait(self, progress: DeliveryProgress) -> None:
        """Wait for at most five seconds, and once only for a store that does not answer."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            receipt = Receipt.load(self._folder)
            if receipt is None or receipt.covers(progress) or receipt == self._given_up:
                return
            if time.monotonic() > until:
                self._given_up = receipt
                return
            time.sleep(_POLL_S)
