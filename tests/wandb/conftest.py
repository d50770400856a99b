"""Every test here writes real runs, into a folder of its own and without anyone's login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import wandb
from support.wandb_server import WandbServer


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of the test; no run is left open in it."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield work
    assert wandb.run is None, "a run is still open"


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """A W&B server that was asked for nothing that it does not know."""
    with WandbServer() as server:
        yield server
        assert server.unknown == []


@pytest.fixture
def store(tmp_path: Path) -> str:
    """URL of an offline store."""
    return str(tmp_path / "store")
