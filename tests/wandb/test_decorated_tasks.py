"""Real offline runs of decorated tasks under flytekit's local executor and in in-process pods."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from flytekit import PythonFunctionTask, dynamic, map_task, task, workflow
from flytekit.core.interface import Interface
from flytekit.core.python_function_task import PythonInstanceTask

import wandb
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.run.decorator import wandb_init
from flytekitplugins.wbmon.run.lifecycle import current_run
from support.eager import eager
from support.in_process import execute, pod_context
from support.place import Place
from support.wandb_log import LoggedRun, find_runs

pytestmark = pytest.mark.flyte
tracked = wandb_init(project="payments", entity="ops")


def log(x: int) -> int:
    current_run().log({"x": x})
    wandb.log({"again": x})
    return x + 1


class Logger(PythonInstanceTask[None]):
    def __init__(self, name: str) -> None:
        interface = Interface(inputs={"x": int}, outputs={"o0": int})
        super().__init__(name=name, task_config=None, interface=interface)

    def execute(self, x: int) -> int:
        return log(x)


@tracked
@task
def above(x: int) -> int:
    return log(x)


@task
@tracked
def below(x: int) -> int:
    return log(x)


@tracked
@task
async def above_async(x: int) -> int:
    await asyncio.sleep(0)
    return log(x)


@task
@tracked
async def below_async(x: int) -> int:
    await asyncio.sleep(0)
    return log(x)


@tracked
@eager
async def above_eager(x: int) -> int:
    return log(x)


@eager
@tracked
async def below_eager(x: int) -> int:
    return log(x)


@tracked
@task
def failing(x: int) -> int:
    if x:
        raise ValueError(f"cannot take {x}")
    return x


@task
def plain(x: int) -> int:
    return log(x) if current_run() else x


node = tracked(Logger("payments.logger"))


@workflow
def story(x: int) -> int:
    return node(x=below(x=above(x=x)))


@workflow
def mapped(xs: list[int]) -> list[int]:
    return map_task(above)(x=xs)


@workflow
def mapped_and_tracked_there(xs: list[int]) -> list[int]:
    return tracked(map_task(plain))(x=xs)


@tracked
@dynamic
def parent(x: int) -> int:
    log(100)
    return below(x=above(x=x))


def rows(runs: list[LoggedRun]) -> dict[str, list[Any]]:
    """What each run holds, by the task it belongs to; both ways of logging must agree."""
    assert all(run.exit_code == 0 for run in runs)
    assert all(run.column("x") == run.column("again") for run in runs)
    return {run.job_type: run.column("x") for run in runs}


def test_each_task_of_a_workflow_has_its_run(folder: Path) -> None:
    assert story(x=1) == 4
    assert rows(find_runs(folder)) == {"above": [1], "below": [2], "logger": [3]}


@pytest.mark.parametrize("entity", [above_async, below_async, above_eager, below_eager])
def test_the_run_of_a_coroutine_spans_its_body(folder: Path, entity: Any) -> None:
    assert asyncio.run(entity(x=1)) == 2
    assert list(rows(find_runs(folder)).values()) == [[1]]


def test_a_run_spans_the_whole_task_where_flytekit_keeps_its_function_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(self: Any, function: Any) -> None:
        vars(self).setdefault("_function", function)

    kept = property(lambda self: vars(self)["_function"], elsewhere)
    monkeypatch.setattr(PythonFunctionTask, "_task_function", kept, raising=False)

    @tracked
    @task
    def apart(x: int) -> int:
        return log(x)

    assert apart(x=1) == 2
    assert rows(find_runs(folder)) == {"apart": [1]}


@pytest.mark.parametrize("entity", [mapped, mapped_and_tracked_there])
def test_each_item_of_a_mapped_task_has_its_run(folder: Path, entity: Any) -> None:
    assert entity(xs=[1, 2]) == [2, 3]
    assert [run.column("x") for run in find_runs(folder)] == [[1], [2]]


def test_a_dynamic_parent_and_its_children_have_their_own_runs(folder: Path) -> None:
    assert parent(x=1) == 3
    assert rows(find_runs(folder)) == {"parent": [100], "above": [1], "below": [2]}


def test_a_task_called_as_a_plain_function_is_tracked_too(folder: Path) -> None:
    assert tracked(log)(5) == 6
    assert rows(find_runs(folder)) == {"log": [5]}


def test_the_failure_of_a_task_ends_its_run_and_not_the_next(folder: Path) -> None:
    with pytest.raises(ValueError, match="cannot take 1"):
        failing(x=1)
    assert failing(x=0) == 0
    first, second = find_runs(folder)
    assert (first.exit_code, first.summary["error_type"]) == (1, "ValueError")
    assert (second.exit_code, "error_type" in second.summary) == (0, False)
    assert first.id != second.id


@pytest.mark.parametrize(
    "entity", [above, below, above_async, below_async, node], ids=lambda entity: entity.name
)
def test_in_a_pod_the_run_carries_the_pods_name(folder: Path, entity: Any) -> None:
    place = Place(node="n3", attempt=1)
    env = {"WANDB_DIR": str(folder)}
    with pod_context(folder.parent, place=place, task=entity.name, env=env) as context:
        assert execute(context, entity, x=1) == {"o0": 2}
    (run,) = find_runs(folder)
    assert (run.id, run.column("x")) == (place.pod_name, [1])


@pytest.mark.parametrize("entity", [map_task(above), tracked(map_task(plain))])
def test_a_shard_in_a_pod_has_a_run_of_its_own(folder: Path, entity: Any) -> None:
    for shard in (0, 1):
        place = Place(shard=shard)
        env = {"WANDB_DIR": str(folder)}
        with pod_context(
            folder.parent / str(shard), place=place, task=entity.name, env=env
        ) as context:
            literals = _literals(context, [1, 2])
            entity.dispatch_execute(context, literals)
    runs = find_runs(folder)
    assert [run.column("x") for run in runs] == [[1], [2]]
    assert [run.config["flyte"]["shard"] for run in runs] == [0, 1]
    assert [run.id for run in runs] == [Place(shard=shard).pod_name for shard in (0, 1)]


def _literals(context: Any, xs: list[int]) -> Any:
    from flytekit.core.type_engine import TypeEngine

    return TypeEngine.dict_to_literal_map(context, {"x": xs}, {"x": list[int]})


def test_a_missing_secret_fails_the_pod_before_the_body(folder: Path) -> None:
    from flytekit import Secret

    calls: list[int] = []
    secret = Secret(group="wandb", key="api_key")
    body = wandb_init(project="p", entity="e", secret=secret)(lambda: calls.append(1))
    with pod_context(folder), pytest.raises(ConfigError, match=r"secrets\.example\.yaml"):
        body()
    assert calls == []
