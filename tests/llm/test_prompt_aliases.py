"""Which version of a prompt is in production, as Weave shows it: promoted, rolled back, late."""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.traces.drain import drain_spool
from flytekitplugins.wbmon.delivery.traces.store import drain_store
from flytekitplugins.wbmon.llm import PromptRegistry, PromptTemplate, weave_init
from flytekitplugins.wbmon.monitor.llm.prompts.registry import PromptFiles
from support.wandb_faults import Fault
from support.weave_server import KEY, WeaveServer

weave = pytest.importorskip("weave", reason="the llm extra is not installed")

OLD = PromptTemplate.from_text("qa", "Answer {question}")
NEW = PromptTemplate.from_text("qa", "Answer {question} in one word")


@pytest.fixture
def registry(tmp_path: Path) -> PromptRegistry:
    return PromptRegistry(str(tmp_path / "prompts"))


def traced(server: WeaveServer, work: Callable[[], object], **given: object) -> None:
    weave_init("demo", "loop", api_host=server.url, delivery_timeout_s=5, **given)(work)()


def texts(server: WeaveServer) -> dict[str, str]:
    """What each alias of the prompt says, in Weave."""
    by_digest = {each["digest"]: each["val"] for each in server.objects["loop/demo", "qa"]}
    return {
        alias: by_digest[digest]["messages"][0]["content"]
        for alias, digest in server.aliased("qa").items()
    }


def told(server: WeaveServer) -> dict[str, dict[str, object]]:
    """The newest object that stands beside the prompt."""
    return server.objects["loop/demo", "qa-aliases"][-1]["val"]


def test_a_promotion_and_a_roll_back_are_seen_in_weave(
    server: WeaveServer, registry: PromptRegistry
) -> None:
    def night() -> None:
        registry.publish(OLD, alias="production")
        registry.publish(NEW, alias="candidate")

    def promote() -> None:
        registry.promote("qa", "candidate", reason="+4 points", by="me", evidence={"n": 60})

    traced(server, night)
    assert texts(server) == {"production": OLD.messages[0][1], "candidate": NEW.messages[0][1]}
    traced(server, promote)
    assert texts(server) == {"production": NEW.messages[0][1], "candidate": NEW.messages[0][1]}
    production = told(server)["production"]
    assert (production["reason"], production["by"]) == ("+4 points", "me")
    assert production["evidence"] == {"n": 60}
    assert (production["digest"], production["before"]) == (NEW.digest, OLD.digest)
    assert production["version"].endswith(f"/object/qa:{server.aliased('qa')['production']}")

    traced(server, lambda: registry.roll_back("qa", reason="complaints"))
    assert texts(server)["production"] == OLD.messages[0][1]
    assert told(server)["production"]["reason"] == "complaints"
    assert len(server.objects["loop/demo", "qa-aliases"]) >= 3, "the history stays"
    assert len(server.objects["loop/demo", "qa"]) == 2, "a version is published once"
    assert server.unknown == []


def test_weave_itself_finds_a_prompt_by_its_alias(
    server: WeaveServer, registry: PromptRegistry
) -> None:
    traced(server, lambda: registry.publish(OLD, alias="production"))

    from weave.trace.refs import ObjectRef
    from weave.trace.weave_client import WeaveClient
    from weave.trace_server_bindings.remote_http_trace_server import RemoteHTTPTraceServer

    takes_password = "password" in signature(RemoteHTTPTraceServer).parameters  # from 0.53.13 on
    key = {"password": KEY} if takes_password else {"auth": ("api", KEY)}
    own = RemoteHTTPTraceServer(server.trace_url, should_batch=False, **key)
    client = WeaveClient("loop", "demo", own, ensure_project_exists=False)
    found = client.get(ObjectRef("loop", "demo", "qa", "production"))
    assert found.messages[0]["content"] == OLD.messages[0][1]


