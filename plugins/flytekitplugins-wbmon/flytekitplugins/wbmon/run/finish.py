"""The end of a run within a time limit, also if wandb's service is dead or does not answer.

`Run.finish` waits for wandb's service (`wandb-core`, a child of the task's process) without a
limit, and so does wandb at the exit of the interpreter. A service that does not write the end of a
run in time is killed. The log that it leaves is then ended here, so that whoever delivers or stores
it finds the outcome of the task.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flytekitplugins.wbmon.delivery.runs.transaction_log import append_end, log_path, wait_for_end
from flytekitplugins.wbmon.delivery.runs.wandb_internals import UnsupportedWandbError
from flytekitplugins.wbmon.flyte.termination import terminating_until
from flytekitplugins.wbmon.run.outcome import TaskOutcome
from flytekitplugins.wbmon.run.service import (
    kill_service,
    kill_service_at_exit,
    service_processes,
)
from flytekitplugins.wbmon.run.wandb_client import global_run

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

# `finish` returns before the last record is on disk; this only limits the wait for it
_ON_DISK_S = 5.0
_TEARDOWN_S = 5.0
_POLL_S = 0.1
_STILL_S = 0.5


class Finished(NamedTuple):
    """How a run was finished.

    Attributes:
        problem: What went wrong, in words; empty if wandb finished the run.
        is_whole: Whether wandb has written the end of the log, and so all before it. It may have
            done so earlier, when the task called `wandb.teardown()`.
    """

    problem: str
    is_whole: bool


def finish_in_time(
    run: wandb.Run, folder: Path, outcome: TaskOutcome, timeout_s: float
) -> Finished:
    """Finish a run and make sure that its log on disk has an end.

    Args:
        run: An open run, offline or online.
        folder: The run's folder.
        outcome: The outcome of the task.
        timeout_s: Time limit in seconds for wandb; less if the process is told to stop.

    Raises:
        DataError: If the run's folder does not hold exactly one log.
        UnsupportedWandbError: If this release of wandb has another format of its log.
    """
    until = time.monotonic() + timeout_s
    problem = _finish(run, outcome, timeout_s)
    log = log_path(folder)
    left = max(0.0, min(_ON_DISK_S, until - time.monotonic()))
    try:
        # a dead service has written what it ever will
        if wait_for_end(log, left if not problem or service_processes() else 0.0):
            return Finished(problem, is_whole=True)
    except UnsupportedWandbError:
        _wait_until_still(log, left)
        raise
    # or else it may go on to write, over the end that is added here
    replace_service()
    try:
        append_end(log, exit_code=outcome.exit_code, summary=outcome.summary)
    except OSError as error:
        logger.warning("W&B: cannot end the log of the run (%s)", error)
    return Finished(problem or "wandb did not write the run's end", is_whole=False)


def _wait_until_still(log: Path, timeout_s: float) -> None:
    """Wait until a log that cannot be read has not grown for a while."""
    until, size = time.monotonic() + timeout_s, -1
    while time.monotonic() < until and size != (size := log.stat().st_size):
        time.sleep(_STILL_S)


def replace_service() -> None:
    """Kill wandb's service, so that the next run of this process starts a new one."""
    kill_service()
    _in_time(_forget_service, _TEARDOWN_S)


def _finish(run: wandb.Run, outcome: TaskOutcome, timeout_s: float) -> str:
    problems: list[str] = []
    global_run()  # `finish` fails if the task has deleted it

    def finish() -> None:
        try:
            if outcome.summary:
                run.summary.update(dict(outcome.summary))
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds, and none may pass
            logger.warning("W&B: could not note the task's error (%s)", error)
        try:
            run.finish(exit_code=outcome.exit_code)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds, and none may pass
            problems.append(f"wandb could not finish the run ({type(error).__name__}: {error})")

    if not _in_time(finish, timeout_s):
        kill_service_at_exit()
        return f"wandb did not finish the run in {timeout_s:g} s"
    return problems[0] if problems else ""


def _in_time(action: Callable[[], None], timeout_s: float) -> bool:
    """Run an action in a thread; return False if it is not done in time."""
    # a daemon: if it does not return, it must not keep the interpreter from its exit
    thread = threading.Thread(target=action, name="wbmon-wandb-end", daemon=True)
    thread.start()
    began = time.monotonic()
    while thread.is_alive():
        left = min(began + timeout_s, terminating_until(began)) - time.monotonic()
        if left <= 0:
            break
        thread.join(min(left, _POLL_S))
    return not thread.is_alive()


def _forget_service() -> None:
    import wandb

    # it raises, as the service does not answer; what it knew of the service is gone then
    with suppress(Exception, SystemExit):
        wandb.teardown()
