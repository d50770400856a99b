"""References to functions by name, so that the JSON config of a node can hold them.

A pod resolves them as Flyte resolves a task: by module and variable.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError, DataError, error_message, error_type
from flytekitplugins.wbmon.flyte.main_module import MAIN, module_in_pod

if TYPE_CHECKING:
    from flytekit.types.directory import FlyteDirectory
    from flytekit.types.file import FlyteFile


def reference_of(thing: Callable[..., Any] | str) -> str:
    """The reference `module:name` of a function or task at module level.

    Args:
        thing: The function or task, or a reference, which is returned unchanged.

    Raises:
        ConfigError: If a pod could not find the function by that name.
    """
    if isinstance(thing, str):
        module, _, name = thing.partition(":")
        if not module or not name:
            raise ConfigError(f"a function must be named 'module:name', got {thing!r}")
        return thing
    thing = getattr(thing, "task_function", thing)
    module, name = module_in_pod(thing), getattr(thing, "__qualname__", "")
    # `<locals>` and `<lambda>` cannot be imported
    if not module or not name or "<" in name:
        raise ConfigError(
            "a node can only call a function at module level, because its pod finds it by name; "
            f"got {name or type(thing).__name__!r}. Name a variable of a module: 'my_app.llm:judge'"
        )
    return f"{module}:{name}"


def load_reference(reference: str) -> Any:
    """Import the object that a reference names.

    Raises:
        ConfigError: If the module or the name does not exist.
    """
    module, _, name = reference.partition(":")
    try:
        found: Any = _imported(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{reference!r} must be importable in the pod; {error}") from error
    return found


def _imported(name: str) -> ModuleType:
    """The module; the script that runs as `__main__` is not run a second time for it."""
    main = sys.modules[MAIN]
    spec, file = find_spec(name), getattr(main, "__file__", None)
    if spec and spec.origin and file and Path(file).resolve() == Path(spec.origin).resolve():
        return main
    return import_module(name)


def references_of(functions: Mapping[str, Callable[..., Any] | str] | None) -> dict[str, str]:
    """The references of functions by name.

    Raises:
        ConfigError: If a pod could not find one.
    """
    return {name: reference_of(function) for name, function in (functions or {}).items()}


def load_references(references: Mapping[str, str]) -> dict[str, Any]:
    """Import the objects that references by name stand for.

    Raises:
        ConfigError: If a module or a name does not exist.
    """
    return {name: load_reference(reference) for name, reference in references.items()}


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
            f"{error_type(error)}: {error_message(error)}; check which file was passed, and "
            "that the image has the library versions that wrote it"
        ) from error


@functools.lru_cache(maxsize=4)
def _loaded(loader: Callable[[str], Any], path: str) -> Any:
    return loader(path)


def rows_of(source: Any) -> list[dict[str, Any]]:
    """The rows of a small data set, such as questions, as dictionaries without null fields."""
    columns = source.names
    return [
        {name: value for name, value in row.items() if value is not None}
        for part in source.parts()
        for batch in part(columns)
        for row in batch.to_pylist()
    ]
