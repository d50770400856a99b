from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest
from flytekit import task
from flytekit.core import local_cache as flytekit_cache
from flytekit.core.local_cache import LocalTaskCache

from flytekitplugins.wbmon.flyte import local_cache
from support.environment import clean_environment


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(flytekit_cache, "CACHE_LOCATION", str(tmp_path / "cache"))
    monkeypatch.setattr(LocalTaskCache, "_initialized", False)
    yield
    LocalTaskCache._initialized = False


def like_weave() -> types.ModuleType:
    """A `diskcache` whose default disk format is JSON, as the one that weave brings."""
    module = types.ModuleType("diskcache")

    def cache(directory: str, disk: type = diskcache.JSONDisk, **settings: Any) -> Any:
        return diskcache.Cache(directory, disk=disk, **settings)

    module.Cache, module.Disk, module.JSONDisk = cache, diskcache.Disk, diskcache.JSONDisk
    return module


@pytest.mark.parametrize("installed", [diskcache, like_weave()], ids=["diskcache", "weave's"])
def test_a_cached_task_runs_once_whichever_diskcache_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: types.ModuleType
) -> None:
    monkeypatch.setitem(sys.modules, "diskcache", installed)
    local_cache.keep_working_beside_weave()
    calls: list[int] = []

    @task(cache=True, cache_version="1")
    def cached(x: int) -> int:
        calls.append(x)
        return x + 1

    assert [cached(x=1), cached(x=1)] == [2, 2]
    assert calls == [1]


def test_importing_the_run_loads_no_heavy_library(tmp_path: Path) -> None:
    heavy = "{'wandb', 'weave', 'numpy', 'pandas', 'pyarrow', 'scipy', 'diskcache'}"
    code = (
        "import sys, flytekit; before = set(sys.modules)\n"
        "import flytekitplugins.wbmon.run.decorator\n"
        f"print(sorted(({heavy} & set(sys.modules)) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(home=tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]", done.stdout
