"""Where to cut a feature's values, and how many rows fall between the cuts.

A grid of `k` edges divides the numbers into `2k + 1` cells, which alternate: below the first edge,
*at* the first edge, between the first and the second, *at* the second, and so on. Values that many
rows share (zero, a cap, a default) become edges and keep a cell of their own, so nothing is lost on
discrete data. Counts in a fixed grid are integers that add up: partitions merge exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[Any]
Counts = NDArray[np.int64] | NDArray[np.float64]

GRID_SIZE = 1024
"""Edges of a grid; the statistics of a grid are then within 1/1024 of the exact ones."""


def grid_edges(values: Values, *, size: int = GRID_SIZE) -> Values:
    """Edges at the quantiles of `values`; every distinct value is an edge if there are few.

    Args:
        values: Sorted ascending, finite; shape `(n,)`.
        size: Most edges that are wanted.

    Returns:
        Strictly increasing edges in the type of `values`; shape `(k,)` with `k <= size`; empty for
        no values. The first and last are the least and the greatest value.
    """
    n = len(values)
    if n == 0:
        return values.copy()
    is_first = np.empty(n, dtype=bool)
    is_first[0] = True
    np.not_equal(values[1:], values[:-1], out=is_first[1:])
    if np.count_nonzero(is_first) <= size:
        return values[is_first]
    positions = np.linspace(0, n - 1, size).astype(np.int64)
    edges: Values = np.unique(values[positions])
    return edges


def cell_counts(values: Values, edges: Values) -> NDArray[np.int64]:
    """How many of the sorted `values` fall into each of the `2k + 1` cells of `edges`.

    Args:
        values: Sorted ascending, without nan; shape `(n,)`.
        edges: Strictly increasing; shape `(k,)`.

    Returns:
        Counts, open and edge cells alternating; shape `(2k + 1,)`; they sum to `n`.
    """
    if not len(edges):
        return np.array([len(values)], dtype=np.int64)
    below = np.searchsorted(values, edges, "left")
    up_to = np.searchsorted(values, edges, "right")
    counts = np.empty(2 * len(edges) + 1, dtype=np.int64)
    counts[1::2] = up_to - below
    counts[0] = below[0]
    counts[2::2] = np.append(below[1:], len(values)) - up_to
    return counts


def weighted_cell_counts(
    values: Values, weights: NDArray[np.float64], edges: Values
) -> NDArray[np.float64]:
    """The sum of weights in each cell of `edges`; the values need not be sorted.

    Args:
        values: Without nan; shape `(n,)`.
        weights: One a value; shape `(n,)`, finite, `>= 0`.
        edges: Strictly increasing; shape `(k,)`.

    Returns:
        Sums of weights in the order of `cell_counts`; shape `(2k + 1,)`.
    """
    cells = np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right")
    sums = np.bincount(cells, weights=weights, minlength=2 * len(edges) + 1)
    return sums.astype(np.float64)


def cumulative_shares(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of rows below each edge and up to each edge; two arrays of shape `(k,)`."""
    total = counts.sum()
    cumulative = np.cumsum(counts) / total if total > 0 else np.zeros(len(counts))
    return cumulative[:-1:2], cumulative[1::2]


def quantile_groups(counts: Counts, *, n_groups: int) -> NDArray[np.int64]:
    """Which of at most `n_groups` groups of about equal mass each cell belongs to.

    A cell goes where the middle of its mass lies, so a value that a third of the rows share gets a
    group of its own instead of being torn.

    Args:
        counts: Cell counts of the reference; shape `(c,)`.
        n_groups: Ten for deciles.

    Returns:
        Group numbers `0, 1, …` without gaps, not decreasing; shape `(c,)`.
    """
    total = counts.sum()
    if total <= 0:
        return np.zeros(len(counts), dtype=np.int64)
    middle = (np.cumsum(counts) - 0.5 * counts) / total
    wanted = np.minimum((middle * n_groups).astype(np.int64), n_groups - 1)
    groups: NDArray[np.int64] = np.cumsum(np.diff(wanted, prepend=wanted[0]) > 0)
    return groups


def sum_groups(counts: ArrayLike, groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts added up by group; shape `(n_groups,)`."""
    sums = np.bincount(groups, weights=np.asarray(counts))
    return sums.astype(np.float64)
