"""What is remembered of one column of a window."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSums:
    """Sums of row weights; all of them are counts if every weight is 1.

    Attributes:
        rows: Over all rows.
        rows_squared: Of the squares, over all rows.
        missing: Over rows without a value.
        infinite: Over rows with an infinite value.
        values_squared: Of the squares, over rows with a finite value.
    """

    rows: float = 0.0
    rows_squared: float = 0.0
    missing: float = 0.0
    infinite: float = 0.0
    values_squared: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProfile:
    """One column of one window.

    Attributes:
        name: The column.
        kind: What the layout says the column is.
        dtype: The Arrow type the column had; empty if it was not there.
        status: How the column compares with the layout; `type_changed` columns have no counts.
        n_rows: Rows of the window.
        n_missing: Rows without a value: null, nan, or no such column.
        n_infinite: Rows that are `inf` or `-inf`; they are in no cell.
        minimum: Least finite value; `nan` without one. Timestamps are seconds since 1970, UTC.
        maximum: Greatest finite value.
        mean: Of the finite values; `nan` without one or for kinds that have none.
        squared: Sum of squared (weighted) deviations from the mean.
        dimension: Length of a vector; 0 for other kinds.
        edges: The grid of a number, strictly increasing; shape `(k,)`. For vectors the grids of
            their projections on fixed directions, one after another.
        categories: The table of a category.
        counts: Rows, or sums of weights: the `2k + 1` cells of the grid, open and edge cells
            alternating; or one a category and, last, all that are not in the table; or the cells
            of every direction of a vector.
        unseen: Rows of categories outside the table, by name: the `UNSEEN_LIMIT` of them that hash
            lowest, a choice that does not depend on the order of rows.
        weights: Sums of weights; None if rows were not weighted.
        differing_pairs: Pairs of rows that are known to hold different whole numbers; `-inf` once
            two are known to be equal, 0 for kinds that are not looked at.
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
        """Rows with a finite value."""
        return self.n_rows - self.n_missing - self.n_infinite

    @property
    def value_weight(self) -> float:
        """Sum of weights over rows with a finite value; their number if rows are not weighted."""
        if self.weights is None:
            return float(self.n_values)
        return self.weights.rows - self.weights.missing - self.weights.infinite

    @property
    def effective_values(self) -> float:
        """Unweighted rows that would tell as much: `(sum w)^2 / sum w^2`."""
        if self.weights is None:
            return float(self.n_values)
        squared = self.weights.values_squared
        return max(0.0, self.value_weight) ** 2 / squared if squared > 0 else 0.0

    @property
    def effective_rows(self) -> float:
        """The same over all rows, missing ones included."""
        if self.weights is None:
            return float(self.n_rows)
        squared = self.weights.rows_squared
        return self.weights.rows**2 / squared if squared > 0 else 0.0

    @property
    def missing_share(self) -> float:
        """Weighted share of rows without a value; `nan` for no rows."""
        return self._share(self.n_missing, self.weights.missing if self.weights else 0.0)

    @property
    def infinite_share(self) -> float:
        """Weighted share of rows with an infinite value; `nan` for no rows."""
        return self._share(self.n_infinite, self.weights.infinite if self.weights else 0.0)

    @property
    def std(self) -> float:
        """Standard deviation of the finite values, over their number; `nan` without one."""
        weight = self.value_weight
        return math.sqrt(self.squared / weight) if weight > 0 else math.nan

    @property
    def n_categories(self) -> float:
        """Distinct categories; an estimate once more than `UNSEEN_LIMIT` are outside the table.

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
    """A number in [0, 2^64) that depends on nothing but the name."""
    from hashlib import blake2b

    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
