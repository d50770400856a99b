"""UUIDs as names: a UUID is its value, in whatever case and form its text is."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import whole_array
from flytekitplugins.wbmon.data.scalars import class_name

# 32 hexadecimal digits: with or without hyphens, in braces or as a URN, in any case
_UUID = (
    r"^\s*(?:urn:uuid:|\{)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?"
    r"([0-9a-f]{12})\}?\s*$"
)
_CANONICAL = r"\1-\2-\3-\4-\5"
_PATTERN = re.compile(_UUID, re.ASCII | re.IGNORECASE)
_SHORTEST, _USUAL = 32, 36  # letters, of hexadecimal digits alone and with hyphens


def uuid_name(name: str) -> str:
    """The canonical text of a UUID, `4b1e…-…` in lower case; any other name as it is."""
    return _PATTERN.sub(_CANONICAL, name).lower() if is_uuid(name) else name


def is_uuid(name: str) -> bool:
    """Whether a name is a UUID, in any form."""
    return len(name) >= _SHORTEST and _PATTERN.match(name) is not None


def value_name(value: Any) -> str:
    """The name of a class as a column of classes has it."""
    return uuid_name(class_name(value))


def uuid_names(texts: pa.Array) -> pa.Array:
    """Texts, those that are UUIDs in their canonical form.

    Args:
        texts: Large strings.
    """
    lower = pc.ascii_lower(texts)
    lengths = pc.binary_length(texts)
    # nearly all UUIDs are canonical, and are not searched
    is_other = pc.or_(pc.greater(lengths, _whole(_USUAL)), pc.not_equal(lower, texts))
    is_other = pc.or_(is_other, pc.less(lengths, _whole(_USUAL)))
    rows = pc.and_(is_other, pc.greater_equal(lengths, _whole(_SHORTEST))).fill_null(False)
    if not pc.any(rows).as_py():
        return texts
    some = lower.filter(rows)
    canonical = pc.replace_substring_regex(some, _UUID, _CANONICAL)
    kept = pc.if_else(pc.match_substring_regex(some, _UUID), canonical, texts.filter(rows))
    return pc.replace_with_mask(texts, rows, kept)


def _whole(value: int) -> pa.Scalar:
    # `pyarrow.scalar` would import pandas
    return whole_array(np.array([value]))[0]
