"""The worker process that sends a spool to Weave while it is written, started with `python -m`.

`delivery.signals` describes its standard input. A line of the spool counts as sent when the server
has confirmed it. The process imports neither weave nor wandb, so it starts fast.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

from flytekitplugins.wbmon.delivery.signals import ParentSignals
from flytekitplugins.wbmon.delivery.traces.drain import SpoolDrain
from flytekitplugins.wbmon.delivery.traces.pending import DrainResult, write_result

_POLL_S = 1.0


def follow(folder: Path, signals: ParentSignals) -> DrainResult:
    """Send the lines of a spool as they are written; after the end of the task send the rest.

    Args:
        folder: Folder of the spool.
        signals: The messages of the task's process, with its end and the time limit after it.
    """
    drain = SpoolDrain(folder, api_key=signals.key.reveal())
    while not signals.wait_until_done(_POLL_S):
        # while the task runs there is no hurry: one try, what is left comes with the next
        drain.run(deadline_s=_POLL_S, is_over=False)
    return drain.run(deadline_s=signals.until() - time.monotonic())


def main(source: Iterable[str]) -> None:
    """Send one spool, and write the result into its folder."""
    signals = ParentSignals(source)
    folder = signals.wait_for_folder()
    if folder is None:
        return
    result = follow(folder, signals)
    write_result(folder, result)


if __name__ == "__main__":
    main(sys.stdin)
