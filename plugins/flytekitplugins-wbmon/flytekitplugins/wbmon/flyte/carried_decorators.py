"""Records a task's decorators other than `wandb_init`, so that a node can restore them in a pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

_NOTED = "_wbmon_decorators"


def note_decorator(task: Any, decorator: Any) -> None:
    """Record a decorator on the task that it decorates.

    Args:
        task: The decorated task.
        decorator: An object with the methods `to_config` and `from_config`.
    """
    # a new tuple: a copy of a task shares its attributes with the original
    setattr(task, _NOTED, (*noted_decorators(task), decorator))


def noted_decorators(task: Any) -> tuple[Any, ...]:
    """The recorded decorators of a task, innermost first."""
    return tuple(getattr(task, _NOTED, ()))


def decorators_to_config(task: Any) -> list[dict[str, Any]]:
    """The decorators of a task as JSON data.

    Raises:
        ConfigError: If an argument of a decorator cannot be serialised.
    """
    return [
        {"kind": f"{type(each).__module__}:{type(each).__qualname__}", "config": each.to_config()}
        for each in noted_decorators(task)
    ]


def decorate(task: Any, configs: Sequence[Mapping[str, Any]]) -> Any:
    """Apply the decorators that `decorators_to_config` returned to a task.

    Args:
        task: The task; decorated in place where the decorator does so.
        configs: The decorators as JSON data, innermost first.

    Returns:
        The decorated task.
    """
    # from the inside out, so that they nest as they did before
    for each in configs:
        module, _, name = each["kind"].partition(":")
        task = getattr(import_module(module), name).from_config(each["config"])(task)
    return task
