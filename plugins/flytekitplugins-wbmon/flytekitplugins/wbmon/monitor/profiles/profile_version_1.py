"""Files of the first version of the profile format, read as if they were of the second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile

_KINDS = {
    "float": "number",
    "integer": "number",
    "categorical": "category",
    "timestamp": "time",
    "null": "empty",
}
_TEXTS = ("category", "identifier")
_FLOAT_BITS = {"float": 32, "halffloat": 16}
_PER_SECOND = {
    "duration[s]": 1,
    "duration[ms]": 10**3,
    "duration[us]": 10**6,
    "duration[ns]": 10**9,
}
_WITHOUT = {
    "n_unreadable": 0,
    "examples": [],
    "missing_values": [],
    "hashes": None,
    "hash_counts": None,
    "facets": [],
}
_NEW = (*_WITHOUT, "stored", "float_bits")


def as_version_2(header: dict[str, Any]) -> dict[str, Any]:
    """The header of a file as version 2 has it; what cannot be understood is left as it is.

    Columns of text, times and identifiers had no facets: of them only missing values are known.
    """
    features = header.get("features")
    if not isinstance(features, list) or "at" in header:
        return header
    return {**header, "at": "", "features": [_feature(described) for described in features]}


def without_directions(feature: FeatureProfile) -> FeatureProfile:
    """The profile without the counts of vectors, which were projected on other directions."""
    if feature.kind != "vector":
        return feature
    return replace(feature, edges=None, counts=None)


def in_seconds(feature: FeatureProfile) -> FeatureProfile:
    """The profile of a column of durations, which were counted in the unit of the file."""
    unit = _PER_SECOND.get(feature.dtype)
    if unit is None or feature.edges is None:
        return feature
    return replace(
        feature,
        kind="duration",
        stored="duration",
        edges=feature.edges / unit,
        minimum=feature.minimum / unit,
        maximum=feature.maximum / unit,
        mean=feature.mean / unit,
        squared=feature.squared / unit**2,
        differing_pairs=0.0,
    )


def _feature(described: Any) -> Any:
    # fields that this version does not have would be overwritten, and not refused
    if not isinstance(described, dict) or not described.keys().isdisjoint(_NEW):
        return described
    kind, dtype = described.get("kind"), described.get("dtype")
    now = _KINDS.get(kind, kind) if isinstance(kind, str) else kind
    weights = described.get("weights")
    return {
        # files of the first releases do not have it
        "differing_pairs": (0.0).hex(),
        **described,
        **_WITHOUT,
        **({"weights": {**weights, "unreadable": 0.0}} if isinstance(weights, dict) else {}),
        "kind": now,
        "stored": "text" if now in _TEXTS else now,
        "float_bits": _FLOAT_BITS.get(dtype, 64) if isinstance(dtype, str) else 64,
    }
