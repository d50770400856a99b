"""Counts one batch of a column into a layout.

A layout is a profile without rows: it has the kind of the column and its grid or its categories.
`learn_feature` makes a layout from a sample; `count_column` returns a filled copy of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import nsmallest
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import (
    SortedValues,
    count_missing,
    dense_numbers,
    is_valid,
    is_vector,
    kind_of,
    large_strings,
    seconds,
    sort_numbers,
    without_null_names,
)
from flytekitplugins.wbmon.monitor.profiles.feature import (
    UNSEEN_LIMIT,
    FeatureProfile,
    WeightSums,
    name_hash,
)
from flytekitplugins.wbmon.monitor.profiles.vectors import count_vectors, learn_vectors
from flytekitplugins.wbmon.stats.arrays import Floats, Values
from flytekitplugins.wbmon.stats.binning import cell_counts, grid_edges, weighted_cell_counts
from flytekitplugins.wbmon.stats.moments import moments
from flytekitplugins.wbmon.stats.uniqueness import differing_pairs

MAX_CATEGORIES = 1000
"""Maximum number of categories that have their own count."""

_MIN_TABLE_COUNT = 100
_IDENTIFIER_SHARE = 0.5
_IDENTIFIER_DISTINCT = 50
_NUMBERS = ("float", "integer")


def learn_feature(name: str, chunks: Sequence[pa.Array], dtype: pa.DataType) -> FeatureProfile:
    """Learn the layout of a column from some of its rows.

    Args:
        name: Name of the column.
        chunks: The rows.
        dtype: Arrow type of the column, which decides its kind.
    """
    kind = kind_of(dtype)
    if kind in _NUMBERS:
        return number_layout(name, dtype, sort_numbers(list(chunks)).values)
    if kind == "boolean":
        table = ("false", "true")
        return FeatureProfile(
            name=name, kind=kind, dtype=str(dtype), categories=table, counts=_zeros(3)
        )
    if kind == "vector":
        return learn_vectors(name, chunks, dtype)
    if kind == "categorical":
        return _learn_categories(name, chunks, dtype)
    return FeatureProfile(name=name, kind=kind, dtype=str(dtype))


def number_layout(name: str, dtype: pa.DataType, values: Values) -> FeatureProfile:
    """The layout of a numeric column.

    Args:
        name: Name of the column.
        dtype: Its Arrow type.
        values: Values from which the grid is learned, sorted ascending and finite.
    """
    edges = grid_edges(values)
    # integers stay integers, because floats above 2**53 are rounded; uint64 does not fit int64, and
    # its neighbours are rounded to one: equal edges would be counted twice, and less than 0 between
    whole = edges.dtype.kind in "iu" and edges.dtype != np.uint64
    edges = edges.astype(np.int64) if whole else np.unique(edges.astype(np.float64))
    counts = _zeros(2 * len(edges) + 1)
    return FeatureProfile(
        name=name, kind=kind_of(dtype), dtype=str(dtype), edges=edges, counts=counts
    )


def count_column(
    layout: FeatureProfile, array: pa.Array, weights: Floats | None = None
) -> FeatureProfile:
    """The profile of one batch of a column.

    Args:
        layout: Layout of the column; its counts are not added to.
        array: The rows, of a type that `can_count` accepts.
        weights: Weight of each row; None if rows are not weighted.
    """
    if layout.kind in _NUMBERS and pa.types.is_null(array.type):
        return _count_missing(layout, array, weights)
    if layout.kind in _NUMBERS:
        if weights is None:
            return count_sorted(layout, sort_numbers([array]))
        return _count_weighted_numbers(layout, array, weights)
    if layout.kind == "vector" and layout.counts is not None and is_vector(array.type):
        return count_vectors(layout, array, weights)
    if layout.counts is not None and not pa.types.is_null(array.type):
        return _count_categories(layout, array, weights)
    return _count_missing(layout, array, weights)


def can_count(layout: FeatureProfile, dtype: pa.DataType) -> bool:
    """Whether a column of this Arrow type can be counted into the layout.

    Integers and floats are interchangeable, because pandas stores integers with a missing value as
    floats. A column of type null has no values that could not fit.
    """
    kind = kind_of(dtype)
    if kind == layout.kind or "null" in (kind, layout.kind):
        return True
    pair = {kind, layout.kind}
    return pair <= set(_NUMBERS) or pair == {"categorical", "identifier"}


def count_sorted(layout: FeatureProfile, column: SortedValues) -> FeatureProfile:
    """The profile of numbers that are already sorted, in the grid of `layout`."""
    values = column.values
    edges = _edges_like(layout, values)
    moment = moments(values)
    return replace(
        layout,
        n_rows=column.n_rows,
        n_missing=column.n_missing,
        n_infinite=column.n_infinite,
        counts=cell_counts(values, edges),
        minimum=float(values[0]) if len(values) else np.nan,
        maximum=float(values[-1]) if len(values) else np.nan,
        mean=moment.mean if len(values) else np.nan,
        squared=moment.squared,
        differing_pairs=differing_pairs(values) if values.dtype.kind in "iu" else 0.0,
    )


def _count_weighted_numbers(
    layout: FeatureProfile, array: pa.Array, weights: Floats
) -> FeatureProfile:
    values = dense_numbers(array)
    of_values = weights[is_valid(array)]
    finite = np.ones(len(values), dtype=bool)
    n_infinite, infinite = 0, 0.0
    if values.dtype.kind == "f":
        is_infinite = np.isinf(values)
        n_infinite, infinite = int(is_infinite.sum()), float(of_values[is_infinite].sum())
        finite = np.isfinite(values)
    values, of_values = values[finite], of_values[finite]
    moment = moments(values, of_values)
    sums = WeightSums(
        rows=float(weights.sum()),
        rows_squared=float(np.square(weights).sum()),
        # a difference of rounded sums, which can be just below 0
        missing=max(0.0, float(weights.sum()) - float(of_values.sum()) - infinite),
        infinite=infinite,
        values_squared=float(np.square(of_values).sum()),
    )
    return replace(
        layout,
        n_rows=len(array),
        n_missing=len(array) - len(values) - n_infinite,
        n_infinite=n_infinite,
        counts=weighted_cell_counts(values, of_values, _edges_like(layout, values)),
        minimum=float(values.min()) if len(values) else np.nan,
        maximum=float(values.max()) if len(values) else np.nan,
        mean=moment.mean if moment.weight > 0 else np.nan,
        squared=moment.squared,
        weights=sums,
        differing_pairs=differing_pairs(np.sort(values)) if values.dtype.kind in "iu" else 0.0,
    )


def _count_categories(
    layout: FeatureProfile, array: pa.Array, weights: Floats | None
) -> FeatureProfile:
    names, codes = encode_names(array)
    of_values = None if weights is None else weights[is_valid(array)]
    per_name = np.bincount(codes, weights=of_values, minlength=len(names))
    position = {name: i for i, name in enumerate(layout.categories)}
    other = len(position)
    slots = np.fromiter((position.get(name, other) for name in names), np.int64, len(names))
    counts = np.zeros(other + 1, dtype=per_name.dtype)
    # add.at, because `counts[slots] += …` would add only once to the slot that many names share
    np.add.at(counts, slots, per_name)
    # a dictionary can contain names that no row of the batch has
    outside = np.flatnonzero((slots == other) & (per_name > 0))
    return replace(
        layout,
        n_rows=len(array),
        n_missing=len(array) - len(codes),
        counts=counts,
        unseen=lowest_hashes({names[i]: float(per_name[i]) for i in outside}),
        weights=None if weights is None else _weight_sums(weights, of_values),
    )


def _count_missing(
    layout: FeatureProfile, array: pa.Array, weights: Floats | None
) -> FeatureProfile:
    """The number of rows and of missing rows, and for timestamps the range; nothing else."""
    counted = replace(layout, n_rows=len(array), n_missing=count_missing(array))
    if weights is not None:
        present = is_valid(array) if array.type != pa.null() else np.zeros(len(array), dtype=bool)
        counted = replace(counted, weights=_weight_sums(weights, weights[present]))
        # as floats: counts of weighted rows are sums of weights
        if layout.counts is not None:
            counted = replace(counted, counts=np.zeros(len(layout.counts)))
    if layout.kind == "timestamp" and kind_of(array.type) == "timestamp" and counted.n_values:
        moments_in_time = seconds(array)
        return replace(
            counted, minimum=float(moments_in_time.min()), maximum=float(moments_in_time.max())
        )
    return counted


def lowest_hashes(counts: dict[str, float]) -> dict[str, float]:
    """The `UNSEEN_LIMIT` names with the lowest hashes, in ascending order of their hashes.

    Unlike the first or the most frequent names, this choice does not depend on how the rows were
    divided into batches, so profiles can be merged in any order.
    """
    return {name: counts[name] for name in nsmallest(UNSEEN_LIMIT, counts, key=name_hash)}


def _learn_categories(name: str, chunks: Sequence[pa.Array], dtype: pa.DataType) -> FeatureProfile:
    counts: dict[str, int] = {}
    for chunk in chunks:
        names, codes = encode_names(without_null_names(chunk))
        for label, count in zip(names, np.bincount(codes, minlength=len(names)), strict=True):
            counts[label] = counts.get(label, 0) + int(count)
    counts = {label: count for label, count in counts.items() if count}
    n_values = sum(counts.values())
    if len(counts) > MAX_CATEGORIES:
        # not the top MAX_CATEGORIES: which of the rare names near the limit get in would be chance
        least = max(_MIN_TABLE_COUNT, n_values / MAX_CATEGORIES)
        table = {label: count for label, count in counts.items() if count >= least}
    else:
        table = counts
    # text in which most rows differ has no distribution over categories that could be compared
    nearly_unique = len(counts) > max(_IDENTIFIER_DISTINCT, _IDENTIFIER_SHARE * n_values)
    if counts and (nearly_unique or not table):
        return FeatureProfile(name=name, kind="identifier", dtype=str(dtype))
    categories = tuple(sorted(table, key=lambda label: (-table[label], label)))
    return FeatureProfile(
        name=name,
        kind="categorical",
        dtype=str(dtype),
        categories=categories,
        counts=_zeros(len(categories) + 1),
    )


def encode_names(array: pa.Array) -> tuple[list[str], NDArray[Any]]:
    """Encode a column of categories.

    Args:
        array: Strings, booleans, or a dictionary without null among its values (use
            `without_null_names` first).

    Returns:
        The names; and for each row that is not null, the position of its name among them.
    """
    if pa.types.is_boolean(array.type):
        return ["false", "true"], dense_numbers(array)
    if not pa.types.is_dictionary(array.type):
        # not every version of pyarrow can dictionary-encode string views
        if pa.types.is_string_view(array.type):
            array = large_strings(array)
        array = array.dictionary_encode()
    names = [str(label) for label in array.dictionary.to_pylist()]
    return names, dense_numbers(array.indices)


def _edges_like(layout: FeatureProfile, values: Values) -> Values:
    """The edges in the precision of the values, so that equal values stay equal.

    0.1 stored in 32 bits is not 0.1 in 64 bits, and would be counted beside the edge.
    """
    edges: Values = layout.edges if layout.edges is not None else np.empty(0)
    if values.dtype.kind == "f" and values.dtype.itemsize < edges.dtype.itemsize:
        rounded = edges.astype(values.dtype)
        # edges that become equal are useless as a grid; then the values are compared as they are
        if (rounded[1:] > rounded[:-1]).all():
            return rounded
    return edges


def _weight_sums(weights: Floats, of_values: Floats | None) -> WeightSums:
    present = weights if of_values is None else of_values
    return WeightSums(
        rows=float(weights.sum()),
        rows_squared=float(np.square(weights).sum()),
        missing=max(0.0, float(weights.sum()) - float(present.sum())),
        values_squared=float(np.square(present).sum()),
    )


def _zeros(length: int) -> NDArray[np.int64]:
    return np.zeros(length, dtype=np.int64)
