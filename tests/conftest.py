"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from support.environment import BIN
from support.store import Store

if TYPE_CHECKING:
    from support.propeller import Propeller
    from support.s3 import S3Server

# code that runs in pods, not tests
collect_ignore_glob = ["*/project/*"]

# `.venv/bin/pytest` puts its own folder first, where a tool's publish.py would shadow a test folder
sys.path[:] = [folder for folder in sys.path if folder != str(BIN)]

# before any test module imports wandb, which reads its settings then and never again
_PERSONAL = ("AWS_", "FLYTE", "NETRC", "WANDB_", "_FSEC_", "_F_")
for _name in [name for name in os.environ if name.startswith(_PERSONAL)]:
    del os.environ[_name]
os.environ["WANDB_ERROR_REPORTING"] = "false"

# as under CI, where hypothesis does so by itself: no example fails since the machine is busy
with suppress(ModuleNotFoundError):  # old releases are tested without it
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "busy",
        settings.default,
        # of each of some 240 tests: more of them take minutes
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests and doctests come last: no long file is left to a process alone at the end."""
    items.sort(key=lambda item: not re.match("tests/(?!unit/)", item.nodeid))


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the logins and caches of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def _no_kept_file_systems() -> Iterator[None]:
    """A file system remembers the environment in which it was made: none outlives its test."""
    yield
    if "s3fs" in sys.modules:
        sys.modules["s3fs"].S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 on the loopback device."""
    from support.s3 import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    """A store on the local disk."""
    return Store(root=str(tmp_path / "store"))


@pytest.fixture
def cluster(local_store: Store, tmp_path: Path) -> Callable[..., Propeller]:
    """Makes a cluster on the local disk; what it is given goes to `Propeller`."""
    from support.propeller import Propeller

    return partial(Propeller, store=local_store, disk=tmp_path / "pods")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20260101)
