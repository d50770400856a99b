"""Hashes of the values of a column: 64 bits each, the same in every process and on every machine.

Equal values have equal hashes however they are stored: a text as string, view or dictionary, an
integer in 8 bits or in 64. So the hashes of two windows can be compared without their values.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import count_missing, dense_numbers, is_text, large_strings
from flytekitplugins.wbmon.data.characters import row_batches, text_bytes
from flytekitplugins.wbmon.errors import DataError

_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2**64
_INVERSE = pow(_MULTIPLIER, -1, 2**64)

_WHOLE_NUMBERS = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_temporal)

_Hashes = NDArray[np.uint64]


def hash_values(array: pa.Array) -> NDArray[np.uint64]:
    """Hash of each value of a column that is not missing.

    Bytes `b_0 b_1 …` have the hash `mix(sum t(b_i) r^i)` modulo `2^64`: `t` is a table of 256
    random numbers, `r` odd. Sums from the start of a batch give those of every text in it, as `r`
    has an inverse. A number has the hash `mix` of its 64 bits. `mix` spreads what differs over all
    bits. None of it is a secret: values can be made that collide.

    Args:
        array: Texts and binary, by their bytes; integers, booleans and times, by their value, times
            in their own unit; floats, whole ones as integers, as pandas stores integers with
            missing values; decimals, as they are written; or a dictionary of one of these. Slices
            are fine.

    Returns:
        Shape `(n,)`, in the order of the rows; null and nan are left out. Two different values
        have the same hash with a probability of about `2^-64`.

    Raises:
        DataError: If the column holds none of these, such as lists.

    References:
        Karp & Rabin (1987), Efficient randomized pattern-matching algorithms; Steele, Lea & Flood
        (2014), Fast splittable pseudorandom number generators, for `mix`.
    """
    dtype = array.type
    if pa.types.is_dictionary(dtype):
        return _hash_dictionary(array)
    if pa.types.is_floating(dtype):
        return _hash_floats(dense_numbers(array).astype(np.float64))
    if any(is_number(dtype) for is_number in _WHOLE_NUMBERS):
        return _mix(_bits(dense_numbers(array)))
    return _hash_bytes(_bytes(array).drop_null())


def _bytes(array: pa.Array) -> pa.Array:
    types, dtype = pa.types, array.type
    if is_text(dtype) or types.is_null(dtype):
        return large_strings(array)
    if types.is_decimal(dtype):
        return array.cast(pa.string()).cast(pa.large_string())
    if types.is_binary(dtype) or types.is_large_binary(dtype) or types.is_fixed_size_binary(dtype):
        return array.cast(pa.binary()).cast(pa.large_binary())
    raise DataError(f"a column of single values is needed, got {dtype}; hash its parts instead")


def _hash_dictionary(array: pa.Array) -> _Hashes:
    values, rows = array.dictionary, array.indices
    if is_text(values.type):
        values = large_strings(values)
    # a slice keeps the dictionary of the whole column; and an entry can be missing itself
    if len(values) > len(rows) or count_missing(values):
        return hash_values(values.take(rows))
    hashes: _Hashes = hash_values(values)[dense_numbers(rows)]
    return hashes


def _hash_bytes(texts: pa.Array) -> _Hashes:
    hashes = np.empty(len(texts), dtype=np.uint64)
    if len(texts) == 0:
        return hashes
    starts, data = text_bytes(texts)
    symbols = _mix(np.arange(256, dtype=np.uint64))
    for first, last in row_batches(starts):
        ends = starts[first : last + 1] - starts[first]
        # a longer table serves all shorter batches, so round up
        size = 1 << int(ends[-1] + 1).bit_length()
        total = np.zeros(ends[-1] + 1, dtype=np.uint64)
        terms = np.take(symbols, data[starts[first] : starts[last]])
        terms *= _powers(_MULTIPLIER, size)[: len(terms)]
        np.cumsum(terms, out=total[1:])
        sums = total[ends[1:]] - total[ends[:-1]]
        hashes[first:last] = _mix(sums * _powers(_INVERSE, size)[ends[:-1]])
    return hashes


def _hash_floats(values: NDArray[np.float64]) -> _Hashes:
    values = values[~np.isnan(values)]
    # nor is -0.0 another value than 0.0
    is_whole = (values == np.floor(values)) & (np.abs(values) < 2.0**63)
    bits = values.view(np.uint64).copy()
    bits[is_whole] = _bits(values[is_whole].astype(np.int64))
    return _mix(bits)


def _bits(integers: NDArray[Any]) -> _Hashes:
    """The 64 bits of integers; a negative one as its two's complement."""
    kind = np.uint64 if integers.dtype.kind == "u" else np.int64
    return integers.astype(kind).view(np.uint64)


@lru_cache(maxsize=4)
def _powers(base: int, size: int) -> _Hashes:
    powers = np.full(size, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _mix(bits: _Hashes) -> _Hashes:
    """The finaliser of SplitMix64, a bijection: equal hashes come from equal bits."""
    mixed = bits + np.uint64(_MULTIPLIER)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes: _Hashes = mixed ^ (mixed >> np.uint64(31))
    return hashes
