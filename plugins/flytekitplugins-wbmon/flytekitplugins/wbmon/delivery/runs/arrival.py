"""How much of a log W&B has while it is still written: the rest waits, and is worth storing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from flytekitplugins.wbmon.delivery.runs.api import RunTarget, ServedRun, WandbApi
from flytekitplugins.wbmon.delivery.runs.pending_log import LogContent
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.errors import PublishError

# a healthy server shows each row within the sum of the two, and a moment
_ASK_EVERY_S = 2.5
# what was read of the log so long ago is on the server if its rows are: summary, config
_SETTLED_S = 1.5
_MARK_EVERY_S = 0.25
_MAX_MARKS = 1000


class _Mark(NamedTuple):
    """Content of the log up to a position."""

    at: float
    position: int
    n_rows: int
    n_alerts: int
    n_artifacts: int


class ArrivalWatch:
    """Asks the server, in a thread, how much it has of a log that is being written.

    It asks at most every 2.5 s, and only while something of the log has not arrived.

    Args:
        api: The server.
        target: The run.
        progress: Progress of the delivery.
        is_ours: Whether all rows since `first_line` are those of the log.
    """

    def __init__(
        self,
        api: WandbApi,
        target: RunTarget,
        progress: DeliveryProgress,
        *,
        is_ours: Callable[[ServedRun], bool],
    ) -> None:
        self._api = api
        self._target = target
        self._progress = progress
        self._is_ours = is_ours
        self._marks: list[_Mark] = []
        self._artifacts: dict[str, str] = {}
        self._n_artifacts = 0
        self._position = 0
        self._asked_at = 0.0
        self._asking: threading.Thread | None = None

    @property
    def position(self) -> int:
        """Length in bytes of the beginning of the log of which the server has everything."""
        return self._position

    def note(self, content: LogContent, position: int) -> None:
        """Note how far the log is read, and ask the server if it is time to.

        Args:
            content: Content of the log, as far as it was read.
            position: Length in bytes of what was read.
        """
        if self._asking is not None and self._asking.is_alive():
            return
        now = time.monotonic()
        last = self._marks[-1] if self._marks else _Mark(0.0, self._position, 0, 0, 0)
        if position > last.position and now >= last.at + _MARK_EVERY_S:
            self._artifacts = dict(content.artifacts)
            self._marks.append(
                _Mark(now, position, content.n_rows, len(content.alerts), len(self._artifacts))
            )
            if len(self._marks) > _MAX_MARKS:
                self._marks = self._marks[1::2]
        if self._marks and now >= self._asked_at + _ASK_EVERY_S:
            self._asked_at = now
            # apart, as the log must be passed on meanwhile; a daemon, as it may hang
            self._asking = threading.Thread(target=self._ask, args=(now,), daemon=True)
            self._asking.start()

    def _ask(self, now: float) -> None:
        try:
            served = self._api.find_run(self._target)
            if served is None or not self._is_ours(served):
                return
            n_rows = served.n_rows - (self._progress.first_line or 0)
            wanted = list(self._artifacts.items())
            # in the order of the log, so that none is asked for twice
            while self._n_artifacts < len(wanted) and self._api.has_artifact(
                *wanted[self._n_artifacts]
            ):
                self._n_artifacts += 1
        except PublishError:
            return
        there = _Mark(now - _SETTLED_S, 0, n_rows, len(self._progress.alerts), self._n_artifacts)
        while self._marks and _is_covered(self._marks[0], there):
            self._position = self._marks.pop(0).position


def _is_covered(mark: _Mark, there: _Mark) -> bool:
    return (
        mark.at <= there.at
        and mark.n_rows <= there.n_rows
        and mark.n_alerts <= there.n_alerts
        and mark.n_artifacts <= there.n_artifacts
    )
