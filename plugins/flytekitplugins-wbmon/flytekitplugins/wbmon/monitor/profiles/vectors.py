"""Counts vectors, such as embeddings, in grids of their slices.

Slices are the projections on fixed directions, the length, and the projections on the principal
directions of the reference, in this order. Profiles of older files have those on fixed directions
only, and windows made like them, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import dense_numbers, is_valid
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, WeightSums
from flytekitplugins.wbmon.stats.arrays import Matrix
from flytekitplugins.wbmon.stats.projections import (
    MAX_PRINCIPAL,
    N_DIRECTIONS,
    SLICE_CELLS,
    SLICE_EDGES,
    are_held_out,
    lengths,
    principal_directions,
    project,
    project_on,
    slice_counts,
    slice_edges,
)

_EXAMPLES = 3
_LEARNED_FROM = 4096  # vectors, from which principal directions are learned, at most
MAX_SLICES = N_DIRECTIONS + 1 + MAX_PRINCIPAL


def learn_vectors(layout: FeatureProfile, chunks: Sequence[pa.Array]) -> FeatureProfile:
    """The layout of a column of vectors, learned from some of its rows.

    It consists of the most frequent length of the vectors, the principal directions of a quarter of
    them and, for each slice, a grid at its quantiles. Without usable rows it is empty.
    """
    found = [vectors_of(chunk) for chunk in chunks if len(chunk)]
    dimensions = [vectors.shape[1] for vectors, _ in found if len(vectors)]
    if not dimensions:
        return layout
    dimension = max(set(dimensions), key=dimensions.count)
    rows = np.concatenate([v for v, _ in found if v.shape[1] == dimension])
    held_out = are_held_out(rows)
    learned_from = rows[~held_out]
    step = len(learned_from) // _LEARNED_FROM + 1
    directions = principal_directions(learned_from[::step])
    if not held_out.any():
        directions = directions[:, :0]
    edges = [slice_edges(project(rows)), slice_edges(lengths(rows))]
    if directions.size:
        edges.append(slice_edges(project_on(rows[held_out], directions)))
    return with_no_counts(
        replace(
            layout,
            dimension=dimension,
            directions=np.ascontiguousarray(directions.T).ravel(),
            edges=np.concatenate(edges),
        )
    )


def n_slices(layout: FeatureProfile) -> int:
    """Number of slices of a layout of vectors; 0 for one that was learned from none."""
    return 0 if layout.edges is None else len(layout.edges) // SLICE_EDGES


def with_no_counts(layout: FeatureProfile) -> FeatureProfile:
    """The layout with a count of 0 in every cell of its slices."""
    return replace(layout, counts=np.zeros(n_slices(layout) * SLICE_CELLS, dtype=np.int64))


def count_vectors(
    layout: FeatureProfile, array: pa.Array, weights: NDArray[np.float64] | None
) -> FeatureProfile:
    """The profile of one batch of vectors.

    A vector of another length is unreadable, one with a component that is not finite is missing.
    Weights are used for the shares of these rows and the effective sample size; cells count rows.
    """
    vectors, usable = vectors_of(array, layout.dimension)
    counts = _counts(layout, vectors)
    other, other_lengths = _of_other_length(array, layout.dimension)
    missing = ~(usable | other)
    counted = replace(
        layout,
        n_rows=len(array),
        n_missing=int(missing.sum()),
        n_unreadable=int(other.sum()),
        examples=tuple(f"{length} dimensions" for length in other_lengths),
        counts=counts,
    )
    if weights is None:
        return counted
    sums = WeightSums(
        rows=float(weights.sum()),
        rows_squared=float(np.square(weights).sum()),
        missing=float(weights[missing].sum()),
        unreadable=float(weights[other].sum()),
        values_squared=float(np.square(weights[usable]).sum()),
    )
    return replace(counted, weights=sums)


def vectors_of(array: pa.Array, dimension: int = 0) -> tuple[Matrix, NDArray[np.bool_]]:
    """The usable vectors of a column, as a matrix.

    Args:
        array: Lists of numbers.
        dimension: Length of a usable vector; 0 for the most frequent length.

    Returns:
        The usable vectors, shape `(n, d)`; and for each row of the column whether it is usable.
    """
    usable = is_valid(array)
    # flatten() leaves out the values of null rows, so their lengths must be left out, too
    present = array.drop_null()
    values = _floats(present.flatten())
    sizes = _lengths(present)
    wanted = dimension or (int(np.bincount(sizes).argmax()) if len(sizes) else 0)
    if wanted == 0:
        return np.empty((0, 0)), np.zeros(len(array), dtype=bool)
    fits = sizes == wanted
    vectors = values[np.repeat(fits, sizes)].reshape(-1, wanted)
    finite = np.isfinite(vectors).all(axis=1)
    # two nested masks: of the vectors of the right length, the finite ones; of all rows, these
    fits[fits] = finite
    usable[usable] = fits
    return vectors[finite], usable


def _counts(layout: FeatureProfile, vectors: Matrix) -> NDArray[np.int64]:
    edges = np.asarray(layout.edges)
    if layout.directions is None:
        return slice_counts(project(vectors), edges)
    fixed = (N_DIRECTIONS + 1) * SLICE_EDGES
    of_all = np.hstack((project(vectors), lengths(vectors)))
    directions = layout.directions.reshape(-1, layout.dimension).T
    learned = project_on(vectors[are_held_out(vectors)], directions)
    return np.concatenate(
        (slice_counts(of_all, edges[:fixed]), slice_counts(learned, edges[fixed:]))
    )


def _of_other_length(array: pa.Array, dimension: int) -> tuple[NDArray[np.bool_], list[int]]:
    """The rows with a vector of another length, and some of these lengths."""
    sizes = np.zeros(len(array), dtype=np.int64)
    sizes[is_valid(array)] = _lengths(array.drop_null())
    other = (sizes > 0) & (sizes != dimension)
    return other, np.unique(sizes[other])[:_EXAMPLES].tolist()


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_fixed_size_list(lists.type):
        return np.full(len(lists), lists.type.list_size, dtype=np.int64)
    offsets = np.asarray(dense_numbers(lists.offsets), dtype=np.int64)
    return np.asarray(offsets[1:] - offsets[:-1])


def _floats(values: pa.Array) -> NDArray[np.float64]:
    """The numbers with nan in place of null, so that vectors keep their length."""
    if not values.null_count:
        return np.asarray(dense_numbers(values), dtype=np.float64)
    floats = np.full(len(values), np.nan)
    floats[is_valid(values)] = dense_numbers(values)
    return floats
