"""What the file of a profile may say of a column: a reader for each field, which refuses the rest.

A file may have been damaged, or made by somebody else. What is loaded could have been saved: arrays
are no longer than a layout makes them, agree in length, and hold what they can hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from reprlib import repr as shortened
from typing import Any, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.monitor.profiles.count import MAX_CATEGORIES
from flytekitplugins.wbmon.monitor.profiles.feature import (
    UNSEEN_LIMIT,
    ColumnStatus,
    FeatureProfile,
    WeightSums,
)
from flytekitplugins.wbmon.monitor.profiles.vectors import VECTOR_CELLS
from flytekitplugins.wbmon.stats.binning import GRID_SIZE
from flytekitplugins.wbmon.stats.projections import N_DIRECTIONS, SLICE_EDGES

MAX_ROWS = 2**53
"""More rows are not counted exactly."""

MAX_DIMENSION = 2**24
"""Longest vectors."""

_Reader: TypeAlias = Callable[[Any], Any]

_VECTOR_EDGES = N_DIRECTIONS * SLICE_EDGES
# of `bool` and of arrays of objects, text or times there are none
_DTYPES = {dtype: np.dtype(dtype) for dtype in ("|u1", "<u2", "<u4", "<u8", "<i8", "<f8")}
_NARROW = tuple(_DTYPES[dtype] for dtype in ("|u1", "<u2", "<u4"))
_IN_MEMORY = ("<i8", "<f8")
# arrays are stored in this order
_ARRAYS = tuple(item.name for item in fields(FeatureProfile) if item.name in ("edges", "counts"))
# fields that files of the first releases lack
_LATER = {"differing_pairs"}
# kinds that are counted in a grid, in a table of names, and in the grids of projections
_GRIDS, _TABLES, _SLICES = {"float", "integer"}, {"boolean", "categorical"}, {"vector"}


class StoredArray(NamedTuple):
    """An array of the payload, as the header describes it."""

    dtype: np.dtype[Any]
    stored: np.dtype[Any]
    length: int
    n_bytes: int


def read_fields(described: Any) -> dict[str, Any]:
    """The fields of a column, as its `FeatureProfile` has them; arrays are still to be read.

    Raises:
        ValueError: If they are not what a profile can have.
    """
    if not isinstance(described, dict):
        raise ValueError(f"a column must be an object, got {shortened(described)}")  # noqa: TRY004
    if described.keys() != _READERS.keys():
        _require_known(described)
    values, field = {}, ""
    try:
        for field, value in described.items():
            values[field] = _READ[field](value)
    except (LookupError, OverflowError, TypeError, ValueError):
        got = shortened(described[field])
        raise ValueError(
            f"{field} of {_shown(described)} must be {_READERS[field][1]}, got {got}"
        ) from None
    return values


def stored_arrays(features: Iterable[dict[str, Any]]) -> Iterator[StoredArray]:
    """The arrays of all columns, in the order of the payload."""
    for values in features:
        for name in _ARRAYS:
            if values[name] is not None:
                yield values[name]


def complete_feature(values: dict[str, Any], arrays: Iterator[NDArray[Any]]) -> FeatureProfile:
    """The profile of a column, with its arrays taken from those of all columns.

    Raises:
        ValueError: If its fields contradict one another.
    """
    form = values["counts"]
    for name in _ARRAYS:
        if values[name] is not None:
            values[name] = next(arrays)
    feature = FeatureProfile(**values)
    wrong = _contradiction(feature)
    # what is stored in few bytes without a sign cannot be anything else
    if not wrong and form is not None and form.stored not in _NARROW:
        wrong = "" if _are_counts(feature.counts) else f"finite counts in [0, {MAX_ROWS}]"
    if wrong:
        raise ValueError(f"{_shown(values)} must have {wrong}")
    return feature


def read_array(form: StoredArray, payload: memoryview, offset: int) -> NDArray[Any]:
    """An array of the payload: without a copy, where it is stored as it is used."""
    # read-only: arrays of a profile are never changed
    array = np.frombuffer(payload, form.stored, form.length, offset)
    return array.astype(form.dtype, copy=False)


def _require_known(described: dict[str, Any]) -> None:
    absent = _READERS.keys() - described.keys() - _LATER
    unknown = described.keys() - _READERS.keys()
    for fault, names in (("lacks", absent), ("must not have", unknown)):
        if names:
            raise ValueError(f"{_shown(described)} {fault} {shortened(sorted(names))}")


def _shown(described: dict[str, Any]) -> str:
    return f"column {shortened(described.get('name'))}"


def _contradiction(feature: FeatureProfile) -> str:
    """What a column must have and does not; empty if its fields agree."""
    if feature.n_missing + feature.n_infinite > feature.n_rows:
        return "no more missing and infinite rows than rows"
    kind, edges, counts = feature.kind, feature.edges, feature.counts
    # a column that was not counted is absent from the layout or the window, or of another type
    if counts is None and feature.status == "ok" and (kind in _GRIDS or kind in _TABLES):
        return "counts"
    if feature.categories and kind not in _TABLES:
        return "no categories, for its kind"
    if edges is not None and not (kind in _EDGES and _EDGES[kind](edges)):
        return "finite edges that increase, as many as its kind can have"
    if counts is not None and len(counts) != _n_cells(feature):
        return f"{_n_cells(feature)} counts, one for each cell, got {len(counts)}"
    return ""


def _n_cells(feature: FeatureProfile) -> int:
    if feature.edges is None:
        return len(feature.categories) + 1 if feature.kind in _TABLES else 0
    return VECTOR_CELLS if feature.kind in _SLICES else 2 * len(feature.edges) + 1


def _is_grid(edges: NDArray[Any]) -> bool:
    if len(edges) == 0:
        return True
    # between two finite ends whatever increases is finite; nan does not increase
    ends = math.isfinite(edges[0]) and math.isfinite(edges[-1])
    return len(edges) <= GRID_SIZE and ends and _all(edges[1:] > edges[:-1])


def _are_slices(edges: NDArray[Any]) -> bool:
    if len(edges) != _VECTOR_EDGES:
        return False
    grids = edges.reshape(N_DIRECTIONS, SLICE_EDGES)
    return _all(np.isfinite(edges)) and _all((grids[:, 1:] > grids[:, :-1]).ravel())


def _are_counts(counts: Any) -> bool:
    # nan fails the comparison
    return _all((counts >= 0) & (counts <= MAX_ROWS))


# a third of the time of `.all()`, and there are two arrays a column
_all: Callable[[NDArray[np.bool_]], bool] = np.logical_and.reduce

_EDGES = {**dict.fromkeys(_GRIDS, _is_grid), **dict.fromkeys(_SLICES, _are_slices)}


def _require(is_right: bool) -> None:
    if not is_right:
        raise ValueError


def read_text(value: Any) -> str:
    """Text that can be encoded: JSON can also hold halves of characters."""
    str.encode(value)
    return value  # type: ignore[no-any-return]


def whole(limit: int) -> _Reader:
    """A reader of whole numbers in [0, `limit`]."""

    def read(value: Any) -> Any:
        # `True` is an integer for Python, not for JSON
        if type(value) is int and 0 <= value <= limit:
            return value
        raise ValueError

    return read


def _one_of(known: Any) -> _Reader:
    return {word: word for word in get_args(known)}.__getitem__


def _not_negative(value: Any) -> float:
    number = float.fromhex(value)
    # nan: squares of large values overflow
    if number < 0:
        raise ValueError
    return number


def _amount(value: Any) -> float:
    number = float.fromhex(value)
    _require(0 <= number < math.inf)
    return number


def _finite(value: Any) -> float:
    _require(type(value) in (int, float) and 0 <= value < math.inf)
    return float(value)


def _array(longest: int) -> _Reader:
    def read(value: Any) -> StoredArray | None:
        if value is None:
            return None
        dtype, stored, length = value
        _require(dtype in _IN_MEMORY and type(length) is int and 0 <= length <= longest)
        # whole numbers are stored in the narrowest type that holds them
        _require(stored == dtype or (dtype == "<i8" and _DTYPES[stored].kind == "u"))
        in_file = _DTYPES[stored]
        return StoredArray(_DTYPES[dtype], in_file, length, length * in_file.itemsize)

    return read


def _categories(value: Any) -> tuple[str, ...]:
    _require(type(value) is list and len(value) <= MAX_CATEGORIES)
    # refuses what is not text, or cannot be encoded
    "".join(value).encode()
    _require(len(set(value)) == len(value))
    return tuple(value)


def _unseen(value: Any) -> dict[str, float]:
    _require(type(value) is dict and len(value) <= UNSEEN_LIMIT)
    "".join(value).encode()
    return {name: _amount(count) for name, count in value.items()} if value else value


_WEIGHTS = tuple(item.name for item in fields(WeightSums))


def _weights(value: Any) -> WeightSums | None:
    if value is None:
        return None
    _require(sorted(value) == sorted(_WEIGHTS))
    return WeightSums(**{name: _finite(value[name]) for name in _WEIGHTS})


_COUNT = (whole(MAX_ROWS), f"a whole number in [0, {MAX_ROWS}]")
_FLOAT = (float.fromhex, "a float as hexadecimal text")
_ARRAY = "null, or [type, stored type, length] of an array that a layout can have"
_READERS: dict[str, tuple[_Reader, str]] = {
    "name": (read_text, "text"),
    "kind": (_one_of(Kind), f"one of {', '.join(get_args(Kind))}"),
    "dtype": (read_text, "text"),
    "status": (_one_of(ColumnStatus), f"one of {', '.join(get_args(ColumnStatus))}"),
    "n_rows": _COUNT,
    "n_missing": _COUNT,
    "n_infinite": _COUNT,
    "minimum": _FLOAT,
    "maximum": _FLOAT,
    "mean": _FLOAT,
    "squared": (_not_negative, "a float >= 0 as hexadecimal text"),
    "dimension": (whole(MAX_DIMENSION), f"a whole number in [0, {MAX_DIMENSION}]"),
    "edges": (_array(_VECTOR_EDGES), _ARRAY),
    "categories": (_categories, f"a list of at most {MAX_CATEGORIES} different texts"),
    "counts": (_array(VECTOR_CELLS), _ARRAY),
    "unseen": (_unseen, f"at most {UNSEEN_LIMIT} texts with floats >= 0 as hexadecimal text"),
    "weights": (_weights, f"null, or {', '.join(_WEIGHTS)} as finite numbers >= 0"),
    "differing_pairs": _FLOAT,
}
# a look-up less for each field
_READ = {field: read for field, (read, _) in _READERS.items()}
