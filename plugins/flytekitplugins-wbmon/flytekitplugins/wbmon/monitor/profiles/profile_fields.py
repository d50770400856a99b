"""What the file of a profile may say of a column: a reader for each field, which refuses the rest.

A file may have been damaged, or made by somebody else. What is loaded could have been saved: arrays
are no longer than a layout makes them, agree in length, and hold what they can hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from reprlib import repr as shortened
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.monitor.profiles.count import GRID_KINDS
from flytekitplugins.wbmon.monitor.profiles.feature import (
    UNSEEN_LIMIT,
    ColumnStatus,
    FeatureProfile,
    WeightSums,
)
from flytekitplugins.wbmon.monitor.profiles.learn import MAX_CATEGORIES
from flytekitplugins.wbmon.monitor.profiles.vectors import MAX_SLICES, n_slices
from flytekitplugins.wbmon.stats.binning import GRID_SIZE
from flytekitplugins.wbmon.stats.distinct import N_BUCKETS, SKETCH_SIZE
from flytekitplugins.wbmon.stats.projections import (
    MAX_PRINCIPAL,
    N_DIRECTIONS,
    SLICE_CELLS,
    SLICE_EDGES,
)

MAX_ROWS = 2**53
"""More rows are not counted exactly."""

MAX_DIMENSION = 2**24
"""Longest vectors."""

_Reader: TypeAlias = Callable[[Any], Any]

_VECTOR_EDGES, _VECTOR_CELLS = MAX_SLICES * SLICE_EDGES, MAX_SLICES * SLICE_CELLS
# of `bool` and of arrays of objects, text or times there are none
_DTYPES = {dtype: np.dtype(dtype) for dtype in ("|u1", "<u2", "<u4", "<u8", "<i8", "<f8")}
_NARROW = tuple(_DTYPES[dtype] for dtype in ("|u1", "<u2", "<u4"))
_IN_MEMORY = ("<i8", "<f8")
# arrays are stored in this order, and those of the facets after them
_STORED = ("edges", "directions", "counts", "cell_rows", "buckets", "hashes", "hash_counts")
_ARRAYS = tuple(item.name for item in fields(FeatureProfile) if item.name in _STORED)
# kinds that are counted in a grid, in a table of names, and in the grids of projections
_GRIDS, _TABLES, _SLICES = {*GRID_KINDS}, {"boolean", "category"}, {"vector"}
# a column of times without counts is of a file of the first version
_COUNTED = {*_GRIDS, *_TABLES} - {"time"}
_NAMED = {*_TABLES, "ordinal"}
_SKETCHED = {"text", "identifier", "time"}
_BUCKETED = {*_TABLES, "identifier"}
_EXAMPLES, _MISSING_VALUES, _FACETS = 3, 1000, 10_000


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
        yield from stored_arrays(values["facets"])


def complete_feature(values: dict[str, Any], arrays: Iterator[NDArray[Any]]) -> FeatureProfile:
    """The profile of a column, with its arrays taken from those of all columns.

    Raises:
        ValueError: If its fields contradict one another.
    """
    wide = [
        name
        for name in ("counts", "cell_rows", "buckets")
        if values[name] is not None and values[name].stored not in _NARROW
    ]
    for name in _ARRAYS:
        if values[name] is not None:
            values[name] = next(arrays)
    facets = [complete_feature(facet, arrays) for facet in values["facets"]]
    values["facets"] = {facet.name: facet for facet in facets}
    feature = FeatureProfile(**values)
    wrong = _contradiction(feature)
    # counts of weighted rows are sums of weights
    most = MAX_ROWS if feature.weights is None else math.inf
    # what is stored in few bytes without a sign cannot be anything else
    if not wrong and not all(_are_counts(getattr(feature, name), most) for name in wide):
        wrong = f"finite counts from 0 to {most}"
    if wrong:
        raise ValueError(f"{_shown(values)} must have {wrong}")
    return feature


def read_array(form: StoredArray, payload: memoryview, offset: int) -> NDArray[Any]:
    """An array of the payload: without a copy, where it is stored as it is used."""
    # read-only: arrays of a profile are never changed
    array = np.frombuffer(payload, form.stored, form.length, offset)
    return array.astype(form.dtype, copy=False)


def _require_known(described: dict[str, Any]) -> None:
    absent = _READERS.keys() - described.keys()
    unknown = described.keys() - _READERS.keys()
    for fault, names in (("lacks", absent), ("must not have", unknown)):
        if names:
            raise ValueError(f"{_shown(described)} {fault} {shortened(sorted(names))}")


def _shown(described: dict[str, Any]) -> str:
    return f"column {shortened(described.get('name'))}"


def _contradiction(feature: FeatureProfile) -> str:
    """What a column must have and does not; empty if its fields agree."""
    kind, edges, counts = feature.kind, feature.edges, feature.counts
    faults = {
        "no more missing, infinite and unreadable rows than rows": feature.n_values < 0,
        # a column that was not counted is absent from the layout or the window, or of another type
        "counts": counts is None and feature.status == "ok" and kind in _COUNTED,
        "no categories, for its kind": bool(feature.categories) and kind not in _NAMED,
        "finite edges that increase, as many as its kind can have": edges is not None
        and not (kind in _EDGES and _EDGES[kind](edges)),
        "finite directions, each with its slice, for its kind": not _are_of_slices(feature),
        f"{_n_cells(feature)} counts, one for each cell": counts is not None
        and len(counts) != _n_cells(feature),
        "rows of each cell, beside weighted counts of its kind": feature.cell_rows is not None
        and not (
            kind in _TABLES
            and feature.weights is not None
            and len(feature.cell_rows) == _n_cells(feature)
        ),
        f"{N_BUCKETS} buckets, for its kind": feature.buckets is not None
        and not (feature.kind in _BUCKETED and len(feature.buckets) == N_BUCKETS),
        "hashes that increase, with the rows of each, for its kind": not _is_sketch(feature),
    }
    return next((must for must, is_wrong in faults.items() if is_wrong), "")


def _is_sketch(feature: FeatureProfile) -> bool:
    hashes, rows = feature.hashes, feature.hash_counts
    if hashes is None or rows is None:
        return hashes is rows is None
    agree = feature.kind in _SKETCHED and len(hashes) == len(rows)
    return (
        agree
        and _all(hashes[1:] > hashes[:-1])
        and _all(rows > 0)
        and (int(rows.sum()) <= feature.n_values)
    )


def _n_cells(feature: FeatureProfile) -> int:
    if feature.edges is None:
        return len(feature.categories) + 1 if feature.kind in _TABLES else 0
    if feature.kind in _SLICES:
        return n_slices(feature) * SLICE_CELLS
    return 2 * len(feature.edges) + 1


def _is_grid(edges: NDArray[Any]) -> bool:
    if len(edges) == 0:
        return True
    # between two finite ends whatever increases is finite; nan does not increase
    ends = math.isfinite(edges[0]) and math.isfinite(edges[-1])
    return len(edges) <= GRID_SIZE and ends and _all(edges[1:] > edges[:-1])


def _are_of_slices(feature: FeatureProfile) -> bool:
    directions, edges = feature.directions, feature.edges
    if directions is None or edges is None:
        # without a direction there are the slices of fixed ones
        n_fixed = N_DIRECTIONS * SLICE_EDGES
        return directions is None and not (
            feature.kind in _SLICES and edges is not None and len(edges) != n_fixed
        )
    n_learned = n_slices(feature) - N_DIRECTIONS - 1
    return (
        feature.kind in _SLICES
        and feature.dimension > 0
        and n_learned >= 0
        and len(directions) == n_learned * feature.dimension
        and _all(np.isfinite(directions))
    )


def _are_slices(edges: NDArray[Any]) -> bool:
    if len(edges) % SLICE_EDGES or len(edges) > _VECTOR_EDGES:
        return False
    grids = edges.reshape(-1, SLICE_EDGES)
    return _all(np.isfinite(edges)) and _all((grids[:, 1:] > grids[:, :-1]).ravel())


def _are_counts(counts: Any, most: float) -> bool:
    # nan fails the comparison
    return _all((counts >= 0) & (counts <= most) & (counts < math.inf))


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


def _array(longest: int, dtypes: tuple[str, ...] = _IN_MEMORY) -> _Reader:
    def read(value: Any) -> StoredArray | None:
        if value is None:
            return None
        dtype, stored, length = value
        _require(dtype in dtypes and type(length) is int and 0 <= length <= longest)
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


def _texts(most: int) -> _Reader:
    def read(value: Any) -> tuple[str, ...]:
        _require(type(value) is list and len(value) <= most)
        "".join(value).encode()
        return tuple(value)

    return read


def _facets(value: Any) -> list[dict[str, Any]]:
    _require(type(value) is list and len(value) <= _FACETS)
    read = [read_fields(described) for described in value]
    _require(len({facet["name"] for facet in read}) == len(read))
    return read


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
    "stored": (_one_of(Literal[Kind, ""]), f"empty, or one of {', '.join(get_args(Kind))}"),
    "dtype": (read_text, "text"),
    "status": (_one_of(ColumnStatus), f"one of {', '.join(get_args(ColumnStatus))}"),
    "n_rows": _COUNT,
    "n_missing": _COUNT,
    "n_infinite": _COUNT,
    "n_unreadable": _COUNT,
    "examples": (_texts(_EXAMPLES), f"a list of at most {_EXAMPLES} texts"),
    "missing_values": (_texts(_MISSING_VALUES), f"a list of at most {_MISSING_VALUES} texts"),
    "minimum": _FLOAT,
    "maximum": _FLOAT,
    "mean": _FLOAT,
    "squared": (_not_negative, "a float >= 0 as hexadecimal text"),
    "dimension": (whole(MAX_DIMENSION), f"a whole number in [0, {MAX_DIMENSION}]"),
    "edges": (_array(_VECTOR_EDGES), _ARRAY),
    "directions": (_array(MAX_PRINCIPAL * MAX_DIMENSION, ("<f8",)), _ARRAY),
    "float_bits": (_one_of(Literal[16, 32, 64]), "16, 32 or 64"),
    "categories": (_categories, f"a list of at most {MAX_CATEGORIES} different texts"),
    "counts": (_array(_VECTOR_CELLS), _ARRAY),
    "cell_rows": (_array(MAX_CATEGORIES + 1, ("<i8",)), _ARRAY),
    "unseen": (_unseen, f"at most {UNSEEN_LIMIT} texts with floats >= 0 as hexadecimal text"),
    "buckets": (_array(N_BUCKETS), _ARRAY),
    "weights": (_weights, f"null, or {', '.join(_WEIGHTS)} as finite numbers >= 0"),
    "differing_pairs": _FLOAT,
    "hashes": (_array(SKETCH_SIZE, ("<u8",)), _ARRAY),
    "hash_counts": (_array(SKETCH_SIZE, ("<i8",)), _ARRAY),
    "facets": (_facets, f"a list of at most {_FACETS} columns of different names"),
}
# a look-up less for each field
_READ = {field: read for field, (read, _) in _READERS.items()}
