"""Modules that flytekit has prepared but not loaded stay unloaded until they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SLEEP = (
    "from flytekit.lazy_import.lazy_module import is_imported, lazy_module\n"
    "from flytekitplugins.wbmon.flyte.lazy_modules import let_lazy_modules_sleep\n"
    "import importlib.util, inspect, sys\n"
    "heavy = lazy_module('heavy')\n"
    "let_lazy_modules_sleep()\n"
)


def printed(code: str, folder: Path) -> list[str]:
    """What a fresh process prints that can import `heavy`, a module that says when it is loaded."""
    (folder / "heavy.py").write_text("print('loaded')\nx = 5\n")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def test_a_look_at_all_modules_loads_none_and_a_use_loads_it_once(tmp_path: Path) -> None:
    code = (
        "print(importlib.util.find_spec('heavy').name, hasattr(heavy, '__file__'))\n"
        "inspect.getmodule(compile('1', 'nowhere.py', 'eval'))\n"
        "print(is_imported('heavy'), hasattr(heavy, '__path__'))\n"
        "print(heavy.x, is_imported('heavy'))\n"
        "import heavy as again\n"
        "print(again is heavy, again.x, type(heavy).__name__)\n"
    )
    assert printed(SLEEP + code, tmp_path) == [
        "heavy True",
        "False False",
        "loaded",
        "5 True",
        "True 5 module",
    ]


def test_a_run_loads_no_pandas(tmp_path: Path) -> None:
    code = (
        "import flytekit, sys, os\n"
        "from flytekitplugins.wbmon import current_run, wandb_init\n"
        "from flytekit.lazy_import.lazy_module import is_imported\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "@wandb_init(project='p', mode='offline')\n"
        "def body() -> None:\n"
        "    current_run().log({'loss': 0.5})\n"
        "body()\n"
        "print('pandas' in sys.modules, is_imported('pandas'), 'wandb' in sys.modules)\n"
    )
    assert printed(code, tmp_path)[-1] == "True False True"
