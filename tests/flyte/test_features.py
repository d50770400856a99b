"""Features of flytekit, each with nodes and tracked tasks; `docs/flytekit.md` lists them all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from flytekit import ImageSpec, LaunchPlan, task
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.core.context_manager import FlyteEntities
from flytekit.image_spec.image_spec import ImageBuildEngine
from flytekit.tools.translator import get_serializable

from flytekitplugins.wbmon import DriftCheck, DriftReport, wandb_init
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from support.catalog import Catalog
from support.pod import prepare_pod
from support.propeller import (
    Package,
    Propeller,
    Store,
    from_literals,
    load_package,
    package,
    to_literals,
)
from support.registry import remote
from support.wandb_log import find_runs
from support.wandb_server import WandbServer

PROJECT = Path(__file__).parent / "project"
MODULE = "features"
KEY = "0123456789" * 4


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


@pytest.fixture(scope="module")
def compiled(server: WandbServer) -> Package:
    return load_package(package(PROJECT, ["features"], env={"API_HOST": server.url}))


@pytest.fixture
def profiles() -> Any:
    """Two profiles as inputs, at the same URIs wherever they are used."""
    frame = pd.DataFrame({"amount": np.arange(500.0)})
    profile = profile_data(frame)
    return to_literals({"reference": profile, "current": profile})


def test_a_cached_check_of_the_same_profiles_is_not_run_again(
    cluster: Callable[..., Propeller], compiled: Package, profiles: Any
) -> None:
    catalog = Catalog()
    reports = []
    for execution in ("first", "relaunch"):
        propeller = cluster(
            compiled, project=PROJECT, execution=execution, apart=(), catalog=catalog
        )
        outputs = propeller.workflow("features.compared", profiles)
        reports.append(from_literals(outputs, {"o0": DriftReport})["o0"])
    assert catalog.hits == ["features.cached"]
    assert propeller.pods == []
    assert reports[0] == reports[1]


def test_a_cached_check_of_profiles_that_were_made_anew_is_not_run_again(
    cluster: Callable[..., Propeller], compiled: Package
) -> None:
    catalog = Catalog()
    for execution in ("first", "relaunch"):
        propeller = cluster(
            compiled, project=PROJECT, execution=execution, apart=(), catalog=catalog
        )
        propeller.workflow("features.relaunched", to_literals({"seed": 1}))
    assert catalog.hits == ["features.cached"]
    assert [pod.task for pod in propeller.pods] == ["features.window", "features.profile"]


def test_a_node_takes_what_a_workflow_overrides(
    cluster: Callable[..., Propeller], compiled: Package, profiles: Any
) -> None:
    propeller = cluster(compiled, project=PROJECT, apart=())
    outputs = propeller.workflow("features.overridden", profiles)

    assert not from_literals(outputs, {"o0": DriftReport})["o0"].drifted
    nodes = compiled.workflows["features.overridden"].template.nodes
    (node,) = [each for each in nodes if each.HasField("task_node")]
    overrides = node.task_node.overrides
    assert node.id == "nightly-drift"
    assert [each.value for each in overrides.resources.requests] == ["2Gi"]
    assert [each.value for each in overrides.resources.limits] == ["3Gi"]
    assert overrides.container_image == "registry/other:2"
    assert (node.metadata.cacheable, node.metadata.cache_version) == (True, "mine")
    assert node.metadata.retries.retries == 4
    assert node.metadata.timeout.ToSeconds() == 540


def test_what_another_project_registered_gives_and_takes_our_records(
    cluster: Callable[..., Propeller], compiled: Package
) -> None:
    other = load_package(package(PROJECT, ["elsewhere"]))
    both = Package(
        tasks={**other.tasks, **compiled.tasks},
        workflows={**other.workflows, **compiled.workflows},
        launch_plans={**other.launch_plans, **compiled.launch_plans},
    )
    propeller = cluster(both, project=PROJECT, apart=())
    outputs = propeller.workflow("features.referring", to_literals({"seed": 1}))

    report = from_literals(outputs, {"o0": DriftReport})["o0"]
    assert list(report.features) == ["amount"]
    assert "elsewhere.profile" not in compiled.tasks
    (child,) = propeller.runs_of("elsewhere.drift")
    assert child.place.execution != propeller.pods[0].place.execution


def test_a_launch_plan_tells_of_failures_and_runs_every_hour(compiled: Package) -> None:
    (told,) = compiled.launch_plans["features.plan"].spec.entity_metadata.notifications
    assert list(told.email.recipients_email) == ["ops@example.com"]
    schedule = compiled.launch_plans["features.hourly"].spec.entity_metadata.schedule
    assert schedule.rate.value == 1


def test_a_tracked_task_keeps_the_name_of_its_pod_template(compiled: Package) -> None:
    template = compiled.tasks["features.train"].template
    assert template.metadata.pod_template_name == "gpu"
    assert template.config["link_type"] == "wandb-execution-id"


def test_a_secret_is_found_however_it_is_mounted(
    compiled: Package, local_store: Store, tmp_path: Path
) -> None:
    kept = {"as-any/API_KEY": "1", "as-file/api_key": "2", "as-var/api_key": "3"}
    pod = prepare_pod(
        compiled.tasks["features.open_secrets"],
        to_literals({}),
        project=PROJECT,
        store=local_store,
        disk=tmp_path,
        secrets=kept,
    ).run_here()
    assert pod.outputs is not None, pod.message
    assert from_literals(pod.outputs, {"o0": list[str]})["o0"] == ["1", "2", "3"]


def test_of_the_processes_of_a_distributed_task_the_first_has_the_run(
    compiled: Package, local_store: Store, server: WandbServer, tmp_path: Path
) -> None:
    started = []
    for rank in range(2):
        world = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "GROUP_RANK": "0"}
        container = prepare_pod(
            compiled.tasks["features.train"],
            to_literals({"rows": 3}),
            project=PROJECT,
            store=local_store,
            disk=tmp_path / str(rank),
            env={"API_HOST": server.url, **world},
            secrets={"wandb/api_key": KEY},
        )
        started.append((container, container.start()))
    pods = [container.collect(process) for container, process in started]

    assert all(pod.succeeded for pod in pods), [pod.message for pod in pods]
    (run,) = find_runs(pods[0].disk)
    assert run.user_config["flyte"]["world_size"] == 2
    assert find_runs(pods[1].disk) == []


def serialized(entity: Any, built: list[str]) -> Any:
    """The compiled task; an image is noted instead of built."""
    config = ImageConfig(default_image=Image(name="default", fqn="registry/default", tag="1"))
    settings = SerializationSettings(image_config=config, project="p", domain="d", version="v")
    with mock.patch.object(ImageBuildEngine, "build", lambda spec: built.append(spec.image_name())):
        return get_serializable({}, settings, entity).template.container.image


SPEC = ImageSpec(name="monitor", registry="registry.example.com", packages=["scikit-learn"])


def work(n: int) -> int:
    """The body of a task."""
    return n


def tracked_above() -> Any:
    return wandb_init(project="p", entity="e")(task(container_image=SPEC)(work))


def tracked_below() -> Any:
    return task(container_image=SPEC)(wandb_init(project="p", entity="e")(work))


def checked() -> Any:
    return DriftCheck("i.drift", container_image=SPEC)


@pytest.mark.parametrize("made", [tracked_above, tracked_below, checked])
def test_an_image_spec_is_built_for_a_node_and_for_a_tracked_task(made: Callable[[], Any]) -> None:
    # flytekit builds the images of all tasks there are when it compiles a dynamic one
    with mock.patch.object(FlyteEntities, "entities", []):
        entity = made()
    built: list[str] = []
    assert serialized(entity, built) == SPEC.image_name()
    assert set(built) == {SPEC.image_name()}
    assert SPEC.image_name().startswith("registry.example.com/monitor:")


@pytest.fixture(scope="module")
def features(server: WandbServer) -> Iterator[Any]:
    """The project's module in this process."""
    with (
        mock.patch.dict(LaunchPlan.CACHE),
        mock.patch.dict(os.environ, {"API_HOST": server.url}),
        mock.patch.object(sys, "path", [str(PROJECT), *sys.path]),
    ):
        yield import_module(MODULE)
        del sys.modules[MODULE]


