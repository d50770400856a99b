"""Access to parts of flytekit that are not its public API, each with a fallback.

flytekit documents how to make tasks, types and resolvers, but not how to change an existing one,
which a decorator above `@task` must do. Only this module knows how. It never tests flytekit's
version: it makes each change and verifies it through flytekit's public properties. If the change
had no effect, it is undone, the fallback named in the docstring is used, and one log line reports
it with flytekit's version. No function here raises because flytekit differs: the body of a task
always runs.
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
from flytekit.models.literals import Literal

from flytekitplugins.wbmon.flyte.memory import request_again

# without a name in a process that a local Elastic task has started, which looks like a pod
_LOCAL_EXECUTIONS = ("local", "")
_NOT_BESIDE_WEAVE = "local caching fails if weave is installed beside it"

logger = logging.getLogger(__name__)

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """The running task.

    Attributes:
        params: flytekit's `ExecutionParameters`, as `flytekit.current_context()` gives them.
        is_local: Whether it runs outside a pod.
    """

    params: Any
    is_local: bool


class HashedLiteral(Literal):
    """A literal whose hash Flyte's caches compare in place of its URL.

    flytekit sets the hash of whatever a transformer returns: to that of a `HashMethod` in the type,
    else to None, which is ignored here. Fallback: the literal has no hash.
    """

    @property
    def hash(self) -> str | None:
        """What is the same for equal content."""
        return self._hash

    @hash.setter  # noqa: A003 - the name is flytekit's
    def hash(self, value: str | None) -> None:
        if value is not None:
            self._hash = value


def is_packaging() -> bool:
    """Whether tasks are compiled for a cluster without a way to upload what they are given.

    So does `pyflyte package`; `pyflyte register` uploads to the cluster's own store.
    Fallback: False.
    """
    context = FlyteContextManager.current_context()
    try:
        if context.serialization_settings is None or running_task() is not None:
            return False
        return not context.file_access.is_remote(context.file_access.raw_output_prefix)
    except AttributeError:
        _say_once("the place of uploads", "records on this machine are not refused")
        return False


def running_task() -> RunningTask | None:
    """The running task; None in a script or a notebook.

    Fallback: a task in a pod if the environment variables are those of a pod, else None.
    """
    context = FlyteContextManager.current_context()
    params, state = context.user_space_params, context.execution_state
    try:
        if params is None or state is None or state.mode is None:
            return None
        # before 1.16 a dynamic task looks the same here and in a pod but for its execution
        is_local = state.is_local_execution() or params.execution_id.name in _LOCAL_EXECUTIONS
        return RunningTask(params=params, is_local=is_local)
    except AttributeError:
        _say_once("the mode of an execution", "a local task looks like a script")
    # Flyte's backend sets this variable in each pod
    in_pod = "FLYTE_INTERNAL_EXECUTION_ID" in os.environ
    return RunningTask(params=params, is_local=False) if in_pod else None


def mapped_task(task: object) -> Any:
    """The inner task of a mapped task; None for any other task."""
    return getattr(task, "python_function_task", None)


def wrap_body(task: Any, wrap: Callable[[Function, str], Function]) -> None:
    """Wrap the body of a function task or a node.

    Fallback for a function task: its `execute` is wrapped, as for a node. If neither can be
    replaced, the task stays unchanged.

    Args:
        task: The task, changed in place.
        wrap: Returns the new body, given the old one and the full name of the task.
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
    """Wrap the whole `execute` of a task.

    Fallback: the task stays unchanged.
    """
    try:
        task.execute = around(task.execute)
    except AttributeError:
        _say_once("what a task executes", "its coroutine does not hear SIGTERM")


def wrap_config(task: Any, around: Callable[[Function], Function]) -> None:
    """Wrap `get_config` of a task, which makes the config that Flyte registers.

    Fallback: the task stays unchanged.
    """
    try:
        task.get_config = around(task.get_config)
    except AttributeError:
        _say_once("the config of a task", "the Flyte console does not link to W&B")


