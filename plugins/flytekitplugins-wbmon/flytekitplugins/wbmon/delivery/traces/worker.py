"""The process that sends a spool to Weave while it is written, and proves what arrived.

    python -m flytekitplugins.wbmon.delivery.traces.worker FOLDER

It is told by the first line on its input what it needs (key, deadline), and by the end of its
input that the task is over, however it ended: it outlives a task that was killed. A line counts as
sent when the server confirmed it. It needs neither weave nor wandb, so it starts in a moment.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from flytekitplugins.wbmon.delivery.traces.drain import SpoolDrain
from flytekitplugins.wbmon.delivery.traces.pending import DrainResult
from flytekitplugins.wbmon.delivery.traces.spool import RESULT

_POLL_S = 1.0


def follow(folder: Path, *, api_key: str, deadline_s: float, over: threading.Event) -> DrainResult:
    """Send what a spool holds until the task is over, then the rest.

    Args:
        folder: Of the spool.
        api_key: Of W&B.
        deadline_s: Longest time after the task.
        over: Set when the task is over.
    """
    drain = SpoolDrain(folder, api_key=api_key)
    while not over.wait(_POLL_S):
        # while the task runs there is no hurry: one try, what is left comes with the next
        drain.run(deadline_s=_POLL_S, is_over=False)
    return drain.run(deadline_s=deadline_s)


def main(folder: str, told: TextIO = sys.stdin) -> int:
    """Follow a spool; 0 if the server confirmed all of it."""
    settings: dict[str, Any] = json.loads(told.readline())
    over = threading.Event()
    threading.Thread(target=_wait_for_end, args=(told, over), daemon=True).start()
    result = follow(
        Path(folder), api_key=settings["api_key"], deadline_s=settings["deadline_s"], over=over
    )
    Path(folder, RESULT).write_text(json.dumps(result._asdict()), encoding="utf-8")
    return int(not result.is_complete)


def _wait_for_end(told: TextIO, over: threading.Event) -> None:
    while told.readline():
        pass
    over.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