def test_an_outage_loses_no_promotion(
    server: WeaveServer, registry: PromptRegistry, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    server.fault = Fault("status", status=503)

    def promote() -> None:
        registry.publish(OLD, alias="production")
        registry.publish(NEW, alias="candidate")
        registry.promote("qa", "candidate", reason="better")

    weave_init("demo", "loop", api_host=server.url, delivery_timeout_s=0.3, offline_store=store)(
        promote
    )()
    assert server.objects == {}
    server.fault = None

    assert drain_store(OfflineStore(store), api_key=KEY).n_left == 0
    assert texts(server) == {"production": NEW.messages[0][1], "candidate": NEW.messages[0][1]}
    assert told(server)["production"]["reason"] == "better"


@pytest.mark.parametrize("order", ["late promotion first", "late promotion last"])
def test_a_promotion_that_comes_late_does_not_undo_a_newer_decision(
    server: WeaveServer, registry: PromptRegistry, tmp_path: Path, order: str
) -> None:
    store = str(tmp_path / "store")
    traced(server, lambda: registry.publish(OLD, alias="production"))
    server.fault = Fault("status", status=503)

    def promote() -> None:
        registry.publish(NEW)
        registry.promote("qa", NEW.digest, reason="better")

    weave_init("demo", "loop", api_host=server.url, delivery_timeout_s=0.3, offline_store=store)(
        promote
    )()
    server.fault = None
    if order == "late promotion first":
        drain_store(OfflineStore(store), api_key=KEY)
        assert texts(server)["production"] == NEW.messages[0][1]
        traced(server, lambda: registry.roll_back("qa", reason="complaints"))
    else:
        # by hand, in a process that knows nothing of Weave
        PromptFiles(registry.uri).roll_back("qa", reason="complaints")
        drain_store(OfflineStore(store), api_key=KEY)

    assert texts(server)["production"] == OLD.messages[0][1]


def test_without_the_registry_a_late_promotion_goes_as_it_was_written(
    server: WeaveServer, registry: PromptRegistry, folder: Path
) -> None:
    weave_init("demo", "loop", mode="offline", api_host=server.url)(
        lambda: registry.publish(OLD, alias="production")
    )()
    (spool,) = Path("wandb/weave").iterdir()
    Path(registry.uri, "qa.json").write_text("torn")

    assert drain_spool(spool, api_key=KEY).is_complete
    assert texts(server) == {"production": OLD.messages[0][1]}


def test_a_decision_made_outside_is_caught_up_with(
    server: WeaveServer, registry: PromptRegistry
) -> None:
    registry.publish(OLD, alias="production")
    registry.mirror("qa")
    assert server.requests == []

    traced(server, lambda: registry.mirror("qa"))

    assert texts(server) == {"production": OLD.messages[0][1]}
    assert registry.get("qa").weave_digest == server.aliased("qa")["production"]


def test_a_server_without_aliases_shows_them_as_an_object(
    server: WeaveServer, registry: PromptRegistry
) -> None:
    server.knows_aliases = False

    traced(server, lambda: registry.publish(OLD, alias="production"))

    assert server.aliased("qa") == {}
    assert told(server)["production"]["digest"] == OLD.digest
    assert not list(Path("wandb/weave").iterdir()), "nothing waits for what will never be taken"


def test_a_refused_key_keeps_a_promotion_for_later(
    server: WeaveServer, registry: PromptRegistry
) -> None:
    weave_init("demo", "loop", mode="offline", api_host=server.url)(
        lambda: registry.publish(OLD, alias="production")
    )()
    (spool,) = Path("wandb/weave").iterdir()

    server.fault = Fault("status", status=401, on="PUT /objs")
    assert drain_spool(spool, api_key=KEY, deadline_s=0.3).n_left >= 1
    server.fault = None
    assert drain_spool(spool, api_key=KEY).is_complete
    assert texts(server) == {"production": OLD.messages[0][1]}
    kinds = [json.loads(line)["type"] for line in (spool / "records.jsonl").open()]
    assert "obj_set_aliases" in kinds
