"""Rows in groups by the values of a column: few values by what they are, many numbers in ranges."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
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
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.data.times import day_names
from flytekitplugins.wbmon.data.uuids import uuid_name
from flytekitplugins.wbmon.data.whole import read_whole
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

_SCALARS = ("number", "boolean", "text", "time", "duration", "empty")
_WIDE = 128  # bits of a decimal
_LOOK, _NOT_FINITE = 1000, 3  # rows, and values among them that are missing: nan, inf, -inf
_SHORT, _LONG = 4, 17  # digits of the ends of ranges: as few as tell them apart
_EXACT = 2**53  # up to here floats hold all whole numbers
OTHER = "(other)"  # the group of values that have no group of their own


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
    return kind_of(value_type(dtype)) in _SCALARS


def require_scalar(dtype: pa.DataType, name: str) -> None:
    """Refuse segments that are no single values.

    Args:
        dtype: Plain type of the column.
        name: Its name.

    Raises:
        DataError: If it holds lists or structs.
    """
    if not is_scalar(dtype):
        raise DataError(
            "segments are cut by text, numbers, booleans or times; column "
            f"{quoted_name(name)} holds {value_type(dtype)}"
        )


def named_groups(array: pa.Array) -> Groups:
    """One group for each value: by its name, times by their day in UTC, durations in seconds.

    Blank text is missing. Among numbers, the text of a number is that number.

    Args:
        array: A column of scalars in its plain form, also with odd values.
    """
    return _named(*split(array))


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
    if len(pc.unique(_encodable(values).drop_null())) > most:
        return None
    groups = _named(values, odd)
    return _in_order(groups) if len(groups.names) <= most else None


def edges_of(array: pa.Array, shares: NDArray[np.float64]) -> NDArray[Any]:
    """The quantiles of numbers, each once: whole numbers that floats would round stay whole.

    Several quantiles may be one value, such as the 0 of most rows. The next larger value is an edge
    then, so that these rows are a range of their own. No range is empty, unless all are equal.
    """
    values = exact_numbers(split(array).values)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.empty(0)
    is_large = values.dtype.kind in "iu" and np.abs(values.astype(np.float64)).max() > _EXACT
    found = np.quantile(values, shares, method="higher" if is_large else "linear")
    edges, times = np.unique(found, return_counts=True)
    least = values.min()
    common = edges[(times > 1) | (edges == least)]
    above = [values[values > value].min() for value in common if (values > value).any()]
    edges = np.unique(np.concatenate((edges, np.array(above, dtype=edges.dtype))))
    inner = edges[edges > least]
    return np.asarray(inner if len(inner) else edges[:1])


def ranges(array: pa.Array, edges: NDArray[Any]) -> Groups:
    """Numbers in ranges; a number at an edge belongs to the range that it begins.

    Args:
        array: A column of numbers or durations in its plain form, also with odd values. Those that
            are no numbers have no place among the ranges, and are one group.
        edges: Ends of the ranges, ascending, as `edges_of` gives them; at least one.

    Returns:
        The groups; -1 where a number is missing or infinite.
    """
    array, odd = split(array)
    kind = kind_of(array.type)
    bounds = [f"{bound} s" if kind == "duration" else bound for bound in _bounds(edges)]
    names = [f"< {bounds[0]}"]
    names += [f"{low} to {high}" for low, high in pairwise(bounds)]
    names += [f"≥ {bounds[-1]}"]
    codes = _places(array, edges)
    if odd is not None:
        blank = np.array([text is not None and not text.strip() for text in odd.to_pylist()])
        numbers = read_as("number", odd).values if kind == "number" else pa.nulls(len(odd))
        is_other = is_valid(odd) & ~is_valid(numbers) & ~blank
        codes = np.where(is_valid(numbers), _places(numbers, edges), codes)
        if is_other.any():
            codes[is_other] = len(names)
            names.append(OTHER)
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


def _named(values: pa.Array, odd: pa.Array | None) -> Groups:
    encoded = names_of(_as_named(values)).cast(pa.large_string()).dictionary_encode()
    codes, names = _codes(encoded), encoded.dictionary.to_pylist()
    kind = kind_of(values.type)
    if kind == "duration":
        names = [f"{name} s" for name in names]
    if odd is not None:
        of_odd = odd.dictionary_encode()
        codes = np.where(is_valid(odd), len(names) + _codes(of_odd), codes)
        texts = of_odd.dictionary
        names += _number_names(texts) if kind == "number" else texts.to_pylist()
    names = [uuid_name(name) for name in names]
    # a value and a text can have one name, and blank text is none
    distinct = list(dict.fromkeys(name for name in names if name.strip()))
    place = {name: i for i, name in enumerate(distinct)}
    # the last place is that of the code -1, missing
    places = np.array([*(place.get(name, -1) for name in names), -1], dtype=np.int64)
    return Groups(places[codes], distinct)


def _codes(encoded: pa.DictionaryArray) -> Codes:
    codes = np.full(len(encoded), -1)
    codes[is_valid(encoded.indices)] = dense_numbers(encoded.indices)
    return codes


def _number_names(texts: pa.Array) -> list[str]:
    """The names of the numbers that are written in texts; another text is its own name."""
    words = texts.to_pylist()
    floats = read_as("number", texts).values.to_pylist()
    return [
        word if number is None else _number_name(word, exact, number)
        for word, exact, number in zip(words, read_whole(words), floats, strict=True)
    ]


def _number_name(word: str, exact: int | None, number: float) -> str:
    # digits as they are: floats do not hold all of them
    if exact is not None:
        return str(exact)
    return class_name(number) if abs(number) < _EXACT else word


def _in_order(groups: Groups) -> Groups:
    """Groups of numbers in ascending order, those of other texts behind them."""
    order = sorted(range(len(groups.names)), key=lambda i: _rank(groups.names[i]))
    place = np.array([*np.argsort(np.array(order, dtype=np.int64)), -1], dtype=np.int64)
    return Groups(place[groups.codes], [groups.names[i] for i in order])


def _rank(name: str) -> tuple[bool, Decimal]:
    try:
        number = Decimal(name.removesuffix(" s"))
    except InvalidOperation:
        number = Decimal("nan")
    return (False, number) if number.is_finite() else (True, Decimal(0))


def _places(array: pa.Array, edges: NDArray[Any]) -> Codes:
    """The range of each number, -1 where it is missing or infinite."""
    codes = np.full(len(array), -1)
    values = exact_numbers(array)
    finite = np.isfinite(values)
    inside = values[finite]
    if edges.dtype.kind not in "iu":
        inside = inside.astype(np.float64)
    codes[np.flatnonzero(is_valid(array))[finite]] = np.searchsorted(edges, inside, side="right")
    return codes


def _bounds(edges: NDArray[Any]) -> list[str]:
    """The edges with as few digits as tell them apart."""
    for digits in range(_SHORT, _LONG):
        bounds = [f"{edge:.{digits}g}" for edge in edges.tolist()]
        if len(set(bounds)) == len(bounds):
            return bounds
    return [class_name(edge) for edge in edges.tolist()]
