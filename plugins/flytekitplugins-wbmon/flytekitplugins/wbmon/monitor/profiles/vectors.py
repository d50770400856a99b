"""Columns of vectors, such as embeddings, counted along fixed directions."""

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

VECTOR_CELLS = N_DIRECTIONS * (2 * SLICE_EDGES + 1)


def learn_vectors(name: str, chunks: Sequence[pa.Array], dtype: pa.DataType) -> FeatureProfile:
    """The layout of a column of vectors: the commonest length, and quantiles of each direction."""
    found = [vectors_of(chunk) for chunk in chunks if len(chunk)]
    lengths = [vectors.shape[1] for vectors, _ in found if len(vectors)]
    layout = FeatureProfile(name=name, kind="vector", dtype=str(dtype))
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
    """One batch of vectors; one of another length, or with a part that is not finite, is missing.

    Weights of vectors reach the number of missing rows only.
    """
    vectors, usable = vectors_of(array, layout.dimension)
    counts = slice_counts(project(vectors), np.asarray(layout.edges))
    n_missing = int((~usable).sum())
    counted = replace(layout, n_rows=len(array), n_missing=n_missing, counts=counts)
    if weights is None:
        return counted
    sums = WeightSums(
        rows=float(weights.sum()),
        rows_squared=float(np.square(weights).sum()),
        missing=float(weights[~usable].sum()),
        values_squared=float(np.square(weights[usable]).sum()),
    )
    return replace(counted, weights=sums)


def vectors_of(array: pa.Array, dimension: int = 0) -> tuple[Matrix, NDArray[np.bool_]]:
    """The usable vectors as rows of a matrix; and for each row of the column whether it is one.

    Args:
        array: Lists of floats.
        dimension: The length of a usable vector; 0 for the commonest length.
    """
    usable = is_valid(array)
    present = array.drop_null()
    values = np.asarray(dense_numbers(_filled(present.flatten())), dtype=np.float64)
    lengths = _lengths(present)
    wanted = dimension or (int(np.bincount(lengths).argmax()) if len(lengths) else 0)
    if wanted == 0:
        return np.empty((0, 0)), np.zeros(len(array), dtype=bool)
    fits = lengths == wanted
    vectors = values[np.repeat(fits, lengths)].reshape(-1, wanted)
    finite = np.isfinite(vectors).all(axis=1)
    fits[fits] = finite
    usable[usable] = fits
    return vectors[finite], usable


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_fixed_size_list(lists.type):
        return np.full(len(lists), lists.type.list_size, dtype=np.int64)
    offsets = np.asarray(dense_numbers(lists.offsets), dtype=np.int64)
    return np.asarray(offsets[1:] - offsets[:-1])


def _filled(values: pa.Array) -> pa.Array:
    """Floats with nan where one is null, so that vectors keep their length."""
    return values.fill_null(float("nan")) if values.null_count else values
