"""The layout into which a window is counted: taken from the reference, adjusted after counting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.data.objects import has_odd, value_type
from flytekitplugins.wbmon.monitor.profiles.facets import facets_of
from flytekitplugins.wbmon.monitor.profiles.feature import UNSEEN_LIMIT, FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.learn import MAX_CATEGORIES, type_name
from flytekitplugins.wbmon.monitor.profiles.vectors import with_no_counts


class Columns(Protocol):
    """Columns with their types, as every source has them."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""

    def type_of(self, name: str) -> pa.DataType:
        """Type of a column."""


def layout_id(features: Iterable[FeatureProfile]) -> str:
    """A digest of everything that determines in which cell a row is counted."""
    digest = blake2b(digest_size=16)
    # dtype is left out: the same column may be int32 in one window and int64 in another
    for feature in features:
        said = (feature.name, feature.kind, feature.categories, feature.missing_values)
        digest.update(repr((*said, layout_id(feature.facets.values()))).encode())
        if feature.edges is not None:
            digest.update(np.ascontiguousarray(feature.edges).tobytes())
        if feature.directions is not None:
            digest.update(np.ascontiguousarray(feature.directions).tobytes())
    return digest.hexdigest()


def adopt_layout(source: Columns, name: str, of_reference: FeatureProfile | None) -> FeatureProfile:
    """The empty layout for a column of a window; its status says whether the column fits it.

    The fields of structs and the elements of lists have such a status, too.

    Args:
        source: The columns of the window, in their plain form.
        name: Name of the column.
        of_reference: The column in the reference; None if the reference does not have it.
    """
    if name not in source.names:
        return missing_column(of_reference, 0)  # type: ignore[arg-type]
    dtype = source.type_of(name)
    if of_reference is None:
        return _new_column(name, dtype)
    return _adopted(of_reference, dtype)


def _adopted(of_reference: FeatureProfile, dtype: pa.DataType) -> FeatureProfile:
    layout = replace(empty_like(of_reference), dtype=type_name(dtype))
    if not can_count(of_reference, dtype):
        return replace(layout, status="type_changed")
    # of other kinds every column has the same facets, and a column too deep is not looked into
    if layout.kind != "nested" or not layout.facets or kind_of(value_type(dtype)) == "empty":
        return layout
    found = facets_of("nested", pa.nulls(0, value_type(dtype)))
    facets = {
        name: _adopted(facet, found[name].array.type) if name in found else missing_column(facet, 0)
        for name, facet in of_reference.facets.items()
    }
    new = {
        name: _new_column(name, facet.array.type)
        for name, facet in found.items()
        if name not in facets
    }
    return replace(layout, facets=facets | new)


def _new_column(name: str, dtype: pa.DataType) -> FeatureProfile:
    kind = kind_of(value_type(dtype))
    return FeatureProfile(name=name, kind=kind, dtype=type_name(dtype), status="new_column")


def can_count(layout: FeatureProfile, dtype: pa.DataType) -> bool:
    """Whether a column of this plain type can be counted into the layout.

    A column without a type has no values that could not fit, and a declared kind is read from
    whatever holds it.
    """
    stored = kind_of(value_type(dtype))
    if "empty" in (stored, layout.kind) or not layout.stored:
        return True
    lists = ("vector", "nested")
    if layout.kind == "nested" and stored in lists:
        # a struct and a list have no part in common; lists of any length have
        return layout.dtype.startswith("struct") is bool(pa.types.is_struct(value_type(dtype)))
    # of mixed values the most frequent say what they are, and they may be others in the next window
    is_mixed = has_odd(dtype) and stored not in lists and layout.stored not in lists
    return is_mixed or stored == layout.stored


def empty_like(feature: FeatureProfile) -> FeatureProfile:
    """A profile with the layout of `feature` and no rows."""
    return FeatureProfile(
        name=feature.name,
        kind=feature.kind,
        stored=feature.stored,
        dtype=feature.dtype,
        missing_values=feature.missing_values,
        dimension=feature.dimension,
        edges=feature.edges,
        directions=feature.directions,
        float_bits=feature.float_bits,
        categories=feature.categories,
        counts=None if feature.counts is None else np.zeros(len(feature.counts), dtype=np.int64),
        facets={name: empty_like(facet) for name, facet in feature.facets.items()},
    )


def missing_column(of_reference: FeatureProfile, n_rows: int) -> FeatureProfile:
    """The profile of a column in a window that lacks it: the value of every row is missing."""
    return replace(
        empty_like(of_reference), dtype="", status="missing_column", n_rows=n_rows, n_missing=n_rows
    )


def before_new_column(of_window: FeatureProfile, n_rows: int) -> FeatureProfile:
    """The profile of a window's new column in the reference: the value of every row is missing."""
    return FeatureProfile(name=of_window.name, kind=of_window.kind, n_rows=n_rows, n_missing=n_rows)


def as_missing_if_empty(feature: FeatureProfile) -> FeatureProfile:
    """The profile with status `ok` instead of `type_changed` if the column has no value at all.

    A column without values often gets another type when it is written (with pandas, float64), which
    is no change of the schema. The same holds for its facets.
    """
    facets = {name: as_missing_if_empty(facet) for name, facet in feature.facets.items()}
    feature = replace(feature, facets=facets)
    if feature.status != "type_changed" or feature.n_values:
        return feature
    return replace(feature, status="ok", counts=_no_counts(feature))


def _no_counts(feature: FeatureProfile) -> NDArray[Any] | None:
    """A count of 0 for every cell of the layout; None if the kind has no cells."""
    if feature.kind == "vector":
        return None if feature.edges is None else with_no_counts(feature).counts
    if feature.edges is not None:
        return np.zeros(2 * len(feature.edges) + 1, dtype=np.int64)
    has_table = feature.kind in ("category", "boolean")
    return np.zeros(len(feature.categories) + 1, dtype=np.int64) if has_table else None


def promote(feature: FeatureProfile) -> FeatureProfile:
    """Add the categories that were not in the sample to the table, if all are known and few.

    This is only possible while a layout is being made: afterwards the table is fixed.
    """
    if feature.facets:
        facets = {name: promote(facet) for name, facet in feature.facets.items()}
        feature = replace(feature, facets=facets)
    missed = feature.unseen
    # at the limit, further names may have been dropped, and their counts are unknown
    if not missed or len(missed) >= UNSEEN_LIMIT:
        return feature
    if len(feature.categories) + len(missed) > MAX_CATEGORIES:
        return feature
    rare = tuple(sorted(missed, key=lambda name: (-missed[name], name)))
    counts, rows = feature.counts, feature.cell_rows
    if rows is not None:
        # each has a row; of more it is not known which have them
        rows = np.concatenate((rows[:-1], np.ones(len(rare), dtype=rows.dtype), [0]))
    added = np.array([*(missed[name] for name in rare), 0], dtype=counts.dtype)  # type: ignore[union-attr]
    return replace(
        feature,
        categories=feature.categories + rare,
        counts=np.concatenate((counts[:-1], added)),  # type: ignore[index]
        cell_rows=rows,
        unseen={},
        buckets=None,
    )
