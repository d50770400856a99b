"""Reports the progress of batch scoring on a terminal and as live metrics of the W&B run."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from flytekitplugins.wbmon.monitor.samples.rows import SampledRows
from flytekitplugins.wbmon.monitor.scoring.report import Progress

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)


class ScoringProgress:
    """A callback that is called after every batch and reports progress at intervals.

    On a terminal one line is overwritten; otherwise each report is a line of the log. Errors of the
    W&B run do not affect the scoring.

    Args:
        name: Name of the task.
        run: The open W&B run for `scoring/progress` and similar metrics; None for no metrics.
        every_s: Shortest time between two reports, in seconds.
        stream: The stream to write to if it is a terminal; standard error if None.
        clock: Monotonic clock, in seconds.
    """

    def __init__(
        self,
        name: str,
        run: wandb.Run | None,
        *,
        every_s: float = 5.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._name, self._run, self._every_s = name, run, every_s
        self._stream = stream or sys.stderr
        self._clock = clock
        self._begin = self._said_at = clock()
        self._first: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Report the progress, if the interval has passed.

        Args:
            progress: The state after the latest batch.
        """
        first = self._first = self._first or progress
        now = self._clock()
        if now - self._said_at < self._every_s:
            return
        self._said_at = now
        words = self._words(progress, first, now - self._begin)
        if self._stream.isatty():
            # back to the start of the line, and clear it: the new text may be shorter
            self._stream.write(f"\r\033[K{words}")
            self._stream.flush()
        else:
            logger.info("%s", words)
        self._log(progress)

    def end(self) -> None:
        """End the line on the terminal, so that later output starts on a new one."""
        if self._stream.isatty() and self._said_at > self._begin:
            self._stream.write("\n")

    def _words(self, progress: Progress, first: Progress, elapsed_s: float) -> str:
        # rows that an earlier attempt scored took no time in this one
        n_done = progress.n_rows - first.n_rows
        speed = n_done / elapsed_s if elapsed_s > 0 else math.nan
        parts = [f"{self._name}: {progress.n_rows:,} rows", f"{speed:,.0f} rows/s"]
        if not math.isnan(progress.share):
            parts.insert(1, f"{progress.share:.0%}")
        if progress.n_failed:
            parts.append(f"{progress.n_failed:,} set aside")
        return ", ".join(parts)

    def _log(self, progress: Progress) -> None:
        if self._run is None:
            return
        metrics: dict[str, Any] = {
            "scoring/progress": progress.share,
            "scoring/progress_rows": progress.n_rows,
            "scoring/progress_failed": progress.n_failed,
            "scoring/progress_latency_ms": progress.latency_ms,
        }
        # the total number of rows is not known
        if math.isnan(progress.share):
            del metrics["scoring/progress"]
        try:
            self._run.log(metrics)
        except Exception:  # a monitor must never break what it monitors
            logger.warning("live metrics could not be logged", exc_info=True)
            # once is enough: a run that failed would fail after every batch
            self._run = None


def log_sample(sample: SampledRows, run: wandb.Run | None, *, name: str = "scoring/sample") -> None:
    """Log sampled rows as a table.

    Args:
        sample: The rows; if there are none, nothing is logged.
        run: The open W&B run; None for no table.
        name: The table's name.
    """
    if run is None or not sample.rows:
        return
    try:
        import wandb

        rows: list[Iterable[Any]] = [list(row) for row in sample.rows]
        # a column may hold values of several types, which a table refuses by default
        table = wandb.Table(columns=list(sample.columns), data=rows, allow_mixed_types=True)
        run.log({name: table})
    except Exception:  # a monitor must never break what it monitors
        logger.warning("the sample could not be logged", exc_info=True)
