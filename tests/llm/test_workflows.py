"""The stories about LLM applications, end to end, against the stand-in for a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.environment import ROOT

pytest.importorskip("weave", reason="the llm extra is not installed")


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
    advice = said.partition("Why")[0]
    assert "ALERT  feedback rate 0." in advice
    assert "SHIP   prompt `with notes` instead of `plain`: right answers 58% → 100%" in advice
    assert "SHIP   model `stand-in-1` instead of `stand-in-1-pro`" in advice
    assert "FINE   usage.over_budget, usage.rate_limited_rate, rag.degraded" in advice
    assert "recall@3 1" in said
    assert "Ship with notes" in Path(night.page).read_text()