def ran_remotely(cluster: Callable[..., Propeller], registered: Package, folder: Path) -> Propeller:
    """The tracked workflow in an image without its code."""
    image = folder / "image"
    image.mkdir()
    propeller = cluster(registered, project=image, secrets={"wandb/api_key": KEY})
    propeller.workflow("features.trained", to_literals({"rows": 3}))
    return propeller


def test_code_of_a_fast_registration_is_loaded_in_the_pod(
    cluster: Callable[..., Propeller], features: Any, server: WandbServer, tmp_path: Path
) -> None:
    with remote(tmp_path) as (flyte, registered):
        flyte.register_script(
            features.trained,
            source_path=str(PROJECT),
            module_name="features",
            version="v1",
            envs={"API_HOST": server.url},
        )
    propeller = ran_remotely(cluster, registered, tmp_path)

    arguments = registered.tasks["features.train"].template.container.args
    assert arguments[0] == "pyflyte-fast-execute"
    (pod,) = propeller.pods
    (run,) = find_runs(pod.disk)
    assert run.column("rows") == [3]


def test_a_tracked_task_that_a_notebook_pickles_has_its_run(
    cluster: Callable[..., Propeller], features: Any, tmp_path: Path
) -> None:
    with remote(tmp_path, interactive=True) as (flyte, registered):
        settings = SerializationSettings(ImageConfig.auto_default_image(), version="v1")
        flyte.register_workflow(features.trained, settings, version="v1")
    propeller = ran_remotely(cluster, registered, tmp_path)

    (run,) = find_runs(propeller.pods[0].disk)
    assert run.column("rows") == [3]
