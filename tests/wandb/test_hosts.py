"""Which of two W&B servers is asked: the other one must never see a key."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import pytest
from flytekit import Secret
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import ReplayToWeave, SyncOfflineRuns, SyncOfflineTraces, TagBest
from flytekitplugins.wbmon.delivery import wandb_hosts
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.traces.spool import Spool, Target
from flytekitplugins.wbmon.delivery.traces.store import drain_store, keep_spool
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import RunSettings
from support.in_process import pod_context
from support.place import Place
from support.wandb_server import KEY, WandbServer
from support.weave_server import WeaveServer

pytestmark = pytest.mark.slow
SECRET = Secret(group="wandb", key="api_key")
TARGET = {"project": "payments", "entity": "ops"}


@dataclass
class Servers:
    """The server that WANDB_BASE_URL names, and the one that is asked without it."""

    own: WandbServer
    cloud: WandbServer


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    with WandbServer() as own, WandbServer() as cloud:
        monkeypatch.setattr(wandb_hosts, "CLOUD", cloud.url)
        monkeypatch.setenv("WANDB_BASE_URL", own.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        for name in ("WANDB_APP_URL", "WANDB_MODE", "WF_TRACE_SERVER_URL"):
            monkeypatch.delenv(name, raising=False)
        yield Servers(own, cloud)


def keep_run(store: Path, name: str, **given: str) -> None:
    settings = RunSettings(
        **TARGET,
        id=name,
        offline_store=str(store),
        init={"mode": "offline", "group": "sweep"},
        **given,
    )
    with open_run(settings) as run:
        run.log({"auc": 0.5})


def test_nodes_and_links_go_where_the_environment_says(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_run(tmp_path / "store", "a")
    monkeypatch.delenv("WANDB_BASE_URL")
    # made on a machine that knows nothing of the server, as the task is packaged
    sync = SyncOfflineRuns("s", offline_store=str(tmp_path / "store"))
    best = TagBest("t", **TARGET, metric="auc")
    monkeypatch.setenv("WANDB_BASE_URL", f"{servers.own.url}/")
    found = sync()
    assert found.delivered == [f"{servers.own.url}/ops/payments/runs/a"]
    assert found.complete
    assert best(group="sweep").run_id == "a"
    assert servers.own.run("payments", "a").tags == ["best"]
    assert servers.cloud.requests == []


def test_a_tracked_task_and_its_links_go_where_the_environment_of_the_pod_says(
    servers: Servers, tmp_path: Path
) -> None:
    settings = RunSettings(**TARGET, secret=SECRET, delivery_timeout_s=30)
    env = {"_FSEC_WANDB_API_KEY": KEY}
    place = Place(node="n3")
    with pod_context(tmp_path, place=place, task="wf.train", env=env) as context:
        with open_run(settings, task="wf.train") as run:
            run.log({"loss": 1})
        deck = next(one.html for one in context.user_space_params.decks if one.name == "W&B run")
    assert f'href="{servers.own.url}/ops/payments/runs/{place.pod_name}"' in deck
    assert servers.own.run("payments", place.pod_name).column("loss") == [1]
    assert servers.cloud.requests == []


def test_a_run_for_another_server_is_left_and_named(servers: Servers, tmp_path: Path) -> None:
    store = tmp_path / "store"
    # named by the argument, though it is the one that is asked without any
    keep_run(store, "theirs", api_host=servers.cloud.url)
    keep_run(store, "ours")
    found = SyncOfflineRuns("s", offline_store=str(store))()
    assert found.delivered == [f"{servers.own.url}/ops/payments/runs/ours"]
    ((url, reason),) = found.left.items()
    assert "theirs" in url
    assert f"it is for {servers.cloud.url}" in reason
    assert not found.complete
    assert [run.id for run in servers.own.runs] == ["ours"]
    assert servers.cloud.requests == []
    n_before = len(servers.own.requests)
    other = SyncOfflineRuns("s", offline_store=str(store), api_host=servers.cloud.url)()
    assert other.delivered == [f"{servers.cloud.url}/ops/payments/runs/theirs"]
    assert other.complete
    assert len(servers.own.requests) == n_before


def test_a_run_that_names_no_server_goes_to_that_of_the_node(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_BASE_URL")
    keep_run(tmp_path / "store", "a")
    found = SyncOfflineRuns(
        "s", offline_store=str(tmp_path / "store"), api_host=servers.own.url, host="https://w.x/"
    )()
    assert found.delivered == ["https://w.x/ops/payments/runs/a"]
    assert servers.cloud.requests == []


def test_a_run_that_was_to_go_to_the_cloud_waits_for_the_cloud(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_BASE_URL")
    servers.cloud.stop()
    settings = RunSettings(
        **TARGET, id="a", offline_store=str(tmp_path / "store"), delivery_timeout_s=1
    )
    with open_run(settings) as run:
        run.log({"auc": 0.5})
    servers.cloud.start()
    n_before = len(servers.cloud.requests)
    sync = SyncOfflineRuns("s", offline_store=str(tmp_path / "store"))
    monkeypatch.setenv("WANDB_BASE_URL", servers.own.url)
    assert f"it is for {servers.cloud.url}" in next(iter(sync().left.values()))
    assert (servers.own.runs, len(servers.cloud.requests)) == ([], n_before)


@pytest.fixture
def weave_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[WeaveServer, WeaveServer]]:
    with WeaveServer() as own, WeaveServer() as cloud:
        monkeypatch.setattr(wandb_hosts, "CLOUD", cloud.url)
        monkeypatch.setattr(wandb_hosts, "_CLOUD_TRACES", cloud.trace_url)
        monkeypatch.setenv("WANDB_BASE_URL", own.url)
        monkeypatch.setenv("WANDB_API_KEY", own.key)
        monkeypatch.delenv("WF_TRACE_SERVER_URL", raising=False)
        yield own, cloud


def keep_traces(store: Path, trace_url: str) -> None:
    spool = Spool(
        store / "spools", Target(entity="ops", project="p", trace_url=trace_url), redact=str
    )
    spool.write("file_create", {"project_id": "ops/p", "name": "f", "data": "YQ=="})
    spool.close()
    keep_spool(spool.folder, OfflineStore(str(store / "store")))


def test_traces_go_where_the_environment_says_and_those_for_others_are_left(
    weave_servers: tuple[WeaveServer, WeaveServer], tmp_path: Path
) -> None:
    own, cloud = weave_servers
    row = {
        "request_id": "r",
        "timestamp": datetime(2026, 3, 2, tzinfo=timezone.utc),
        "latency_ms": 1.0,
        "route": "/ask",
        "error_type": "Timeout",
    }
    data = StructuredDataset(dataframe=pd.DataFrame([row]))
    replay = ReplayToWeave("r", project="p", entity="ops", secret=SECRET)
    assert replay.compute(data).n_left == 0
    assert len(own.calls) == 1
    keep_traces(tmp_path, own.trace_url)
    keep_traces(tmp_path, cloud.trace_url)
    sync = SyncOfflineTraces("s", secret=SECRET, offline_store=str(tmp_path / "store"))
    assert sync.compute() == (2, 1, 1)
    assert [name for name, _ in own.files] == ["f"]
    assert cloud.requests == []


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    """Sends every request on to another address."""

    protocol_version = "HTTP/1.1"
    to = ""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(302)
        self.send_header("Location", self.to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""


def test_traces_that_are_sent_on_to_another_address_are_left(
    weave_servers: tuple[WeaveServer, WeaveServer], tmp_path: Path
) -> None:
    own, _ = weave_servers
    handler = type("Handler", (_Elsewhere,), {"to": f"{own.trace_url}/server_info"})
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
    keep_traces(tmp_path, f"http://127.0.0.1:{proxy.server_address[1]}")
    found = drain_store(OfflineStore(str(tmp_path / "store")), api_key=own.key, deadline_s=5)
    proxy.shutdown()
    proxy.server_close()
    assert (found.n_delivered, found.n_left, found.n_rejected) == (0, 1, 0)
    assert "302" in next(iter(found.left.values()))
    assert own.requests == []
