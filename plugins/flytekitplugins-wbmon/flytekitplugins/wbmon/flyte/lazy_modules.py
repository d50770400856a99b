"""Keeps modules unloaded that flytekit loads when they are first used, such as pandas.

flytekit prepares them with `importlib.util.LazyLoader`, and then any look at one loads it. wandb
and pydantic look at all modules there are, for the docstrings of their classes: that would load
pandas and pyarrow, seventy MiB, in a task that uses neither. And two threads that are the first
to use one get half of it, or wait for each other for ever.

So they are taken out of Python's table of modules. Whoever imports or uses one brings it back by
Python's own import, as the module that others hold already, whole, and loaded once.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Python's class of modules that are not loaded yet; without it they are loaded as ever
_LAZY: Any = getattr(importlib.util, "_LazyModule", None)
# what Python knows of a module before it is loaded, and asks while it imports it
_KNOWN = frozenset(
    {"__class__", "__name__", "__package__", "__loader__", "__spec__"}
    | {"__file__", "__path__", "__cached__"}
)


class _Asleep(ModuleType):
    """A module that the first look at any other of its attributes imports."""

    def __getattribute__(self, name: str) -> Any:
        if name not in _KNOWN:
            # while it is loaded: nothing for the thread that loads it, and others wait
            importlib.import_module(object.__getattribute__(self, "__name__"))
        # not super(): it is no longer of this class once it is loaded
        return ModuleType.__getattribute__(self, name)


class _WakingLoader(Loader):
    """Loads a module into the object that sleeps."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.spec: ModuleSpec = object.__getattribute__(module, "__spec__")
        self.loader: Any = self.spec.loader

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        self.spec.loader = self.loader
        self.loader.exec_module(module)
        if type(module) is _Asleep:
            object.__setattr__(module, "__class__", ModuleType)


class _SleepingModules(MetaPathFinder):
    """Finds the modules that sleep, before Python looks for their files."""

    def __init__(self) -> None:
        self.loaders: dict[str, _WakingLoader] = {}

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        loader = self.loaders.get(name)
        if loader is None or type(loader.module) is not _Asleep:
            return None
        loader.spec.loader = loader
        return loader.spec

    def put(self, name: str, module: ModuleType) -> None:
        """Let a module sleep."""
        self.loaders[name] = _WakingLoader(module)
        object.__setattr__(module, "__class__", _Asleep)
        del sys.modules[name]


_SLEEPING = _SleepingModules()


def let_lazy_modules_sleep() -> None:
    """Take the modules that are not loaded yet out of `sys.modules`, until they are used."""
    if _SLEEPING not in sys.meta_path:
        sys.meta_path.insert(0, _SLEEPING)
    for name, module in tuple(sys.modules.items()):
        if type(module) is _LAZY and not _is_loading(module):
            _SLEEPING.put(name, module)


def _is_loading(module: ModuleType) -> bool:
    return bool(object.__getattribute__(module, "__spec__").loader_state.get("is_loading"))
