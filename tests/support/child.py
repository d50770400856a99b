"""Python in a process of its own, for what must be seen from a clean start."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.environment import clean_environment


def run_python(
    code: str, *, home: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with a clean environment.

    Args:
        code: What to run; common indentation is removed.
        home: The process's home; temporary files are below it.
        cwd: Where it runs; `home` by default.
        env: Added to the environment.
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd or home,
        env={**clean_environment(home=home), **(env or {})},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@contextmanager
def start_python(
    code: str, *, home: Path, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process that runs code in a clean environment; it is killed when the block ends.

    Args:
        code: What to run; common indentation is removed.
        home: The process's home.
        cwd: Where it runs.
        env: Added to the environment.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd,
        env={**clean_environment(home=home), **(env or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def result_of(code: str, *, home: Path, env: Mapping[str, str] | None = None) -> Any:
    """The JSON that the code prints as its last line.

    Raises:
        AssertionError: If the code fails; the message is its output.
    """
    done = run_python(code, home=home, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
