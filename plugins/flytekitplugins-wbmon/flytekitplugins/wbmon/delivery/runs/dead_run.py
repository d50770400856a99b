"""The end of a run whose task was killed, of which W&B may have more than the store has."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from flytekitplugins.wbmon.delivery.runs.api import ServedRun, WandbApi
from flytekitplugins.wbmon.delivery.runs.pending_log import LogContent, read_content
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    exit_record,
    log_path,
    read_records,
    write_records,
)

_FAILED = 1
# W&B takes a run for crashed that it has not heard of for some minutes
_WITHOUT_END = ("running", "crashed", "pending")


def end_dead_run(folder: Path, api: WandbApi) -> None:
    """End a run at W&B if it has all that was stored; else the delivery does so.

    What was stored is the beginning of the run, so it must not replace a later config or summary.

    Args:
        folder: The folder of a run whose log may have no end.
        api: The server.

    Raises:
        DataError: If the progress of the delivery is damaged.
        PublishError: If the server does not answer.
    """
    content, progress = read_content(folder), DeliveryProgress.load(folder)
    if content.exit_code is not None or content.target is None:
        return
    served = api.find_run(content.target)
    if served is None:
        return
    if served.state == "finished":
        # the task ended well, and only the store did not learn of it, or another went on with it
        _add_end(log_path(folder), exit_code=0)
    # of a run that others write too, the delivery tells the rows apart, and they may be alive
    if content.writer or not _has_all(served, content, progress, api):
        return
    if served.state in _WITHOUT_END:
        api.set_outcome(content.target, _FAILED)
    progress.is_sent = True
    progress.save(folder)


def _add_end(log: Path, *, exit_code: int) -> None:
    ended = log.with_name("ended")
    write_records(ended, chain(read_records(log), [exit_record(exit_code)]))
    ended.replace(log)


def _has_all(
    served: ServedRun, content: LogContent, progress: DeliveryProgress, api: WandbApi
) -> bool:
    if progress.first_line is None:
        return False
    n_arrived = served.n_rows - progress.first_line
    return n_arrived >= content.n_rows and all(
        api.has_artifact(client_id, digest) for client_id, digest in content.artifacts.items()
    )
