"""The arguments that any task takes, for tasks that are instances of a class.

`flytekit.task` sorts its arguments into metadata and the rest. The constructors of task classes
leave that to their caller, and take an argument that they do not know without a word.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from typing import Any

from flytekit import PythonInstanceTask, TaskMetadata, task

from flytekitplugins.wbmon.errors import ConfigError

# of the metadata, what flytekit fills from arguments of the constructor
_OF_CONSTRUCTOR = {"pod_template_name", "generates_deck", "is_eager"}
# what a node has of its own: its settings are the config, and it is found by them
_OF_NODE = {"task_config", "task_resolver"}
# what `flytekit.Cache` says too
_IN_CACHE = ("cache_version", "cache_serialize", "cache_ignore_input_vars")


def constructor_arguments(
    given: Mapping[str, Any], *, cache_version: str, called: str, settings: Collection[str]
) -> dict[str, Any]:
    """Arguments of `flytekit.task` as those of the constructor of a task class.

    Args:
        given: The arguments by name.
        cache_version: Stands before the version that the user gives, if the task is cached.
        called: What the task is called in messages.
        settings: Names that the task itself takes, to suggest in messages.

    Raises:
        ConfigError: If no task takes an argument of this name, or `cache` is of no use.
    """
    sorted_in = {field.name for field in fields(TaskMetadata)} - _OF_CONSTRUCTOR
    for name in given:
        if name not in sorted_in | _taken():
            near = get_close_matches(name, [*settings, *sorted_in, *_taken()], n=1)
            raise ConfigError(
                f"{called} must get its own settings and arguments that any task takes, got "
                f"{name}=" + "".join(f"; did you mean {match}=?" for match in near)
            )
    described = {name: value for name, value in given.items() if name in sorted_in}
    described |= _cached(described, called)
    if described["cache"]:
        own = described.get("cache_version")
        described["cache_version"] = f"{cache_version}-{own}" if own else cache_version
    rest = {name: value for name, value in given.items() if name not in sorted_in}
    return {"metadata": TaskMetadata(**described), **rest}


def with_deck(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a task that shows its reports, unless its user says that it shows nothing.

    Args:
        given: The user's arguments.
    """
    # flytekit takes one of the two
    enabled = {} if given.get("disable_deck") is not None else {"enable_deck": True}
    return {**enabled, "deck_fields": (), **given}


def _cached(described: Mapping[str, Any], called: str) -> dict[str, Any]:
    """`cache=` as the metadata has it; also flytekit's `Cache`, which older releases have not."""
    asked = described.get("cache", False)
    if isinstance(asked, bool):
        return {"cache": asked}
    twice = [name for name in _IN_CACHE if described.get(name)]
    if twice:
        raise ConfigError(f"{called} must have {', '.join(twice)} in its Cache, not beside it")
    if not hasattr(asked, "ignored_inputs") or asked.policies:
        raise ConfigError(
            f"cache of {called} must be True, False or a flytekit.Cache without policies, which "
            f"are for functions, got one {type(asked).__name__}"
        )
    return {
        "cache": True,
        "cache_version": asked.version,
        "cache_serialize": asked.serialize,
        "cache_ignore_input_vars": asked.get_ignored_inputs(),
    }


@cache
def _taken() -> frozenset[str]:
    """What both `flytekit.task` and the constructors of its classes take."""
    constructors = [kind.__init__ for kind in PythonInstanceTask.__mro__]
    names = {name for each in constructors for name in inspect.signature(each).parameters}
    return frozenset(names & set(inspect.signature(task).parameters)) - _OF_NODE - {"kwargs"}
