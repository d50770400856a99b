"""The stand-in for propeller, on every shape of workflow it must run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from flytekit.types.file import FlyteFile

from support.propeller import (
    Package,
    PackagingError,
    Propeller,
    WorkflowFailed,
    from_literals,
    load_package,
    package,
    to_literals,
)
from support.s3 import S3Server

PROJECT = Path(__file__).parent / "project"


@pytest.fixture(scope="module")
def shapes() -> Package:
    return load_package(package(PROJECT, ["shapes"]))


@pytest.fixture
def propeller(cluster: Callable[..., Propeller], shapes: Package) -> Propeller:
    return cluster(shapes, project=PROJECT, apart=())


def test_dynamic_and_mapped_nodes_run_one_pod_for_each_item(propeller: Propeller) -> None:
    outputs = propeller.workflow("shapes.mapped", to_literals({"n": 3}))

    assert from_literals(outputs, {"o0": float}) == {"o0": 12 / 2 + 12 / 4}
    divided = [pod for pod in propeller.pods if pod.place.shard is not None]
    assert [pod.succeeded for pod in divided] == [False, True, True]
    assert [pod.place.unique_id for pod in divided] == ["n1-0-n0", "n1-0-n1", "n1-0-n2"]
    doubled = propeller.runs_of("double")
    assert [pod.place.unique_id for pod in doubled] == ["n0-0-dn0", "n0-0-dn1", "n0-0-dn2"]
    assert "<b>2</b>" in doubled[2].deck


def test_a_recoverable_failure_is_tried_again_from_its_checkpoint(propeller: Propeller) -> None:
    outputs = propeller.workflow("shapes.gated", to_literals({"x": 2}))

    assert from_literals(outputs, {"o0": int}) == {"o0": 6}
    assert [pod.succeeded for pod in propeller.runs_of("flaky")] == [False, True]
    (doubled,) = propeller.runs_of("double")
    assert doubled.place.unique_id.startswith("n1-0-n1-")


def test_an_ordinary_failure_is_not_tried_again_and_runs_the_failure_node(
    propeller: Propeller,
) -> None:
    with pytest.raises(WorkflowFailed, match="no such number"):
        propeller.workflow("shapes.failing", to_literals({"n": 1}))

    assert [pod.task for pod in propeller.pods] == ["shapes.refuse", "shapes.clean_up"]
    assert "no such number" in propeller.pods[1].log


def test_a_launch_plan_on_s3_gives_kickoff_time_fixed_inputs_and_requested_secrets(
    shapes: Package, s3: S3Server, tmp_path: Path
) -> None:
    store = s3.bucket("launch-plan")
    secrets = {"wandb/api_key": "k" * 40, "other/key": "never mounted"}
    propeller = Propeller(
        shapes, project=PROJECT, store=store, disk=tmp_path / "pods", secrets=secrets
    )
    kickoff = datetime(2026, 3, 1, 2, tzinfo=timezone.utc)

    outputs = propeller.launch_plan("nightly.plan", to_literals({}), kickoff=kickoff)

    with store.flyte_context():
        file = from_literals(outputs, {"o0": FlyteFile})["o0"]
        assert Path(file).read_text() == f"2026-03-01 7 {'k' * 40}"
    (pod,) = propeller.pods
    assert sorted(path.name for path in (pod.disk / "secrets").rglob("*_key")) == ["api_key"]
    assert any("/raw/" in file for file in store.files())


def test_a_project_that_does_not_compile_is_reported_with_flytekits_words() -> None:
    with pytest.raises(PackagingError, match="no_such_module"):
        package(PROJECT, ["no_such_module"])
