"""Projections of vectors on a few directions, and their length; each is treated as a number.

Two distributions of vectors are equal if and only if their projections on all directions are
(Cramér-Wold theorem). A few random directions detect most differences, and counts of projections
can be merged like those of numbers. Two differences they dilute where dimensions are many: one of
scale, which the length of the vectors shows, and one along the few directions in which most vectors
differ from each other, the principal ones of the reference.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import shake_128

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.stats.arrays import Matrix
from flytekitplugins.wbmon.stats.binning import cell_counts

N_DIRECTIONS = 32
MAX_PRINCIPAL = 4
SLICE_EDGES = 64
SLICE_CELLS = 2 * SLICE_EDGES + 1
_UNIFORM = 4
_LARGEST = 2.0**1023  # projections beyond are cut, so that edges next to them are finite
_SAFE = 2.0**500  # sums of numbers below do not overflow
_LENGTH_STEPS = 512  # to a factor of two: 0.14 %, wider than the rounding of normed vectors
_ITERATIONS, _SUBSPACE = 8, 12
_ROUNDING = 2.0**20
_NEGLIGIBLE = 1e-12  # share of the variance

Flags = NDArray[np.bool_]


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
    return project_on(vectors, _directions(vectors.shape[1]))


def project_on(vectors: Matrix, directions: Matrix) -> Matrix:
    """Projections of each vector on some directions; beyond `2**1023` they are cut.

    Args:
        vectors: Finite; shape `(n, d)`.
        directions: Of length 1; shape `(d, k)`.
    """
    if np.abs(vectors).max(initial=0.0) < _SAFE:
        return np.asarray(vectors @ directions)
    scale = _scale_of_rows(vectors)
    projected = (vectors / scale) @ directions
    with np.errstate(over="ignore"):
        return np.clip(projected * scale, -_LARGEST, _LARGEST)


def lengths(vectors: Matrix) -> Matrix:
    """The Euclidean length of each vector, rounded to steps of 0.14 %.

    Vectors of one length, as many models give, then have one length however they are stored: that
    of 32-bit components differs in the seventh digit.

    Args:
        vectors: Finite; shape `(n, d)`.

    Returns:
        Lengths, cut at `2**1023`; shape `(n, 1)`.
    """
    # a vector of zeros has a length of 0, without a logarithm
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
        logs = np.log2(squares) / 2
        odd = ~((squares > 1 / _SAFE) & (squares < _SAFE))
        if odd.any():
            scale = _scale_of_rows(vectors[odd])
            scaled = np.square(vectors[odd] / scale).sum(axis=1)
            logs[odd] = np.minimum(np.log2(scaled) / 2 + np.log2(scale[:, 0]), np.log2(_LARGEST))
    return np.asarray(np.exp2(np.round(logs * _LENGTH_STEPS) / _LENGTH_STEPS))[:, np.newaxis]


def principal_directions(vectors: Matrix) -> Matrix:
    """The directions in which vectors differ most, by subspace iteration from fixed directions.

    Args:
        vectors: Finite; shape `(n, d)`.

    Returns:
        Unit vectors, of the largest variance first; shape `(d, k)` with `k` at most
        `MAX_PRINCIPAL`, and less if vectors differ in fewer directions.

    References:
        Halko, Martinsson & Tropp (2011), Finding structure with randomness, algorithm 4.4.
    """
    n, dimension = vectors.shape
    most = min(MAX_PRINCIPAL, n - 1, dimension)
    largest = np.abs(vectors).max(initial=0.0)
    if most < 1 or largest == 0:
        return np.empty((dimension, 0))
    scaled = vectors / largest
    centred = scaled - scaled.mean(axis=0)
    basis = _directions(dimension)[:, : min(_SUBSPACE, dimension)]
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(centred.T @ (centred @ basis))[0]
    values, within = np.linalg.eigh(np.atleast_2d(_gram(centred @ basis)))
    order = np.argsort(-values)[:most]
    kept = order[values[order] > _NEGLIGIBLE * float(np.square(scaled).sum())]
    # rounded, so that the last digits, which a processor may choose, make no other layout
    return np.asarray(np.round(basis @ within[:, kept] * _ROUNDING) / _ROUNDING)


def are_held_out(vectors: Matrix) -> Flags:
    """Which vectors are counted along directions that were learned: three in four, by a hash.

    Along the principal directions of some vectors just these vectors differ more than others do,
    the more so the more dimensions there are. Directions are learned from the other quarter. The
    hash is of the vector, so equal ones are on one side, and every process has the same.

    Args:
        vectors: Finite; shape `(n, d)`.
    """
    # 0.0 and -0.0 are one number, with different bits
    bits = np.ascontiguousarray(vectors + 0.0).view(np.uint64)
    with np.errstate(over="ignore"):
        mixed = bits @ _factors(vectors.shape[1])
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray((mixed >> np.uint64(62)) != 0)


@lru_cache(maxsize=4)
def _directions(dimension: int) -> Matrix:
    n_bytes = dimension * N_DIRECTIONS * _UNIFORM * 2
    digest = shake_128(f"directions of dimension {dimension}".encode()).digest(n_bytes)
    uniform = np.frombuffer(digest, "<u2").reshape(dimension, N_DIRECTIONS, _UNIFORM)
    # whole numbers and a half, so that every sum is exact
    components = (uniform - (2**16 - 1) / 2).sum(axis=2)
    return np.asarray(components / np.sqrt(np.square(components).sum(axis=0)))


@lru_cache(maxsize=4)
def _factors(dimension: int) -> NDArray[np.uint64]:
    digest = shake_128(f"factors of dimension {dimension}".encode()).digest(8 * dimension)
    # odd ones lose no bit
    return np.frombuffer(digest, "<u8") | np.uint64(1)


def _scale_of_rows(vectors: Matrix) -> Matrix:
    largest = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)
    return np.where(largest > 0, largest, 1.0)


def _gram(projected: Matrix) -> Matrix:
    return np.asarray(projected.T @ projected)


def slice_edges(projections: Matrix) -> NDArray[np.float64]:
    """Edges at `SLICE_EDGES` quantiles of each column of projections.

    Args:
        projections: Finite; shape `(n, k)` with `n >= 1`.

    Returns:
        The edges, strictly increasing within a column, one column after another; shape
        `(k * SLICE_EDGES,)`.
    """
    levels = np.linspace(0, len(projections) - 1, SLICE_EDGES).astype(np.int64)
    edges = np.sort(projections, axis=0)[levels].T
    for i in range(1, SLICE_EDGES):
        # equal quantiles are moved apart, because each column must have the same number of edges
        edges[:, i] = np.maximum(edges[:, i], np.nextafter(edges[:, i - 1], np.inf))
    return np.ascontiguousarray(edges).ravel()


def slice_counts(projections: Matrix, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of rows in each cell of each column of projections.

    Args:
        projections: Finite; shape `(n, k)`.
        edges: Edges, as `slice_edges` returns them.

    Returns:
        The counts, one column after another; shape `(k * SLICE_CELLS,)`.
    """
    grids = edges.reshape(-1, SLICE_EDGES)
    columns = np.sort(projections, axis=0).T
    counts = [cell_counts(column, grid) for column, grid in zip(columns, grids, strict=True)]
    return np.concatenate(counts) if counts else np.empty(0, dtype=np.int64)
