"""Bytes as text, and text that is not what it is said to be.

Neither Arrow nor Parquet checks that text is UTF-8. What is not is read as the same bytes are, so
that it costs itself and not the column.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import large_strings, text_array, whole_array
from flytekitplugins.wbmon.data.scalars import CONTROLS, UUID_BYTES, bytes_text


def is_bytes(dtype: pa.DataType) -> bool:
    """Whether the column holds bytes of any length, however they are laid out."""
    types = pa.types
    return bool(
        types.is_binary(dtype) or types.is_large_binary(dtype) or types.is_binary_view(dtype)
    )


def bytes_as_text(array: pa.Array) -> pa.Array:
    """Bytes as `large_string`: UTF-8 as itself, 16 other bytes as a UUID, and others as `0x…`."""
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = array.cast(pa.large_string())
        if not pc.any(_may_be_uuids(texts)).as_py():
            return texts
    return text_array([None if value is None else bytes_text(value) for value in _items(array)])


def readable(array: pa.Array) -> pa.Array:
    """Text of which none fails to be UTF-8, of the same type; string views are `large_string`.

    Args:
        array: Strings in any layout, or a dictionary of strings but not of views.
    """
    dtype = array.type
    if not pa.types.is_dictionary(dtype):
        return _readable(array)
    names = array.dictionary
    told = _readable(names)
    if told is names:
        return array
    # encoded anew: two names may have become one
    encoded = told.take(array.indices).dictionary_encode()
    codes = encoded.indices.cast(dtype.index_type)
    return pa.DictionaryArray.from_arrays(codes, encoded.dictionary)


def _readable(texts: pa.Array) -> pa.Array:
    dtype = texts.type
    if pa.types.is_string_view(dtype):
        found = texts.view(pa.binary_view())
        return _mended(found) if _is_broken(found) else large_strings(texts)
    found = texts.view(pa.large_binary() if pa.types.is_large_string(dtype) else pa.binary())
    return _mended(found).cast(dtype) if _is_broken(found) else texts


def _is_broken(found: pa.Array) -> bool:
    try:
        # the one cast that looks at every byte
        found.cast(pa.large_string())
    # Arrow 17 cannot cast views: they are read one by one
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return True
    return False


def _mended(found: pa.Array) -> pa.Array:
    return text_array([None if value is None else _mended_text(value) for value in _items(found)])


def _mended_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return bytes_text(value)


def _may_be_uuids(texts: pa.Array) -> pa.Array:
    lengths = pc.binary_length(texts)
    of_length = pc.equal(lengths, whole_array(np.full(1, UUID_BYTES))[0])
    return pc.and_(of_length, pc.match_substring_regex(texts, CONTROLS))


def _items(array: pa.Array) -> list[bytes | None]:
    items: list[bytes | None] = array.to_pylist()
    return items
