"""What is done where flytekit keeps something in another way than this package knows.

The real flytekit is changed under the tests, so that what it does itself goes on working.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from flytekit import PythonFunctionTask, Secret, map_task, task
from flytekit.core import context_manager, interface, local_cache, tracker
from flytekit.core.array_node_map_task import ArrayNodeMapTask
from flytekit.core.base_task import Task
from flytekit.core.context_manager import ExecutionState
from flytekit.core.local_cache import LocalTaskCache
from flytekit.core.python_auto_container import PythonAutoContainerTask
from flytekit.models.security import SecurityContext

from flytekitplugins.wbmon import DriftCheck, PerformanceCheck, ProfileData
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte import internals
from flytekitplugins.wbmon.flyte.function_reference import reference_of
from flytekitplugins.wbmon.flyte.identity import current_identity
from flytekitplugins.wbmon.run.decorator import wandb_init
from support.in_process import pod_context

KEY = Secret(group="wandb", key="api_key")

Calls = list[str]
Move = Callable[[type, str], None]


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What the log says of flytekit, in a process that has said nothing yet."""
    internals._say_once.cache_clear()
    caplog.set_level(logging.WARNING, logger=internals.__name__)
    yield lambda: [one.getMessage() for one in caplog.records if one.name == internals.__name__]
    internals._say_once.cache_clear()


