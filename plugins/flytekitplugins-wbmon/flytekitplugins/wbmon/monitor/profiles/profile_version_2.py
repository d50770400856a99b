"""Files of the second version of the profile format, read as if they were of the third."""

from __future__ import annotations

from typing import Any

_WITHOUT = {"directions": None, "cell_rows": None, "buckets": None}


def as_version_3(header: dict[str, Any]) -> dict[str, Any]:
    """The header of a file as version 3 has it; what cannot be understood is left as it is.

    Vectors had no principal directions, and no slice of their length; identifiers and names
    outside a table were not counted by their hashes.
    """
    features = header.get("features")
    if not isinstance(features, list):
        return header
    return {**header, "features": [_feature(described) for described in features]}


def _feature(described: Any) -> Any:
    # a field that this version does not have would be overwritten, and not refused
    if not isinstance(described, dict) or not described.keys().isdisjoint(_WITHOUT):
        return described
    facets = described.get("facets")
    if isinstance(facets, list):
        described = {**described, "facets": [_feature(facet) for facet in facets]}
    return {**described, **_WITHOUT}
