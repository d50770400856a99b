"""The only module that runs wandb's own sync: the live one, which is beta, and `wandb sync`.

Neither reports reliably whether anything arrived, so the caller must ask the server afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.process import child_environment
from flytekitplugins.wbmon.delivery.runs.wandb_environment import usable_environment
from flytekitplugins.wbmon.delivery.runs.wandb_internals import live_sync, start_service

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


def prepare(api_host: str, key: ApiKey) -> None:
    """Put the key and wandb's settings into this process's environment.

    Must run before wandb is loaded, which reads them only once; only for a process that delivers.
    """
    usable = usable_environment(os.environ)
    for name in set(os.environ) - set(usable):
        del os.environ[name]
    os.environ.update(_environment(api_host, key))


def warm_up() -> None:
    """Load wandb and start its service early, while the task's process still loads its own."""
    start_service(_PATIENCE)


def sync_live(log: Path) -> bool:
    """Send a log while it is written, in this process, until the end of the run was sent.

    Returns:
        False if this release of wandb has no live sync.
    """
    sync = live_sync()
    if sync is not None:
        sync(log)
    return sync is not None


def sync_apart(log: Path, *, api_host: str, key: ApiKey, timeout_s: float) -> bool:
    """Send a finished log with `wandb sync` in a child process, which is killed after `timeout_s`.

    The child stays in this process's group, so that it does not go on when the group is killed.

    Returns:
        Whether it ended within the time limit; this does not mean that anything arrived.
    """
    # wandb writes this file even if nothing arrived, and then skips the log
    for mark in log.parent.glob("*.synced"):
        mark.unlink()
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "wandb", "sync", "--include-online", str(log.parent)],
        env={**usable_environment(child_environment()), **_environment(api_host, key)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout_s)
    in_time = process.poll() is not None
    process.kill()  # wandb's own service ends with it
    process.wait()
    return in_time


def _environment(api_host: str, key: ApiKey) -> dict[str, str]:
    patience = {
        f"WANDB__{name.removeprefix('x_').upper()}": str(value) for name, value in _PATIENCE.items()
    }
    return {
        **patience,
        "WANDB_API_KEY": key.reveal(),
        "WANDB_BASE_URL": api_host,
        # with weave installed, wandb would open network connections for it
        "WANDB_DISABLE_WEAVE": "1",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_MODE": "online",
        "WANDB_SILENT": "true",
    }
