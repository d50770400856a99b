"""The processes of a pod: all that it started, what memory they use, and their end."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_OFTEN_S = 0.2


def wait_below(
    process: subprocess.Popen[str], home: str, *, memory: float, timeout_s: float
) -> str:
    """Wait for a process; end it if it needs too much.

    Args:
        process: The first process.
        home: The home of all its processes, which no others have.
        memory: The most bytes they may use.
        timeout_s: How long it may take.

    Returns:
        `OOMKilled` or `timeout` if it was ended for that, else an empty text.
    """
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_OFTEN_S)
            return ""
        if memory < math.inf and sum(map(_memory_of, _of_home(home))) > memory:
            return "OOMKilled"
    return "timeout"


def end_all(process: subprocess.Popen[str], home: str) -> None:
    """End a process and what outlived it, detached or not: the container is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pid in _of_home(home):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _of_home(home: str) -> Iterator[int]:
    marker = f"HOME={home}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if marker in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def _memory_of(pid: int) -> int:
    """Bytes of a process, a page of several of them in parts."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0
