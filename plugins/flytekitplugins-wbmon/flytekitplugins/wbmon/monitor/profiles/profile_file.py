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

FORMAT_VERSION = 1
_MAGIC = b"flytekitplugins-wbmon profile\n"
_ARRAYS = ("edges", "counts")


def features_to_bytes(
    features: Mapping[str, FeatureProfile], *, n_rows: int, layout: str, weight: str
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
    return features, {name: header[name] for name in ("n_rows", "layout", "weight")}


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

    values = dict(described)
    for name in _ARRAYS:
        if values[name] is not None:
            kind, stored, length = values[name]
            # a read-only view of the payload, without a copy; arrays of a profile are never changed
            array = np.frombuffer(payload, np.dtype(stored), length, offset)
            offset += array.nbytes
            values[name] = array.astype(np.dtype(kind), copy=False)
    for name in ("minimum", "maximum", "mean", "squared", "differing_pairs"):
        # "0" for files written before `differing_pairs` existed
        values[name] = float.fromhex(values.get(name, "0"))
    values["categories"] = tuple(values["categories"])
    values["unseen"] = {key: float.fromhex(count) for key, count in values["unseen"].items()}
    values["weights"] = None if values["weights"] is None else WeightSums(**values["weights"])
    return FeatureProfile(**values), offset
