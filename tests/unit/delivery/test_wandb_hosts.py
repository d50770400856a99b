from __future__ import annotations

import ast
from pathlib import Path

import pytest

import flytekitplugins.wbmon
from flytekitplugins.wbmon.delivery import wandb_hosts as hosts
from flytekitplugins.wbmon.errors import ConfigError

OWN, OTHER = "https://wandb.example.com", "https://other.example.com"
CLOUD = "https://api.wandb.ai"
PACKAGE = Path(flytekitplugins.wbmon.__file__).parent


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_BASE_URL", "WANDB_APP_URL", "WF_TRACE_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_argument_wins_over_the_environment_and_this_over_the_cloud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert hosts.api_url() == CLOUD
    assert hosts.named_api_url() == ""
    monkeypatch.setenv("WANDB_BASE_URL", f" {OWN}/ ")
    assert hosts.api_url() == hosts.named_api_url() == OWN
    assert hosts.require_api_url(OTHER) == OTHER
    # also if it names the cloud
    assert hosts.api_url(CLOUD) == CLOUD


@pytest.mark.parametrize(
    "url", ["", "wandb.example.com", "ftp://x", "https://a:b@x", "http://[", 7]
)
def test_an_address_of_no_server_is_refused_and_not_named(
    url: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="must be the URL of the W&B API") as caught:
        hosts.require_api_url(url)
    assert "a:b" not in str(caught.value)
    monkeypatch.setenv("WANDB_BASE_URL", str(url))
    assert hosts.named_api_url() == ""


# as `api_to_app_url` of wandb 0.31 has it; the cloud of wandb.ai as before 0.31
@pytest.mark.parametrize(
    ("api", "pages"),
    [
        (CLOUD, "https://wandb.ai"),
        ("https://api.wandb.ai/", "https://wandb.ai"),
        ("https://api.qa.wandb.ai", "https://app.qa.wandb.ai"),
        ("http://api.wandb.test", "http://app.wandb.test"),
        ("https://api.wandb.example.com", "https://wandb.example.com"),
        ("https://api.example.com", "https://app.example.com"),
        (OWN, OWN),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://example.com/api/wandb", "https://example.com/api/wandb"),
        ("https://API.wandb.ai", "https://wandb.ai"),
        ("https://API.Example.com:8443/W/", "https://app.example.com:8443/W"),
        ("https://api.forge.coreweave.com", "https://forge.coreweave.com/wandb"),
        ("https://forge.coreweave.com/api/wandb", "https://forge.coreweave.com/wandb"),
    ],
)
def test_pages_follow_from_the_api(api: str, pages: str) -> None:
    assert hosts.page_url(api) == pages
    assert hosts.page_url(api, f"{OTHER}/") == OTHER


def test_traces_follow_from_the_api() -> None:
    assert hosts.trace_url(CLOUD) == hosts.trace_url("https://API.wandb.ai:443/")
    assert hosts.trace_url(CLOUD) == "https://trace.wandb.ai"
    assert hosts.trace_url("https://api.forge.coreweave.com") == "https://trace.wandb.ai"
    assert hosts.trace_url(f"{OWN}/") == f"{OWN}/traces"


def test_what_the_environment_says_of_one_server_is_not_taken_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages, traces = "https://pages.example.com", "https://traces.example.com"
    monkeypatch.setenv("WANDB_APP_URL", f"{pages}/")
    monkeypatch.setenv("WF_TRACE_SERVER_URL", f"{traces}/")
    assert (hosts.page_url(CLOUD), hosts.trace_url(CLOUD)) == (pages, traces)
    assert (hosts.page_url(OWN), hosts.trace_url(OWN)) == (OWN, f"{OWN}/traces")
    monkeypatch.setenv("WANDB_BASE_URL", OWN)
    assert (hosts.page_url(OWN), hosts.trace_url(OWN)) == (pages, traces)
    # the key of the cloud must not go to the traces of the cluster's own server
    assert hosts.page_url(CLOUD) == "https://wandb.ai"
    assert hosts.trace_url(CLOUD) == "https://trace.wandb.ai"
    assert hosts.trace_url(CLOUD, f"{traces}/") == traces


def test_pages_at_an_address_that_is_none_are_those_of_the_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", OWN)
    monkeypatch.setenv("WANDB_APP_URL", "pages.example.com")
    assert hosts.page_url(OWN) == OWN


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("HTTP://[::1]:8080/", "http://[::1]:8080"),
        ("https://Host.example.com:80", "https://host.example.com:80"),
        ("https://example.com/Wandb/", "https://example.com/Wandb"),
        ("https://api.forge.coreweave.com", CLOUD),
        ("https://API.wandb.ai:443", CLOUD),
        ("http://[", "http://["),
    ],
)
def test_a_server_is_written_in_one_way(url: str, server: str) -> None:
    assert hosts.server_of(url) == server
    assert hosts.is_same_server(url, server)


def test_a_login_is_looked_up_by_the_name_of_the_server() -> None:
    assert hosts.login_names("https://wandb.example.com:8443/x") == (
        "wandb.example.com:8443",
        "wandb.example.com",
    )
    cloud = {"api.wandb.ai", "api.forge.coreweave.com"}
    assert set(hosts.login_names(CLOUD)) == cloud
    assert set(hosts.login_names("https://api.forge.coreweave.com")) == cloud


def test_no_other_module_knows_where_the_cloud_is() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if path != Path(hosts.__file__)
        for node in _texts(ast.parse(path.read_text(encoding="utf-8")))
        if any(name in node.value for name in ("wandb.ai", "coreweave.com", "WANDB_APP_URL"))
    ]
    assert found == []


def _texts(tree: ast.Module) -> list[ast.Constant]:
    """The texts of a module that are not docstrings."""
    lone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in lone
    ]
