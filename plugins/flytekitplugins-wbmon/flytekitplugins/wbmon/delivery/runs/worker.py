"""The process that delivers a run while its task runs: `python -m ...run.deliverer`.

The task talks to it through its standard input, one JSON object a line: who delivers where, the
run's folder, and how much time is left when the task is done. The end of the input means that the
task's process is gone; what it left is delivered all the same.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs import sync_command as wandb_sync
from flytekitplugins.wbmon.delivery.runs.deliver import RunDelivery
from flytekitplugins.wbmon.delivery.runs.transaction_log import has_ended, log_path


class ParentSignals:
    """What the task said so far."""

    def __init__(self, lines: Iterator[dict[str, Any]], patience_s: float) -> None:
        self._lines = lines
        self._patience_s = patience_s
        self._until = float("inf")
        self.is_done = False

    def listen(self) -> None:
        """Note the end of the task: told, or seen by the end of the input."""
        for line in self._lines:
            if "timeout_s" in line:
                self._patience_s = line["timeout_s"]
                break
        self._until = time.monotonic() + self._patience_s
        self.is_done = True

    def until(self) -> float:
        """When to give up, by `time.monotonic()`."""
        return self._until


def main(source: Iterable[str]) -> None:
    """Deliver one run."""
    lines = (json.loads(line) for line in source)
    who = next(lines)
    key = ApiKey(who["key"])
    wandb_sync.prepare(who["api_host"], key)
    wandb_sync.warm_up()
    where = next(lines, None)
    if where is None:
        return
    folder = Path(where["folder"])
    signals = ParentSignals(lines, patience_s=who["timeout_s"])
    threading.Thread(target=signals.listen, daemon=True).start()
    log = log_path(folder)
    delivery = RunDelivery(
        folder,
        api_host=who["api_host"],
        key=key,
        has_ended=lambda: signals.is_done or has_ended(log),
        until=signals.until,
    )
    delivery.run(live=True)


if __name__ == "__main__":
    main(sys.stdin)
    # a sync that hangs must not keep the process; its group is ended by whoever waits for it
    os._exit(0)
