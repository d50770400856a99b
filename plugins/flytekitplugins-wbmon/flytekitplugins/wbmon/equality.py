"""Equality of records by what they hold, although `nan` and arrays are not equal to themselves."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
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
        return _content(self) == _content(other)

    def __hash__(self) -> int:
        return hash((type(self), _content(self)))


def _content(value: Any) -> Hashable:
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
    # tuples take one object for equal to itself, as no two of `nan` are
    return math.nan if value != value else value  # noqa: PLR0124