def set_security_context(task: Any, context: Any) -> None:
    """Change the secrets that a task requests from Flyte.

    Fallback: the requests stay unchanged, and the log says what to do.
    """
    if task.security_context is context:
        return
    if not _replace(task, "_security_ctx", "security_context", context):
        _say_once("the secrets of a task", "give them as secret_requests=[...] of the task too")


def replace_mapped(mapped: Any, resolver: Any, change: Callable[[Any], Any]) -> None:
    """Replace the inner task of a mapped task by a changed copy.

    Fallback: the inner task itself is changed, which affects all other uses of it.

    Args:
        mapped: The mapped task, changed in place.
        resolver: Task resolver that finds the changed copy in a pod.
        change: Changes a task in place and returns it.
    """
    inner = mapped_task(mapped)
    apart = _copy_for(inner, resolver)
    if apart is not None and _replace(mapped, "_run_task", "python_function_task", change(apart)):
        return
    _say_once("the task of a mapped task", "it is changed wherever else it is used too")
    change(inner)


def task_of_function(is_function: Callable[[Any], bool]) -> Any:
    """The most recently made task whose function the test accepts; None if there is none.

    Fallback: None, and the log says what to do.
    """
    made = _newest_tasks("put the decorator above @task, not below")
    functions = ((each, getattr(each, "task_function", None)) for each in made)
    return next((task for task, function in functions if is_function(function)), None)


def module_of_main(thing: Any) -> str:
    """The module that flytekit takes a function or class of `__main__` for; empty in a notebook.

    Fallback: empty, and the caller refuses it.
    """
    try:
        from flytekit.core.tracker import extract_task_module

        _, module, _, file = extract_task_module(thing)
    except (ImportError, TypeError, ValueError, OSError):
        return ""
    # `python -c` and the standard input have no file
    return module if os.path.isfile(file) else ""  # noqa: PTH113


def requested_secrets() -> tuple[Any, ...]:
    """The secrets that the running task has requested from Flyte.

    Fallback: none.
    """
    running = running_task()
    name = getattr(running and running.params.task_id, "name", None)
    made = _newest_tasks("a missing secret is called one that was not requested")
    task = next((each for each in made if getattr(each, "name", None) == name), None)
    context = getattr(task, "security_context", None)
    return tuple(getattr(context, "secrets", None) or ())


def interface_of(function: Function, documented: Any) -> Any:
    """The interface of a task, from a function's annotations and docstring.

    Fallback: from the annotations and default values, without the docstring.

    Args:
        function: A bound method or a function.
        documented: The object whose docstring describes the inputs and outputs.
    """
    try:
        from flytekit.core.docstring import Docstring
        from flytekit.core.interface import transform_function_to_interface

        return transform_function_to_interface(function, Docstring(callable_=documented))
    except (ImportError, TypeError):
        _say_once("the interface of a function", "nodes are without their descriptions")
        return _plain_interface(function)


def open_local_cache_by(make: Callable[[str], Any]) -> None:
    """Replace how flytekit opens its local cache.

    Fallback: flytekit opens the cache itself.

    Args:
        make: Returns the cache for a folder.
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


def _newest_tasks(consequence: str) -> list[Any]:
    """The tasks of this process, the newest first; none if flytekit keeps no list."""
    try:
        from flytekit.core.context_manager import FlyteEntities

        return list(reversed(FlyteEntities.entities))
    except (ImportError, AttributeError, TypeError):
        _say_once("the list of tasks", consequence)
        return []


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
    """A copy of a task with this resolver, unless its class finds itself; None if that fails."""
    apart = copy.copy(task)
    request_again(apart)
    # a class that overrides `task_resolver` ignores this attribute and resolves itself
    held = vars(apart).get("_task_resolver")
    finds_itself = held is not None and held is not apart.task_resolver
    if not finds_itself and not _replace(apart, "_task_resolver", "task_resolver", resolver):
        return None
    try:
        # the copied command would still call a method of the original task
        apart.reset_command_fn()
    except AttributeError:
        return None
    return apart


def _replace(task: Any, private: str, public: str, value: Any) -> bool:
    """Set a private attribute; undo it and return False if the public one does not follow."""
    # an attribute that flytekit does not know would be set without any effect
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
