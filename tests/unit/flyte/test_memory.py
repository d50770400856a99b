"""What nodes and scoring tasks request of Flyte: memory, unless their user says otherwise."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from inspect import signature
from typing import Any

import pandas as pd
import pytest
from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.tasks_pb2 import Resources as Asked
from flytekit import PodTemplate, Resources, map_task, task, workflow
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.core.python_auto_container import PythonAutoContainerTask
from flytekit.core.resources import ResourceSpec
from flytekit.models.task import K8sObjectMetadata, K8sPod
from flytekit.tools.translator import get_serializable

from flytekitplugins.wbmon import DriftCheck, ProfileData, batch_scoring, wandb_init

Make = Callable[..., Any]
Memory = tuple[str, str]

tracked = wandb_init(project="payments", mode="disabled")


def make_node(**arguments: Any) -> Any:
    return DriftCheck("memory.drift", **arguments)


def make_tracked(**arguments: Any) -> Any:
    return tracked(DriftCheck("memory.tracked", **arguments))


def make_scoring(**arguments: Any) -> Any:
    @batch_scoring(**arguments)
    def score(batch: pd.DataFrame) -> pd.DataFrame:
        return batch

    return score


makes = pytest.mark.parametrize("make", [make_node, make_tracked, make_scoring])


def compiled(made: Any, default: ResourceSpec | None = None) -> TaskSpec:
    image = Image("default", "example.com/image", "v1")
    settings = SerializationSettings(
        image_config=ImageConfig(default_image=image, images=[image]),
        version="v1",
        default_resources=default,
    )
    return get_serializable(OrderedDict(), settings, made).to_flyte_idl()


def memory_of(made: Any, default: ResourceSpec | None = None) -> Memory:
    """Requested and largest memory; empty where there is none."""
    asked = compiled(made, default).template.container.resources
    found = [
        [entry.value for entry in entries if entry.name == Asked.MEMORY]
        for entries in (asked.requests, asked.limits)
    ]
    assert all(len(values) <= 1 for values in found)
    return "".join(found[0]), "".join(found[1])


@makes
def test_without_a_word_of_memory_it_requests_a_gibibyte(make: Make) -> None:
    assert memory_of(make()) == ("1Gi", "")
    assert memory_of(make(requests=Resources(cpu="2"))) == ("1Gi", "")
    assert memory_of(make(limits=Resources(cpu="2"))) == ("1Gi", "")
    # as `pyflyte register` gives it, which has empty resources by default
    nothing = ResourceSpec(requests=Resources(), limits=Resources())
    assert memory_of(make(), nothing) == ("1Gi", "")
    made = make()
    assert memory_of(made) == memory_of(made)


@makes
def test_what_the_user_asks_for_is_all_that_is_asked_for(make: Make) -> None:
    assert memory_of(make(requests=Resources(mem="300Mi"))) == ("300Mi", "")
    # Kubernetes refuses a request that is over the limit
    assert memory_of(make(limits=Resources(mem="512Mi"))) == ("", "512Mi")
    both = {"requests": Resources(mem="2Gi"), "limits": Resources(mem="4Gi")}
    assert memory_of(make(**both)) == ("2Gi", "4Gi")
    by_command = ResourceSpec(requests=Resources(mem="3Gi"), limits=Resources())
    assert memory_of(make(), by_command) == ("3Gi", "")


@makes
@pytest.mark.skipif("resources" not in signature(task).parameters, reason="flytekit before 1.16")
def test_resources_of_newer_releases_go_with_it(make: Make) -> None:
    assert memory_of(make(resources=Resources(mem=("300Mi", "600Mi")))) == ("300Mi", "600Mi")
    assert memory_of(make(resources=Resources(mem="300Mi"))) == ("300Mi", "")
    assert memory_of(make(resources=Resources(cpu=("1", "2")))) == ("1Gi", "")


@makes
def test_a_pod_template_keeps_its_memory(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(of_pod: Any = None, **resources: Any) -> Any:
        containers = [{"name": "primary", "resources": resources}, {"name": "beside"}]
        pod = K8sPod(K8sObjectMetadata(), {"containers": containers, "resources": of_pod})
        # the client of Kubernetes, from whose objects flytekit makes this, is not installed
        monkeypatch.setattr(PythonAutoContainerTask, "get_k8s_pod", lambda *_: pod)
        made = make(pod_template=PodTemplate(pod_spec=object()))
        template = compiled(made).template
        assert not template.HasField("container")
        assert dict(containers[1]) == {"name": "beside"}
        return containers[0]["resources"]

    assert asked() == {"requests": {"memory": "1Gi"}}
    assert asked(limits={"memory": "512Mi"}) == {"limits": {"memory": "512Mi"}}
    assert asked(requests={"memory": "2Gi"}) == {"requests": {"memory": "2Gi"}}
    assert asked(requests={"cpu": "1"}) == {"requests": {"cpu": "1", "memory": "1Gi"}}
    assert asked(of_pod={"limits": {"memory": "300Mi"}}) == {}
    assert asked(of_pod={"limits": {"cpu": "1"}}) == {"requests": {"memory": "1Gi"}}


def test_a_mapped_task_requests_it_for_each_shard_and_runs_its_own_command() -> None:
    score = make_scoring(returns="predictions")
    for mapped in (
        map_task(ProfileData("memory.mapped")),
        map_task(score),
        tracked(map_task(score)),
    ):
        assert memory_of(mapped) == ("1Gi", "")
        assert compiled(mapped).template.container.args[0] == "pyflyte-map-execute"
    assert compiled(score).template.container.args[0] == "pyflyte-execute"
    assert "wandb-init" not in compiled(map_task(score)).template.container.args
    assert "wandb-init" in compiled(tracked(map_task(score))).template.container.args


def test_an_override_in_a_workflow_takes_its_place() -> None:
    profile = ProfileData("memory.overridden")

    @workflow
    def night(data: pd.DataFrame) -> None:
        profile(data=data).with_overrides(limits=Resources(mem="512Mi"))

    (node,) = night.nodes
    assert [entry.value for entry in node._resources.limits] == ["512Mi"]
    assert list(node._resources.requests) == []
