"""Processes that die as a container does: as PID 1 of a PID namespace of their own.

When a container is killed hard (out of memory, a lost node, the end of the grace period), the
kernel kills every process of its namespace at once, also those in sessions of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

_UNSHARE = ("/usr/bin/unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL")


def as_container() -> tuple[str, ...]:
    """The program that makes a process PID 1; the test is skipped where it may not."""
    possible = subprocess.run([*_UNSHARE, "/bin/true"], capture_output=True, text=True, check=False)
    if possible.returncode != 0:
        pytest.skip(f"no PID namespace can be made here: {possible.stderr.strip()}")
    return _UNSHARE


def start_as_container(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: IO[str]
) -> subprocess.Popen[str]:
    """Start a process as PID 1 of a namespace of its own.

    Args:
        argv: The program and its arguments.
        cwd: Where it runs.
        env: Its environment.
        log: What it prints goes there.
    """
    return subprocess.Popen(
        [*as_container(), *argv],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_container(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to PID 1 of the namespace, and wait until all its processes are gone."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with suppress(OSError):
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
    # `unshare` ends with its child, which ends when the namespace is empty; it may complain of a
    # signal mask then, which is of no account
    process.wait(60)
