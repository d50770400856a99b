"""Quantile grids for a numeric feature, and counts of rows in their cells.

A grid of `k` edges divides the numbers into `2k + 1` cells, which alternate: below the first edge,
*at* the first edge, between the first and the second, *at* the second, and so on. A value that many
rows share (zero, a cap, a default) becomes an edge and has its own cell, so discrete data are
counted without loss. Counts in a fixed grid are integers that add up: partitions merge exactly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flytekitplugins.wbmon.stats.arrays import Counts, Values

_EXACT = 2.0**53  # up to here every whole number is a float
GRID_SIZE = 1024
"""Edges of a grid; the Kolmogorov-Smirnov distance computed from it is within about 1/1024."""


def grid_edges(values: Values, *, size: int = GRID_SIZE) -> Values:
    """Edges at the quantiles of `values`, or at every distinct value if there are at most `size`.

    Args:
        values: Sorted ascending, finite; shape `(n,)`.
        size: Maximum number of edges.

    Returns:
        Strictly increasing edges with the dtype of `values`; shape `(k,)` with `k <= size`; empty
        if there are no values. The first and last are the smallest and the largest value.
    """
    n = len(values)
    # the values are sorted: comparing neighbours avoids the second sort of np.unique
    is_first = np.ones(n, dtype=bool)
    np.not_equal(values[1:], values[:-1], out=is_first[1:])
    if np.count_nonzero(is_first) <= size:
        return values[is_first]
    positions = np.linspace(0, n - 1, size).astype(np.int64)
    # a value that holds several quantiles is taken several times
    edges: Values = np.unique(values[positions])
    return edges


def cell_counts(values: Values, edges: Values) -> NDArray[np.int64]:
    """Number of the sorted `values` in each of the `2k + 1` cells of `edges`.

    Args:
        values: Sorted ascending, without nan; shape `(n,)`. Numbers of Python (dtype object) are
            compared with all their digits, and a float edge as the shortest decimal it is read as.
        edges: Strictly increasing; shape `(k,)`.

    Returns:
        Counts, open and edge cells alternating; shape `(2k + 1,)`; they sum to `n`.
    """
    if not len(edges):
        return np.array([len(values)], dtype=np.int64)
    # k searches in the n sorted values, far fewer than n searches in the k edges
    below, up_to = _places(values, edges)
    counts = np.empty(2 * len(edges) + 1, dtype=np.int64)
    counts[1::2] = up_to - below
    counts[0] = below[0]
    counts[2::2] = np.append(below[1:], len(values)) - up_to
    return counts


def _places(values: Values, edges: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of the sorted values lie below each edge, and at or below it."""
    if not _are_wide(values, edges):
        return np.searchsorted(values, edges, "left"), np.searchsorted(values, edges, "right")
    # numbers of Python are compared as they are
    is_float = edges.dtype.kind == "f"
    numbers = [Decimal(repr(edge)) if is_float else edge for edge in edges.tolist()]
    below = [bisect_left(values, edge, key=_plain) for edge in numbers]
    up_to = [bisect_right(values, edge, key=_plain) for edge in numbers]
    return np.array(below), np.array(up_to)


def _are_wide(values: Values, edges: Values) -> bool:
    """Whether numpy would take different edges for one float, to compare them with values."""
    if values.dtype == object:
        return True
    wide = edges.dtype.kind == "i" and values.dtype.kind != "i"
    return wide and bool((np.abs(edges.astype(np.float64)) >= _EXACT).any())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def weighted_cell_counts(
    values: Values, weights: NDArray[np.float64], edges: Values
) -> NDArray[np.float64]:
    """Sum of weights in each cell of `edges`; the values need not be sorted.

    Args:
        values: Without nan; shape `(n,)`.
        weights: Weight of each value; shape `(n,)`, finite, `>= 0`.
        edges: Strictly increasing; shape `(k,)`.

    Returns:
        Sums of weights, in the same order as `cell_counts`; shape `(2k + 1,)`.
    """
    n_cells = 2 * len(edges) + 1
    if _are_wide(values, edges):
        order = np.argsort(values)
        cells = np.repeat(np.arange(n_cells), cell_counts(values[order], edges))
        weights = weights[order]
    else:
        # the two ranks are equal between edges (even cell) and differ by one at an edge (odd)
        cells = np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right")
    return np.bincount(cells, weights=weights, minlength=n_cells).astype(np.float64)


def cumulative_shares(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Empirical distribution function at each edge: its left limit and its value.

    Args:
        counts: Cell counts, as `cell_counts` returns them; shape `(2k + 1,)`.

    Returns:
        Share of rows below each edge, and share of rows at or below it; each of shape `(k,)`.
    """
    total = counts.sum()
    cumulative = np.cumsum(counts) / total if total > 0 else np.zeros(len(counts))
    return cumulative[:-1:2], cumulative[1::2]


def quantile_groups(counts: Counts, *, n_groups: int) -> NDArray[np.int64]:
    """Assign each cell to one of at most `n_groups` groups of about equal mass.

    A cell is never split: it belongs to the group in which the middle of its mass lies. A value
    that a third of the rows share is therefore not divided between groups.

    Args:
        counts: Cell counts of the reference; shape `(c,)`.
        n_groups: Maximum number of groups; 10 gives deciles.

    Returns:
        Group number of each cell, `0, 1, …` without gaps and non-decreasing; shape `(c,)`.
    """
    total = counts.sum()
    if total <= 0:
        return np.zeros(len(counts), dtype=np.int64)
    middle = (np.cumsum(counts) - 0.5 * counts) / total
    # an empty cell behind the last row has its middle at exactly 1
    wanted = np.minimum((middle * n_groups).astype(np.int64), n_groups - 1)
    # renumber: a heavy cell can leave some group numbers unused
    groups: NDArray[np.int64] = np.cumsum(np.diff(wanted, prepend=wanted[0]) > 0)
    return groups


def sum_groups(counts: ArrayLike, groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the counts of each group of cells; shape `(n_groups,)`."""
    sums = np.bincount(groups, weights=np.asarray(counts))
    return sums.astype(np.float64)
