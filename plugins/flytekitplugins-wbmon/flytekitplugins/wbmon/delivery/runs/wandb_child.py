"""A child process in which wandb works with the key, which it gets on its standard input.

The key is in no environment that a process is started with, where everyone who may look at the
process can read it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.process import child_environment
from flytekitplugins.wbmon.delivery.runs.wandb_environment import usable_environment
from flytekitplugins.wbmon.storage.room import temporary_folder, working_folder

_POLL_S = 0.2
# wandb takes these for a run of its own; the last two take the place of the key
_OF_THE_TASK = {
    "WANDB_CONFIG_PATHS", "WANDB_DISABLED", "WANDB_CREDENTIALS_FILE", "WANDB_IDENTITY_TOKEN_FILE",
}  # fmt: skip


def usable_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that wandb may see when it works for us, and not for the task itself."""
    usable = usable_environment(environ)
    return {name: value for name, value in usable.items() if name not in _OF_THE_TASK}


def server_variables(api_host: str) -> dict[str, str]:
    """What tells wandb which server to ask, and to say nothing.

    Args:
        api_host: URL of the W&B API.
    """
    return {
        "WANDB_BASE_URL": api_host,
        # with weave installed, wandb would open network connections for it
        "WANDB_DISABLE_WEAVE": "1",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_MODE": "online",
        "WANDB_SILENT": "true",
    }


def run_child(
    module: str,
    *arguments: str,
    variables: Mapping[str, str],
    key: ApiKey,
    until: Callable[[], float],
) -> int | None:
    """Run a module of ours in a child process, and kill it when the time is over.

    The child stays in this process's group, so that it does not go on when the group is killed.

    Args:
        module: Its name, as with `python -m`.
        arguments: What it is given; no secrets.
        variables: Environment variables beside those of this process that wandb may see.
        key: The W&B key, the whole of its standard input.
        until: Returns the time on the clock of `time.monotonic()` at which to give up; it is asked
            again and again, as another process may take over.

    Returns:
        Its exit code, negative for a signal; None if the time was over.
    """
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", module, *arguments],
        env={**usable_variables(child_environment(key)), **variables},
        # the working directory of the task may have been deleted
        cwd=working_folder() or temporary_folder(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if process.stdin is not None:
        with suppress(OSError):  # it may have ended at once
            process.stdin.write(key.reveal().encode())
            process.stdin.close()
    while process.poll() is None and time.monotonic() < until():
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
    code = process.poll()
    process.kill()  # wandb's own service ends with it
    process.wait()
    return code
