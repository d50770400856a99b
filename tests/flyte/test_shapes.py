"""Tracked tasks and nodes in a pod of their own, wherever they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flytekitplugins.wbmon import DriftReport, Profile
from support.examples import drift_report
from support.propeller import (
    Package,
    Pod,
    Propeller,
    Store,
    WorkflowFailed,
    from_literals,
    load_package,
    package,
    run_pod,
    to_literals,
)
from support.wandb_log import LoggedRun, find_run, find_runs
from support.wandb_server import WandbServer

PROJECT = Path(__file__).parent / "project"
SECRETS = {"wandb/api_key": "0123456789" * 4}
EXECUTION = "shapes7"


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


@pytest.fixture(scope="module")
def compiled(server: WandbServer) -> Package:
    return load_package(package(PROJECT, ["shapes"], env={"API_HOST": server.url}))


@pytest.fixture
def propeller(
    cluster: Callable[..., Propeller], compiled: Package, server: WandbServer
) -> Propeller:
    return cluster(
        compiled,
        project=PROJECT,
        env={"API_HOST": server.url},
        secrets=SECRETS,
        execution=EXECUTION,
        apart=("gate.drift", "-arraynode", "per_model", "dynamic.alert", "unlucky", "broken"),
    )


def run_of(pod: Pod) -> LoggedRun:
    return find_run(pod.disk)


def test_the_gate_of_a_drift_check_made_in_a_function_chooses_the_branch(
    propeller: Propeller,
) -> None:
    outputs = propeller.workflow("shapes.gate", to_literals({"shift": 1.0}))

    values = from_literals(outputs, {"answer": str, "report": DriftReport})
    assert values["answer"] == "paged: drift"
    assert values["report"].drifted
    assert values["report"].rule.min_effect == 0.2
    (pod,) = propeller.runs_of("gate.drift")
    assert run_of(pod).column("drift/drifted") == [1]
    assert run_of(pod).id == f"{EXECUTION}-{pod.place.unique_id}-0"
    assert "Drift report" in pod.deck


def test_a_tracked_node_in_a_map_task_has_a_run_for_each_shard(propeller: Propeller) -> None:
    outputs = propeller.workflow("shapes.mapped", to_literals({"seed": 3}))

    profile = from_literals(outputs, {"o0": Profile})["o0"]
    assert profile.n_rows == 1000
    shards = [pod for pod in propeller.pods if pod.place.shard is not None]
    assert [pod.place.shard for pod in shards] == [0, 1]
    runs = [run_of(pod) for pod in shards]
    assert len({run.id for run in runs}) == 2
    assert [run.user_config["flyte"]["shard"] for run in runs] == [0, 1]
    assert {run.group for run in runs} == {EXECUTION}
    assert {run.job_type for run in runs} == {"profile"}
    assert all(f"/executions/{EXECUTION}/nodeId/" in run.notes for run in runs)


def test_a_mapped_function_can_be_tracked_where_it_is_mapped(propeller: Propeller) -> None:
    outputs = propeller.workflow("shapes.squares", to_literals({"xs": [3, 4]}, {"xs": list[int]}))

    assert from_literals(outputs, {"o0": list[int]}) == {"o0": [9, 16]}
    runs = [run_of(pod) for pod in propeller.pods]
    assert [run.column("x") for run in runs] == [[3], [4]]
    assert [run.job_type for run in runs] == ["square", "square"]
    assert len({run.id for run in runs}) == 2
    assert all(f"/executions/{EXECUTION}/nodeId/" in run.notes for run in runs)


def test_a_dynamic_task_has_one_run_and_its_nodes_run_in_pods(propeller: Propeller) -> None:
    inputs = to_literals({"report": drift_report(), "n_models": 1})

    outputs = propeller.workflow("shapes.spread", inputs)

    assert from_literals(outputs, {"o0": list[bool]}) == {"o0": [True]}
    (parent,) = propeller.runs_of("per_model")
    assert run_of(parent).column("n_models") == [1]
    assert run_of(parent).exit_code == 0
    (decided,) = propeller.runs_of("dynamic.alert")
    assert find_runs(decided.disk) == []


def test_every_attempt_has_its_own_run_and_its_own_outcome(propeller: Propeller) -> None:
    with pytest.raises(WorkflowFailed, match="the model file is empty"):
        propeller.workflow("shapes.retried", to_literals({"rows": 5}))

    first, second, broken = propeller.pods
    runs = [run_of(pod) for pod in (first, second, broken)]
    assert [run.exit_code for run in runs] == [1, 0, 1]
    assert [run.id for run in runs] == [f"{EXECUTION}-{end}" for end in ("n0-0", "n0-1", "n1-0")]
    assert [run.user_config["flyte"]["attempt"] for run in runs] == [0, 1, 0]
    assert [run.column("rows") for run in runs] == [[5], [5], [5]]
    assert runs[2].summary["error_type"] == "ValueError"
    assert "the model file is empty" in runs[2].summary["error_message"]


def test_an_async_task_runs_inside_its_run(
    compiled: Package, server: WandbServer, local_store: Store, tmp_path: Path
) -> None:
    pod = run_pod(
        compiled.tasks["shapes.fetch"],
        to_literals({"rows": 4}),
        project=PROJECT,
        store=local_store,
        disk=tmp_path,
        env={"API_HOST": server.url},
        secrets=SECRETS,
    )

    assert pod.outputs is not None, pod.message
    assert from_literals(pod.outputs, {"o0": int}) == {"o0": 8}
    assert run_of(pod).column("rows") == [4]
    assert run_of(pod).exit_code == 0


@pytest.mark.parametrize("task", ["gate.drift", "partition.profile", "unlucky", "fetch"])
def test_a_tracked_task_asks_the_cluster_for_the_secret_and_the_link(
    compiled: Package, task: str
) -> None:
    found = [spec.template for name, spec in compiled.tasks.items() if name.endswith(task)]
    assert found
    for template in found:
        (secret,) = template.security_context.secrets
        assert (secret.group, secret.key) == ("wandb", "api_key")
        assert template.config["link_type"] == "wandb-execution-id"
