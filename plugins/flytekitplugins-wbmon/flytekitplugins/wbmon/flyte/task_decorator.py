"""Base class of the task decorators: what they can decorate and how they wrap it."""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.id_inputs import input_types
from flytekitplugins.wbmon.flyte.internals import task_of_function
from flytekitplugins.wbmon.flyte.main_module import found_as_its_function
from flytekitplugins.wbmon.flyte.shared_urls import (
    Urls,
    require_shared_in_pod,
    require_shared_when_registered,
)
from flytekitplugins.wbmon.flyte.tasks import is_trackable_task


class TaskDecorator:
    """A decorator for functions, coroutine functions, tasks and nodes.

    It runs the body inside a context manager, which sees the exceptions of the body.
    """

    _verb: ClassVar[str]
    settings: Any

    def __new__(cls, task_function: Any = None, /, *args: Any, **kwargs: Any) -> Any:
        """Make the decorator, or decorate at once if a function is given."""
        if task_function is None or isinstance(task_function, str):
            return super().__new__(cls)
        return cls(*args, **kwargs)(task_function)

    def __call__(self, target: Any) -> Any:
        """Decorate a function, a task or a node; a task is changed in place and returned."""
        if is_trackable_task(target):
            self._check_inputs(input_types(target), target.name)
            self._check_when_registered(target)
            return self._on_task(target)
        if not inspect.isroutine(target) and not isinstance(target, functools.partial):
            raise ConfigError(
                f"{type(self).__name__} goes on a function, a task or a node, "
                f"got {type(target).__name__}; decorate the tasks of a workflow one by one"
            )
        self._check_inputs(input_types(target), _full_name(target))
        around = self._around(target, _full_name(target))
        around.__dict__ = TaskAttributes(around.__dict__, self._checked_made_task)
        return around

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings!r})"

    def to_config(self) -> dict[str, Any]:
        """The arguments as JSON data; a secret only by its group and key.

        Raises:
            ConfigError: If an argument cannot be serialised, such as a callable.
        """
        config: dict[str, Any] = self.settings.to_config()
        return config

    @abstractmethod
    def _check_inputs(self, inputs: Mapping[str, Any] | None, task: str) -> None:
        """Check the arguments that name inputs of the task, given the types of these."""

    @abstractmethod
    def _on_task(self, task: Any) -> Any:
        """Decorate a task in place."""

    @abstractmethod
    def _made_a_task(self, task: Any) -> None:
        """Called when flytekit has made a task from a decorated function."""

    @abstractmethod
    def _context(self, task: str, inputs: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """The context for the body, given the full name of the task and its inputs by name."""

    @property
    @abstractmethod
    def _shared_urls(self) -> Urls:
        """The arguments that name files which outlive the pod; none if it is switched off."""

    def _check_when_registered(self, task: Any) -> None:
        require_shared_when_registered(task, self._owner(task.name), self._shared_urls)

    def _checked_made_task(self, task: Any) -> None:
        self._check_when_registered(task)
        self._made_a_task(task)

    def _owner(self, task: str) -> str:
        return f"{type(self).__name__} of {task!r}"

    def _checked_context(self, task: str, inputs: Mapping[str, Any]) -> AbstractContextManager[Any]:
        require_shared_in_pod(self._owner(task), self._shared_urls)
        return self._context(task, inputs)

    def _outputs(self, outputs: Any, function: Callable[..., Any]) -> Any:  # noqa: ARG002
        """Convert what the body, a function, returned; called inside the context."""
        return outputs

    def _around(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(
                f"{type(self).__name__} cannot {self._verb} the generator {name}: it would have no "
                "end; decorate the function that consumes it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
                with self._checked_context(name, _by_name(function, args, kwargs)):
                    return self._outputs(await function(*args, **kwargs), function)

            return found_as_its_function(run_coroutine)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self._checked_context(name, _by_name(function, args, kwargs)):
                return self._outputs(function(*args, **kwargs), function)

        return found_as_its_function(run)


class TaskAttributes(dict[str, Any]):
    """The `__dict__` of a decorated function, which notices when flytekit makes a task from it.

    A decorator below `@task` runs before the task exists, so it cannot request a secret yet. After
    making the task, flytekit copies the attributes of the function onto it with
    `functools.update_wrapper`. Reading these attributes shows that the task now exists.

    Args:
        attributes: The content of the `__dict__`.
        made_a_task: Called with the task.
    """

    def __init__(self, attributes: dict[str, Any], made_a_task: Callable[[Any], None]) -> None:
        super().__init__(attributes)
        self._made_a_task = made_a_task

    def keys(self) -> Any:
        """The names of the attributes; flytekit reads them right after making the task."""
        task = task_of_function(lambda function: getattr(function, "__dict__", None) is self)
        if task is not None:
            self._made_a_task(task)
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        # with an `__iter__` of its own, dict.update() reads this dictionary by keys()
        return super().__iter__()

    def __reduce__(self) -> Any:
        # pickled as a plain dictionary, without the decorator and its settings
        return dict, (dict(super().items()),)


def _full_name(target: Any) -> str:
    function = target.func if isinstance(target, functools.partial) else target
    return f"{function.__module__}.{function.__name__}"


def _by_name(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    try:
        signature = inspect.signature(function)
        given = signature.bind_partial(*args, **kwargs).arguments if args else kwargs
    except (TypeError, ValueError):
        # calling the function raises a better error than this one
        return kwargs
    defaults = {
        one.name: one.default
        for one in signature.parameters.values()
        if one.default is not one.empty
    }
    return {**defaults, **given}
