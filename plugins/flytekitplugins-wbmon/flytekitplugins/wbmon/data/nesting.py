"""Python lists and mappings: how deep they are, and what lies in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

NESTED = (list, tuple, set, frozenset, dict, np.ndarray)
"""Classes of values that hold others."""

_MAX_DEPTH = 16


def suits_arrow(values: Sequence[Any]) -> bool:
    """Whether Arrow may be given lists and mappings as they are.

    It follows a list that contains itself until the process ends, and takes the entries of a map,
    which pandas has as pairs, for lists.
    """
    first = next((value for value in values if isinstance(value, list) and value), [None])
    return not is_entry(first[0]) and is_shallow(values)


def is_shallow(values: Sequence[Any]) -> bool:
    """Whether at most 16 lists and mappings lie in each other; one in itself has no end."""
    level = values
    for depth in range(_MAX_DEPTH + 1):
        kinds = {kind for kind in set(map(type, level)) if issubclass(kind, NESTED)}
        if not kinds:
            return True
        nested = [value for value in level if type(value) in kinds]
        # each once: what contains itself several times would fill the memory
        level = _contents({id(v): v for v in nested}.values() if depth else nested, kinds)
    return False


def _contents(values: Iterable[Any], kinds: set[type]) -> list[Any]:
    """What lies in values of these classes; nothing of what an array of numbers holds."""
    if kinds & {list, tuple} != kinds:
        # one by one: a million views at a time would be searched for garbage
        values = map(_inner, values)
    return list(chain.from_iterable(values))


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, np.ndarray):
        return value.ravel() if value.dtype.kind == "O" else ()
    return value.values() if isinstance(value, dict) else value


def is_entry(value: Any) -> bool:
    """Whether it is an entry of a map as pandas has it: a pair whose first is text."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)  # noqa: PLR2004


def is_struct(value: Any) -> bool:
    """Whether it is a mapping of names, which are text that can be written."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and (name.isascii() or _is_writable(name)) for name in value
    )


def _is_writable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def elements_of(value: Any) -> list[Any]:
    """The elements of a list, a set or an array, whose rows are its elements."""
    # one without dimensions is a list of one
    return list(np.atleast_1d(value) if isinstance(value, np.ndarray) else ordered(value))


def ordered(value: Any) -> Any:
    """The value; of a set a list, in the same order for the same members."""
    return sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
