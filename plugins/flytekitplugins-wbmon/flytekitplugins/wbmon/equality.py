"""Equality of records by what they hold, although `nan` and arrays are not equal to themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any


class ByContent:
    """Base of the data classes of a record: equal if they hold the same, and hashed by it.

    What is undefined (`nan`) is the same as what is undefined, so a record is equal to itself after
    it was saved and loaded. As files are, mappings are the same only in the same order.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give each class these methods as its own, which `dataclass` does not replace."""
        super().__init_subclass__(**kwargs)
        cls.__eq__ = ByContent.__eq__  # type: ignore[method-assign]
        cls.__hash__ = ByContent.__hash__  # type: ignore[method-assign]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(_content(self) == _content(other))

    def __hash__(self) -> int:
        return hash((type(self), _content(self)))


def _content(value: Any) -> Any:
    """What a value holds, in tuples."""
    if is_dataclass(value):
        return tuple(_content(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Mapping):
        return tuple((name, _content(each)) for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_content, value))
    if hasattr(value, "tolist"):
        # of numpy: an array, or one number
        return (value.shape, _content(value.tolist())) if value.shape else _content(value.tolist())
    return _plain(value)


def _plain(value: Any) -> Any:
    """A value that holds no others, as files tell it from other values."""
    if value != value:  # noqa: PLR0124
        # tuples take one object for equal to itself, as no two of `nan` are
        return math.nan
    # one moment in two zones has two files
    is_negative_zero = isinstance(value, float) and value == 0 and math.copysign(1, value) < 0
    return str(value) if is_negative_zero or isinstance(value, datetime) else value
