"""The environment of a process that must not see the developer's shell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "plugins" / "flytekitplugins-wbmon"

_INHERITED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "COVERAGE_PROCESS_START")


def clean_environment(*, home: Path) -> dict[str, str]:
    """The least a Python process needs, with its own home and temporary folder.

    Credentials, W&B settings and Flyte settings of whoever runs the tests stay outside.

    Args:
        home: The process's home; it and `home/tmp` are made if need be.
    """
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(BIN), "/usr/bin", "/bin"]),
        "PYTHONPATH": str(SOURCE),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "WANDB_ERROR_REPORTING": "false",
    }
