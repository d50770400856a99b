"""Keys by which rows of two tables meet: equal values meet, whatever their containers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import count_missing, dense_numbers, kind_of
from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.data.names import names_of
from flytekitplugins.wbmon.data.objects import split, value_type
from flytekitplugins.wbmon.data.plain import holds_uuids, plain_column
from flytekitplugins.wbmon.data.times import are_days, day_names, days_of
from flytekitplugins.wbmon.data.unreadable import are_few
from flytekitplugins.wbmon.data.uuids import uuid_names
from flytekitplugins.wbmon.data.whole import are_fractions, is_blank, whole, without
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import quoted_name

_INFINITE = r"(?i)^\s*[+-]?inf(inity)?\s*$"


class Keys(NamedTuple):
    """A column of keys.

    Attributes:
        values: int64, or text; null where there is no key.
        kind: `number`, `text`, `time` of dates, or `empty`; of a mixed column that of most keys.
        stored: What the column holds, for messages.
        others: The keys of a mixed column that are no text, null elsewhere; None if all keys are
            of one kind.
        are_uuids: Whether they were UUIDs, and are their canonical text now.
        n_unreadable: Numbers that are no keys, fractions and infinite ones; they count as missing.
    """

    values: pa.Array
    kind: Kind
    stored: str
    others: pa.Array | None = None
    are_uuids: bool = False
    n_unreadable: int = 0


def keys_of(column: pa.ChunkedArray, name: str) -> Keys:
    """The keys of a column: text, whole numbers of any size and type, or dates.

    In a mixed column, a key is its name: the number 7 and the text `7` are one, as pandas makes
    either of the same digits in a file; `007` and `A3` are others.

    Args:
        column: The column as it is stored, also with odd values.
        name: Its name, for the message of an error.

    Raises:
        DataError: If it holds something else, floats that have lost digits, or fractions and
            infinite numbers, more than one and more than one in twenty.
    """
    are_uuids = holds_uuids(column.type)
    array = plain_column(column).combine_chunks()
    dtype = value_type(array.type)
    kind = kind_of(dtype)
    stored = "UUIDs" if are_uuids else str(dtype)
    must = f"key {quoted_name(name)} must hold text or whole numbers"
    values, odd = split(array)
    odd = None if odd is None else _present(odd)
    if odd is not None and odd.null_count == len(odd):
        odd = None
    # of whatever type: nan alone makes a column of floats of keys of text
    if odd is None and (kind == "empty" or values.null_count == len(values)):
        return Keys(pa.nulls(len(array)), "empty", stored)
    n_unreadable = 0
    if kind == "number":
        if odd is not None:
            odd, n_unreadable = _without_infinite(odd)
        fractions = are_fractions(values)
        n_unreadable += int(fractions.sum())
        n_keys = len(array) - count_missing(array)
        # many are refused as such
        if are_few(n_unreadable, n_keys):
            values = without(values, fractions)
    keys = _keys(values, kind, must)
    if keys is None:
        unknown = [] if odd is None else odd.drop_null().to_pylist()
        found = quoted_name(unknown[0]) if kind == "empty" else dtype
        raise DataError(f"{must}, found {found}")
    if odd is not None:
        named = day_names(values) if kind == "time" else keys.cast(pa.large_string())
        others = odd if kind == "text" else named
        mixed = f"{stored} and other values"
        return Keys(pc.coalesce(named, odd), kind, mixed, others, n_unreadable=n_unreadable)
    kind = kind if keys.null_count < len(keys) else "empty"
    return Keys(keys, kind, stored, None, are_uuids, n_unreadable)


def comparable(one: Keys, other: Keys, name: str) -> tuple[pa.Array, pa.Array]:
    """The values of the keys of two columns as arrays of one type.

    Args:
        one: The keys of the predictions.
        other: Those of the labels.
        name: The name of both columns, for the message of an error.

    Raises:
        DataError: If the keys are of different kinds.
    """
    if "empty" not in (one.kind, other.kind):
        _require_same_kind(one, other, name)
    one, other = _with_uuids(one), _with_uuids(other)
    types = {keys.values.type for keys in (one, other) if keys.kind != "empty"}
    # whole numbers of which 64 bits do not hold one are all digits
    dtype = types.pop() if len(types) == 1 else pa.large_string()
    return _as_names(one, dtype), _as_names(other, dtype)


def _keys(values: pa.Array, kind: Kind, must: str) -> pa.Array | None:
    """The keys of values of one kind; None if they are no keys."""
    if kind == "number":
        return whole(values, must)
    if kind == "text":
        return _present(names_of(values).cast(pa.large_string()))
    if kind == "time" and are_days(values):
        return days_of(values).cast(pa.int32()).cast(pa.int64())
    return None


def _without_infinite(odd: pa.Array) -> tuple[pa.Array, int]:
    """Texts among numbers without those of infinity, which is no key."""
    is_infinite = pc.match_substring_regex(odd, _INFINITE).fill_null(False)
    rows = np.zeros(len(odd), dtype=bool)
    rows[:] = dense_numbers(is_infinite) > 0
    return without(odd, rows), int(rows.sum())


def _require_same_kind(one: Keys, other: Keys, name: str) -> None:
    if one.others is None and other.others is None and one.kind != other.kind:
        raise DataError(
            f"key {quoted_name(name)} must be of one kind in predictions and labels; "
            f"found {one.stored} and {other.stored}"
        )
    for mixed, plain in ((one, other), (other, one)):
        if mixed.others is None or plain.others is not None or plain.kind != "text":
            continue
        both = mixed.others.filter(pc.is_in(mixed.others, value_set=plain.values.drop_null()))
        if len(both):
            raise DataError(
                f"key {quoted_name(name)} must be of one kind in predictions and labels; found "
                f"{quoted_name(both[0].as_py())} as text in one and as {_other_kind(mixed)} in the "
                "other; store both as text"
            )


def _other_kind(mixed: Keys) -> str:
    kinds = {"number": "a number", "time": "a date"}
    return kinds.get(mixed.kind, "another value")


def _with_uuids(keys: Keys) -> Keys:
    """The keys with each text that is a UUID in its canonical form."""
    if keys.kind != "text" or keys.are_uuids:
        return keys
    return keys._replace(values=uuid_names(keys.values))


def _as_names(keys: Keys, dtype: pa.DataType) -> pa.Array:
    if keys.kind == "time" and keys.others is None and pa.types.is_large_string(dtype):
        return keys.values.cast(pa.int32()).cast(pa.date32()).cast(pa.string()).cast(dtype)
    return keys.values.cast(dtype)


def _present(texts: pa.Array) -> pa.Array:
    blank = is_blank(texts)
    if not pc.any(blank).as_py():
        return texts
    return pc.if_else(blank, pa.nulls(1, pa.large_string())[0], texts)