Said = Callable[[], list[str]]


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Lets a class keep an attribute where it is found, and where setting it changes nothing."""

    def move_to(owner: type, name: str) -> None:
        elsewhere = f"_elsewhere{name}"
        held = property(
            lambda self: vars(self)[elsewhere],
            lambda self, value: vars(self).setdefault(elsewhere, value) and None,
        )
        monkeypatch.setattr(owner, name, held, raising=False)

    return move_to


def doubling(calls: Calls) -> Any:
    @task
    def double(x: int) -> int:
        calls.append("body")
        return 2 * x

    return double


def noting(calls: Calls) -> Callable[[Callable[..., Any], str], Callable[..., Any]]:
    def wrap(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            calls.append("before")
            return function(*args, **kwargs)

        return run

    return wrap


def test_the_installed_flytekit_is_known_in_every_part(said: Said, tmp_path: Path) -> None:
    calls: Calls = []
    wandb_init(enabled=False)(doubling(calls))(x=1)
    wandb_init(mode="disabled", secret=KEY)(map_task(doubling(calls)))(x=[1])
    task(wandb_init(mode="disabled", secret=KEY)(plain_double))(x=1)
    ProfileData("internals.known")
    with pod_context(tmp_path):
        assert not current_identity().is_local

    assert said() == []


def plain_double(x: int) -> int:
    return 2 * x


def test_a_body_is_wrapped_as_a_whole_where_its_function_is_kept_elsewhere(
    said: Said, move: Move
) -> None:
    move(PythonFunctionTask, "_task_function")
    calls: Calls = []
    double = doubling(calls)

    internals.wrap_body(double, noting(calls))

    assert double(x=2) == 4
    assert calls == ["before", "body"]
    assert len(said()) == 1


def test_a_body_is_wrapped_once_where_setting_its_function_is_not_seen(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Calls = []
    double = doubling(calls)
    seen = double.task_function
    monkeypatch.setattr(PythonFunctionTask, "task_function", property(lambda self: seen))

    internals.wrap_body(double, noting(calls))

    assert double(x=2) == 4
    assert calls == ["before", "body"]
    assert len(said()) == 1


def test_a_task_that_cannot_be_wrapped_runs_as_it_is(said: Said, move: Move) -> None:
    move(PythonFunctionTask, "_task_function")
    calls: Calls = []
    double = doubling(calls)

    class Fixed(type(double)):
        execute = property(lambda self: super().execute)

    double.__class__ = Fixed
    internals.wrap_body(double, noting(calls))

    assert double(x=2) == 4
    assert calls == ["body"]
    assert "without what was put around it" in said()[-1]


@pytest.mark.parametrize(
    ("owner", "name"),
    [(ArrayNodeMapTask, "_run_task"), (PythonAutoContainerTask, "_task_resolver")],
)
def test_a_mapped_task_is_changed_for_every_use_where_it_cannot_be_apart(
    said: Said, move: Move, owner: type, name: str
) -> None:
    move(owner, name)
    calls: Calls = []
    double = doubling(calls)
    mapped = map_task(double)

    internals.replace_mapped(mapped, object(), wrapping(calls))

    assert mapped(x=[1, 2]) == [2, 4]
    assert calls == ["before", "body"] * 2
    assert len(said()) == 1
    assert "wherever else" in said()[0]


def test_a_mapped_task_needs_its_own_command_to_be_apart(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(PythonAutoContainerTask, "reset_command_fn")
    calls: Calls = []
    double = doubling(calls)

    internals.replace_mapped(map_task(double), object(), wrapping(calls))

    assert double(x=1) == 2
    assert calls == ["before", "body"]
    assert len(said()) == 1


def wrapping(calls: Calls) -> Callable[[Any], Any]:
    def change(one: Any) -> Any:
        internals.wrap_body(one, noting(calls))
        return one

    return change


def test_a_mapped_task_that_can_be_apart_leaves_other_uses_alone(said: Said) -> None:
    calls: Calls = []
    double = doubling(calls)
    mapped = map_task(double)

    internals.replace_mapped(mapped, object(), wrapping(calls))

    assert double(x=1) == 2
    assert calls == ["body"]
    assert mapped(x=[1]) == [2]
    assert calls == ["body", "before", "body"]
    assert said() == []


def test_secrets_that_cannot_be_added_are_said_and_the_task_runs(said: Said, move: Move) -> None:
    move(Task, "_security_ctx")
    double = doubling([])

    internals.set_security_context(double, SecurityContext(secrets=[KEY]))

    assert double(x=2) == 4
    assert double.security_context is None
    assert "secret_requests" in said()[0]


def test_a_config_that_cannot_be_added_is_said_and_the_task_runs(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = doubling([])
    for owner in type(double).__mro__:
        if "get_config" in vars(owner):
            monkeypatch.delattr(owner, "get_config")

    wandb_init(mode="disabled")(double)

    assert double(x=2) == 4
    assert "link" in said()[0]


def test_below_a_task_without_the_list_of_tasks_the_body_runs(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(context_manager, "FlyteEntities")

    double = task(wandb_init(mode="disabled", secret=KEY)(plain_double))

    assert double(x=2) == 4
    assert double.security_context is None
    assert "above @task" in said()[0]


def test_without_a_mode_the_environment_tells_a_pod_from_a_script(
    said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pod_context(tmp_path) as context:
        known = current_identity()
        monkeypatch.setattr(ExecutionState, "mode", property(_gone), raising=False)
        unknown = current_identity()
        assert internals.running_task().params is context.user_space_params

    assert internals.running_task() is None
    assert (unknown.node, unknown.execution, unknown.is_local) == (
        known.node,
        known.execution,
        False,
    )
    assert len(said()) == 1


def _gone(self: object) -> None:
    raise AttributeError("mode")


def some_nodes() -> list[Any]:
    return [
        ProfileData("internals.profile"),
        DriftCheck("internals.drift"),
        PerformanceCheck("internals.performance", task="regression", label="y", prediction="p"),
    ]


def test_without_flytekits_reader_of_functions_a_node_has_the_same_interface(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = some_nodes()
    monkeypatch.delattr(interface, "transform_function_to_interface")
    plain = some_nodes()

    for one, other in zip(known, plain, strict=True):
        assert one.python_interface.inputs_with_defaults == (
            other.python_interface.inputs_with_defaults
        )
        assert one.python_interface.outputs == other.python_interface.outputs
        assert one.python_interface.output_tuple_name == other.python_interface.output_tuple_name
    assert len(said()) == 1


@pytest.fixture
def fresh_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(local_cache, "CACHE_LOCATION", str(tmp_path / "cache"))
    monkeypatch.setattr(LocalTaskCache, "_initialized", False)
    monkeypatch.setattr(LocalTaskCache, "initialize", LocalTaskCache.initialize)
    yield
    LocalTaskCache._initialized = False


@pytest.mark.usefixtures("fresh_cache")
def test_a_local_cache_of_another_form_is_opened_by_flytekit(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalTaskCache, "__annotations__", {})
    opened: list[str] = []

    internals.open_local_cache_by(opened.append)
    double = task(cache=True, cache_version="1")(plain_double)

    assert [double(x=2), double(x=2)] == [4, 4]
    assert opened == []
    assert len(said()) == 1


def test_a_local_cache_that_is_gone_is_said(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(local_cache, "LocalTaskCache")

    internals.open_local_cache_by(str)

    assert len(said()) == 1


def test_each_part_is_said_once_with_the_version(said: Said, move: Move) -> None:
    move(PythonFunctionTask, "_task_function")
    move(Task, "_security_ctx")

    for _ in range(3):
        wandb_init(mode="disabled", secret=KEY)(doubling([]))(x=1)

    assert len(said()) == 2
    assert all(f"flytekit {version('flytekit')}" in line for line in said())


def test_a_node_refuses_a_function_of_a_script_if_flytekit_does_not_name_its_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def judge() -> None: ...

    judge.__module__ = "__main__"
    judge.__qualname__ = "judge"
    assert reference_of(judge) == f"{Path(__file__).stem}:judge"
    monkeypatch.delattr(tracker, "extract_task_module")
    with pytest.raises(ConfigError, match="a function at module level"):
        reference_of(judge)
