"""Projections of vectors on a few fixed directions; each projection is treated as a number.

Two distributions of vectors are equal if and only if their projections on all directions are
(Cramér-Wold theorem). A few random directions detect most differences, and counts of projections
can be merged like those of numbers.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import shake_128

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.stats.arrays import Matrix
from flytekitplugins.wbmon.stats.binning import cell_counts
from flytekitplugins.wbmon.stats.two_sample import GridDistance, grid_ks_statistic

N_DIRECTIONS = 32
SLICE_EDGES = 64
_UNIFORM = 4


def project(vectors: Matrix) -> Matrix:
    """Projections of each vector on `N_DIRECTIONS` random unit vectors.

    Their components are nearly normal before they are scaled: sums of four uniform numbers, which a
    hash of the dimension gives. So they are the same in every process and version, and profiles
    made at different times can be compared. Signs alone would not tell an exchange of dimensions.

    Args:
        vectors: One vector per row; shape `(n, d)`.

    Returns:
        Projections, shape `(n, N_DIRECTIONS)`.

    References:
        Rabin et al. (2011), Wasserstein barycenter and its application to texture mixing.
    """
    return vectors @ _directions(vectors.shape[1])


@lru_cache(maxsize=4)
def _directions(dimension: int) -> Matrix:
    n_bytes = dimension * N_DIRECTIONS * _UNIFORM * 2
    digest = shake_128(f"directions of dimension {dimension}".encode()).digest(n_bytes)
    uniform = np.frombuffer(digest, "<u2").reshape(dimension, N_DIRECTIONS, _UNIFORM)
    # whole numbers and a half, so that every sum is exact
    components = (uniform - (2**16 - 1) / 2).sum(axis=2)
    return np.asarray(components / np.sqrt(np.square(components).sum(axis=0)))


def slice_edges(projections: Matrix) -> NDArray[np.float64]:
    """Edges at `SLICE_EDGES` quantiles of each direction.

    Args:
        projections: Finite; shape `(n, N_DIRECTIONS)` with `n >= 1`.

    Returns:
        The edges, strictly increasing within a direction, one direction after another; shape
        `(N_DIRECTIONS * SLICE_EDGES,)`.
    """
    levels = np.linspace(0, len(projections) - 1, SLICE_EDGES).astype(np.int64)
    edges = np.sort(projections, axis=0)[levels].T
    for i in range(1, SLICE_EDGES):
        # equal quantiles are moved apart, because each direction must have the same number of edges
        edges[:, i] = np.maximum(edges[:, i], np.nextafter(edges[:, i - 1], np.inf))
    return np.ascontiguousarray(edges).ravel()


def slice_counts(projections: Matrix, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of rows in each cell of each direction.

    Args:
        projections: Finite; shape `(n, N_DIRECTIONS)`.
        edges: Edges, as `slice_edges` returns them.

    Returns:
        The counts, one direction after another; shape `(N_DIRECTIONS * (2 * SLICE_EDGES + 1),)`.
    """
    grids = edges.reshape(N_DIRECTIONS, SLICE_EDGES)
    columns = np.sort(projections, axis=0).T
    return np.concatenate(
        [cell_counts(column, grid) for column, grid in zip(columns, grids, strict=True)]
    )


def sliced_ks_statistic(
    reference_counts: NDArray[np.float64], current_counts: NDArray[np.float64]
) -> GridDistance:
    """Largest Kolmogorov-Smirnov distance over the directions, with its error bound.

    Args:
        reference_counts: Counts of the reference, as `slice_counts` returns them.
        current_counts: Counts of the current window in the same cells.
    """
    pairs = zip(
        reference_counts.reshape(N_DIRECTIONS, -1),
        current_counts.reshape(N_DIRECTIONS, -1),
        strict=True,
    )
    distances = [grid_ks_statistic(a, b) for a, b in pairs]
    value = max(distance.value for distance in distances)
    # the direction with the largest upper bound need not be that with the largest value
    limit = max(distance.value + distance.bound for distance in distances)
    return GridDistance(value, limit - value)
