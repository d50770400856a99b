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


def test_a_night_in_which_the_documents_and_the_provider_are_out_is_not_fine(
    workflows: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows import llm_app
    from workflows.llm_nightly import llm_nightly

    async def no_documents(item: dict[str, Any]) -> None:
        raise ConnectionError("the vector store is down")

    answer = llm_app.answer

    async def out(item: dict[str, Any], variant: Any) -> Any:
        if variant.name == llm_app.PLAIN.name:
            raise TimeoutError
        return await answer(item, variant)

    monkeypatch.setattr(llm_app, "answer_from_documents", no_documents)
    monkeypatch.setattr(llm_app, "answer", out)
    night = llm_nightly(n_calls=40)
    advice = capsys.readouterr().out.partition("Why")[0]

    assert night.verdict == "undecided"
    assert "UNDECIDED  prompt `plain`: 64 of 64 answers of plain failed (TimeoutError 64)" in advice
    assert "ALERT  rag" in advice
    assert "64 of 64 queries failed (ConnectionError 64)" in " ".join(advice.split())
    assert "BLIND  rag could not be judged" in advice
    assert "FINE   usage.over_budget, usage.rate_limited_rate\n" in advice
