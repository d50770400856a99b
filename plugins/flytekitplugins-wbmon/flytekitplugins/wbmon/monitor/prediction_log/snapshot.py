"""Values as they are when they are given; rows are written later, and their owner goes on.

A handler appends to the messages that it logged, a model reuses the array of its answers. Without a
copy, the row of one request would say what belongs to the next one.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping
from typing import Any

FIXED = frozenset({str, int, float, bool, type(None), bytes, complex})
"""Classes whose objects cannot change: most values are of these, and need no copy."""

_SERIES = (list, tuple, set, deque)
# as many as the writer follows, and more than a text of the usual length has room for
_LEVELS = 20
_MAX_VALUES = 10_000
# they wait in the queue; of arrays with more values the log says no more than their class
_MAX_BYTES = 1 << 16


def snapshot(value: Any) -> Any:
    """A value that stays as it is now, whatever becomes of the containers that it was given in.

    Copied are dicts, lists, tuples, sets and deques inside each other (20 levels, 10,000 values in
    all), and bytearrays, arrays, tensors and series of up to 64 KiB. What is beyond that, and
    objects of other classes, are the same objects as before.

    >>> given = {"role": "user", "parts": ["hi"]}
    >>> kept = snapshot(given)
    >>> given["parts"].append("bye")
    >>> kept
    {'role': 'user', 'parts': ['hi']}
    """
    return value if type(value) in FIXED else _Copying().of(value, _LEVELS)


def snapshots(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Named values, each as `snapshot` has it; 10,000 values in all."""
    copied = dict(values)
    if not FIXED.issuperset(map(type, copied.values())):
        _Copying().replace(copied, _LEVELS)
    return copied


class _Copying:
    """The copies of values that hold others, up to a number of them."""

    __slots__ = ("_room",)

    def __init__(self) -> None:
        self._room = _MAX_VALUES

    def of(self, value: Any, levels: int) -> Any:
        """The copy of a value; the value itself if it cannot change, or not be copied."""
        try:
            # asked of the object, which is ten times as fast as of its class
            if not hasattr(value, "__iter__"):
                return value
            if isinstance(value, dict):
                return self._of_dict(value, levels)
            if isinstance(value, _SERIES):
                return self._of_series(value, levels)
            return _of_buffer(value) if hasattr(value, "__setitem__") else value
        except Exception:  # noqa: BLE001 - the object is somebody's, and so is what it does
            return value

    def replace(self, values: dict[Any, Any], levels: int) -> None:
        """Put copies in the place of the values that may change."""
        for name, item in values.items():
            if type(item) not in FIXED:
                values[name] = self.of(item, levels)

    def _has_room(self, n: int, levels: int) -> bool:
        if levels <= 0 or n > self._room:
            return False
        self._room -= n
        return True

    def _of_dict(self, value: dict[Any, Any], levels: int) -> dict[Any, Any]:
        if not self._has_room(len(value), levels):
            return value
        copied = dict(value)
        if not FIXED.issuperset(map(type, copied.values())):
            self.replace(copied, levels - 1)
        return copied

    def _of_series(self, value: Any, levels: int) -> Any:
        if not self._has_room(len(value), levels):
            return value
        # at once, as another thread may change it meanwhile
        items = list(value)
        if not FIXED.issuperset(map(type, items)):
            items = [item if type(item) in FIXED else self.of(item, levels - 1) for item in items]
        if isinstance(value, list):
            return items
        if isinstance(value, tuple):
            return value._make(items) if hasattr(value, "_make") else tuple(items)
        return type(value)(items)


def _of_buffer(value: Any) -> Any:
    """The copy of a flat store of numbers or bytes; the object itself if it is large, or none."""
    if isinstance(value, bytearray | array):
        return value[:] if len(value) * getattr(value, "itemsize", 1) <= _MAX_BYTES else value
    if not isinstance(n_bytes := getattr(value, "nbytes", None), int) or n_bytes > _MAX_BYTES:
        return value
    copy = getattr(value, "copy", None) or getattr(value, "clone", None)
    return copy() if callable(copy) else value
