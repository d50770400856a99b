"""The exact path of the drift check: two windows that fit in memory, compared by sorting.

Each thread holds one column of each window in memory, and no DataFrame is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.data.exact import as_floats, as_objects, may_be_long
from flytekitplugins.wbmon.data.kind import NOTHING_DECLARED, Declared
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.data.plain import PlainSource
from flytekitplugins.wbmon.data.sources import TableSource
from flytekitplugins.wbmon.data.threads import in_threads
from flytekitplugins.wbmon.monitor.drift.distances import ExactDistances
from flytekitplugins.wbmon.monitor.profiles.count import (
    count_batch,
    count_numbers,
    read_numbers,
    told_apart,
)
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.layout import (
    adopt_layout,
    as_missing_if_empty,
    before_new_column,
    missing_column,
    promote,
)
from flytekitplugins.wbmon.monitor.profiles.learn import (
    learn_feature,
    learn_kind,
    with_grid,
)
from flytekitplugins.wbmon.monitor.profiles.merge import merge_features
from flytekitplugins.wbmon.stats.arrays import Values
from flytekitplugins.wbmon.stats.divergence import wasserstein_distance
from flytekitplugins.wbmon.stats.two_sample import ks_statistic

EXACT_ROWS = 2_000_000
"""Maximum number of rows of a window on the exact path: 16 MB per column, window and thread."""

_NUMBERS = ("number", "duration")

Pair = tuple[FeatureProfile, FeatureProfile, ExactDistances | None]


def fits_in_memory(reference: PlainSource, current: PlainSource) -> bool:
    """Whether both windows have a known number of rows, at most `EXACT_ROWS`."""
    sizes = reference.n_rows, current.n_rows
    return all(size is not None and size <= EXACT_ROWS for size in sizes)


def exact_pairs(
    reference: PlainSource,
    current: PlainSource,
    asked: Sequence[str],
    said: Mapping[str, Declared],
) -> list[Pair]:
    """Profile every column of both windows, with exact distances for columns of numbers.

    Args:
        reference: Data of the reference window.
        current: Data of the current window.
        asked: The columns; empty for all columns of either window.
        said: What the user says about columns.

    Returns:
        For each column its profile in the reference, that in the current window, and the exact
        distances; None for columns that do not hold numbers in both windows.
    """
    names = asked or list(dict.fromkeys([*reference.names, *current.names]))
    return in_threads(
        lambda name: _pair(reference, current, name, said.get(name, NOTHING_DECLARED)), list(names)
    )


def _pair(reference: PlainSource, current: PlainSource, name: str, said: Declared) -> Pair:
    if name not in reference.names:
        layout = adopt_layout(current, name, None)
        counted = _count(layout, current, name)
        return before_new_column(counted, reference.n_rows or 0), counted, None
    dtype = reference.type_of(name)
    # the type says what a column is, but of text, lists and long numbers; these are looked at
    is_plain = kind_of(value_type(dtype)) in _NUMBERS and not may_be_long(value_type(dtype))
    column = None if is_plain else reference.column(name)
    sample = [] if column is None else _spread(column)
    layout = learn_kind(name, sample, dtype, said)
    if layout.kind in _NUMBERS and name in current.names:
        adopted = adopt_layout(current, name, layout)
        if adopted.status == "ok":
            if column is not None:
                # it tells how exactly the numbers must be read
                layout = with_grid(layout, read_numbers(layout, sample).column.values)
                del column, sample
            return _number_pair(layout, adopted.dtype, reference, current)
    if column is None:
        column = reference.column(name)
        sample = _spread(column)
    layout = learn_feature(name, sample, dtype, said)
    # as in profile_data: rare categories that the sample missed are added to the table
    before = promote(_merge(layout, column.chunks))
    del column, sample
    if name not in current.names:
        return before, missing_column(before, current.n_rows or 0), None
    return before, _count(adopt_layout(current, name, before), current, name), None


def _number_pair(
    layout: FeatureProfile, dtype_now: str, reference: PlainSource, current: PlainSource
) -> Pair:
    # one after the other, so that the columns they are read from are not in memory together
    a, b = (
        read_numbers(layout, source.column(layout.name).chunks) for source in (reference, current)
    )
    layout = with_grid(layout, a.column.values)
    before, now = count_numbers(layout, a), count_numbers(replace(layout, dtype=dtype_now), b)
    x, y = _same_precision(layout, a.column.values, b.column.values)
    # distances of values near the largest float overflow to inf
    with np.errstate(over="ignore"):
        exact = ExactDistances(
            ks=ks_statistic(x, y), wasserstein=wasserstein_distance(as_floats(x), as_floats(y))
        )
    return before, now, exact


def _same_precision(layout: FeatureProfile, a: Values, b: Values) -> tuple[Values, Values]:
    """Both samples in the narrower float type: 0.1 stored in 32 bits is not 0.1 in 64 bits.

    Without this, a change of the storage type alone would look like drift. Numbers of Python keep
    their digits where the grid does.
    """
    a, b = told_apart(layout, a), told_apart(layout, b)
    if object in (a.dtype, b.dtype):
        return as_objects(a), as_objects(b)
    if a.dtype.kind == b.dtype.kind == "f" and a.dtype != b.dtype:
        # numpy orders types by what they hold
        narrow = min(a.dtype, b.dtype)
        # numbers beyond the narrow type are infinite in it, and still beyond all others
        with np.errstate(over="ignore"):
            return a.astype(narrow), b.astype(narrow)
    return a, b


def _count(layout: FeatureProfile, source: PlainSource, name: str) -> FeatureProfile:
    return as_missing_if_empty(_merge(layout, source.column(name).chunks))


def _merge(layout: FeatureProfile, chunks: Sequence[pa.Array]) -> FeatureProfile:
    return merge_features([layout, *(count_batch(layout, chunk) for chunk in chunks)])


def _spread(column: pa.ChunkedArray) -> list[pa.Array]:
    """A sample of the size from which a profile learns its layout, so both paths learn the same."""
    schema = pa.schema([("", column.type)])
    sample = TableSource(pa.Table.from_arrays([column], schema=schema)).sample([""])
    chunks: list[pa.Array] = sample.column(0).chunks
    return chunks
