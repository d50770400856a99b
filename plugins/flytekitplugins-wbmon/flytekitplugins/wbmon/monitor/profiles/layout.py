"""What a window is counted into: adopted from the reference, and mended once rows are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.monitor.profiles.count import MAX_CATEGORIES, can_count
from flytekitplugins.wbmon.monitor.profiles.feature import UNSEEN_LIMIT, FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.vectors import VECTOR_CELLS


def layout_id(features: Iterable[FeatureProfile]) -> str:
    """A digest of all that decides where a row is counted."""
    digest = blake2b(digest_size=16)
    for feature in features:
        digest.update(repr((feature.name, feature.kind, feature.categories)).encode())
        if feature.edges is not None:
            digest.update(np.ascontiguousarray(feature.edges).tobytes())
    return digest.hexdigest()


def adopt_layout(
    schema: pa.Schema, name: str, of_reference: FeatureProfile | None
) -> FeatureProfile:
    """The layout to count into, and by its status whether the column still fits it."""
    if name not in schema.names:
        return replace(empty_like(of_reference), dtype="", status="missing_column")  # type: ignore[arg-type]
    dtype = schema.field(name).type
    if of_reference is None:
        return FeatureProfile(name=name, kind=kind_of(dtype), dtype=str(dtype), status="new_column")
    status = "ok" if can_count(of_reference, dtype) else "type_changed"
    return replace(empty_like(of_reference), dtype=str(dtype), status=status)  # type: ignore[arg-type]


def empty_like(feature: FeatureProfile) -> FeatureProfile:
    """The same layout without rows."""
    return FeatureProfile(
        name=feature.name,
        kind=feature.kind,
        dtype=feature.dtype,
        dimension=feature.dimension,
        edges=feature.edges,
        categories=feature.categories,
        counts=None if feature.counts is None else np.zeros(len(feature.counts), dtype=np.int64),
    )


def as_missing_if_empty(feature: FeatureProfile) -> FeatureProfile:
    """A column of another type that holds no value at all is merely missing."""
    if feature.status != "type_changed" or feature.n_values:
        return feature
    return replace(feature, status="ok", counts=_no_counts(feature))


def _no_counts(feature: FeatureProfile) -> NDArray[Any] | None:
    """A zero for every cell of the layout; None if the kind has no cells."""
    if feature.kind == "vector":
        return None if feature.edges is None else np.zeros(VECTOR_CELLS, dtype=np.int64)
    if feature.edges is not None:
        return np.zeros(2 * len(feature.edges) + 1, dtype=np.int64)
    has_table = feature.kind in ("categorical", "boolean")
    return np.zeros(len(feature.categories) + 1, dtype=np.int64) if has_table else None


def promote(feature: FeatureProfile) -> FeatureProfile:
    """All categories in the table, if those that the sample had missed are known and few."""
    missed = feature.unseen
    if not missed or len(missed) >= UNSEEN_LIMIT:
        return feature
    if len(feature.categories) + len(missed) > MAX_CATEGORIES:
        return feature
    rare = tuple(sorted(missed, key=lambda name: (-missed[name], name)))
    counts = feature.counts
    added = np.array([*(missed[name] for name in rare), 0], dtype=counts.dtype)  # type: ignore[union-attr]
    return replace(
        feature,
        categories=feature.categories + rare,
        counts=np.concatenate((counts[:-1], added)),  # type: ignore[index]
        unseen={},
    )
