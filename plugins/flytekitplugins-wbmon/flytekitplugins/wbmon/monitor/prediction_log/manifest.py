"""The manifest of a day: which segments have rows of it, and what their parts are called."""

from __future__ import annotations

import json
from contextlib import suppress

from flytekitplugins.wbmon.monitor.prediction_log.schema import SCHEMA_VERSION, TABLES, RowKind

CHECKSUM = "checksum"
"""What a manifest notes of the content of a segment, beside its counts."""


def manifest_of(kind: RowKind, day: str, segments: dict[str, dict[str, int]]) -> bytes:
    """The manifest of a day, from the counts of each segment."""
    names = dict.fromkeys(name for numbers in segments.values() for name in numbers)
    totals = {n: sum(each.get(n, 0) for each in segments.values()) for n in names if n != CHECKSUM}
    said = {"schema_version": SCHEMA_VERSION, "table": TABLES[kind], "day": day}
    return json.dumps({**said, **totals, "segments": segments}, indent=1).encode()


def segments_in(manifest: bytes) -> dict[str, dict[str, int]] | None:
    """The counts of each segment in a manifest; None if it is none."""
    with suppress(ValueError, RecursionError, LookupError, TypeError, AttributeError):
        found = json.loads(manifest)["segments"]
        if all(type(n) is int for numbers in found.values() for n in numbers.values()):
            return dict(found)
    return None


def segment_of(part: str) -> str:
    """The name of the segment that a part was made of."""
    return part.rpartition("/")[2].removeprefix("part-").removesuffix(".parquet").rpartition("-")[0]


def noted_as(part: str) -> str:
    """What a part is called in the manifest: its segment, with its number if that is not 0."""
    number = part.rpartition("/")[2].removesuffix(".parquet").rpartition("-")[2]
    return segment_of(part) if number == "0" else f"{segment_of(part)}.{number}"


def is_part(path: str) -> bool:
    """Whether a path is that of a part, by its name."""
    return path.rpartition("/")[2].startswith("part-") and path.endswith(".parquet")
