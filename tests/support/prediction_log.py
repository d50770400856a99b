"""The rows of a prediction log as a reader finds them, and processes that write one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

from support.environment import clean_environment

_PATIENCE_S = 60
_N_READINGS = 20


def segments(destination: Path, state: str = "*") -> list[Path]:
    """The segment files, `open` or `sealed` or both."""
    return sorted(destination.glob(f"{state}/*/*.jsonl"))


def read_rows(destination: Path, kind: str = "prediction") -> list[dict[str, Any]]:
    """The rows of one kind in all segments; a torn last line is left out.

    A living process may be writing lines in the place of its tail: then they are read again.
    """
    for _ in range(_N_READINGS):
        with suppress(ValueError, FileNotFoundError):
            return [row for row in _rows(destination) if row["kind"] == kind]
        time.sleep(0.01)
    return [row for row in _rows(destination) if row["kind"] == kind]


def _rows(destination: Path) -> list[dict[str, Any]]:
    lines = [line for path in segments(destination) for line in path.read_bytes().split(b"\n")[:-1]]
    return [json.loads(line) for line in lines]


def total(destination: Path, column: str) -> int:
    """The sum of a column over all serving windows."""
    return sum(row[column] for row in read_rows(destination, "window"))


@contextmanager
def running(
    code: str, *, home: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A Python process in a clean environment, killed at the end with all that it started.

    Args:
        code: What it runs; common indentation is removed.
        home: Its home and working folder.
        env: Added to the environment.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=home,
        env={**clean_environment(home=home), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=_PATIENCE_S)


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Read a process's output until a line begins with some words; that line.

    A process that says nothing for a minute is killed, so that reading ends.
    """
    seen = []
    assert process.stdout is not None
    watch = Timer(_PATIENCE_S, process.kill)
    watch.start()
    try:
        for line in process.stdout:
            seen.append(line)
            if line.startswith(words):
                return line
    finally:
        watch.cancel()
    raise AssertionError(f"the process ended without saying {words!r}:\n{''.join(seen)}")
