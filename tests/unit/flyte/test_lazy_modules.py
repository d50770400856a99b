"""Modules that flytekit has prepared but not loaded stay unloaded until they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SLEEP = (
    "from flytekit.lazy_import.lazy_module import is_imported, lazy_module\n"
    "from flytekitplugins.wbmon.flyte.lazy_modules import let_lazy_modules_sleep\n"
    "import importlib.util, inspect, sys, threading\n"
    "heavy = lazy_module('heavy')\n"
    "let_lazy_modules_sleep()\n"
)
HEAVY = (
    "print('loaded')\n"
    "import time\n"
    "import heavy\n"
    "first = 4\n"
    "y = heavy.first\n"
    "time.sleep(0.3)\n"
    "x = 5\n"
    "def __getattr__(name):\n"
    "    if name != 'nothing':\n"
    "        raise AttributeError(name)\n"
    "    return 'made up'\n"
)


def printed(code: str, folder: Path, heavy: str = HEAVY) -> list[str]:
    """What a fresh process prints that can import `heavy`, a module that says when it is loaded."""
    (folder / "heavy.py").write_text(heavy)
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
        "print(heavy.x, heavy.y, heavy.nothing, is_imported('heavy'))\n"
        "import heavy as again\n"
        "print(again is heavy, again.x, type(heavy).__name__)\n"
        "print(inspect.getsource(heavy)[:5], heavy.__spec__.loader is heavy.__loader__)\n"
    )
    assert printed(SLEEP + code, tmp_path) == [
        "heavy True",
        "False False",
        "loaded",
        "5 4 made up True",
        "True 5 module",
        "print True",
    ]


def test_an_import_wakes_the_module_that_others_hold(tmp_path: Path) -> None:
    code = "import heavy as imported\nprint(imported is heavy, imported.x)\n"
    assert printed(SLEEP + code, tmp_path) == ["loaded", "True 5"]


def test_flytekit_may_prepare_it_once_more(tmp_path: Path) -> None:
    code = (
        "again = lazy_module('heavy')\n"
        "print(is_imported('heavy'))\n"
        "let_lazy_modules_sleep()\n"
        "print(again.x, heavy.x, is_imported('heavy'))\n"
    )
    assert printed(SLEEP + code, tmp_path) == ["False", "loaded", "5 5 True"]


def test_threads_that_use_it_first_get_the_whole_module(tmp_path: Path) -> None:
    """Python's own lazy loader gives them half a module, or lets them wait for ever."""
    code = (
        "found, start = [], threading.Barrier(16)\n"
        "def use(number):\n"
        "    start.wait()\n"
        "    if number % 2:\n"
        "        found.append(heavy.x)\n"
        "    else:\n"
        "        import heavy as imported\n"
        "        found.append(imported.x)\n"
        "threads = [threading.Thread(target=use, args=(n,), daemon=True) for n in range(16)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join(20)\n"
        "print(found == [5] * 16)\n"
    )
    assert printed(SLEEP + code, tmp_path) == ["loaded", "True"]


def test_one_that_fails_says_so_each_time(tmp_path: Path) -> None:
    code = (
        "for _ in range(2):\n"
        "    try:\n"
        "        heavy.x\n"
        "    except RuntimeError as error:\n"
        "        print(error)\n"
    )
    heavy = "raise RuntimeError('it lacks a library')\n"
    assert printed(SLEEP + code, tmp_path, heavy) == ["it lacks a library"] * 2


TRACKED = (
    "import os, sys, threading\n"
    "from flytekit import task\n"
    "from flytekit.lazy_import.lazy_module import is_imported\n"
    "from flytekitplugins.wbmon import current_run, wandb_init\n"
    "means = []\n"
    "def use():\n"
    "    import pandas\n"
    "    means.append(pandas.DataFrame({'a': [1, 3]}).a.mean())\n"
)


def test_a_run_loads_no_pandas_and_threads_of_it_may(tmp_path: Path) -> None:
    code = TRACKED + (
        f"os.chdir({str(tmp_path)!r})\n"
        "@wandb_init(project='p', mode='offline')\n"
        "def body() -> None:\n"
        "    current_run().log({'loss': 0.5})\n"
        "    print('pandas' in sys.modules, is_imported('pandas'), 'wandb' in sys.modules)\n"
        "    threads = [threading.Thread(target=use) for _ in range(16)]\n"
        "    for thread in threads: thread.start()\n"
        "    for thread in threads: thread.join()\n"
        "body()\n"
        "print(means == [2.0] * 16, is_imported('pandas'))\n"
    )
    assert printed(code, tmp_path)[-2:] == ["False False True", "True True"]
