"""Merges profiles of disjoint rows: counts exactly, means and variances up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.profiles.feature import (
    FeatureProfile,
    WeightSums,
    lowest_hashes,
)
from flytekitplugins.wbmon.stats.distinct import merge_sketches
from flytekitplugins.wbmon.stats.moments import Moments, merge_moments

_EXAMPLES = 3


def merge_features(parts: Sequence[FeatureProfile]) -> FeatureProfile:
    """The profile of one column over the rows of all parts.

    A part without the column adds missing rows. If one part has the status `type_changed`, the
    result has it, too, and no counts.

    Args:
        parts: At least one, all with the same layout.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    known = [part for part in parts if part.status != "missing_column"]
    present = [part for part in known if part.counts is not None and part.status == "ok"]
    changed = [part for part in known if part.status == "type_changed"]
    # the part whose status, type and layout the result takes
    model = (changed or present or known or [first])[0]
    moment = Moments()
    for part in present:
        moment = merge_moments(moment, Moments(part.value_weight, part.mean, part.squared))
    sketches = [sketch for part in known if (sketch := part.sketch) is not None]
    # a sketch of a part of the rows is none of the whole: times of older files have none
    is_whole = bool(sketches) and not any(p.n_values and p.sketch is None for p in known)
    sketch = reduce(merge_sketches, sketches) if is_whole and not changed else None
    has_moments = model.edges is not None and model.kind != "vector"
    return replace(
        model,
        n_rows=sum(part.n_rows for part in parts),
        n_missing=sum(part.n_missing for part in parts),
        n_infinite=sum(part.n_infinite for part in parts),
        n_unreadable=sum(part.n_unreadable for part in parts),
        examples=_first_examples(parts),
        # fmin and fmax skip nan, the extreme of a part without values
        minimum=_extreme([part.minimum for part in known], np.fmin),
        maximum=_extreme([part.maximum for part in known], np.fmax),
        mean=moment.mean if moment.weight > 0 and has_moments else np.nan,
        squared=moment.squared if has_moments else 0.0,
        counts=None if changed else _sum([part.counts for part in present]),
        cell_rows=None if changed else _sum([part.cell_rows for part in present]),
        unseen=_merge_unseen(present),
        buckets=None if changed else _sum([part.buckets for part in known]),
        weights=_merge_weights(parts),
        differing_pairs=float(sum(part.differing_pairs for part in present)),
        hashes=None if sketch is None else sketch.hashes,
        hash_counts=None if sketch is None else sketch.counts,
        facets=_merge_facets(model, present or known),
    )


def _first_examples(parts: Sequence[FeatureProfile]) -> tuple[str, ...]:
    # in the order of the text, so that the order of the parts does not matter
    return tuple(sorted({text for part in parts for text in part.examples})[:_EXAMPLES])


def _merge_facets(
    model: FeatureProfile, parts: Sequence[FeatureProfile]
) -> dict[str, FeatureProfile]:
    everywhere = [model, *(part for part in parts if part is not model)]
    # a part can have a field that is new and that no other part has
    names = dict.fromkeys(name for part in everywhere for name in part.facets)
    return {
        name: merge_features([part.facets[name] for part in everywhere if name in part.facets])
        for name in names
    }


def _extreme(values: list[float], pick: np.ufunc) -> float:
    return float(pick.reduce(values)) if values else np.nan


def _sum(of_parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    counts = [each for each in of_parts if each is not None]
    if not counts:
        return None
    # astype copies, so that the first part is not changed; weighted counts are floats
    total = counts[0].astype(np.result_type(*{array.dtype for array in counts}))
    for array in counts[1:]:
        np.add(total, array, out=total)
    return total


def _merge_unseen(parts: list[FeatureProfile]) -> dict[str, float]:
    if not any(part.unseen for part in parts):
        return {}
    total: dict[str, float] = {}
    for part in parts:
        for name, count in part.unseen.items():
            total[name] = total.get(name, 0.0) + count
    # exact for the names that remain: one of the lowest hashes overall is also among the lowest of
    # every part that has it, so no part has dropped its count
    return lowest_hashes(total)


def _merge_weights(parts: Sequence[FeatureProfile]) -> WeightSums | None:
    weights = [part.weights for part in parts if part.weights is not None]
    if not weights:
        return None
    return WeightSums(
        rows=sum(item.rows for item in weights),
        rows_squared=sum(item.rows_squared for item in weights),
        missing=sum(item.missing for item in weights),
        infinite=sum(item.infinite for item in weights),
        unreadable=sum(item.unreadable for item in weights),
        values_squared=sum(item.values_squared for item in weights),
    )
