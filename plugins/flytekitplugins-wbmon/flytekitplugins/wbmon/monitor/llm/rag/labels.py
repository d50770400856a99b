"""The relevant documents of a query, in whatever form a table holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.errors import DataError

_PAIRS = (("key", "value"), ("id", "grade"))
_N_PAIR = 2


def document_id(value: Any) -> str:
    """An id as text: that of document 7 is `7`, also where a table made a fraction of it."""
    is_whole = isinstance(value, Real) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)


def relevant_documents(value: Any) -> dict[str, float]:
    """The relevant documents with their grades, by id; empty if none is known.

    Args:
        value: Ids; a mapping of ids to grades; or pairs of both, as a map of Arrow becomes, or
            structs of `key` and `value` or of `id` and `grade`. Missing ids and grades are left
            out: a column of mappings becomes structs in Parquet, in which every row has the ids of
            all rows. A grade of 0 is not relevant.

    Raises:
        DataError: If it is anything else, or a grade is negative.
    """
    if value is None or (isinstance(value, Real) and is_missing(value)):
        return {}
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise DataError(f"relevant must be ids of documents or their grades by id, got {value!r}")
    pairs = value.items() if isinstance(value, Mapping) else map(_pair, value)
    return {
        document_id(name): _grade(grade)
        for name, grade in pairs
        if not is_missing(name) and not is_missing(grade) and _grade(grade) > 0
    }


def _pair(element: Any) -> tuple[Any, Any]:
    if isinstance(element, Mapping):
        for first, second in _PAIRS:
            if set(element) == {first, second}:
                return element[first], element[second]
        raise DataError(
            "documents as structs must have the fields id and grade, or key and value; got "
            f"{', '.join(map(repr, element))}"
        )
    if not isinstance(element, list | tuple):
        return element, 1.0
    if len(element) != _N_PAIR:
        raise DataError(f"documents as pairs must be an id and its grade, got {element!r}")
    return element[0], element[1]


def _grade(grade: Any) -> float:
    try:
        known = float(grade)
    except (TypeError, ValueError):
        known = -1.0
    if not known >= 0:
        raise DataError(f"grades of relevant documents must be numbers from 0 on, got {grade!r}")
    return known
