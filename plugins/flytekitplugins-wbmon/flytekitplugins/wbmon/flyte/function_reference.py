"""Functions that a node calls, by their name, so that they travel in its configuration.

A pod finds them as Flyte finds a task: by module and variable.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError, DataError

if TYPE_CHECKING:
    from flytekit.types.directory import FlyteDirectory
    from flytekit.types.file import FlyteFile


def reference_of(thing: Callable[..., Any] | str) -> str:
    """`module:name` of a function or task at module level, or such a text as it is.

    Raises:
        ConfigError: If a pod could not find it by that name.
    """
    if isinstance(thing, str):
        module, _, name = thing.partition(":")
        if not module or not name:
            raise ConfigError(f"a function must be named 'module:name', got {thing!r}")
        return thing
    thing = getattr(thing, "task_function", thing)
    module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    if not module or not name or "<" in name or module == "__main__":
        raise ConfigError(
            "a node can only call a function at module level, because its pod finds it by name; "
            f"got {name or type(thing).__name__!r}. Name a variable of a module: 'my_app.llm:judge'"
        )
    return f"{module}:{name}"


def load_reference(reference: str) -> Any:
    """What a reference names.

    Raises:
        ConfigError: If it is not there.
    """
    module, _, name = reference.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{reference!r} must be importable in the pod; {error}") from error
    return found


def load_file(loader: Callable[[str], Any], file: FlyteFile | FlyteDirectory, name: str) -> Any:
    """What a function makes of the local path of a file, such as a model.

    Args:
        loader: Takes the path; the last few of its results are kept, for the next shard of a map.
        file: Is downloaded.
        name: Of the input that holds the file.

    Raises:
        DataError: If the function cannot read the file.
    """
    try:
        return _loaded(loader, str(Path(file.download()).resolve()))
    except Exception as error:
        module, own = getattr(loader, "__module__", "?"), getattr(loader, "__qualname__", loader)
        raise DataError(
            f"the file given as {name!r} must be one that {module}.{own} can read, it raised "
            f"{type(error).__name__}: {error}; check which file was passed, and that the image has "
            "the library versions that wrote it"
        ) from error


@functools.lru_cache(maxsize=4)
def _loaded(loader: Callable[[str], Any], path: str) -> Any:
    return loader(path)


def rows_of(source: Any) -> list[dict[str, Any]]:
    """The rows of a small data set, such as questions, without the fields that are null."""
    columns = source.schema.names
    return [
        {name: value for name, value in row.items() if value is not None}
        for part in source.parts()
        for batch in part(columns)
        for row in batch.to_pylist()
    ]
