"""Real weave against a server of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.weave_server import KEY, WeaveServer


@pytest.fixture
def server() -> Iterator[WeaveServer]:
    """A healthy Weave server."""
    with WeaveServer() as server:
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test, with a key of its own."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_DIR", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work
