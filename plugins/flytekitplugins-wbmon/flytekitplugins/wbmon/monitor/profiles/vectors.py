"""Counts vectors, such as embeddings, in grids of their projections on fixed directions."""

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
    N_DIRECTIONS,
    SLICE_EDGES,
    project,
    slice_counts,
    slice_edges,
)

_EXAMPLES = 3
VECTOR_CELLS = N_DIRECTIONS * (2 * SLICE_EDGES + 1)


def learn_vectors(layout: FeatureProfile, chunks: Sequence[pa.Array]) -> FeatureProfile:
    """The layout of a column of vectors, learned from some of its rows.

    It consists of the most frequent length of the vectors and, for each direction, a grid
    at quantiles of the projections. Without usable rows it is empty.
    """
    found = [vectors_of(chunk) for chunk in chunks if len(chunk)]
    lengths = [vectors.shape[1] for vectors, _ in found if len(vectors)]
    if not lengths:
        return layout
    dimension = max(set(lengths), key=lengths.count)
    rows = np.concatenate([v for v, _ in found if v.shape[1] == dimension])
    return replace(
        layout,
        dimension=dimension,
        edges=slice_edges(project(rows)),
        counts=np.zeros(VECTOR_CELLS, dtype=np.int64),
    )


def count_vectors(
    layout: FeatureProfile, array: pa.Array, weights: NDArray[np.float64] | None
) -> FeatureProfile:
    """The profile of one batch of vectors.

    A vector of another length is unreadable, one with a component that is not finite is missing.
    Weights are used for the shares of these rows and the effective sample size; cells count rows.
    """
    vectors, usable = vectors_of(array, layout.dimension)
    counts = slice_counts(project(vectors), np.asarray(layout.edges))
    other, lengths = _of_other_length(array, layout.dimension)
    missing = ~(usable | other)
    counted = replace(
        layout,
        n_rows=len(array),
        n_missing=int(missing.sum()),
        n_unreadable=int(other.sum()),
        examples=tuple(f"{length} dimensions" for length in lengths),
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
    lengths = _lengths(present)
    wanted = dimension or (int(np.bincount(lengths).argmax()) if len(lengths) else 0)
    if wanted == 0:
        return np.empty((0, 0)), np.zeros(len(array), dtype=bool)
    fits = lengths == wanted
    vectors = values[np.repeat(fits, lengths)].reshape(-1, wanted)
    finite = np.isfinite(vectors).all(axis=1)
    # two nested masks: of the vectors of the right length, the finite ones; of all rows, these
    fits[fits] = finite
    usable[usable] = fits
    return vectors[finite], usable


def _of_other_length(array: pa.Array, dimension: int) -> tuple[NDArray[np.bool_], list[int]]:
    """The rows with a vector of another length, and some of these lengths."""
    lengths = np.zeros(len(array), dtype=np.int64)
    lengths[is_valid(array)] = _lengths(array.drop_null())
    other = (lengths > 0) & (lengths != dimension)
    return other, np.unique(lengths[other])[:_EXAMPLES].tolist()


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
