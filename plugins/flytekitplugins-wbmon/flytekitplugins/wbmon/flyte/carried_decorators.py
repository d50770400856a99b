"""What else was put on a task beside `wandb_init`, so that a node can take it to its pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

_NOTED = "_wbmon_decorators"


def note_decorator(task: Any, decorator: Any) -> None:
    """Remember a decorator that has `to_config` and `from_config`."""
    setattr(task, _NOTED, (*noted_decorators(task), decorator))


def noted_decorators(task: Any) -> tuple[Any, ...]:
    """The decorators of a task, the inner ones first."""
    return tuple(getattr(task, _NOTED, ()))


def decorators_to_config(task: Any) -> list[dict[str, Any]]:
    """The decorators of a task as JSON data.

    Raises:
        ConfigError: If one of them cannot be written down.
    """
    return [
        {"kind": f"{type(each).__module__}:{type(each).__qualname__}", "config": each.to_config()}
        for each in noted_decorators(task)
    ]


def decorate(task: Any, configs: Sequence[Mapping[str, Any]]) -> Any:
    """Put the decorators that `decorators_to_config` described on a task."""
    for each in configs:
        module, _, name = each["kind"].partition(":")
        task = getattr(import_module(module), name).from_config(each["config"])(task)
    return task
