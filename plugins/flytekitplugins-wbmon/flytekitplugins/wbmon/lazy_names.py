"""Public names that are imported when first asked for: every container pays for its imports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    face: str, homes: Mapping[str, str], *, before: Callable[[str], None] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a module that others import from.

    Args:
        face: Name of the module.
        homes: The module of each public name, without `flytekitplugins.wbmon`.
        before: Called with a name's module before that is imported.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {face!r} has no attribute {name!r}")
        if before is not None:
            before(homes[name])
        value = getattr(import_module(f"flytekitplugins.wbmon.{homes[name]}"), name)
        # the module has the name from now on, so this function is called once for each
        setattr(sys.modules[face], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[face]), *homes})
