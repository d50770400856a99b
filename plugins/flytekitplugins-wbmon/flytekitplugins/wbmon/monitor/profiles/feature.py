"""The profile of one column of a window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from flytekitplugins.wbmon.data.kind import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

ColumnStatus = Literal["ok", "missing_column", "new_column", "type_changed"]

UNSEEN_LIMIT = 256
"""Maximum number of categories outside the table that are remembered by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSums:
    """Sums of row weights; they equal counts if every weight is 1.

    Attributes:
        rows: Sum over all rows.
        rows_squared: Sum of squared weights over all rows.
        missing: Sum over rows without a value.
        infinite: Sum over rows with an infinite value.
        values_squared: Sum of squared weights over rows with a finite value.
    """

    rows: float = 0.0
    rows_squared: float = 0.0
    missing: float = 0.0
    infinite: float = 0.0
    values_squared: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProfile:
    """The profile of one column of one window.

    Attributes:
        name: Name of the column.
        kind: Kind of the column in the layout.
        dtype: Arrow type of the column in this window; empty if the window does not have it.
        status: How the column fits the layout; a column with status `type_changed` has no counts.
        n_rows: Number of rows of the window.
        n_missing: Number of rows without a value: null, nan, or because the column is absent.
        n_infinite: Number of rows with `inf` or `-inf`; they are not in any cell.
        minimum: Smallest finite value; `nan` if there is none. Timestamps are in seconds since
            1970, UTC.
        maximum: Largest finite value; likewise.
        mean: Mean of the finite values; `nan` if there are none, or for kinds without a mean.
        squared: (Weighted) sum of squared deviations from the mean.
        dimension: Length of the vectors; 0 for other kinds.
        edges: Grid of a numeric column, strictly increasing; shape `(k,)`. For vectors, the grids
            of their projections on fixed directions, one after another.
        categories: Table of a categorical column: the names that have their own count.
        counts: Numbers of rows, or sums of weights. Numeric: the `2k + 1` cells of the grid, open
            and edge cells alternating. Categorical: one for each name in the table and, last, one
            for all other names. Vectors: the cells of all directions.
        unseen: Rows of names outside the table, by name. Only the `UNSEEN_LIMIT` names with the
            lowest hashes are kept, a choice that does not depend on the order of the rows.
        weights: Sums of weights; None if rows were not weighted.
        differing_pairs: Number of pairs of rows that are known to have different integers; `-inf`
            if two are known to be equal, 0 for kinds that are not examined.
    """

    name: str
    kind: Kind
    dtype: str = ""
    status: ColumnStatus = "ok"
    n_rows: int = 0
    n_missing: int = 0
    n_infinite: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    mean: float = math.nan
    squared: float = 0.0
    dimension: int = 0
    edges: NDArray[Any] | None = None
    categories: tuple[str, ...] = ()
    counts: NDArray[Any] | None = None
    unseen: Mapping[str, float] = field(default_factory=dict)
    weights: WeightSums | None = None
    differing_pairs: float = 0.0

    @property
    def n_values(self) -> int:
        """Number of rows with a finite value."""
        return self.n_rows - self.n_missing - self.n_infinite

    @property
    def value_weight(self) -> float:
        """Sum of weights over rows with a finite value; without weights, their number."""
        if self.weights is None:
            return float(self.n_values)
        return self.weights.rows - self.weights.missing - self.weights.infinite

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

    @property
    def missing_share(self) -> float:
        """(Weighted) share of rows without a value, in [0, 1]; `nan` for no rows."""
        return self._share(self.n_missing, self.weights.missing if self.weights else 0.0)

    @property
    def infinite_share(self) -> float:
        """(Weighted) share of rows with an infinite value, in [0, 1]; `nan` for no rows."""
        return self._share(self.n_infinite, self.weights.infinite if self.weights else 0.0)

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
        if self.kind not in ("categorical", "boolean") or self.counts is None:
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
