"""The file format of a profile.

A file has a fixed first line, a line of JSON with all scalar fields and the types of the arrays,
and the compressed arrays. Unlike a pickle, reading it executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, WeightSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT_VERSION = 2
_MAGIC = b"flytekitplugins-wbmon profile\n"
_ARRAYS = ("edges", "counts", "hashes", "hash_counts")


def features_to_bytes(
    features: Mapping[str, FeatureProfile], *, n_rows: int, layout: str, weight: str, at: str
) -> bytes:
    """The content of the file of a profile."""
    import pyarrow as pa

    chunks: list[bytes] = []
    described = [_describe(feature, chunks) for feature in features.values()]
    payload = b"".join(chunks)
    header = {
        "version": FORMAT_VERSION,
        "n_rows": n_rows,
        "layout": layout,
        "weight": weight,
        "at": at,
        "codec": "zstd",
        "payload_bytes": len(payload),
        "features": described,
    }
    # allow_nan=False: NaN is not JSON; a float that was not written as hex must fail here
    packed = pa.compress(payload, codec="zstd", asbytes=True) if payload else b""
    return _MAGIC + json.dumps(header, allow_nan=False).encode() + b"\n" + packed


def _describe(feature: FeatureProfile, chunks: list[bytes]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for item in fields(FeatureProfile):
        value = getattr(feature, item.name)
        if item.name in _ARRAYS:
            described[item.name] = None if value is None else _describe_array(value, chunks)
        elif item.name == "facets":
            described[item.name] = [_describe(facet, chunks) for facet in value.values()]
        elif item.name == "weights":
            described[item.name] = None if value is None else asdict(value)
        elif isinstance(value, float):
            # hexadecimal floats are exact and can represent nan and inf, which JSON cannot
            described[item.name] = value.hex()
        elif isinstance(value, Mapping):
            described[item.name] = {key: float(count).hex() for key, count in value.items()}
        else:
            described[item.name] = value
    return described


def _describe_array(array: NDArray[Any], chunks: list[bytes]) -> list[Any]:
    """Append the bytes of an array to `chunks`, and describe them.

    Returns:
        The dtype in memory, the dtype in the file (the narrowest that holds the counts), and the
        length.
    """
    import numpy as np

    stored = array
    if array.dtype.kind == "i" and len(array) and array.min() >= 0:
        stored = array.astype(np.min_scalar_type(int(array.max())))
    # little-endian in the file, whatever the machine
    little = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    chunks.append(little.tobytes())
    return [array.dtype.str.replace(">", "<"), little.dtype.str, len(array)]


def features_from_bytes(
    content: bytes, path: str
) -> tuple[dict[str, FeatureProfile], dict[str, Any]]:
    """Read the content of the file of a profile.

    Args:
        content: The bytes of the file.
        path: Name of the file in error messages.

    Returns:
        The profiles of the columns by name, and the other fields of the profile by name.

    Raises:
        DataError: If it is not a profile, is damaged, or was written by a newer version of this
            package.
    """
    if not content.startswith(_MAGIC):
        raise DataError(
            f"{path!r} must be a file that Profile.save wrote, but it does not begin like one; "
            "to compare with data, profile it first: profile_data(path)"
        )
    try:
        end = content.index(b"\n", len(_MAGIC))
        header = json.loads(content[len(_MAGIC) : end])
        version = header["version"]
        # the fields of a newer version are unknown: reading them would report damage instead
        features = {} if version > FORMAT_VERSION else _features(header, content[end + 1 :])
    except (ValueError, KeyError, TypeError, OSError, AttributeError) as error:
        raise DataError(
            f"{path!r} is a damaged profile ({error}); write it again with Profile.save"
        ) from error
    if version > FORMAT_VERSION:
        raise DataError(
            f"{path!r} is a profile of format version {version}, this package reads up to "
            f"{FORMAT_VERSION}; upgrade flytekitplugins-wbmon"
        )
    return features, {
        "n_rows": header["n_rows"],
        "layout": header["layout"],
        "weight": header["weight"],
        "at": header.get("at", ""),
    }


def _features(header: dict[str, Any], packed: bytes) -> dict[str, FeatureProfile]:
    payload = _decompress(packed, header["payload_bytes"])
    features, offset = {}, 0
    for described in header["features"]:
        feature, offset = _restore(described, payload, offset)
        features[feature.name] = feature
    return features


def _decompress(packed: bytes, size: int) -> memoryview:
    # the writer does not compress an empty payload
    if size == 0:
        return memoryview(b"")
    import pyarrow as pa

    return memoryview(pa.decompress(packed, decompressed_size=size, codec="zstd", asbytes=True))


def _restore(
    described: dict[str, Any], payload: memoryview, offset: int
) -> tuple[FeatureProfile, int]:
    import numpy as np

    values = _as_version_2(described) if "stored" not in described else dict(described)
    for name in _ARRAYS:
        if values.get(name) is not None:
            kind, stored, length = values[name]
            # a read-only view of the payload, without a copy; arrays of a profile are never changed
            array = np.frombuffer(payload, np.dtype(stored), length, offset)
            offset += array.nbytes
            values[name] = array.astype(np.dtype(kind), copy=False)
    for name in ("minimum", "maximum", "mean", "squared", "differing_pairs"):
        # "0" for files written before `differing_pairs` existed
        values[name] = float.fromhex(values.get(name, "0"))
    for name in ("categories", "examples", "missing_values"):
        values[name] = tuple(values.get(name, ()))
    values["unseen"] = {key: float.fromhex(count) for key, count in values["unseen"].items()}
    values["weights"] = None if values["weights"] is None else WeightSums(**values["weights"])
    facets = {}
    for facet in values.get("facets", ()):
        restored, offset = _restore(facet, payload, offset)
        facets[restored.name] = restored
    values["facets"] = facets
    return FeatureProfile(**values), offset


def _as_version_2(described: dict[str, Any]) -> dict[str, Any]:
    """The description of a column as version 2 has it, from version 1."""
    kind = described["kind"]
    dtype = described["dtype"]
    now = _KINDS_OF_VERSION_1.get(kind, kind)
    stored = "text" if now in ("category", "identifier") else now
    bits = 32 if dtype == "float" else 16 if dtype == "halffloat" else 64
    return {**described, "kind": now, "stored": stored, "float_bits": bits}


_KINDS_OF_VERSION_1 = {
    "float": "number",
    "integer": "number",
    "categorical": "category",
    "timestamp": "time",
    "null": "empty",
}
