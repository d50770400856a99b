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

from flytekit import PythonInstanceTask, TaskMetadata

from flytekitplugins.wbmon.errors import ConfigError

# of the metadata, what flytekit fills from arguments of the constructor
_OF_CONSTRUCTOR = {"pod_template_name", "generates_deck", "is_eager"}


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
    described |= _cached(described.pop("cache", False), called)
    if described["cache"]:
        own = described.get("cache_version")
        described["cache_version"] = f"{cache_version}-{own}" if own else cache_version
    rest = {name: value for name, value in given.items() if name not in sorted_in}
    return {"metadata": TaskMetadata(**described), **rest}


def _cached(asked: Any, called: str) -> dict[str, Any]:
    """`cache=` as the metadata has it; also flytekit's `Cache`, which older releases have not."""
    if isinstance(asked, bool):
        return {"cache": asked}
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
    constructors = [kind.__init__ for kind in PythonInstanceTask.__mro__]
    return frozenset(
        name for constructor in constructors for name in inspect.signature(constructor).parameters
    ) - {"self", "args", "kwargs"}
