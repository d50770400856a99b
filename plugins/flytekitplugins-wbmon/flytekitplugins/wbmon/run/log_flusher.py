"""Brings what a run has logged to disk, for releases of wandb that keep it in memory.

Before 0.31 wandb writes its log in whole blocks of 32 KiB and loses the last one when it is killed:
of a short run, everything. Here a block is filled up while there is something new.
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

_FLUSHES_AT_FULL_PACE = 600
_TRIES = 5
_STOP_S = 1.0


def pause_s(n_flushes: int, every_s: float) -> float:
    """Seconds until the next flush of a log that was flushed so often.

    A flush adds a block to the log. It comes every second for ten minutes of constant logging, then
    more and more seldom, so that an hour of it adds 62 MiB and a day 318 MiB.
    """
    return every_s * max(1.0, n_flushes / _FLUSHES_AT_FULL_PACE)


class LogFlusher:
    """Flushes the log of one run, every second in which something was logged.

    Args:
        run: An offline run that was just opened.
        every_s: Seconds between two flushes.

    Raises:
        UnsupportedWandbError: If this release of wandb lets nobody do it.
    """

    def __init__(self, run: wandb.Run, *, every_s: float) -> None:
        interface = publisher(run)
        self._publish = interface._publish  # noqa: SLF001 - wandb has no public way
        self._padding = padding()
        self._log = log_path(Path(run.settings.sync_dir))
        self._every_s = every_s
        self._has_news = True
        self._is_over = threading.Event()
        interface._publish = self._publish_and_note  # noqa: SLF001 - wandb has no public way
        self._thread = threading.Thread(target=self._run, name="wbmon-wandb-flush", daemon=True)
        self._thread.start()

    def flush(self) -> bool:
        """Let wandb write what it has; False if it takes nothing any more."""
        self._has_news = False
        try:
            self._publish(self._padding)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds, and none may pass
            logger.debug("a log cannot be flushed any more: %s", error)
            return False
        return True

    def stop(self) -> None:
        """Flush no more; the end of a run brings the rest to disk."""
        self._is_over.set()
        self._thread.join(_STOP_S)

    def _publish_and_note(self, record: Any, *args: Any, **kwargs: Any) -> Any:
        published = self._publish(record, *args, **kwargs)
        self._has_news = True  # after it: a flush that comes between the two brings it to no disk
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
            if n == 1 and not self._grows_from(before):
                logger.warning(
                    "W&B: %s stays in memory although it was flushed; what is not written to it "
                    "is lost if the task is killed",
                    self._log,
                )
                return

    def _grows_from(self, size: int) -> bool:
        """Whether the log has grown by a block, or the run is over, before long."""
        waits = (self._is_over.wait(self._every_s) for _ in range(_TRIES))
        return any(is_over or self._size() >= size + BLOCK // 2 for is_over in waits)

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0
