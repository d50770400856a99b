"""Traced tasks in pods of their own: who they are in Weave, and where their traces wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.traces.store import drain_store
from support.propeller import (
    Package,
    Propeller,
    Store,
    from_literals,
    load_package,
    package,
    to_literals,
)
from support.weave_server import KEY, WeaveServer

pytest.importorskip("weave", reason="the llm extra is not installed")

PROJECT = Path(__file__).parent / "project"


@pytest.fixture(scope="module")
def pod_server() -> Iterator[WeaveServer]:
    with WeaveServer() as server:
        yield server


@pytest.fixture(scope="module")
def compiled(pod_server: WeaveServer) -> Package:
    return load_package(package(PROJECT, ["traced"], env={"API_HOST": pod_server.url}))


@pytest.fixture
def propeller(
    cluster: Callable[..., Propeller], compiled: Package, pod_server: WeaveServer
) -> Propeller:
    return cluster(
        compiled,
        project=PROJECT,
        env={"API_HOST": pod_server.url},
        secrets={"wandb/api_key": KEY},
        execution="night7",
    )


def test_traces_say_which_execution_they_are_of(
    propeller: Propeller, pod_server: WeaveServer, tmp_path: Path
) -> None:
    inputs = to_literals({"question": "hello", "call_log": (tmp_path / "none").as_uri()})
    outputs = propeller.workflow("traced.night", inputs)

    assert from_literals(outputs, {"o0": str, "o1": int}) == {"o0": "HELLO", "o1": 0}
    (root,), (op,) = pod_server.named("ask"), pod_server.named("answer")
    assert root["attributes"]["flyte"]["execution"] == "night7"
    assert root["thread_id"] == op["thread_id"]
    assert root["thread_id"].startswith("night7-")
    assert len(pod_server.named("steps")) == 1, "the node took its tracing along"
    assert all(KEY not in pod.log for pod in propeller.pods)


def test_in_an_outage_the_traces_wait_in_the_bucket(
    propeller: Propeller, pod_server: WeaveServer, local_store: Store, tmp_path: Path
) -> None:
    pod_server.calls.clear()
    pod_server.stop()
    inputs = to_literals({"question": "hello", "call_log": (tmp_path / "none").as_uri()})
    propeller.workflow("traced.night", inputs)
    assert pod_server.calls == {}
    kept = [path for path in local_store.files() if path.endswith("manifest.json")]
    assert len(kept) == 2

    pod_server.start()
    found = drain_store(OfflineStore(local_store.url("raw")), api_key=KEY)
    assert (found.n_spools, found.n_delivered, found.n_left) == (2, 2, 0)
    assert len(pod_server.named("answer")) == 1
    assert not [path for path in local_store.files() if path.endswith("records.jsonl")]
