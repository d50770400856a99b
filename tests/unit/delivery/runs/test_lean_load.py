"""The process that delivers loads wandb without numpy, as long as the release can do without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = "flytekitplugins.wbmon.delivery.runs"


def printed(code: str, *, path: str = "") -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_the_worker_is_without_numpy_and_still_has_the_live_sync() -> None:
    code = (
        "import sys\n"
        f"from {PACKAGE}.sync_command import prepare\n"
        f"from {PACKAGE}.wandb_internals import live_sync\n"
        "prepare('http://127.0.0.1:9')\n"
        "has_sync = live_sync() is not None\n"
        "print('wandb' in sys.modules, sys.modules['numpy'], has_sync)\n"
    )
    assert printed(code) == "True None True"


def test_a_release_that_needs_numpy_gets_it(tmp_path: Path) -> None:
    (tmp_path / "wandb.py").write_text("import numpy\nlength = numpy.ones(3).size\n")
    code = (
        f"from {PACKAGE}.wandb_internals import load_lean\n"
        "load_lean()\n"
        "import wandb\n"
        "print(wandb.length)\n"
    )
    assert printed(code, path=str(tmp_path)) == "3"
