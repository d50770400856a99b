"""The nodes that deliver what waited and tag the best run, as tasks and compiled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from flytekit import Secret, map_task, task

from flytekitplugins.wbmon import SyncOfflineRuns, TagBest, current_run, wandb_init
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import RunSettings
from support.in_process import pod_context
from support.place import EXECUTION, Place
from support.wandb_faults import Fault
from support.wandb_server import KEY, WandbServer

pytestmark = pytest.mark.slow
SECRET = Secret(group="wandb", key="api_key")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server


def write_run(server: WandbServer, store: Path, name: str, **summary: object) -> None:
    settings = RunSettings(
        project="payments",
        entity="ops",
        id=name,
        api_host=server.url,
        offline_store=str(store),
        init={"mode": "offline", "group": "sweep"},
    )
    with open_run(settings) as run:
        run.log(summary or {"row": 0})


def test_the_node_delivers_what_waits_and_says_what_is_left(
    server: WandbServer, tmp_path: Path
) -> None:
    node = SyncOfflineRuns(
        "wandb.sync",
        secret=SECRET,
        host="https://w.example.com",
        api_host=server.url,
        offline_store=str(tmp_path / "store"),
        timeout_s=20,
    )
    write_run(server, tmp_path / "store", "a")
    server.fault = Fault(status=401)
    left = node()
    assert (left.delivered, left.complete) == ([], False)
    assert "401" in next(iter(left.left.values()))
    server.fault = None
    done = node()
    assert done.delivered == ["https://w.example.com/ops/payments/runs/a"]
    assert (done.left, done.complete) == ({}, True)
    assert node().complete


def test_a_node_without_a_store_a_key_or_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="must have an offline_store"):
        SyncOfflineRuns("s", offline_store="")
    with pytest.raises(ConfigError, match="positive"):
        SyncOfflineRuns("s", offline_store="x", timeout_s=0)
    with pytest.raises(ConfigError, match="got a callable, which only wandb_init"):
        SyncOfflineRuns("s", offline_store="x", secret=lambda: KEY)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'max' or 'min'"):
        TagBest("t", project="p", entity="e", metric="m", mode="most")  # type: ignore[arg-type]
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="a W&B key is needed"):
        SyncOfflineRuns("s", offline_store=str(tmp_path)).compute()


def test_nodes_request_their_secret() -> None:
    other = Secret(group="db", key="password")
    for node in (
        SyncOfflineRuns("s", secret=SECRET, offline_store="x", secret_requests=[other]),
        TagBest("t", project="p", entity="e", metric="m", secret=SECRET, secret_requests=[other]),
    ):
        assert node.security_context.secrets == [other, SECRET]
    assert SyncOfflineRuns("s", offline_store="x").security_context is None


def test_the_best_run_of_a_group_is_tagged_and_only_it(server: WandbServer, tmp_path: Path) -> None:
    scores = {"a": 0.7, "b": 0.9, "c": 0.9, "d": math.nan}
    for name, score in scores.items():
        write_run(server, tmp_path / "store", name, auc=score)
    write_run(server, tmp_path / "store", "e", other=1)
    sync = SyncOfflineRuns("s", api_host=server.url, offline_store=str(tmp_path / "store"))
    assert sync().complete
    server.run("payments", "a").tags = ["mine", "best"]
    best = TagBest("t", project="payments", entity="ops", metric="auc", api_host=server.url)
    for _ in range(2):
        found = best(group="sweep")
        assert (found.run_id, found.value, found.n_compared) == ("b", 0.9, 3)
        tags = {run.id: run.tags for run in server.runs}
        assert tags == {"a": ["mine"], "b": ["best"], "c": [], "d": [], "e": []}
    worst = TagBest(
        "u", project="payments", entity="ops", metric="auc", mode="min", api_host=server.url
    )
    assert worst(group="sweep").run_id == "a"
    among = worst(group="sweep", among=["b", "c", "other"])
    assert (among.run_id, among.n_compared) == ("b", 2)
    assert server.run("payments", "b").tags == ["best"]
    assert server.run("payments", "a").tags == ["mine"]
    nobody = best(group="another")
    assert (nobody.run_id, nobody.n_compared) == ("", 0)
    with pytest.raises(DataError, match="group must name"):
        best.compute()


def test_a_mapped_sweep_is_one_group_with_its_best_run(server: WandbServer, tmp_path: Path) -> None:
    tracked = wandb_init(
        project="payments", entity="ops", secret=SECRET, api_host=server.url, delivery_timeout_s=30
    )

    @tracked
    @task
    def fit(depth: int) -> float:
        current_run().summary["auc"] = depth / 10
        return depth / 10

    mapped = map_task(fit)
    for shard in range(2):
        env = {"_FSEC_WANDB_API_KEY": KEY}
        folder, place = tmp_path / str(shard), Place(shard=shard)
        with pod_context(folder, place=place, task=mapped.name, env=env) as context:
            from flytekit.core.type_engine import TypeEngine

            inputs = TypeEngine.dict_to_literal_map(
                context, {"depth": [1, 2]}, {"depth": list[int]}
            )
            mapped.dispatch_execute(context, inputs)
    assert {run.group for run in server.runs} == {EXECUTION}
    best = TagBest("t", project="payments", entity="ops", metric="auc", api_host=server.url)
    with pod_context(tmp_path / "tag", env={"WANDB_API_KEY": KEY}):
        assert best.compute().run_id == Place(shard=1).pod_name
