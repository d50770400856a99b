"""Makes profiles of data, and merges profiles of parts into the profile of the whole."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import dense_numbers, kind_of, sort_finite, without_null_names
from flytekitplugins.wbmon.data.open import Data, open_source
from flytekitplugins.wbmon.data.sources import (
    SAMPLE_ROWS,
    Part,
    Source,
    StreamSource,
    known_names,
    stored_names,
)
from flytekitplugins.wbmon.data.threads import in_threads
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.profiles.count import count_column, learn_feature, number_layout
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, WeightSums
from flytekitplugins.wbmon.monitor.profiles.layout import (
    adopt_layout,
    as_missing_if_empty,
    layout_id,
    promote,
)
from flytekitplugins.wbmon.monitor.profiles.merge import merge_features
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.stats.arrays import Floats

_BLOCK = 8  # columns that a thread reads at a time, which bounds memory on wide tables
_COARSE_CELL = 0.01  # share of rows in one open cell above which a grid is learned again
_MERGED_AT_ONCE = 64


def profile_data(
    data: Data,
    *,
    like: Profile | None = None,
    columns: Sequence[str] | None = None,
    weight: str | None = None,
) -> Profile:
    """Profile a window of data, in memory that does not grow with the number of rows.

    The data are read in one pass. Without `like`, a sample is read before, and numeric columns
    whose grid turns out to be too coarse are read twice more.

    Args:
        data: A path or fsspec URL of a Parquet file or folder, a pandas or polars DataFrame, or a
            pyarrow Table, RecordBatch, RecordBatchReader or Dataset.
        like: The reference, whose layout is used, so that the two profiles can be compared.
            Without it the layout is learned from the data.
        columns: The columns to profile; None means those of `like` and all other columns of the
            data. Partition columns, whose values are only in folder names (`day=2026-01-01/…`),
            usually differ between windows; they are profiled only if named here or by `like`.
        weight: The column with the row weights, `>= 0`; by default that of `like`.

    Returns:
        The profile. If the data lack a column of `like`, or have it in another type, its `status`
        says so. A window without rows has a profile, too.

    Raises:
        DataError: If the data cannot be read, column names repeat, a requested column does not
            exist, or weights are missing, negative or not finite.
    """
    weight = weight if weight is not None else (like.weight if like else "")
    source = open_source(data, naming=[*(columns or ()), *(like.features if like else ()), weight])
    if weight and weight not in source.schema.names:
        raise DataError(unknown_columns("weight", [weight], known_names(source)))
    wanted = _wanted(source, like, columns, weight)
    layouts = _learn(source, wanted) if like is None else _adopt(source, wanted, like)
    counted, n_rows = _count(source, layouts, weight)
    if like is None:
        # only a layout that is still being made can change; that of `like` is fixed
        counted |= _recount(source, counted, weight)
        counted = {name: promote(feature) for name, feature in counted.items()}
    return Profile(
        n_rows=n_rows,
        features=counted,
        layout=like.layout if like is not None else layout_id(counted.values()),
        weight=weight,
    )


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """Merge profiles into the profile of all their rows; counts are exact.

    Args:
        profiles: At least one, all with the same layout, that is made `like` one reference. They
            may come from a generator that loads them: only some are in memory at a time.

    Returns:
        The merged profile.

    Raises:
        DataError: If there are none, their layouts differ, or their weight columns differ.
    """
    remaining = iter(profiles)
    parts = list(islice(remaining, _MERGED_AT_ONCE))
    if not parts:
        raise DataError("there must be at least one profile to merge, got none")
    # some at a time: one by one, all counts would be copied for each profile
    merged = _merge(parts)
    while parts := list(islice(remaining, _MERGED_AT_ONCE)):
        merged = _merge([merged, *parts])
    return merged


def _merge(parts: Sequence[Profile]) -> Profile:
    first = parts[0]
    for part in parts[1:]:
        if part.layout != first.layout:
            raise DataError(
                "profiles must share a layout to be merged; profile every part with "
                "profile_data(part, like=reference), the same reference for all"
            )
        if part.weight != first.weight:
            raise DataError(
                "profiles must be weighted by the same column to be merged, got "
                f"{first.weight!r} and {part.weight!r}"
            )
    names = list(dict.fromkeys(name for part in parts for name in part.features))
    merged = {name: merge_features([_part(part, name) for part in parts]) for name in names}
    n_rows = sum(part.n_rows for part in parts)
    return Profile(n_rows=n_rows, features=merged, layout=first.layout, weight=first.weight)


def _wanted(
    source: Source, like: Profile | None, columns: Sequence[str] | None, weight: str
) -> list[str]:
    of_layout = list(like.features) if like else []
    if columns is not None:
        known = [*source.schema.names, *of_layout]
        unknown = [name for name in columns if name not in known]
        if unknown:
            raise DataError(unknown_columns("columns", unknown, known_names(source)))
        return list(dict.fromkeys(columns))
    names = dict.fromkeys([*of_layout, *stored_names(source)])
    return [name for name in names if name != weight]


def unknown_columns(what: str, unknown: Sequence[str], names: Sequence[str]) -> str:
    """Error message for columns that do not exist, with the known names and a suggestion.

    Args:
        what: Name of the argument that named the columns.
        unknown: The columns that do not exist; at least one.
        names: The columns that exist.
    """
    close = difflib.get_close_matches(unknown[0], names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")  # noqa: PLR2004
    return (
        f"{what} must name columns of the data, but {', '.join(map(repr, unknown))} "
        f"{'is' if len(unknown) == 1 else 'are'} not among {listed or 'no columns at all'}{hint}"
    )


def _learn(source: Source, names: Sequence[str]) -> dict[str, FeatureProfile]:
    def block(columns: Sequence[str]) -> list[FeatureProfile]:
        sample = source.sample(columns)
        return [
            learn_feature(name, sample.column(name).chunks, source.schema.field(name).type)
            for name in columns
        ]

    learned = in_threads(block, _blocks(names))
    return {feature.name: feature for features in learned for feature in features}


def _recount(
    source: Source, counted: dict[str, FeatureProfile], weight: str
) -> dict[str, FeatureProfile]:
    """Count numeric columns again whose grid turned out to be too coarse.

    The layout was learned from a sample of the data. If the rows are sorted by value, the sample
    can miss ranges, and too many rows fall into one cell. These columns get a grid from every
    `step`-th row of all data. A stream cannot be read again and keeps its coarse grid.
    """
    coarse = [name for name, feature in counted.items() if _is_coarse(feature)]
    if not coarse or isinstance(source, StreamSource):
        return {}
    thinned: dict[str, list[NDArray[Any]]] = {name: [] for name in coarse}
    # at most SAMPLE_ROWS rows of the whole data, so memory stays bounded
    step = (source.n_rows or 0) // SAMPLE_ROWS + 1
    for part in source.parts():
        for batch in part(coarse):
            for name in set(coarse) & set(batch.schema.names):
                thinned[name].append(dense_numbers(batch.column(name))[::step])
    layouts = {
        name: number_layout(
            name, source.schema.field(name).type, sort_finite(np.concatenate(values))[0]
        )
        for name, values in thinned.items()
    }
    return _count(source, layouts, weight)[0]


def _is_coarse(feature: FeatureProfile) -> bool:
    """Whether an open cell of the grid of a numeric column holds too many of its rows."""
    if feature.edges is None or feature.counts is None or feature.kind == "vector":
        return False
    return bool(feature.counts[0::2].max() > _COARSE_CELL * feature.counts.sum())


def _adopt(source: Source, names: Sequence[str], like: Profile) -> dict[str, FeatureProfile]:
    return {name: adopt_layout(source.schema, name, like.features.get(name)) for name in names}


def _count(
    source: Source, layouts: dict[str, FeatureProfile], weight: str
) -> tuple[dict[str, FeatureProfile], int]:
    names = list(layouts)
    # a stream can be read only once, so all columns are counted together
    one_pass = isinstance(source, StreamSource)
    blocks = [names] if one_pass else _blocks(names)
    jobs = [(part, block) for part in source.parts() for block in blocks]

    def count(job: tuple[Part, Sequence[str]]) -> list[FeatureProfile]:
        part, block = job
        return count_part(part, [layouts[name] for name in block], weight)

    results = in_threads(count, jobs)
    by_name: dict[str, list[FeatureProfile]] = {name: [] for name in names}
    for features in results:
        for feature in features:
            by_name[feature.name].append(feature)
    counted = {name: as_missing_if_empty(merge_features(parts)) for name, parts in by_name.items()}
    n_rows = next((feature.n_rows for feature in counted.values()), source.n_rows or 0)
    return counted, n_rows


def count_part(part: Part, layouts: Sequence[FeatureProfile], weight: str) -> list[FeatureProfile]:
    """Count all rows of a part.

    Args:
        part: Reads the batches of the part, given the columns.
        layouts: Layouts of the columns.
        weight: The column with the row weights; empty if rows are not weighted.

    Returns:
        One profile for each layout.
    """
    counted = list(layouts)
    columns = [layout.name for layout in layouts] + ([weight] if weight else [])
    # the weight column may be profiled as well, and must be read only once
    for batch in part(list(dict.fromkeys(columns))):
        weights = _weights(batch, weight) if weight else None
        present = set(batch.schema.names)
        for i, layout in enumerate(layouts):
            # the files of one dataset may have different columns
            absent = layout.name not in present
            array = pa.nulls(batch.num_rows) if absent else batch.column(layout.name)
            counted[i] = merge_features([counted[i], count_batch(layout, array, weights)])
    return counted


def count_batch(
    layout: FeatureProfile, array: pa.Array, weights: Floats | None = None
) -> FeatureProfile:
    """The profile of one batch of a column.

    If the column does not fit its layout (its status is not `ok`), only rows and missing rows are
    counted.
    """
    array = without_null_names(array)
    if layout.status == "ok":
        return count_column(layout, array, weights)
    # of kind "other" no values are counted; the result keeps the kind of the layout
    plain = replace(layout, counts=None, kind="other")
    return replace(count_column(plain, array, weights), kind=layout.kind)


def _weights(batch: pa.RecordBatch, name: str) -> Floats:
    array = batch.column(name)
    if kind_of(array.type) not in ("float", "integer") or array.null_count:
        raise DataError(
            f"weight column {name!r} must hold a number in every row, got {array.type} with "
            f"{array.null_count} missing; fill or drop those rows"
        )
    weights = np.asarray(dense_numbers(array), dtype=np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise DataError(f"weight column {name!r} must hold finite numbers >= 0; got others")
    return weights


def _part(profile: Profile, name: str) -> FeatureProfile:
    """The profile of a column in a part; if the part lacks the column, all its rows are missing."""
    if name in profile.features:
        return profile.features[name]
    # all columns of a part have the same rows, so any of them knows the sums of all weights
    any_feature = next(iter(profile.features.values()), None)
    weights = any_feature.weights if any_feature is not None else None
    return FeatureProfile(
        name=name,
        kind="null",
        status="missing_column",
        n_rows=profile.n_rows,
        n_missing=profile.n_rows,
        weights=None
        if weights is None
        else WeightSums(rows=weights.rows, rows_squared=weights.rows_squared, missing=weights.rows),
    )


def _blocks(names: Sequence[str]) -> list[list[str]]:
    return [list(names[i : i + _BLOCK]) for i in range(0, len(names), _BLOCK)]
