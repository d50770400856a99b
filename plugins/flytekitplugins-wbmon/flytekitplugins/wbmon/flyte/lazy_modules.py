"""Keeps modules unloaded that flytekit loads when they are first used, such as pandas.

flytekit prepares them with `importlib.util.LazyLoader`, and then any look at one loads it. wandb
and pydantic look at all modules there are, for the docstrings of their classes: that would load
pandas and pyarrow, seventy MiB, in a task that uses neither.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from typing import Any

# Python's class of modules that are not loaded yet; without it they are loaded as ever
_LAZY: Any = getattr(importlib.util, "_LazyModule", None)
# what Python knows of a module before it is loaded
_KNOWN = frozenset({"__name__", "__package__", "__loader__", "__spec__", "__file__", "__path__"})
_LOCK = threading.Lock()


def let_lazy_modules_sleep() -> None:
    """Let modules that are not loaded yet say their name and file without being loaded.

    Whatever else is asked of them loads them as before.
    """
    for module in tuple(sys.modules.values()):
        if type(module) is _LAZY:
            object.__setattr__(module, "__class__", _Asleep)


def _get(module: Any, name: str) -> Any:
    if name == "__class__" or name in _KNOWN:
        return object.__getattribute__(module, name)
    with _LOCK:
        # another thread may have begun to load it
        if type(module) is _Asleep:
            object.__setattr__(module, "__class__", _LAZY)
    return getattr(module, name)


# of the same name, by which flytekit tells what is not loaded
_Asleep: Any = _LAZY and type(_LAZY.__name__, (_LAZY,), {"__getattribute__": _get})
