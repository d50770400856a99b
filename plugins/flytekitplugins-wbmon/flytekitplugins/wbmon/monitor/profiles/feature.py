"""The profile of one column of a window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.equality import ByContent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flytekitplugins.wbmon.stats.distinct import DistinctSketch

ColumnStatus = Literal["ok", "missing_column", "new_column", "type_changed"]

UNSEEN_LIMIT = 256
"""Maximum number of categories outside the table that are remembered by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSums(ByContent):
    """Sums of row weights; they equal counts if every weight is 1.

    Attributes:
        rows: Sum over all rows.
        rows_squared: Sum of squared weights over all rows.
        missing: Sum over rows without a value.
        infinite: Sum over rows with an infinite value.
        unreadable: Sum over rows with a value that cannot be read.
        values_squared: Sum of squared weights over rows with a finite value.
    """

    rows: float = 0.0
    rows_squared: float = 0.0
    missing: float = 0.0
    infinite: float = 0.0
    unreadable: float = 0.0
    values_squared: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProfile(ByContent):
    """The profile of one column of one window.

    Attributes:
        name: Name of the column.
        kind: What the column is, in the layout.
        stored: As what it was stored in the reference, which windows must follow; empty if the kind
            was declared, and then any storage that can be read will do.
        dtype: Arrow type of the column in this window; empty if the window does not have it.
        status: How the column fits the layout; a column with status `type_changed` has no counts.
        n_rows: Number of rows of the window.
        n_missing: Number of rows without a value: null, nan, or because the column is absent.
        n_infinite: Number of rows with `inf` or `-inf`; they are not in any cell.
        n_unreadable: Number of rows with a value that cannot be read as the kind.
        examples: At most three values that cannot be read.
        missing_values: Names of values that stand for none, such as `-999`.
        minimum: Smallest finite value; `nan` if there is none. Durations are in seconds, times in
            seconds since 1970, UTC.
        maximum: Largest finite value; likewise.
        mean: Mean of the finite values; `nan` if there are none, or for kinds without a mean.
        squared: (Weighted) sum of squared deviations from the mean.
        dimension: Length of the vectors; 0 for other kinds.
        edges: Grid of a column of numbers or durations, or of the ranks of an ordinal, strictly
            increasing; shape `(k,)`. Of times, the first and the last. For vectors, the grids of
            their slices, one after another.
        directions: The principal directions of vectors, one after another; None for other kinds,
            and in older files, whose vectors have the slices of fixed directions only.
        float_bits: Precision of the numbers from which the grid was learned: 16, 32 or 64.
        categories: Table of a categorical column: the names that have their own count. Of an
            ordinal, its names in their order.
        counts: Numbers of rows, or sums of weights. Numeric: the `2k + 1` cells of the grid, open
            and edge cells alternating. Categorical: one for each name in the table and, last, one
            for all other names. Vectors: the cells of all slices.
        cell_rows: Number of rows of each name in the table and, last, of all others, where `counts`
            are sums of weights; of names that came into the table late, at least. None for other
            kinds, and without weights.
        unseen: Rows of names outside the table, by name. Only the `UNSEEN_LIMIT` names with the
            lowest hashes are kept, a choice that does not depend on the order of the rows.
        buckets: Rows, or sums of weights, of the names outside the table, or of identifiers, by
            the hash of the value: `N_BUCKETS` numbers. None if there are no such rows.
        weights: Sums of weights; None if rows were not weighted.
        differing_pairs: Number of pairs of rows that are known to have different whole numbers;
            `-inf` if two are known to be equal or one is not whole, 0 for kinds that are not
            examined.
        hashes: Sketch of the distinct values of text, identifiers and times: the lowest hashes,
            ascending. Times of older files have none.
        hash_counts: Number of rows of each hash of the sketch.
        facets: What a value consists of, as columns of their own: the length and the words of a
            text, the fields of a struct, the elements of a list, the hour of a time.
    """

    name: str
    kind: Kind
    stored: Kind | Literal[""] = ""
    dtype: str = ""
    status: ColumnStatus = "ok"
    n_rows: int = 0
    n_missing: int = 0
    n_infinite: int = 0
    n_unreadable: int = 0
    examples: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = ()
    minimum: float = math.nan
    maximum: float = math.nan
    mean: float = math.nan
    squared: float = 0.0
    dimension: int = 0
    edges: NDArray[Any] | None = None
    directions: NDArray[Any] | None = None
    float_bits: int = 64
    categories: tuple[str, ...] = ()
    counts: NDArray[Any] | None = None
    cell_rows: NDArray[Any] | None = None
    unseen: Mapping[str, float] = field(default_factory=dict)
    buckets: NDArray[Any] | None = None
    weights: WeightSums | None = None
    differing_pairs: float = 0.0
    hashes: NDArray[Any] | None = None
    hash_counts: NDArray[Any] | None = None
    facets: Mapping[str, FeatureProfile] = field(default_factory=dict)

    @property
    def n_values(self) -> int:
        """Number of rows with a finite value."""
        return self.n_rows - self.n_missing - self.n_infinite - self.n_unreadable

    @property
    def sketch(self) -> DistinctSketch | None:
        """Sketch of the distinct values; None for kinds without one."""
        if self.hashes is None or self.hash_counts is None:
            return None
        from flytekitplugins.wbmon.stats.distinct import DistinctSketch

        return DistinctSketch(self.hashes, self.hash_counts, self.n_values)

    @property
    def value_weight(self) -> float:
        """Sum of weights over rows with a finite value; without weights, their number."""
        if self.weights is None:
            return float(self.n_values)
        lost = self.weights.missing + self.weights.infinite + self.weights.unreadable
        return self.weights.rows - lost

    @property
    def effective_values(self) -> float:
        """Kish's effective sample size of the rows with a finite value, `(sum w)^2 / sum w^2`."""
        if self.weights is None:
            return float(self.n_values)
        squared = self.weights.values_squared
        # value_weight is a difference of sums, which rounding can leave just below 0
        return max(0.0, self.value_weight) ** 2 / squared if squared > 0 else 0.0

    @property
    def effective_rows(self) -> float:
        """Kish's effective sample size of all rows, including those without a value."""
        if self.weights is None:
            return float(self.n_rows)
        squared = self.weights.rows_squared
        return self.weights.rows**2 / squared if squared > 0 else 0.0

    def rows_of_rate(self, share: float) -> float:
        """Number of unweighted rows of which a share would have the variance that it has here.

        Kish's size is that of a share which the weights have nothing to do with. Where all errors
        are kept and one in a hundred of the other rows, what is missing among errors is known well,
        and what is missing among the others is not: the variance of a weighted share `p` is
        `((1 - p)^2 Q + p^2 (S - Q)) / W^2`, with the sum of weights `W`, that of their squares `S`,
        and that of the squares of the rows it is of `Q`. Several kinds of rows without a value
        divide their `Q` as their weights.

        Args:
            share: One of the shares below.

        Returns:
            A number of rows, which may be larger than that of the window.

        References:
            Särndal, Swensson & Wretman (1992), Model assisted survey sampling, section 5.7.
        """
        weights = self.weights
        if weights is None or not 0 < share < 1:
            return self.effective_rows
        lost = weights.missing + weights.infinite + weights.unreadable
        squared = max(0.0, weights.rows_squared - weights.values_squared)
        of_share = squared * share * weights.rows / lost
        variance = (1 - share) ** 2 * of_share + share**2 * (weights.rows_squared - of_share)
        return share * (1 - share) * weights.rows**2 / variance if variance > 0 else 0.0

    @property
    def missing_share(self) -> float:
        """(Weighted) share of rows without a value, in [0, 1]; `nan` for no rows."""
        return self._share(self.n_missing, self.weights.missing if self.weights else 0.0)

    @property
    def infinite_share(self) -> float:
        """(Weighted) share of rows with an infinite value, in [0, 1]; `nan` for no rows."""
        return self._share(self.n_infinite, self.weights.infinite if self.weights else 0.0)

    @property
    def unreadable_share(self) -> float:
        """(Weighted) share of rows with an unreadable value, in [0, 1]; `nan` for no rows."""
        return self._share(self.n_unreadable, self.weights.unreadable if self.weights else 0.0)

    @property
    def std(self) -> float:
        """Population standard deviation of the finite values; `nan` if there are none."""
        weight = self.value_weight
        return math.sqrt(self.squared / weight) if weight > 0 else math.nan

    @property
    def n_categories(self) -> float:
        """Number of distinct categories; an estimate if `unseen` has reached `UNSEEN_LIMIT`.

        The estimate is the k-minimum-values sketch: if the k-th smallest of the hashes, scaled to
        [0, 1), is `h`, there are about `(k - 1) / h` names.

        References:
            Bar-Yossef et al. (2002), Counting distinct elements in a data stream (algorithm 1).
        """
        if self.kind not in ("category", "boolean") or self.counts is None:
            return math.nan
        listed = float((self.counts[:-1] > 0).sum())
        if len(self.unseen) < UNSEEN_LIMIT:
            return listed + len(self.unseen)
        return listed + (UNSEEN_LIMIT - 1) / (max(map(name_hash, self.unseen)) / 2**64)

    def _share(self, count: int, weight: float) -> float:
        if self.weights is None:
            return count / self.n_rows if self.n_rows else math.nan
        return weight / self.weights.rows if self.weights.rows > 0 else math.nan


def name_hash(name: str) -> int:
    """A hash in [0, 2^64) that is the same in every process, unlike that of `hash`."""
    from hashlib import blake2b

    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def lowest_hashes(counts: dict[str, float]) -> dict[str, float]:
    """The `UNSEEN_LIMIT` names with the lowest hashes, in ascending order of their hashes.

    Unlike the first or the most frequent names, this choice does not depend on how the rows were
    divided into batches, so profiles can be merged in any order.
    """
    from heapq import nsmallest

    return {name: counts[name] for name in nsmallest(UNSEEN_LIMIT, counts, key=name_hash)}
