"""The file format of a profile.

A file has a fixed first line, a line of JSON with all scalar fields and the types of the arrays,
the compressed arrays, and a CRC-32 of all that. Unlike a pickle, reading it executes nothing, and
what it claims of itself is believed only as far as a profile can go: see `profile_fields`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import accumulate, repeat
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, NoReturn
from zlib import crc32

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.profile_version_1 import (
    as_version_2,
    in_seconds,
    without_directions,
)
from flytekitplugins.wbmon.monitor.profiles.profile_version_2 import as_version_3
from flytekitplugins.wbmon.storage.record_file import MAX_FILE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT_VERSION = 3
MAX_PAYLOAD_BYTES = 2**30
"""Most that the arrays of a file may take in memory, 1 GiB: full grids of 40,000 columns."""

_MAGIC = b"flytekitplugins-wbmon profile\n"
_SUM_BYTES = 4
_ARRAYS = ("edges", "directions", "counts", "cell_rows", "buckets", "hashes", "hash_counts")
_HEADER = {
    "version",
    "n_rows",
    "layout",
    "weight",
    "at",
    "codec",
    "payload_bytes",
    "features",
}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# without it, Python reads NaN and Infinity
_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


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
    content = sealed(_MAGIC + json.dumps(header, allow_nan=False).encode() + b"\n" + packed)
    if len(content) > MAX_FILE_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise DataError(
            f"a profile must fit in a file of {MAX_FILE_BYTES} bytes and in arrays of "
            f"{MAX_PAYLOAD_BYTES}, got {len(content)} and {len(payload)}; profile fewer columns"
        )
    return content


def sealed(content: bytes) -> bytes:
    """The content with its checksum, 4 bytes."""
    return content + crc32(content).to_bytes(_SUM_BYTES, "little")


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
        header, packed = _divided(content)
        version = _version(header)
        # the fields of a newer version are unknown: reading them would report damage instead
        if version <= FORMAT_VERSION:
            # the first version has no checksum
            if version > 1:
                header = header if version == FORMAT_VERSION else as_version_3(header)
                return _features(header, _unsealed(content, packed)), _about(header)
            header = as_version_3(as_version_2(header))
            features = _features(header, packed)
            features = {
                name: without_directions(in_seconds(item)) for name, item in features.items()
            }
            return features, _about(header)
    # OSError: what zstd cannot unpack
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(
            f"{path!r} is a damaged profile ({error}); write it again with Profile.save"
        ) from error
    raise DataError(
        f"{path!r} is a profile of format version {version}, this package reads up to "
        f"{FORMAT_VERSION}; upgrade flytekitplugins-wbmon"
    )


def _divided(content: bytes) -> tuple[dict[str, Any], memoryview]:
    end = content.find(b"\n", len(_MAGIC))
    if end < 0:
        raise ValueError("the header must end with a newline, found none")
    # no copy of the arrays, which can be most of the file
    header = _JSON.decode(content[len(_MAGIC) : end].decode())
    if not isinstance(header, dict):
        raise ValueError(f"the header must be an object, got {shortened(header)}")  # noqa: TRY004
    return header, memoryview(content)[end + 1 :]


def _unsealed(content: bytes, packed: memoryview) -> memoryview:
    """The arrays without the checksum after them, if it is that of the content."""
    found = crc32(memoryview(content)[:-_SUM_BYTES]).to_bytes(_SUM_BYTES, "little")
    if len(packed) < _SUM_BYTES or content[-_SUM_BYTES:] != found:
        raise ValueError("its checksum must be that of its content, and is another")
    return packed[:-_SUM_BYTES]


def _version(header: dict[str, Any]) -> int:
    version = header.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"version must be a whole number >= 1, got {shortened(version)}")
    return version


def _about(header: dict[str, Any]) -> dict[str, Any]:
    from flytekitplugins.wbmon.monitor.profiles.profile_fields import MAX_ROWS, read_text, whole

    texts = dict.fromkeys(("layout", "weight", "at"), read_text)
    readers = {"n_rows": whole(MAX_ROWS), **texts}
    try:
        return {name: read(header[name]) for name, read in readers.items()}
    except (TypeError, ValueError):
        got = shortened([header[name] for name in readers])
        raise ValueError(
            f"n_rows must be a whole number in [0, {MAX_ROWS}], layout, weight and at text, got "
            f"{got}"
        ) from None


def _features(header: dict[str, Any], packed: memoryview) -> dict[str, FeatureProfile]:
    from flytekitplugins.wbmon.monitor.profiles import profile_fields as fields_of

    known = header.keys() == _HEADER and header["codec"] == "zstd"
    if not known or type(header["features"]) is not list:
        raise ValueError(
            f"the header must hold {', '.join(sorted(_HEADER))}, with codec zstd and a list of "
            f"features, got {shortened(header)}"
        )
    read = [fields_of.read_fields(described) for described in header["features"]]
    forms = list(fields_of.stored_arrays(read))
    offsets = list(accumulate((form.n_bytes for form in forms), initial=0))
    payload = _decompress(packed, header["payload_bytes"], offsets[-1])
    arrays = map(fields_of.read_array, forms, repeat(payload), offsets)
    features = {values["name"]: fields_of.complete_feature(values, arrays) for values in read}
    if len(features) < len(read):
        repeated = Counter(values["name"] for values in read).most_common(1)[0][0]
        raise ValueError(f"columns must have different names, got {shortened(repeated)} twice")
    return features


def _decompress(packed: memoryview, claimed: Any, described: int) -> memoryview:
    """The arrays, unpacked only if they are as long as they are described."""
    if type(claimed) is not int or not claimed == described <= MAX_PAYLOAD_BYTES:
        raise ValueError(
            f"payload_bytes must be the sum of the arrays, {described}, and at most "
            f"{MAX_PAYLOAD_BYTES}, got {shortened(claimed)}"
        )
    # the writer does not compress an empty payload
    if claimed == 0:
        if packed:
            raise ValueError(f"nothing may follow a header without arrays, got {len(packed)} bytes")
        return memoryview(b"")
    import pyarrow as pa

    # fails if there is more or less in it
    return memoryview(pa.decompress(packed, decompressed_size=claimed, codec="zstd")).toreadonly()
