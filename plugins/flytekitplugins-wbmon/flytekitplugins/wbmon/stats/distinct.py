"""A mergeable sketch of the distinct values of a column: the lowest hashes, with their rows.

Hashes of different values are independent uniform numbers, so the values with the lowest hashes are
a random sample of the distinct values, and the density of those hashes says how many there are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SKETCH_SIZE = 1024
"""Hashes that are kept: the number of distinct values has a standard error of 3 %."""

N_BUCKETS = 256
"""Buckets into which the values of a column are divided by their hashes."""

_MOST_ROWS = 0.9


class DistinctSketch(NamedTuple):
    """The lowest hashes of a column.

    Attributes:
        hashes: The lowest distinct hashes, ascending; shape `(k,)` with `k <= SKETCH_SIZE`.
        counts: Rows of each; shape `(k,)`.
        n_rows: Rows of the whole column.
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]
    n_rows: int

    @property
    def is_exact(self) -> bool:
        """Whether every value of the column is in the sketch."""
        return int(self.counts.sum()) == self.n_rows


class SharedSample(NamedTuple):
    """Values of two columns, drawn without regard to the column that has them.

    Attributes:
        one: Rows of each value in the first column; shape `(k,)`.
        other: Rows of each in the second; shape `(k,)`.
        share: Share of all values that is in the sample; in (0, 1].
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    share: float


def sketch_distinct(hashes: NDArray[np.uint64]) -> DistinctSketch:
    """The sketch of one batch of a column.

    Args:
        hashes: Hash of each row, uniform over 64 bits; shape `(n,)`.
    """
    some = hashes
    # most hashes are above any that are kept; sorting all of them would take ten times as long
    if len(hashes) > 8 * SKETCH_SIZE:
        some = hashes[hashes <= _enough_below(hashes)]
    values, counts = np.unique(some, return_counts=True)
    return DistinctSketch(
        values[:SKETCH_SIZE], counts[:SKETCH_SIZE].astype(np.int64), n_rows=len(hashes)
    )


def merge_sketches(one: DistinctSketch, other: DistinctSketch) -> DistinctSketch:
    """The sketch of the rows of both.

    Associative and commutative, and without any error: a hash among the lowest of the whole is
    among the lowest of each part that has it, so its rows are all known.
    """
    values, place = np.unique(np.concatenate((one.hashes, other.hashes)), return_inverse=True)
    counts = np.zeros(len(values), dtype=np.int64)
    np.add.at(counts, place.reshape(-1), np.concatenate((one.counts, other.counts)))
    n_rows = one.n_rows + other.n_rows
    return DistinctSketch(values[:SKETCH_SIZE], counts[:SKETCH_SIZE], n_rows)


def bucket_counts(
    hashes: NDArray[np.uint64], weights: NDArray[np.float64] | None = None
) -> NDArray[np.int64] | NDArray[np.float64]:
    """Rows, or sums of weights, of each of `N_BUCKETS` buckets of values.

    A value is in the bucket that the last bits of its hash say; the first ones say whether it is in
    a sketch. The counts of parts add up.

    Args:
        hashes: Hash of each row; shape `(n,)`.
        weights: Weight of each row; None if every row counts once.
    """
    last = (hashes % np.uint64(N_BUCKETS)).astype(np.int64)
    return np.bincount(last, weights=weights, minlength=N_BUCKETS)


def shared_sample(one: DistinctSketch, other: DistinctSketch) -> SharedSample:
    """The values with the lowest hashes of two columns together; all if both sketches are exact."""
    hashes, share = np.union1d(one.hashes, other.hashes), 1.0
    if not (one.is_exact and other.is_exact):
        hashes = hashes[:SKETCH_SIZE]
        # the last one only says how densely the others lie
        share, hashes = share_below(hashes[-1]), hashes[:-1]
    return SharedSample(_rows_of(hashes, one), _rows_of(hashes, other), share)


def n_distinct(sketch: DistinctSketch) -> tuple[float, float]:
    """Estimated number of distinct values, and its relative standard error.

    `(k - 1) / h`, where `h` is the largest of the `k` lowest hashes as a share of their range:
    unbiased, with the standard error `1 / sqrt(k - 2)`.

    Returns:
        The number and its relative error; the error is 0 where the number is exact, which it is up
        to `SKETCH_SIZE` values.

    References:
        Bar-Yossef et al. (2002), Counting distinct elements in a data stream; Beyer et al. (2007),
        On synopses for distinct-value estimation under multiset operations.
    """
    k = len(sketch.hashes)
    if sketch.is_exact:
        return float(k), 0.0
    return (k - 1) / share_below(sketch.hashes[-1]), 1 / math.sqrt(k - 2)


def share_below(value: np.uint64) -> float:
    """Share of all hashes that are not above `value`; in (0, 1]."""
    return (float(value) + 1) / 2.0**64


def repeated_share(sketch: DistinctSketch) -> float:
    """Share of the rows of a column that repeat an earlier one, in [0, 1]; `nan` without rows.

    It grows with the rows of a window, if values come from a population: to compare windows of
    different length, see `stats/repeats.py`.
    """
    if sketch.n_rows == 0:
        return math.nan
    return max(0.0, 1 - n_distinct(sketch)[0] / sketch.n_rows)


def frequent_share(sketch: DistinctSketch) -> float:
    """Share of the rows that the most frequent values have beyond what the others have, in [0, 1].

    `1 - d c / n`: `d` distinct values, `c` the mean rows of all but the most frequent in the
    sketch, `n` rows. Of a single value it is 1, of equally frequent ones 0. Where the number of
    values is an estimate, that plus two standard errors counts, so a share is rather too small.

    Args:
        sketch: Sketch of at least one row.
    """
    if len(sketch.hashes) == 1:
        return 1.0
    others = (int(sketch.counts.sum()) - int(sketch.counts.max())) / (len(sketch.counts) - 1)
    number, error = n_distinct(sketch)
    return max(0.0, 1 - number * (1 + 2 * error) * others / sketch.n_rows)


def n_clusters(sketch: DistinctSketch) -> float:
    """How many independent rows a column is worth if rows with one value are not independent.

    `n^2 / sum c^2` over the values with `c` of the `n` rows, of which the sum is estimated.

    Args:
        sketch: Sketch of the column; without rows it is worth none.

    References:
        Kish (1965), Survey sampling, section 5.4.
    """
    if not sketch.n_rows:
        return 0.0
    counts, share = sketch.counts.astype(np.float64), 1.0
    if not sketch.is_exact:
        # the last one only says how densely the others lie
        counts, share = counts[:-1], share_below(sketch.hashes[-1])
    return sketch.n_rows**2 * share / float(counts @ counts)


def rows_of_most(sketch: DistinctSketch) -> int:
    """How many rows a value has at most, of the values in which nine in ten rows are.

    Args:
        sketch: Of a column with at least one row.
    """
    counts = np.sort(sketch.counts)
    rows = np.cumsum(counts)
    return int(counts[np.searchsorted(rows, _MOST_ROWS * rows[-1])])


def _enough_below(hashes: NDArray[np.uint64]) -> np.uint64:
    """A hash that is not below the `SKETCH_SIZE` lowest distinct ones."""
    limit = 8 * SKETCH_SIZE
    while limit < len(hashes):
        lowest = np.partition(hashes, limit)[: limit + 1]
        if len(np.unique(lowest)) >= SKETCH_SIZE:
            return np.uint64(lowest.max())
        limit *= 8
    return np.uint64(hashes.max())


def _rows_of(hashes: NDArray[np.uint64], sketch: DistinctSketch) -> NDArray[np.int64]:
    rows = np.zeros(len(hashes), dtype=np.int64)
    _, places, found = np.intersect1d(hashes, sketch.hashes, return_indices=True)
    rows[places] = sketch.counts[found]
    return rows
