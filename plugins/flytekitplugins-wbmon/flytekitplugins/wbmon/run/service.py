"""The process of wandb's service (`wandb-core`), a child of this process that serves all its runs.

Whoever sends it a record waits until it was taken. If it is stopped or hangs, that would be for
ever; then it is killed, so that the wait ends with an error.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.run.closed_stderr import log_safely

logger = logging.getLogger(__name__)

_NAME = "wandb-core"
_TICK_S = 5.0
# in ticks of the watch and not in seconds, as the whole container may have been stopped meanwhile
_STUCK_AFTER = 6


def service_processes() -> list[int]:
    """Process ids of the services that this process has started; none where there is no /proc."""
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if _is_service(folder)]


def kill_service() -> None:
    """Kill the service, if there is one."""
    for process in service_processes():
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


@cache
def kill_service_at_exit() -> None:
    """Keep the exit of the interpreter from waiting for a service that holds a dead run."""
    # registered after wandb's own hook, so it runs before that one waits
    atexit.register(kill_service)


def watched(send: Callable[..., Any]) -> Callable[..., Any]:
    """The function that sends a record to the service, with an end if the service is stuck.

    Args:
        send: Waits until the service has taken the record.
    """
    calls = _watch().calls

    @wraps(send)
    def sending(*args: Any, **kwargs: Any) -> Any:
        thread = threading.get_ident()
        calls[thread] = object()
        try:
            return send(*args, **kwargs)
        finally:
            calls.pop(thread, None)

    return sending


class _ServiceWatch:
    """A thread that kills the service if a call of it does not return for half a minute.

    Attributes:
        calls: The call that each thread waits for, as an object of its own.
    """

    def __init__(self) -> None:
        self.calls: dict[int, object] = {}
        threading.Thread(target=self._run, name="wbmon-wandb-watch", daemon=True).start()

    def _run(self) -> None:
        n_seen = Counter[object]()
        pause = threading.Event()
        while not pause.wait(_TICK_S):
            now = list(self.calls.values())
            n_seen = Counter({call: n_seen[call] + 1 for call in now})
            # once for each call: the next run of the process may have a service of its own by then
            if _STUCK_AFTER in n_seen.values():
                kill_service()
                with log_safely():
                    logger.warning(
                        "W&B: wandb's service has taken nothing for %g s and is ended",
                        _TICK_S * _STUCK_AFTER,
                    )


@cache
def _watch() -> _ServiceWatch:
    return _ServiceWatch()


# a thread does not survive a fork
os.register_at_fork(after_in_child=_watch.cache_clear)


def _is_service(folder: Path) -> bool:
    try:
        # number, name in brackets, state, number of the parent
        name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        state, parent = rest.split()[:2]
    except (OSError, ValueError):  # gone meanwhile
        return False
    return name == _NAME and state != "Z" and int(parent) == os.getpid()
