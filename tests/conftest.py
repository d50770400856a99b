"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.s3 import S3Server, s3_server
from support.store import Store

# code that runs in pods, not tests
collect_ignore_glob = ["*/project/*"]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 on the loopback device."""
    with s3_server() as server:
        yield server


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    """A store on the local disk."""
    return Store(root=str(tmp_path / "store"))


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20260101)
