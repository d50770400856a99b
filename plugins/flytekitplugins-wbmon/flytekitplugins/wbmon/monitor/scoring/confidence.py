"""Confidence of a model and distribution of its predicted classes, counted batch by batch.

Both summaries have a bounded size: a fixed grid over [0, 1], and counts of at most 1000 classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.columns import float_values, is_number
from flytekitplugins.wbmon.data.names import has_names, names_of
from flytekitplugins.wbmon.data.plain import plain_column
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.scoring.report import Confidence, PredictedClasses
from flytekitplugins.wbmon.names import listed_names, quoted_name
from flytekitplugins.wbmon.stats.interval import wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS = 1000
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MAX_CLASSES = 1000


class ConfidenceMeter:
    """The distribution of the largest class probability of a row.

    Args:
        columns: One column with the probability of one of two classes, or one column per class.
        threshold: Predictions with a smaller probability count as low confidence; in (0, 1].
    """

    def __init__(self, columns: Sequence[str], threshold: float) -> None:
        self._columns, self._threshold = tuple(columns), threshold
        self._cells: NDArray[np.int64] = np.zeros(_CELLS, dtype=np.int64)
        self._n = self._n_low = self._n_missing = 0
        self._sum = self._squares = 0.0

    def add(self, scored: pa.Table) -> None:
        """Count a batch.

        Raises:
            DataError: If a column is missing, not numeric or outside [0, 1].
        """
        values = np.column_stack([_probabilities(scored, name) for name in self._columns])
        if values.shape[1] == 1:
            # of two classes, the other has the rest of the probability
            values = np.maximum(values, 1 - values)
        largest = values.max(axis=1)
        sure = largest[~np.isnan(largest)]
        # a probability of exactly 1 belongs to the last cell
        cell = np.minimum((sure * _CELLS).astype(np.int64), _CELLS - 1)
        self._cells += np.bincount(cell, minlength=_CELLS)
        self._n += len(sure)
        self._n_missing += len(largest) - len(sure)
        self._n_low += int((sure < self._threshold).sum())
        self._sum += float(sure.sum())
        self._squares += float((sure * sure).sum())

    def record(self) -> Confidence:
        """The counted distribution; quantiles are exact to 0.001, `sd` is the population value."""
        n = self._n
        mean = self._sum / n if n else math.nan
        # rounding can make the difference slightly negative when all rows are equal
        spread = max(self._squares / n - mean * mean, 0.0) if n else math.nan
        low, high = wilson_interval(self._n_low, n)
        return Confidence(
            n=n,
            n_missing=self._n_missing,
            mean=mean,
            sd=math.sqrt(spread),
            quantiles={f"p{100 * q:g}": self._quantile(q) for q in _QUANTILES},
            threshold=self._threshold,
            low_share=self._n_low / n if n else math.nan,
            low_share_low=low,
            low_share_high=high,
        )

    def _quantile(self, share: float) -> float:
        if not self._n:
            return math.nan
        below = np.cumsum(self._cells)
        # the middle of the cell, so the error is at most half a cell
        return (int(np.searchsorted(below, share * self._n)) + 0.5) / _CELLS


class ClassCounter:
    """How often each class was predicted."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._counts: Counter[str] = Counter()
        self._n_missing = self._n_other = 0

    def add(self, scored: pa.Table) -> None:
        """Count a batch.

        Raises:
            DataError: If the column is missing, or holds lists or structs.
        """
        _require(scored, self._column)
        column = plain_column(scored[self._column]).combine_chunks()
        if not has_names(column.type):
            raise DataError(
                f"column {quoted_name(self._column)} must hold classes, found {column.type}"
            )
        if pa.types.is_floating(column.type):
            # nan is a missing prediction here, not a class of that name
            column = column.filter(pc.is_finite(column))
        elif pa.types.is_boolean(column.type):
            column = column.cast(pa.uint8())
        n_found = 0
        for entry in pc.value_counts(names_of(column)).to_pylist():
            name, count = entry["values"], entry["counts"]
            if name is None or not name.strip():
                continue
            n_found += count
            # bounds memory when the column is not one of classes
            if name in self._counts or len(self._counts) < _MAX_CLASSES:
                self._counts[name] += count
            else:
                self._n_other += count
        self._n_missing += scored.num_rows - n_found

    def record(self) -> PredictedClasses:
        """The counts, most frequent class first."""
        return PredictedClasses(
            counts=dict(self._counts.most_common()),
            n_other=self._n_other,
            n_missing=self._n_missing,
        )


def _probabilities(scored: pa.Table, name: str) -> NDArray[np.float64]:
    _require(scored, name)
    column = plain_column(scored[name])
    if not is_number(column.type):
        raise DataError(
            f"column {quoted_name(name)} must hold probabilities, found {scored[name].type}"
        )
    values = float_values(column)
    outside = (values < 0) | (values > 1)
    if outside.any():
        raise DataError(
            f"probabilities must be in [0, 1]; column {quoted_name(name)} has "
            f"{int(outside.sum())} rows "
            f"outside, such as {values[outside][0]:g}"
        )
    return values


def _require(scored: pa.Table, name: str) -> None:
    if name not in scored.column_names:
        raise DataError(
            f"it must return a column {quoted_name(name)} to be watched; the scored data have "
            f"{listed_names(scored.column_names)}"
        )
