"""The worker process that delivers a run while its task runs, started with `python -m`.

`delivery.signals` describes its standard input, of which the first line must also have `api_host`,
and `writer` if other processes may write the run.
The progress of the delivery is saved in the run's folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from flytekitplugins.wbmon.delivery.runs import sync_command as wandb_sync
from flytekitplugins.wbmon.delivery.runs.deliver import RunDelivery
from flytekitplugins.wbmon.delivery.runs.pending_log import discard_copy
from flytekitplugins.wbmon.delivery.runs.receipt import ReceiptWait
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.signals import ParentSignals


def main(source: Iterable[str]) -> None:
    """Deliver one run."""
    signals = ParentSignals(source)
    api_host = signals.settings["api_host"]
    wandb_sync.prepare(api_host)
    wandb_sync.warm_up(signals.key)  # before the wait: loading wandb takes about a second
    folder = signals.wait_for_folder()
    if folder is None:
        return
    stored = ReceiptWait(folder)

    def is_written() -> bool:
        if signals.is_orphaned and stored.is_open:
            raise SystemExit  # whoever delivers the stored copy would not know what is sent now
        # not by an end of the log: `wandb.finish()` in the body writes one, and the task goes on
        return signals.is_done

    delivery = RunDelivery(
        folder,
        api_host=api_host,
        key=signals.key,
        has_ended=is_written,
        until=signals.until,
        writer=signals.settings.get("writer", ""),
        on_progress=lambda: stored.wait(delivery.progress),
        tally=lambda: RunTally.from_dict(signals.wait_for_end(0).get("tally") or {}),
    )
    delivery.run(live=True)
    discard_copy(folder)


if __name__ == "__main__":
    with suppress(SystemExit):
        main(sys.stdin)
    # a sync that hangs must not keep this process alive; `WorkerProcess.end` kills its group
    os._exit(0)
