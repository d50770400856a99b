"""The stories about LLM applications, end to end, against the stand-in for a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.environment import ROOT

pytest.importorskip("weave", reason="the llm extra is not installed: make test-llm")


@pytest.fixture
def workflows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The workflows' package, with the stand-in behind them."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    from workflows import llm_app, llm_stand_in

    monkeypatch.setenv("LLM_BASE_URL", llm_stand_in.start(slots=4, service_s=0.002))
    llm_app.client.cache_clear()
    yield sys.modules["workflows"]
    llm_app.client.cache_clear()


def test_the_night_ends_with_a_verdict_and_an_alert(
    workflows: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from workflows.llm_nightly import llm_nightly

    night = llm_nightly(n_calls=40)
    said = capsys.readouterr().out

    assert night.verdict == "ship"
    assert night.fired
    assert "Prompt: ship. with notes is better beyond chance" in said
    assert "Model: ship. stand-in-1 costs less" in said
    assert "recall@3 1" in said
    assert "Ship with notes" in Path(night.page).read_text()


def test_capacity_is_the_highest_rate_that_holds(workflows: Any, monkeypatch: Any) -> None:
    from workflows import llm_stand_in
    from workflows.llm_capacity import Load, _judge, find_capacity

    monkeypatch.setenv("LLM_BASE_URL", llm_stand_in.start(slots=1, service_s=0.05))
    found = find_capacity(rates=[4.0, 60.0], duration_s=0.6, p99_s=0.6, error_rate=0.0, seed=1)

    assert 4.0 <= found.best_rate < 60, "one slot of 50 ms takes 20 requests a second"
    assert found.loads[0].holds
    assert not found.loads[1].holds
    assert _judge(1.0, [None, None], 1.0, 0.5) == Load(
        1.0, 2, 1.0, float("inf"), float("inf"), False
    )
