"""How far a scoring run has come, on a terminal and as live metrics of its W&B run."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from flytekitplugins.wbmon.monitor.scoring.report import Progress, SampledRows

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)


class ScoringProgress:
    """Told after every batch, it says now and then how far the run is.

    A terminal gets one line that is written over, a log a line each time. A run that breaks costs
    the scoring nothing.

    Args:
        name: Of the task.
        run: The open W&B run; None without one. It gets `scoring/progress` and its like.
        every_s: Seconds between two words.
        stream: Where a person may look; standard error if None.
        clock: Seconds that only go forward.
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
        """Say it, if it is time to."""
        first = self._first = self._first or progress
        now = self._clock()
        if now - self._said_at < self._every_s:
            return
        self._said_at = now
        words = self._words(progress, first, now - self._begin)
        if self._stream.isatty():
            self._stream.write(f"\r\033[K{words}")
            self._stream.flush()
        else:
            logger.info("%s", words)
        self._log(progress)

    def end(self) -> None:
        """Leave the terminal's line to what comes next."""
        if self._stream.isatty() and self._said_at > self._begin:
            self._stream.write("\n")

    def _words(self, progress: Progress, first: Progress, elapsed_s: float) -> str:
        # rows of an earlier attempt took this one no time
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
        if math.isnan(progress.share):
            del metrics["scoring/progress"]
        try:
            self._run.log(metrics)
        except Exception:  # a monitor must never break what it monitors
            logger.warning("live metrics could not be logged", exc_info=True)
            self._run = None


def log_sample(sample: SampledRows, run: wandb.Run | None) -> None:
    """Show sampled rows as the table `scoring/sample` of a run; without one do nothing."""
    if run is None or not sample.rows:
        return
    try:
        import wandb

        rows: list[Iterable[Any]] = [list(row) for row in sample.rows]
        table = wandb.Table(columns=list(sample.columns), data=rows, allow_mixed_types=True)
        run.log({"scoring/sample": table})
    except Exception:  # a monitor must never break what it monitors
        logger.warning("the sample could not be logged", exc_info=True)
