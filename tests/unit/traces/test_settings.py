from __future__ import annotations

import pytest

from flytekitplugins.wbmon.llm import weave_init

SERVER = "https://wandb.example.com"


def test_traces_go_where_the_argument_the_environment_or_the_api_host_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def url(**given: str) -> str:
        return weave_init("p", "e", **given).settings.trace_url

    monkeypatch.delenv("WF_TRACE_SERVER_URL", raising=False)
    assert url() == "https://trace.wandb.ai"
    assert url(api_host=SERVER) == f"{SERVER}/traces"
    assert url(api_host=SERVER, trace_host="https://traces.example.com/") == (
        "https://traces.example.com"
    )
    monkeypatch.setenv("WF_TRACE_SERVER_URL", "https://env.example.com")
    # the key of one server is not sent to the traces of another
    assert url(api_host=SERVER) == f"{SERVER}/traces"
    assert url() == "https://env.example.com"
    monkeypatch.setenv("WANDB_BASE_URL", SERVER)
    assert url(api_host=SERVER) == "https://env.example.com"
    assert url(trace_host="https://traces.example.com") == "https://traces.example.com"
