"""Writes what a run has logged to disk, for releases of wandb that keep it in memory.

Before 0.31 wandb writes its log in whole blocks of 32 KiB and loses the last, incomplete block when
it is killed; a short run loses everything. This module fills up the block with padding whenever
something new was logged.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path
from flytekitplugins.wbmon.delivery.runs.wandb_internals import BLOCK, padding, publisher

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

# ten minutes of one flush a second
_FLUSHES_AT_FULL_PACE = 600
# the service writes asynchronously, so the first flush gets some seconds to show in the file
_TRIES = 5
# a flush in progress may take long if wandb's service hangs; the thread is a daemon anyway
_STOP_S = 1.0


def pause_s(n_flushes: int, every_s: float) -> float:
    """Seconds until the next flush of a log, given the number of flushes so far.

    Each flush adds a block of 32 KiB to the log. A run that logs without a pause is flushed every
    second for ten minutes and then less and less often: the pause is `n_flushes / 600` seconds, so
    padding grows with the square root of time, to 62 MiB after an hour and 318 MiB after a day.

    Args:
        n_flushes: Number of flushes so far.
        every_s: The shortest pause, in seconds.
    """
    return every_s * max(1.0, n_flushes / _FLUSHES_AT_FULL_PACE)


class LogFlusher:
    """A thread that flushes the log of one run while new records arrive.

    Args:
        run: An offline run that was just opened.
        every_s: Shortest time between two flushes, in seconds.

    Raises:
        UnsupportedWandbError: If this release of wandb has no interface to publish records.
    """

    def __init__(self, run: wandb.Run, *, every_s: float) -> None:
        interface = publisher(run)
        self._publish = interface._publish  # noqa: SLF001 - wandb has no public way
        self._padding = padding()
        self._log = log_path(Path(run.settings.sync_dir))
        self._every_s = every_s
        self._has_news = True
        self._is_over = threading.Event()
        # last, when all that the replacement uses is set
        interface._publish = self._publish_and_note  # noqa: SLF001 - wandb has no public way
        self._thread = threading.Thread(target=self._run, name="wbmon-wandb-flush", daemon=True)
        self._thread.start()

    def flush(self) -> bool:
        """Make wandb write its buffer to disk; return False if it accepts no more records."""
        # before publishing: a record logged during the flush sets it again
        self._has_news = False
        try:
            self._publish(self._padding)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds, and none may pass
            logger.debug("a log cannot be flushed any more: %s", error)
            return False
        return True

    def stop(self) -> None:
        """Stop flushing; wandb itself writes the rest to disk when the run ends."""
        self._is_over.set()
        self._thread.join(_STOP_S)

    def _publish_and_note(self, record: Any, *args: Any, **kwargs: Any) -> Any:
        published = self._publish(record, *args, **kwargs)
        # after publishing: a flush between the two lines would clear it without this record
        self._has_news = True
        return published

    def _run(self) -> None:
        n = 0
        while not self._is_over.wait(pause_s(n, self._every_s)):
            if not self._has_news:
                continue
            before = self._size()
            if not self.flush():
                return
            n += 1
            # checked once: a release that ignores the padding ignores it every time
            if n == 1 and not self._grows_from(before):
                logger.warning(
                    "W&B: %s stays in memory although it was flushed; what is not written to it "
                    "is lost if the task is killed",
                    self._log,
                )
                return

    def _grows_from(self, size: int) -> bool:
        """Wait until the log has grown or the run is over; False if neither happens in time."""
        waits = (self._is_over.wait(self._every_s) for _ in range(_TRIES))
        return any(is_over or self._size() >= size + BLOCK // 2 for is_over in waits)

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0
