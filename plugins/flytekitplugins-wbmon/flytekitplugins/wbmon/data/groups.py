"""Rows in groups by the values of a column: few values by what they are, many numbers in ranges."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import (
    dense_numbers,
    is_valid,
    kind_of,
    seconds,
    shortest,
)
from flytekitplugins.wbmon.data.names import names_of
from flytekitplugins.wbmon.data.objects import split, value_type
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.data.times import day_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

_WIDE = 128  # bits of a decimal
_LOOK, _NOT_FINITE = 1000, 3  # rows, and values among them that are missing: nan, inf, -inf
_SHORT, _LONG = 4, 17  # digits of the ends of ranges: as few as tell them apart


class Groups(NamedTuple):
    """The group of each row.

    Attributes:
        codes: Index into `names`, -1 where the value is missing; shape `(n,)`.
        names: What the values of a group are called.
    """

    codes: Codes
    names: list[str]


def is_scalar(dtype: pa.DataType) -> bool:
    """Whether a column of this plain type holds values that rows can be grouped by."""
    kinds = ("number", "boolean", "text", "time", "duration", "empty")
    return kind_of(value_type(dtype)) in kinds


def named_groups(array: pa.Array) -> Groups:
    """One group for each value: by its name, times by their day in UTC, durations in seconds.

    Args:
        array: A column of scalars in its plain form, also with odd values.
    """
    values, odd = split(array)
    named = names_of(_as_named(values)).cast(pa.large_string())
    if odd is not None:
        named = pc.coalesce(named, odd)
    encoded = named.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    if kind_of(values.type) == "duration":
        names = [f"{name} s" for name in names]
    codes = np.full(len(encoded), -1)
    codes[is_valid(encoded.indices)] = dense_numbers(encoded.indices)
    return Groups(codes, names)


def few_numbers(array: pa.Array, most: int) -> Groups | None:
    """Groups of numbers or durations in ascending order, an infinite one is missing.

    Args:
        array: A column of numbers or durations in its plain form, also with odd values.
        most: The largest number of groups.

    Returns:
        The groups, those of odd texts last; None if there are more.
    """
    values, odd = split(array)
    # most columns of many numbers show it in their first rows
    if len(pc.unique(_encodable(values[:_LOOK]).drop_null())) > most + _NOT_FINITE:
        return None
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, pa.nulls(1, values.type)[0])
    distinct = len(pc.unique(_encodable(values).drop_null()))
    if odd is not None:
        distinct += len(pc.unique(odd.drop_null()))
    if distinct > most:
        return None
    found = named_groups(values)
    numbers = [_number(name) for name in found.names]
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    place = np.array([*np.argsort(np.array(order, dtype=np.int64)), -1], dtype=np.int64)
    groups = Groups(place[found.codes], [found.names[i] for i in order])
    return groups if odd is None else _with_odd(groups, odd)


def edges_of(array: pa.Array, shares: NDArray[np.float64]) -> NDArray[Any]:
    """The quantiles of numbers, each once: whole numbers that floats would round stay whole."""
    values = exact_numbers(array)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.empty(0)
    if values.dtype.kind in "iu" and np.abs(values.astype(np.float64)).max() > 2.0**53:
        return np.unique(np.quantile(values, shares, method="higher"))
    return np.unique(np.quantile(values, shares))


def ranges(array: pa.Array, edges: NDArray[Any]) -> Groups:
    """Numbers in ranges; a number at an edge belongs to the range that it begins.

    Args:
        array: A column of numbers or durations in its plain form, without odd values.
        edges: Ends of the ranges, ascending, as `edges_of` gives them; at least one.

    Returns:
        The groups; -1 where a number is missing or infinite.
    """
    unit = " s" if kind_of(array.type) == "duration" else ""
    bounds = [f"{bound}{unit}" for bound in _bounds(edges)]
    names = [f"< {bounds[0]}"]
    names += [f"{low} to {high}" for low, high in pairwise(bounds)]
    names += [f"≥ {bounds[-1]}"]
    codes = np.full(len(array), -1)
    values = exact_numbers(array)
    finite = np.isfinite(values)
    inside = values[finite]
    if edges.dtype.kind not in "iu":
        inside = inside.astype(np.float64)
    codes[np.flatnonzero(is_valid(array))[finite]] = np.searchsorted(edges, inside, side="right")
    return Groups(codes, names)


def exact_numbers(array: pa.Array) -> NDArray[Any]:
    """The numbers that are not null: whole ones of 64 bits as they are, durations in seconds."""
    if pa.types.is_null(array.type):
        return np.empty(0)
    if pa.types.is_duration(array.type):
        return seconds(array)
    values = dense_numbers(array)
    if pa.types.is_float32(array.type) or pa.types.is_float16(array.type):
        finite = np.isfinite(values)
        wide = values.astype(np.float64)
        wide[finite] = shortest(values[finite])
        return wide
    return values


def _as_named(values: pa.Array) -> pa.Array:
    """What names are taken of: booleans are 0 and 1, times are days."""
    if pa.types.is_boolean(values.type):
        return values.cast(pa.uint8())
    if pa.types.is_decimal(values.type):
        return _encodable(values)
    return day_names(values) if kind_of(values.type) == "time" else values


def _encodable(values: pa.Array) -> pa.Array:
    """The values, narrow decimals as wider ones: not every width of decimals can be encoded."""
    if pa.types.is_decimal(values.type) and values.type.bit_width < _WIDE:
        return values.cast(pa.decimal128(38, values.type.scale))
    return values


def _number(name: str) -> float:
    text = name.removesuffix(" s")
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _with_odd(groups: Groups, odd: pa.Array) -> Groups:
    encoded = odd.dictionary_encode()
    names = [*groups.names, *encoded.dictionary.to_pylist()]
    codes = groups.codes.copy()
    codes[is_valid(encoded.indices)] = len(groups.names) + dense_numbers(encoded.indices)
    return Groups(codes, names)


def _bounds(edges: NDArray[Any]) -> list[str]:
    """The edges with as few digits as tell them apart."""
    for digits in range(_SHORT, _LONG):
        bounds = [f"{edge:.{digits}g}" for edge in edges.tolist()]
        if len(set(bounds)) == len(bounds):
            return bounds
    return [class_name(edge) for edge in edges.tolist()]
