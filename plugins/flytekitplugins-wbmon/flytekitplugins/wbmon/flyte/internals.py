"""The parts of flytekit that are not its public API, and what is done where they differ.

flytekit documents how tasks, types and resolvers are made, but not how one that is made is changed,
which is what a decorator above `@task` does. This is the one module that knows how. Nothing here
asks for a version: each part is used, then looked at through flytekit's public properties, and if
it did not take, what was done is undone, the fallback that the function names is used, and one line
in the log says so with flytekit's version. No function here raises because flytekit differs: the
body of a task always runs.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, get_type_hints

from flytekit import FlyteContextManager
from flytekit.extend import Interface

_LOCAL_EXECUTION = "local"
_NOT_BESIDE_WEAVE = "local caching fails if weave is installed beside it"

logger = logging.getLogger(__name__)

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """The task that runs now.

    Attributes:
        params: flytekit's `ExecutionParameters`, as `flytekit.current_context()` gives them.
        is_local: Whether it runs outside a pod.
    """

    params: Any
    is_local: bool


def running_task() -> RunningTask | None:
    """The task that runs now; None in a script or a notebook.

    Fallback: what runs is a task in a pod if the environment is that of a pod, else a script.
    """
    context = FlyteContextManager.current_context()
    params, state = context.user_space_params, context.execution_state
    try:
        if params is None or state is None or state.mode is None:
            return None
        # before 1.16 a dynamic task looks the same here and in a pod but for its execution
        is_local = state.is_local_execution() or params.execution_id.name == _LOCAL_EXECUTION
        return RunningTask(params=params, is_local=is_local)
    except AttributeError:
        _say_once("the mode of an execution", "a local task looks like a script")
    in_pod = "FLYTE_INTERNAL_EXECUTION_ID" in os.environ
    return RunningTask(params=params, is_local=False) if in_pod else None


def mapped_task(task: object) -> Any:
    """The task that a mapped task maps; None for any other."""
    return getattr(task, "python_function_task", None)


def wrap_body(task: Any, wrap: Callable[[Function, str], Function]) -> None:
    """Put something around the body of a function task or a node.

    Fallback for a function task: around its `execute`, as for a node, so the body is called by
    its inputs' names whatever flytekit does. A task that takes neither is left as it is.

    Args:
        task: Changed in place.
        wrap: Makes the new body, given the old one and the task's full name.
    """
    function = getattr(task, "task_function", None)
    if function is not None:
        if _replace(task, "_task_function", "task_function", wrap(function, task.name)):
            return
        _say_once("the function of a task", "the task is wrapped as a whole")
    try:
        task.execute = wrap(task.execute, task.name)
    except AttributeError:
        _say_once("what a task executes", "the task runs without what was put around it")


def wrap_execution(task: Any, around: Callable[[Function], Function]) -> None:
    """Put something around the whole execution of a task; left out if the task does not take it."""
    try:
        task.execute = around(task.execute)
    except AttributeError:
        _say_once("what a task executes", "its coroutine does not hear SIGTERM")


def wrap_config(task: Any, around: Callable[[Function], Function]) -> None:
    """Put something around the config that Flyte is told of a task; left out if that fails."""
    try:
        task.get_config = around(task.get_config)
    except AttributeError:
        _say_once("the config of a task", "the Flyte console does not link to W&B")


def set_security_context(task: Any, context: Any) -> None:
    """Let a task ask Flyte for other secrets.

    Fallback: it asks for those that it asked for before, and the log says what to do.
    """
    if task.security_context is context:
        return
    if not _replace(task, "_security_ctx", "security_context", context):
        _say_once("the secrets of a task", "give them as secret_requests=[...] of the task too")


def replace_mapped(mapped: Any, resolver: Any, change: Callable[[Any], Any]) -> None:
    """Change what a mapped task maps, and nothing else that uses the same task.

    Fallback: the task itself is changed, and so wherever else it is used.

    Args:
        mapped: Changed in place.
        resolver: Finds the changed task in a pod.
        change: Changes a task in place and returns it.
    """
    inner = mapped_task(mapped)
    apart = _copy_for(inner, resolver)
    if apart is not None and _replace(mapped, "_run_task", "python_function_task", change(apart)):
        return
    _say_once("the task of a mapped task", "it is changed wherever else it is used too")
    change(inner)


def task_of_function(is_function: Callable[[Any], bool]) -> Any:
    """The newest task whose function the test accepts; None if there is none.

    Fallback: none is found, and the log says what to do.
    """
    try:
        from flytekit.core.context_manager import FlyteEntities

        made = list(FlyteEntities.entities)
    except (ImportError, AttributeError, TypeError):
        _say_once("the list of tasks", "put the decorator above @task, not below")
        return None
    functions = ((each, getattr(each, "task_function", None)) for each in reversed(made))
    return next((task for task, function in functions if is_function(function)), None)


def interface_of(function: Function, documented: Any) -> Any:
    """The interface of a task, from a function's annotations and docstring.

    Fallback: from the annotations and default values, without the docstring.

    Args:
        function: A bound method or a function.
        documented: What the docstring is taken from.
    """
    try:
        from flytekit.core.docstring import Docstring
        from flytekit.core.interface import transform_function_to_interface

        return transform_function_to_interface(function, Docstring(callable_=documented))
    except (ImportError, TypeError):
        _say_once("the interface of a function", "nodes are without their descriptions")
        return _plain_interface(function)


def open_local_cache_by(make: Callable[[str], Any]) -> None:
    """Let flytekit's local cache be what a function makes of its folder.

    Fallback: flytekit opens it as it does without us.
    """
    try:
        from flytekit.core import local_cache

        cache = local_cache.LocalTaskCache
        own = cache.initialize
        known = {"_cache", "_initialized"} <= set(cache.__annotations__)
    except (ImportError, AttributeError):
        _say_once("the local cache", _NOT_BESIDE_WEAVE)
        return

    def initialize() -> None:
        location = getattr(local_cache, "CACHE_LOCATION", None)
        if not known or location is None:
            _say_once("the local cache", _NOT_BESIDE_WEAVE)
            own()
            return
        cache._cache = make(location)  # noqa: SLF001 - no public way
        cache._initialized = True  # noqa: SLF001 - no public way

    cache.initialize = staticmethod(initialize)


def _plain_interface(function: Function) -> Any:
    hints = get_type_hints(function, include_extras=True)
    returned = hints.pop("return", type(None))
    parameters = inspect.signature(function).parameters
    defaults = {n: None if p.default is p.empty else p.default for n, p in parameters.items()}
    inputs = {name: (hint, defaults[name]) for name, hint in hints.items()}
    if returned is type(None):
        return Interface(inputs, {})
    if hasattr(returned, "_fields"):
        fields = get_type_hints(returned, include_extras=True)
        return Interface(inputs, fields, output_tuple_name=returned.__name__)
    return Interface(inputs, {"o0": returned})


def _copy_for(task: Any, resolver: Any) -> Any:
    """A copy that the resolver finds, or the class's own if it has one; None if that fails."""
    apart = copy.copy(task)
    held = vars(apart).get("_task_resolver")
    finds_itself = held is not None and held is not apart.task_resolver
    if not finds_itself and not _replace(apart, "_task_resolver", "task_resolver", resolver):
        return None
    try:
        apart.reset_command_fn()
    except AttributeError:
        return None
    return apart


def _replace(task: Any, private: str, public: str, value: Any) -> bool:
    """Set a private attribute if the public one then is the value; else leave it as it was."""
    if private not in vars(task):
        return False
    before = vars(task)[private]
    setattr(task, private, value)
    if getattr(task, public, None) is value:
        return True
    setattr(task, private, before)
    return False


@functools.cache
def _say_once(part: str, consequence: str) -> None:
    form = "flytekit %s: %s is not as this package knows it: %s"
    logger.warning(form, version("flytekit"), part, consequence)
