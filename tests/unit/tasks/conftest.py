"""What tests of nodes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.receiver import Hook, web_hook


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with web_hook() as hook:
        monkeypatch.setenv("_FSEC_ALERTS_HOOK", hook.url)
        monkeypatch.setenv("_FSEC_WANDB_API_KEY", "0123456789" * 4)
        yield hook
