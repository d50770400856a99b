"""The process that sends a spool to Weave while it is written: `python -m` this module.

What its standard input says is in `delivery.signals`. A line of the spool counts as sent when the
server confirmed it. The process needs neither weave nor wandb, so it starts in a moment.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from flytekitplugins.wbmon.delivery.signals import ParentSignals
from flytekitplugins.wbmon.delivery.traces.drain import SpoolDrain
from flytekitplugins.wbmon.delivery.traces.pending import DrainResult
from flytekitplugins.wbmon.delivery.traces.spool import RESULT

_POLL_S = 1.0


def follow(folder: Path, signals: ParentSignals) -> DrainResult:
    """Send what a spool holds until the task is over, then the rest.

    Args:
        folder: Of the spool.
        signals: Say when the task is over, and how long the rest may take.
    """
    drain = SpoolDrain(folder, api_key=signals.key.reveal())
    while not signals.wait_until_done(_POLL_S):
        # while the task runs there is no hurry: one try, what is left comes with the next
        drain.run(deadline_s=_POLL_S, is_over=False)
    return drain.run(deadline_s=signals.until() - time.monotonic())


def main(source: Iterable[str]) -> None:
    """Follow one spool, and write down beside it how far that came."""
    signals = ParentSignals(source)
    folder = signals.wait_for_folder()
    if folder is None:
        return
    result = follow(folder, signals)
    (folder / RESULT).write_text(json.dumps(result._asdict()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.stdin)
