"""The only module that runs wandb's own sync: the live one, which is beta, and `wandb sync`.

Neither reports reliably whether anything arrived, so the caller must ask the server afterwards.

wandb's service, which inherits the environment, is started first, and wandb is given the key then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.wandb_child import (
    run_child,
    server_variables,
    usable_variables,
)
from flytekitplugins.wbmon.delivery.runs.wandb_internals import (
    give_key,
    live_sync,
    load_lean,
    start_service,
)

_SYNC_PROCESS = "flytekitplugins.wbmon.delivery.runs.sync_process"
# short limits, because the caller tries again until its own time is over
_PATIENCE: Mapping[str, Any] = {
    "x_file_stream_retry_max": 3,
    "x_file_stream_retry_wait_max_seconds": 2,
    "x_file_stream_timeout_seconds": 5,
    "x_file_stream_transmit_interval": 1,
    "x_file_transfer_retry_max": 3,
    "x_file_transfer_retry_wait_max_seconds": 2,
    "x_graphql_retry_max": 3,
    "x_graphql_retry_wait_max_seconds": 2,
    "x_graphql_timeout_seconds": 5,
}


def prepare(api_host: str) -> None:
    """Put wandb's settings into this process's environment.

    Must run before wandb is loaded, which reads them only once; only for a process that delivers.
    """
    load_lean()
    usable = usable_variables(os.environ)
    for name in set(os.environ) - set(usable):
        del os.environ[name]
    os.environ.update(_environment(api_host))


def warm_up(key: ApiKey) -> None:
    """Load wandb, start its service and give wandb the key.

    Early, while the task's process still loads its own.
    """
    load_lean()
    start_service(_PATIENCE)
    give_key(key.reveal(), api_host=os.environ["WANDB_BASE_URL"])


def sync_live(log: Path) -> bool:
    """Send a log while it is written, in this process, until the end of the run was sent.

    Returns:
        False if this release of wandb has no live sync.
    """
    sync = live_sync()
    if sync is not None:
        sync(log)
    return sync is not None


def sync_apart(log: Path, *, api_host: str, key: ApiKey, until: Callable[[], float]) -> bool:
    """Send a finished log with `wandb sync` in a child process, and kill it when the time is over.

    Args:
        log: The log.
        api_host: URL of the W&B API.
        key: The W&B key.
        until: Returns the time on the clock of `time.monotonic()` at which to give up; it is asked
            again and again, as another process may take over.

    Returns:
        Whether it ended within the time limit; this does not mean that anything arrived.
    """
    # wandb writes this file even if nothing arrived, and then skips the log
    for mark in log.parent.glob("*.synced"):
        mark.unlink()
    code = run_child(
        _SYNC_PROCESS, str(log.parent), variables=_environment(api_host), key=key, until=until
    )
    return code is not None


def _environment(api_host: str) -> dict[str, str]:
    patience = {
        f"WANDB__{name.removeprefix('x_').upper()}": str(value) for name, value in _PATIENCE.items()
    }
    return {**patience, **server_variables(api_host)}
