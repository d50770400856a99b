"""Windows of data to profiles, and profiles of parts to the profile of the whole."""

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

_BLOCK = 8
_COARSE_CELL = 0.01
_MERGED_AT_ONCE = 64


def profile_data(
    data: Data,
    *,
    like: Profile | None = None,
    columns: Sequence[str] | None = None,
    weight: str | None = None,
) -> Profile:
    """Count a window of data into a profile, in one pass and in memory that rows do not grow.

    Args:
        data: A path or fsspec URL of a Parquet file or folder, a pandas or polars DataFrame, or a
            pyarrow Table, RecordBatch, RecordBatchReader or Dataset.
        like: The reference; its layout is counted into, which makes the two comparable. Without it
            the layout is learned from the data themselves.
        columns: The columns to profile; None means those of `like` and any the data have beside
            them, or all columns of the data. What only folders tell (`day=2026-01-01/…`) is a
            column, too, but because it differs from window to window it must be named, here or by
            `like`.
        weight: The column that holds the weight of a row, `>= 0`; by default that of `like`.

    Returns:
        The profile. Columns that `like` has and the data lack, or have in another type, say so in
        their `status`; a window without rows has a profile too.

    Raises:
        DataError: If the data cannot be read, names repeat, a requested column does not exist, or
            weights are missing, negative or not finite.
    """
    weight = weight if weight is not None else (like.weight if like else "")
    source = open_source(data, naming=[*(columns or ()), *(like.features if like else ()), weight])
    if weight and weight not in source.schema.names:
        raise DataError(unknown_columns("weight", [weight], known_names(source)))
    wanted = _wanted(source, like, columns, weight)
    layouts = _learn(source, wanted) if like is None else _adopt(source, wanted, like)
    counted, n_rows = _count(source, layouts, weight)
    if like is None:
        counted |= _recount(source, counted, weight)
        counted = {name: promote(feature) for name, feature in counted.items()}
    return Profile(
        n_rows=n_rows,
        features=counted,
        layout=like.layout if like is not None else layout_id(counted.values()),
        weight=weight,
    )


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """The profile of all rows of several profiles together; counts add up exactly.

    Args:
        profiles: At least one; all counted into the same layout: made `like` one reference. Of a
            generator that loads them no more than a few are in memory at a time.

    Raises:
        DataError: If there are none, their layouts differ, or only some are weighted.
    """
    remaining = iter(profiles)
    parts = list(islice(remaining, _MERGED_AT_ONCE))
    if not parts:
        raise DataError("there must be at least one profile to merge, got none")
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
    """What to say of columns that do not exist: the names, and what was likely meant."""
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
    """Numbers once more whose grid turned out coarse, because rows lie in the order of values."""
    coarse = [name for name, feature in counted.items() if _is_coarse(feature)]
    if not coarse or isinstance(source, StreamSource):
        return {}
    thinned: dict[str, list[NDArray[Any]]] = {name: [] for name in coarse}
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
    if feature.edges is None or feature.counts is None or feature.kind == "vector":
        return False
    return bool(feature.counts[0::2].max() > _COARSE_CELL * feature.counts.sum())


def _adopt(source: Source, names: Sequence[str], like: Profile) -> dict[str, FeatureProfile]:
    return {name: adopt_layout(source.schema, name, like.features.get(name)) for name in names}


def _count(
    source: Source, layouts: dict[str, FeatureProfile], weight: str
) -> tuple[dict[str, FeatureProfile], int]:
    names = list(layouts)
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
    """All rows of a part, one profile a layout."""
    counted = list(layouts)
    columns = [layout.name for layout in layouts] + ([weight] if weight else [])
    for batch in part(list(dict.fromkeys(columns))):
        weights = _weights(batch, weight) if weight else None
        present = set(batch.schema.names)
        for i, layout in enumerate(layouts):
            absent = layout.name not in present
            array = pa.nulls(batch.num_rows) if absent else batch.column(layout.name)
            counted[i] = merge_features([counted[i], count_batch(layout, array, weights)])
    return counted


def count_batch(
    layout: FeatureProfile, array: pa.Array, weights: Floats | None = None
) -> FeatureProfile:
    """One batch of a column, counted if the column still fits its layout."""
    array = without_null_names(array)
    if layout.status == "ok":
        return count_column(layout, array, weights)
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
    """The column in this part; where the part was made without it, all its rows are missing."""
    if name in profile.features:
        return profile.features[name]
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
