"""The exact path of the drift check: two windows that fit in memory, compared by sorting.

Each thread holds one column of each window in memory, and no DataFrame is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import kind_of, sort_numbers
from flytekitplugins.wbmon.data.sources import Source, TableSource
from flytekitplugins.wbmon.data.threads import in_threads
from flytekitplugins.wbmon.monitor.drift.distances import ExactDistances
from flytekitplugins.wbmon.monitor.profiles.build import count_batch
from flytekitplugins.wbmon.monitor.profiles.count import count_sorted, learn_feature, number_layout
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.layout import (
    adopt_layout,
    as_missing_if_empty,
    before_new_column,
    missing_column,
    promote,
)
from flytekitplugins.wbmon.monitor.profiles.merge import merge_features
from flytekitplugins.wbmon.stats.arrays import Values
from flytekitplugins.wbmon.stats.divergence import wasserstein_distance
from flytekitplugins.wbmon.stats.two_sample import ks_statistic

EXACT_ROWS = 2_000_000
"""Maximum number of rows of a window on the exact path: 16 MB per column, window and thread."""

_NUMBERS = ("float", "integer")

Pair = tuple[FeatureProfile, FeatureProfile, ExactDistances | None]


def fits_in_memory(reference: Source, current: Source) -> bool:
    """Whether both windows have a known number of rows, at most `EXACT_ROWS`."""
    sizes = reference.n_rows, current.n_rows
    return all(size is not None and size <= EXACT_ROWS for size in sizes)


def exact_pairs(reference: Source, current: Source, asked: Sequence[str]) -> list[Pair]:
    """Profile every column of both windows, with exact distances for columns of numbers.

    Args:
        reference: Data of the reference window.
        current: Data of the current window.
        asked: The columns; empty for all columns of either window.

    Returns:
        For each column its profile in the reference, that in the current window, and the exact
        distances; None for columns that do not hold numbers in both windows.
    """
    names = asked or list(dict.fromkeys([*reference.schema.names, *current.schema.names]))
    return in_threads(lambda name: _pair(reference, current, name), list(names))


def _pair(reference: Source, current: Source, name: str) -> Pair:
    if name not in reference.schema.names:
        layout = adopt_layout(current.schema, name, None)
        counted = _count(layout, current, name)
        return before_new_column(counted, reference.n_rows or 0), counted, None
    dtype = reference.schema.field(name).type
    if _holds_numbers(reference, name) and _holds_numbers(current, name):
        return _number_pair(reference, current, name)
    column = reference.column(name)
    layout = learn_feature(name, _spread(column), dtype)
    # as in profile_data: rare categories that the sample missed are added to the table
    before = promote(_merge(layout, column.chunks))
    if name not in current.schema.names:
        return before, missing_column(before, current.n_rows or 0), None
    adopted = adopt_layout(current.schema, name, before)
    return before, _count(adopted, current, name), None


def _holds_numbers(source: Source, name: str) -> bool:
    names = source.schema.names
    return name in names and kind_of(source.schema.field(name).type) in _NUMBERS


def _number_pair(reference: Source, current: Source, name: str) -> Pair:
    dtypes = [source.schema.field(name).type for source in (reference, current)]
    a, b = (sort_numbers(source.column(name).chunks) for source in (reference, current))
    layout = number_layout(name, dtypes[0], a.values)
    before = count_sorted(layout, a)
    now = count_sorted(replace(layout, dtype=str(dtypes[1])), b)
    x, y = _same_precision(a.values, b.values)
    # distances of values near the largest float overflow to inf
    with np.errstate(over="ignore"):
        exact = ExactDistances(ks=ks_statistic(x, y), wasserstein=wasserstein_distance(x, y))
    return before, now, exact


def _same_precision(a: Values, b: Values) -> tuple[Values, Values]:
    """Both samples in the narrower float type: 0.1 stored in 32 bits is not 0.1 in 64 bits.

    Without this, a change of the storage type alone would look like drift.
    """
    if a.dtype.kind == b.dtype.kind == "f" and a.dtype != b.dtype:
        narrow = min(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
        return a.astype(narrow), b.astype(narrow)
    return a, b


def _count(layout: FeatureProfile, source: Source, name: str) -> FeatureProfile:
    return as_missing_if_empty(_merge(layout, source.column(name).chunks))


def _merge(layout: FeatureProfile, chunks: Sequence[pa.Array]) -> FeatureProfile:
    return merge_features([layout, *(count_batch(layout, chunk) for chunk in chunks)])


def _spread(column: pa.ChunkedArray) -> list[pa.Array]:
    """A sample of the size from which a profile learns its layout, so both paths learn the same."""
    schema = pa.schema([("", column.type)])
    sample = TableSource(pa.Table.from_arrays([column], schema=schema)).sample([""])
    chunks: list[pa.Array] = sample.column(0).chunks
    return chunks
