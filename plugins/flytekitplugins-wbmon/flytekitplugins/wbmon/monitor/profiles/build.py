"""Makes profiles of data, and merges profiles of parts into the profile of the whole."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.arguments import listed_columns, several
from flytekitplugins.wbmon.data.exact import joined, sort_finite
from flytekitplugins.wbmon.data.kind import (
    NOTHING_DECLARED,
    Declared,
    Kinds,
    MissingValues,
    declarations,
)
from flytekitplugins.wbmon.data.open import Data, open_values, with_columns
from flytekitplugins.wbmon.data.plain import PlainSource
from flytekitplugins.wbmon.data.sources import SAMPLE_ROWS, Part, known_names, stored_names
from flytekitplugins.wbmon.data.threads import in_threads
from flytekitplugins.wbmon.data.times import Counted, require_times
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.profiles.count import count_batch, counted_numbers, read_layout
from flytekitplugins.wbmon.monitor.profiles.facets import Embed
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, WeightSums
from flytekitplugins.wbmon.monitor.profiles.layout import (
    adopt_layout,
    as_missing_if_empty,
    empty_like,
    layout_id,
    promote,
)
from flytekitplugins.wbmon.monitor.profiles.learn import learn_feature, with_grid
from flytekitplugins.wbmon.monitor.profiles.merge import merge_features
from flytekitplugins.wbmon.monitor.profiles.profile import Profile, require_profiles
from flytekitplugins.wbmon.monitor.profiles.rows import Rows, require_facets, rows_like
from flytekitplugins.wbmon.names import listed_names, quoted_name

_BLOCK = 8  # columns that a thread reads at a time, which bounds memory on wide tables
_COARSE_CELL = 0.01  # share of rows in one open cell above which a grid is learned again
_MERGED_AT_ONCE = 64


def profile_data(
    data: Data,
    *,
    like: Profile | None = None,
    columns: Sequence[str] | None = None,
    weight: str | None = None,
    kinds: Kinds | None = None,
    missing_values: MissingValues | None = None,
    at: str | datetime | None = None,
    embed: Mapping[str, Embed] | None = None,
) -> Profile:
    """Profile a window of data, in memory that does not grow with the number of rows.

    The data are read in one pass. Without `like`, a sample is read before, and numeric columns
    whose grid turns out to be too coarse are read twice more.

    What a column is, is learned from its values and kept in the profile: a number, a category, a
    boolean, a time, a duration (in seconds), text, an identifier, a vector or something nested.
    Windows follow their reference. It does not depend on how the values are stored: nullable,
    dictionary-encoded or sparse, in any unit or width. Names that are numbers, such as the number
    of a store, are read as numbers unless `kinds` says otherwise.

    A value that cannot be read as what its column is costs itself: it is counted as unreadable.

    Args:
        data: A path or fsspec URL of a Parquet file or folder, a pandas or polars DataFrame, or a
            pyarrow Table, RecordBatch, RecordBatchReader or Dataset. Columns of a frame that have
            the same name become `x`, `x.1` and so on, names that are not text are taken as text.
        like: The reference, whose layout is used, so that the two profiles can be compared.
            Without it the layout is learned from the data.
        columns: The columns to profile; None means those of `like` and all other columns of the
            data. Partition columns, whose values are only in folder names (`day=2026-01-01/…`),
            usually differ between windows; they are profiled only if named here or by `like`.
        weight: The column with the row weights, `>= 0`; by default that of `like`.
        kinds: What columns are, by name: `number`, `category`, `ordinal` (of whole numbers),
            `boolean`, `time`, `duration`, `text` or `identifier`; or the names of an ordinal in
            their order, such as `"S < M < L"`. Those of `like` need not be given again.
        missing_values: Values that stand for none, by column, such as `{"age": (-999,)}`; of lists
            and structs those that stand for none within them; a vector that has one is missing.
            Those of `like` need not be given again.
        at: The column with the time of each row, or the end of the window, from which the ages of
            times are counted. If it is a column, that of `like` need not be given again, and a row
            whose time cannot be read has no ages.
        embed: By column of text, a function that turns a list of `n` texts into vectors, shape
            `(n, d)`, such as the `encode` of a sentence transformer. Without `like` the column is
            text then, and its meaning is compared as vectors are. It is called once a batch, from
            several threads.

    Returns:
        The profile. If the data lack a column of `like`, or have it in another type, its `status`
        says so. A window without rows has a profile, too, whatever columns it lacks.

    Raises:
        ConfigError: If a kind does not exist, `kinds` or `missing_values` are given with `like`, a
            column of `embed` is declared something else than text, `columns` is no sequence, or
            `at` is NaT or another time that is none.
        DataError: If the data cannot be read, a requested column does not exist, weights are
            missing, negative or not finite, ages or the meaning of texts cannot be counted as in
            `like`, or `at` holds no times: more than one of its values, and more than one in
            twenty, are none.
    """
    if like is not None and not isinstance(like, Profile):
        raise ConfigError(
            f"like must be a profile, got {type(like).__name__}; profile the reference first"
        )
    if like is not None and (kinds or missing_values):
        raise ConfigError(
            "kinds and missing_values are part of the reference, which windows follow; give them "
            "when the reference is profiled"
        )
    rows = rows_like(like, weight=weight, at=at, embed=embed)
    if like is not None:
        require_facets(like, rows)
    said = declarations(kinds or {}, missing_values or {})
    if like is None:
        said |= _texts(rows.embed, said)
    columns = None if columns is None else listed_columns("columns", columns)
    asked = [*(columns or ()), *said, *(like.features if like else ())]
    needed = [*(columns or ()), *said, *rows.columns, *rows.embed]
    source = with_columns(open_values(data, naming=[*asked, *rows.columns]), needed)
    _require_columns(source, "weight", [rows.weight] if rows.weight else [])
    _require_columns(source, "at", rows.time_columns)
    _require_columns(source, "embed", rows.embed)
    _require_columns(source, "kinds and missing_values", said)
    wanted = _wanted(source, like, columns, rows)
    layouts = _adopt(source, wanted, like) if like else _learn(source, wanted, said, rows)
    counted, n_rows = _count(source, layouts, rows)
    if like is None:
        # only a layout that is still being made can change; that of `like` is fixed
        counted |= _recount(source, counted, rows)
        counted = {name: promote(feature) for name, feature in counted.items()}
    return Profile(
        n_rows=n_rows,
        features=counted,
        layout=like.layout if like is not None else layout_id(counted.values()),
        weight=rows.weight,
        at=rows.at if isinstance(rows.at, str) else "",
    )


def _texts(embed: Iterable[str], said: Mapping[str, Declared]) -> dict[str, Declared]:
    """Columns whose meaning is asked for are declared to be text."""
    found = {name: said.get(name, NOTHING_DECLARED) for name in embed}
    other = [name for name, declared in found.items() if declared.kind not in (None, "text")]
    if other:
        raise ConfigError(
            f"embed turns texts into vectors, but kinds declares {listed_names(other)} something "
            "else; declare text, or leave the column out of embed"
        )
    return {name: replace(declared, kind="text") for name, declared in found.items()}


def _require_columns(source: PlainSource, what: str, names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in source.names]
    if unknown:
        raise DataError(unknown_columns(what, unknown, known_names(source)))


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """Merge profiles into the profile of all their rows; counts are exact.

    Args:
        profiles: At least one, all with the same layout, that is made `like` one reference. They
            may come from a generator that loads them: only some are in memory at a time.

    Returns:
        The merged profile.

    Raises:
        ConfigError: If it is no sequence of profiles.
        DataError: If there are none, their layouts differ, or their weight columns differ.
    """
    remaining = iter(several("profiles", profiles, "profiles"))
    parts = list(islice(remaining, _MERGED_AT_ONCE))
    if not parts:
        raise DataError("there must be at least one profile to merge, got none")
    # some at a time: one by one, all counts would be copied for each profile
    merged = _merge(parts)
    while parts := list(islice(remaining, _MERGED_AT_ONCE)):
        merged = _merge([merged, *parts])
    return merged


def _merge(parts: Sequence[Profile]) -> Profile:
    require_profiles("profiles", parts)
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
        if part.at != first.at:
            raise DataError(
                "profiles must have their ages from the same column to be merged, got "
                f"{first.at!r} and {part.at!r}"
            )
    names = list(dict.fromkeys(name for part in parts for name in part.features))
    merged = {name: merge_features([_part(part, name) for part in parts]) for name in names}
    n_rows = sum(part.n_rows for part in parts)
    return Profile(
        n_rows=n_rows, features=merged, layout=first.layout, weight=first.weight, at=first.at
    )


def _wanted(
    source: PlainSource, like: Profile | None, columns: Sequence[str] | None, rows: Rows
) -> list[str]:
    of_layout = list(like.features) if like else []
    if columns is not None:
        known = [*source.names, *of_layout]
        unknown = [name for name in columns if name not in known]
        if unknown:
            raise DataError(unknown_columns("columns", unknown, known_names(source)))
        return list(dict.fromkeys(columns))
    names = dict.fromkeys([*of_layout, *stored_names(source)])
    # without weights, a column without a name is a column like any other
    return [name for name in names if not rows.weight or name != rows.weight]


def unknown_columns(what: str, unknown: Sequence[str], names: Sequence[str]) -> str:
    """Error message for columns that do not exist, with the known names and a suggestion.

    Args:
        what: Name of the argument that named the columns.
        unknown: The columns that do not exist; at least one.
        names: The columns that exist.
    """
    close = difflib.get_close_matches(unknown[0], names, n=1)
    hint = f"; did you mean {quoted_name(close[0])}?" if close else ""
    return (
        f"{what} must name columns of the data, but {listed_names(unknown)} "
        f"{'is' if len(unknown) == 1 else 'are'} not among "
        f"{listed_names(names, none='no columns at all')}{hint}"
    )


def _learn(
    source: PlainSource, names: Sequence[str], said: Mapping[str, Declared], rows: Rows
) -> dict[str, FeatureProfile]:
    def block(columns: Sequence[str]) -> list[FeatureProfile]:
        sample = source.sample(list(dict.fromkeys([*columns, *rows.time_columns])))
        batches = sample.to_batches()
        times = [rows.times(batch) for batch in batches]
        return [
            learn_feature(
                name,
                [batch.column(name) for batch in batches],
                sample.schema.field(name).type,
                said.get(name, NOTHING_DECLARED),
                at=times,
                embed=rows.embed.get(name),
            )
            for name in columns
        ]

    learned = in_threads(block, _blocks(names))
    return {feature.name: feature for features in learned for feature in features}


def _recount(
    source: PlainSource, counted: dict[str, FeatureProfile], rows: Rows
) -> dict[str, FeatureProfile]:
    """Count numeric columns again whose grid turned out to be too coarse.

    The layout was learned from a sample of the data. If the rows are sorted by value, the sample
    can miss ranges, and too many rows fall into one cell. These columns get a grid from every
    `step`-th row of all data. A stream cannot be read again and keeps its coarse grid.
    """
    coarse = {name: feature for name, feature in counted.items() if _is_coarse(feature)}
    if not coarse or source.is_stream:
        return {}
    thinned: dict[str, list[NDArray[Any]]] = {name: [] for name in coarse}
    # at most SAMPLE_ROWS rows of the whole data, so memory stays bounded
    step = (source.n_rows or 0) // SAMPLE_ROWS + 1
    for part in source.parts():
        for batch in part(list(coarse)):
            for name in set(coarse) & set(batch.schema.names):
                thinned[name].append(_numbers(coarse[name], batch.column(name))[::step])
    layouts = {
        name: with_grid(empty_like(coarse[name]), sort_finite(joined(values))[0])
        for name, values in thinned.items()
    }
    return _count(source, layouts, rows)[0]


def _numbers(layout: FeatureProfile, array: pa.Array) -> NDArray[Any]:
    return counted_numbers(layout, read_layout(layout, array).values)


def _is_coarse(feature: FeatureProfile) -> bool:
    """Whether an open cell of the grid of a numeric column holds too many of its rows."""
    if feature.counts is None or feature.kind not in ("number", "duration"):
        return False
    return bool(feature.counts[0::2].max() > _COARSE_CELL * feature.counts.sum())


def _adopt(source: PlainSource, names: Sequence[str], like: Profile) -> dict[str, FeatureProfile]:
    return {name: adopt_layout(source, name, like.features.get(name)) for name in names}


def _count(
    source: PlainSource, layouts: dict[str, FeatureProfile], rows: Rows
) -> tuple[dict[str, FeatureProfile], int]:
    names = list(layouts)
    # a stream can be read only once, so all columns are counted together
    blocks = [names] if source.is_stream else _blocks(names)
    jobs = [(part, block) for part in source.parts() for block in blocks]
    dated: list[Counted] = []

    def count(job: tuple[Part, Sequence[str]]) -> list[FeatureProfile]:
        part, block = job
        # every block reads the times, but each row counts once
        counted = dated if block is blocks[0] else None
        return count_part(part, [layouts[name] for name in block], rows, counted)

    results = in_threads(count, jobs)
    require_times(str(rows.at), dated)
    by_name: dict[str, list[FeatureProfile]] = {name: [] for name in names}
    for features in results:
        for feature in features:
            by_name[feature.name].append(feature)
    counted = {name: as_missing_if_empty(merge_features(parts)) for name, parts in by_name.items()}
    n_rows = next((feature.n_rows for feature in counted.values()), source.n_rows or 0)
    return counted, n_rows


def count_part(
    part: Part, layouts: Sequence[FeatureProfile], rows: Rows, dated: list[Counted] | None
) -> list[FeatureProfile]:
    """Count all rows of a part.

    Args:
        part: Reads the batches of the part, given the columns, in their plain form.
        layouts: Layouts of the columns.
        rows: The columns that say something about each row.
        dated: Takes what the times of each batch are; whoever has the whole refuses too many.

    Returns:
        One profile for each layout.
    """
    counted = list(layouts)
    # the columns of the rows may be profiled as well, and must be read only once
    columns = dict.fromkeys([*(layout.name for layout in layouts), *rows.columns])
    for batch in part(list(columns)):
        weights, at = rows.weights(batch), rows.times(batch, dated)
        present = set(batch.schema.names)
        for i, layout in enumerate(layouts):
            # the files of one dataset may have different columns
            absent = layout.name not in present
            array = pa.nulls(batch.num_rows) if absent else batch.column(layout.name)
            one = count_batch(layout, array, weights, at, rows.embed.get(layout.name))
            counted[i] = merge_features([counted[i], one])
    return counted


def _part(profile: Profile, name: str) -> FeatureProfile:
    """The profile of a column in a part; if the part lacks the column, all its rows are missing."""
    if name in profile.features:
        return profile.features[name]
    # all columns of a part have the same rows, so any of them knows the sums of all weights
    any_feature = next(iter(profile.features.values()), None)
    weights = any_feature.weights if any_feature is not None else None
    return FeatureProfile(
        name=name,
        kind="empty",
        status="missing_column",
        n_rows=profile.n_rows,
        n_missing=profile.n_rows,
        weights=None
        if weights is None
        else WeightSums(rows=weights.rows, rows_squared=weights.rows_squared, missing=weights.rows),
    )


def _blocks(names: Sequence[str]) -> list[list[str]]:
    return [list(names[i : i + _BLOCK]) for i in range(0, len(names), _BLOCK)]
