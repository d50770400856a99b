"""Vectors seen along a few fixed directions, each of which is a number like any other.

Two distributions of vectors are equal exactly if their projections on every direction are. A few
random directions catch most differences, and counts of projections merge as those of numbers do.
"""

from __future__ import annotations

import math
from hashlib import shake_128

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.stats.arrays import Matrix
from flytekitplugins.wbmon.stats.binning import cell_counts
from flytekitplugins.wbmon.stats.two_sample import GridDistance, grid_ks_statistic

N_DIRECTIONS = 32
SLICE_EDGES = 64


def project(vectors: Matrix) -> Matrix:
    """Projections of each vector on `N_DIRECTIONS` directions of random signs.

    The signs come from a hash of the dimension, so they are the same in every process for ever.

    Args:
        vectors: One a row; shape `(n, d)`.

    Returns:
        Shape `(n, N_DIRECTIONS)`; of the scale of one coordinate.

    References:
        Achlioptas (2003), Database-friendly random projections.
    """
    dimension = vectors.shape[1]
    n_bytes = -(-dimension * N_DIRECTIONS // 8)
    digest = shake_128(f"directions of dimension {dimension}".encode()).digest(n_bytes)
    bits = np.unpackbits(np.frombuffer(digest, np.uint8), count=dimension * N_DIRECTIONS)
    signs = 2.0 * bits.reshape(dimension, N_DIRECTIONS) - 1.0
    return vectors @ (signs / math.sqrt(max(dimension, 1)))


def slice_edges(projections: Matrix) -> NDArray[np.float64]:
    """`SLICE_EDGES` quantiles of every direction, strictly increasing, one direction after another.

    Args:
        projections: Finite; shape `(n, N_DIRECTIONS)` with `n >= 1`.
    """
    levels = np.linspace(0, len(projections) - 1, SLICE_EDGES).astype(np.int64)
    edges = np.sort(projections, axis=0)[levels].T
    for i in range(1, SLICE_EDGES):
        edges[:, i] = np.maximum(edges[:, i], np.nextafter(edges[:, i - 1], np.inf))
    return np.ascontiguousarray(edges).ravel()


def slice_counts(projections: Matrix, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts in the cells of every direction, one direction after another.

    Args:
        projections: Finite; shape `(n, N_DIRECTIONS)`.
        edges: As of `slice_edges`.
    """
    grids = edges.reshape(N_DIRECTIONS, SLICE_EDGES)
    columns = np.sort(projections, axis=0).T
    return np.concatenate(
        [cell_counts(column, grid) for column, grid in zip(columns, grids, strict=True)]
    )


def sliced_ks_statistic(
    reference_counts: NDArray[np.float64], current_counts: NDArray[np.float64]
) -> GridDistance:
    """Largest Kolmogorov-Smirnov distance over the directions, with its bound.

    Args:
        reference_counts: As of `slice_counts`.
        current_counts: The same cells.
    """
    pairs = zip(
        reference_counts.reshape(N_DIRECTIONS, -1),
        current_counts.reshape(N_DIRECTIONS, -1),
        strict=True,
    )
    distances = [grid_ks_statistic(a, b) for a, b in pairs]
    value = max(distance.value for distance in distances)
    limit = max(distance.value + distance.bound for distance in distances)
    return GridDistance(value, limit - value)
