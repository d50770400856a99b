"""Counts one batch of a column into a layout.

A layout is a profile without rows: it has the kind of the column and its grid, its categories or
its facets. `count_batch` returns a filled copy of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import (
    count_missing,
    dense_numbers,
    is_valid,
    shortest,
    text_array,
)
from flytekitplugins.wbmon.data.exact import SortedValues, as_floats, numbers_of, sort_numbers
from flytekitplugins.wbmon.data.hashes import hash_values
from flytekitplugins.wbmon.data.names import encode_names
from flytekitplugins.wbmon.data.readings import Reading, read_as
from flytekitplugins.wbmon.monitor.profiles.facets import Embed, Facet, facets_of
from flytekitplugins.wbmon.monitor.profiles.feature import (
    FeatureProfile,
    WeightSums,
    lowest_hashes,
)
from flytekitplugins.wbmon.monitor.profiles.vectors import count_vectors
from flytekitplugins.wbmon.stats.arrays import Floats, Values
from flytekitplugins.wbmon.stats.binning import cell_counts, weighted_cell_counts
from flytekitplugins.wbmon.stats.distinct import bucket_counts, sketch_distinct
from flytekitplugins.wbmon.stats.moments import moments
from flytekitplugins.wbmon.stats.uniqueness import differing_pairs

_LOOK = 1024
FEW_EDGES = 50
"""Up to so many edges of a grid each is a value that matters, and is compared with all digits."""
GRID_KINDS = ("number", "duration", "ordinal", "time")
"""Kinds whose values are numbers that are counted in a grid."""


def count_batch(
    layout: FeatureProfile,
    array: pa.Array,
    weights: Floats | None = None,
    at: Floats | None = None,
    embed: Embed | None = None,
) -> FeatureProfile:
    """The profile of one batch of a column.

    If the column does not fit its layout (its status is not `ok`), only rows and missing rows are
    counted.

    Args:
        layout: Layout of the column; its counts are not added to.
        array: The rows, in their plain form.
        weights: Weight of each row; None if rows are not weighted.
        at: Time of each row, in seconds since 1970; None if it is not known.
        embed: Turns texts into vectors; None if their meaning is not counted.
    """
    if layout.status != "ok":
        plain = replace(layout, counts=None, facets={}, kind="other")
        reading = read_as("other", array)
        return replace(_count_missing(plain, reading, weights), kind=layout.kind)
    reading = read_layout(layout, array)
    counted = _count_values(layout, reading, weights)
    if reading.unreadable is not None:
        counted = _with_unreadable(counted, reading, weights)
    if not layout.facets:
        return counted
    found = facets_of(layout.kind, reading.values, at=at, embed=embed)
    return replace(
        counted,
        facets={
            name: _count_facet(facet, found.get(name), len(array), weights)
            for name, facet in layout.facets.items()
        },
    )


def read_layout(layout: FeatureProfile, array: pa.Array) -> Reading:
    """A column taken as what it is in a layout.

    Args:
        layout: Its kind, and what stands for a missing value.
        array: The rows, in their plain form.
    """
    return read_as(layout.kind, array, missing=layout.missing_values, order=layout.categories)


class Numbers(NamedTuple):
    """A whole column of numbers.

    Attributes:
        column: Its values, sorted; the unreadable ones are among the missing.
        n_unreadable: Number of rows with a value that cannot be read.
        examples: At most three of those.
    """

    column: SortedValues
    n_unreadable: int
    examples: tuple[str, ...]


def read_numbers(layout: FeatureProfile, chunks: Sequence[pa.Array]) -> Numbers:
    """The numbers of a whole column, in their plain form, of a kind that has a grid."""
    readings = [read_layout(layout, chunk) for chunk in chunks]
    return Numbers(
        sort_numbers(
            [reading.values for reading in readings], lambda array: counted_numbers(layout, array)
        ),
        sum(reading.n_unreadable for reading in readings),
        next((reading.examples for reading in readings if reading.examples), ()),
    )


def counted_numbers(layout: FeatureProfile, array: pa.Array) -> Values:
    """The numbers that are not null, as exactly as the grid of `layout` can tell them apart.

    Args:
        layout: Its grid; without one every digit is kept.
        array: Numbers, as they were read.
    """
    return numbers_of(array) if _is_exact(layout) else dense_numbers(array)


def told_apart(layout: FeatureProfile, values: Values) -> Values:
    """The numbers of a column; as floats if the grid of `layout` tells no more digits apart."""
    return values if _is_exact(layout) else as_floats(values)


def _is_exact(layout: FeatureProfile) -> bool:
    """Whether digits matter that floats do not have."""
    edges = layout.edges
    return edges is None or edges.dtype.kind != "f" or len(edges) <= FEW_EDGES


def count_numbers(layout: FeatureProfile, numbers: Numbers) -> FeatureProfile:
    """The profile of a whole column of numbers, in the grid of `layout`."""
    counted = count_sorted(layout, numbers.column)
    n = numbers.n_unreadable
    return replace(
        counted, n_missing=counted.n_missing - n, n_unreadable=n, examples=numbers.examples
    )


def count_sorted(layout: FeatureProfile, column: SortedValues) -> FeatureProfile:
    """The profile of numbers that are already sorted, in the grid of `layout`."""
    values = column.values
    floats = as_floats(values)
    moment = moments(floats)
    return replace(
        layout,
        n_rows=column.n_rows,
        n_missing=column.n_missing,
        n_infinite=column.n_infinite,
        counts=cell_counts(*same_precision(layout, values)),
        minimum=float(shortest(floats[:1])[0]) if len(values) else np.nan,
        maximum=float(shortest(floats[-1:])[0]) if len(values) else np.nan,
        mean=moment.mean if len(values) else np.nan,
        squared=moment.squared,
        differing_pairs=_differing_pairs(values),
    )


def same_precision(layout: FeatureProfile, values: Values) -> tuple[Values, Values]:
    """Values and edges of the grid in the precision that both have, so that equal ones stay equal.

    0.1 stored in 32 bits is not 0.1 in 64 bits, and would be counted beside the edge.
    """
    edges: Values = layout.edges if layout.edges is not None else np.empty(0)
    values = told_apart(layout, values)
    if values.dtype.kind != "f" or edges.dtype.kind != "f":
        return values, edges
    bits = min(layout.float_bits, 8 * values.dtype.itemsize)
    narrow = np.dtype(f"f{bits // 8}")
    # numbers beyond the narrow type would all be infinite
    with np.errstate(over="ignore"):
        rounded, of_values = edges.astype(narrow), values.astype(narrow, copy=False)
    # edges that become equal are useless as a grid; then the values are compared as they are
    if (rounded[1:] > rounded[:-1]).all() and np.isfinite(rounded).all():
        return of_values, rounded
    return values, edges


def _count_values(
    layout: FeatureProfile, reading: Reading, weights: Floats | None
) -> FeatureProfile:
    array = reading.values
    if layout.kind in ("identifier", "text"):
        return _count_distinct(layout, reading, weights)
    if layout.counts is None or pa.types.is_null(array.type):
        return _count_missing(layout, reading, weights)
    if layout.kind == "time":
        # an infinite number may be declared a time, and has no place in any cell
        return _with_sketch(
            _count_numbers(layout, array, weights),
            hash_values(array.filter(pc.is_finite(array))),
        )
    if layout.kind in GRID_KINDS:
        return _count_numbers(layout, array, weights)
    if layout.kind == "vector":
        return count_vectors(layout, array, weights)
    return _count_categories(layout, array, weights)


def _count_facet(
    layout: FeatureProfile, facet: Facet | None, n_rows: int, weights: Floats | None
) -> FeatureProfile:
    if layout.status == "missing_column":
        return count_batch(layout, pa.nulls(n_rows), weights)
    # a file of a dataset may lack the column, and then there is nothing that a facet could be of
    if facet is None:
        return layout
    if facet.rows is None:
        return count_batch(layout, facet.array, weights)
    # the elements of one row are not independent: together they count as the one row they are
    sizes = np.bincount(facet.rows)
    of_rows = np.ones(len(sizes)) if weights is None else weights[: len(sizes)]
    counted = count_batch(layout, facet.array, (of_rows / np.maximum(sizes, 1))[facet.rows])
    return _as_rows(counted, float(np.square(of_rows[sizes > 0]).sum()))


def _as_rows(feature: FeatureProfile, squared: float) -> FeatureProfile:
    """The profile of elements with the effective size of the rows they are of."""
    sums = feature.weights or WeightSums()
    return replace(
        feature,
        weights=replace(sums, rows_squared=squared, values_squared=squared),
        facets={name: _as_rows(facet, squared) for name, facet in feature.facets.items()},
    )


def _count_numbers(
    layout: FeatureProfile, array: pa.Array, weights: Floats | None
) -> FeatureProfile:
    if weights is None:
        return count_sorted(
            layout, sort_numbers([array], lambda array: counted_numbers(layout, array))
        )
    return _count_weighted_numbers(layout, array, weights)


def _count_weighted_numbers(
    layout: FeatureProfile, array: pa.Array, weights: Floats
) -> FeatureProfile:
    values = counted_numbers(layout, array)
    of_values = weights[is_valid(array)]
    finite = np.ones(len(values), dtype=bool)
    n_infinite, infinite = 0, 0.0
    if values.dtype.kind == "f":
        is_infinite = np.isinf(values)
        n_infinite, infinite = int(is_infinite.sum()), float(of_values[is_infinite].sum())
        finite = np.isfinite(values)
    values, of_values = values[finite], of_values[finite]
    floats = as_floats(values)
    moment = moments(floats, of_values)
    sums = WeightSums(
        rows=float(weights.sum()),
        rows_squared=float(np.square(weights).sum()),
        # a difference of rounded sums, which can be just below 0
        missing=max(0.0, float(weights.sum()) - float(of_values.sum()) - infinite),
        infinite=infinite,
        values_squared=float(np.square(of_values).sum()),
    )
    of_grid, edges = same_precision(layout, values)
    return replace(
        layout,
        n_rows=len(array),
        n_missing=len(array) - len(values) - n_infinite,
        n_infinite=n_infinite,
        counts=weighted_cell_counts(of_grid, of_values, edges),
        minimum=float(shortest(floats.min(keepdims=True))[0]) if len(values) else np.nan,
        maximum=float(shortest(floats.max(keepdims=True))[0]) if len(values) else np.nan,
        mean=moment.mean if moment.weight > 0 else np.nan,
        squared=moment.squared,
        weights=sums,
        differing_pairs=_differing_pairs(np.sort(values)),
    )


def _differing_pairs(values: Values) -> float:
    """Pairs of sorted values that differ; `-inf` if two are equal or one has a fraction."""
    # a look first: most columns of floats have a fraction among the first values
    if not _is_whole(values[:_LOOK]):
        return -np.inf
    pairs = differing_pairs(values)
    return pairs if pairs <= 0 or _is_whole(values) else -np.inf


def _is_whole(values: Values) -> bool:
    if values.dtype == object:
        return all(isinstance(value, int) for value in values)
    return values.dtype.kind != "f" or bool((values == np.floor(values)).all())


def _count_categories(
    layout: FeatureProfile, array: pa.Array, weights: Floats | None
) -> FeatureProfile:
    names, codes = encode_names(array)
    of_values = None if weights is None else weights[is_valid(array)]
    per_name = np.bincount(codes, weights=of_values, minlength=len(names))
    position = {name: i for i, name in enumerate(layout.categories)}
    other = len(position)
    slots = np.fromiter((position.get(name, other) for name in names), np.int64, len(names))
    counts = np.bincount(slots, weights=per_name, minlength=other + 1).astype(per_name.dtype)
    # a dictionary can contain names that no row of the batch has
    outside = np.flatnonzero((slots == other) & (per_name > 0))
    unseen = {names[i]: float(per_name[i]) for i in outside}
    hashes = hash_values(text_array(list(unseen)))
    return replace(
        layout,
        n_rows=len(array),
        n_missing=len(array) - len(codes),
        counts=counts,
        cell_rows=None if weights is None else np.bincount(slots[codes], minlength=other + 1),
        unseen=lowest_hashes(unseen),
        buckets=bucket_counts(hashes, per_name[outside].astype(float)).astype(per_name.dtype)
        if unseen
        else None,
        weights=None if weights is None else _weight_sums(weights, of_values),
    )


def _count_distinct(
    layout: FeatureProfile, reading: Reading, weights: Floats | None
) -> FeatureProfile:
    hashes = hash_values(reading.values)
    counted = _with_sketch(_count_missing(layout, reading, weights), hashes)
    # of a text hardly any is there twice
    if layout.kind == "text" or not len(hashes):
        return counted
    of_values = None if weights is None else weights[is_valid(reading.values)]
    return replace(counted, buckets=bucket_counts(hashes, of_values))


def _with_sketch(counted: FeatureProfile, hashes: NDArray[np.uint64]) -> FeatureProfile:
    found = sketch_distinct(hashes)
    return replace(counted, hashes=found.hashes, hash_counts=found.counts)


def _count_missing(
    layout: FeatureProfile, reading: Reading, weights: Floats | None
) -> FeatureProfile:
    """The number of rows and of missing rows; no values."""
    array = reading.values
    counted = replace(layout, n_rows=len(array), n_missing=count_missing(array))
    if weights is not None:
        present = is_valid(array)
        if pa.types.is_floating(array.type):
            present[present] = ~np.isnan(dense_numbers(array))
        counted = replace(counted, weights=_weight_sums(weights, weights[present]))
        # as floats: counts of weighted rows are sums of weights
        if layout.counts is not None:
            counted = replace(counted, counts=np.zeros(len(layout.counts)))
    return counted


def _with_unreadable(
    counted: FeatureProfile, reading: Reading, weights: Floats | None
) -> FeatureProfile:
    """The profile with unreadable rows apart from the missing ones, among which they were."""
    n = reading.n_unreadable
    counted = replace(
        counted,
        n_missing=counted.n_missing - n,
        # vectors of another length can be read, and still are none of the column
        n_unreadable=counted.n_unreadable + n,
        examples=reading.examples,
    )
    if weights is None or counted.weights is None:
        return counted
    lost = float(weights[reading.unreadable].sum())
    missing = max(0.0, counted.weights.missing - lost)
    lost += counted.weights.unreadable
    return replace(counted, weights=replace(counted.weights, missing=missing, unreadable=lost))


def _weight_sums(weights: Floats, of_values: Floats | None) -> WeightSums:
    present = weights if of_values is None else of_values
    return WeightSums(
        rows=float(weights.sum()),
        rows_squared=float(np.square(weights).sum()),
        missing=max(0.0, float(weights.sum()) - float(present.sum())),
        values_squared=float(np.square(present).sum()),
    )
