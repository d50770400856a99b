"""Facets: what a value consists of, as columns that can be counted like any other.

A text has no distribution of its own that two windows could share, but its length and its words
have. A list has a length and elements, a struct has fields, a time has an hour and a weekday.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import (
    bitmap,
    dense_numbers,
    float_array,
    is_valid,
    text_array,
)
from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.data.text_parts import (
    alphabets,
    character_shares,
    code_words,
    text_formats,
    text_lengths,
    tokens,
)
from flytekitplugins.wbmon.errors import DataError

Embed: TypeAlias = Callable[[list[str]], "NDArray[np.float64]"]
"""Turns `n` texts into `n` vectors, shape `(n, d)`."""

AGE = "age"
"""The facet of a time that is the time since it, in seconds."""

MEANING = "meaning"
"""The facet of a text that consists of its vector."""

MAX_DEPTH = 4
"""Levels of structs and lists that are looked into."""

_DAY = 86_400
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_THURSDAY = 3  # 1970-01-01
_PRECISIONS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class Facet(NamedTuple):
    """One facet of a column.

    Attributes:
        array: The values of the facet, in their plain form.
        kind: What they are; None if it is to be learned from them.
        rows: The row of the column that each value is of, ascending; None if it is one a row.
    """

    array: pa.Array
    kind: Kind | None = None
    rows: NDArray[np.int64] | None = None


def facets_of(
    kind: Kind,
    values: pa.Array,
    *,
    at: NDArray[np.float64] | None = None,
    embed: Embed | None = None,
) -> dict[str, Facet]:
    """The facets of the values of a column; none for kinds that are tested as a whole.

    Args:
        kind: What the column is: `text`, `identifier`, `time` or `nested` have facets.
        values: The values, as `read_as` returns them.
        at: The time of each row in seconds since 1970, for the age of times; shape `(n,)`.
        embed: Turns texts into vectors, for the meaning of text.

    Raises:
        DataError: If `embed` does not return one vector for each text.
    """
    # a file of a dataset may lack the column
    if pa.types.is_null(values.type):
        return {}
    if kind == "time":
        return _of_times(values, at)
    if kind == "text" and embed is not None:
        return {**_of_text(values), MEANING: Facet(_vectors(values, embed), "vector")}
    return _FACETS[kind](values) if kind in _FACETS else {}


def _of_text(values: pa.Array) -> dict[str, Facet]:
    shares = character_shares(values)
    return {
        "length": Facet(text_lengths(values), "number"),
        **{name: Facet(array, "number") for name, array in shares.items()},
        "words": _elements(tokens(values), "category"),
    }


def _vectors(values: pa.Array, embed: Embed) -> pa.Array:
    valid = is_valid(values)
    texts = values.drop_null().to_pylist()
    found = np.asarray(embed(texts), dtype=np.float64) if texts else np.empty((0, 1))
    if found.ndim != 2 or len(found) != len(texts):  # noqa: PLR2004 - a matrix
        raise DataError(
            f"embed must return one vector for each text, a matrix of {len(texts)} rows; it "
            f"returned shape {found.shape}"
        )
    # a vector that is not finite counts as missing
    full = np.full((len(valid), found.shape[1]), np.nan)
    full[valid] = found
    flat = float_array(full.ravel(), np.ones(full.size, dtype=bool))
    return pa.FixedSizeListArray.from_arrays(flat, full.shape[1])


def _of_identifiers(values: pa.Array) -> dict[str, Facet]:
    return {
        "format": Facet(text_formats(values), "category"),
        "alphabet": Facet(alphabets(values), "category"),
        "words": _elements(code_words(values), "category"),
    }


def _of_nested(values: pa.Array) -> dict[str, Facet]:
    if not pa.types.is_struct(values.type):
        elements = _elements(values, None)
        return {"length": Facet(pc.list_value_length(values), "number"), "elements": elements}
    # `flatten` carries the nulls of the struct over to its fields
    return {values.type.field(i).name: Facet(array) for i, array in enumerate(values.flatten())}


def _of_times(values: pa.Array, at: NDArray[np.float64] | None) -> dict[str, Facet]:
    valid = is_valid(values)
    seconds = np.asarray(dense_numbers(values), dtype=np.float64)
    # a number that is declared a time may be infinite
    finite = np.isfinite(seconds)
    valid[valid], seconds = finite, seconds[finite]
    days = np.floor(seconds / _DAY)
    of_day = seconds - days * _DAY
    weekday = ((days + _THURSDAY) % 7).astype(np.int8)
    found = {
        "hour": Facet(float_array(of_day / 3600, valid), "number"),
        "weekday": Facet(_named(weekday, _WEEKDAYS, valid), "category"),
        "precision": Facet(_precision(of_day, valid), "category"),
    }
    if at is not None:
        known = valid & np.isfinite(at)
        ages = at[known] - seconds[known[valid]]
        found[AGE] = Facet(float_array(ages, known), "duration")
    return found


def _precision(of_day: NDArray[np.float64], valid: NDArray[np.bool_]) -> pa.Array:
    """The largest unit of which a time of day is a whole number."""
    code = np.full(len(of_day), len(_PRECISIONS), dtype=np.int8)
    for place, (unit, _) in reversed(list(enumerate(_PRECISIONS))):
        code[of_day % unit == 0] = place
    return _named(code, (*(name for _, name in _PRECISIONS), "finer"), valid)


def _named(codes: NDArray[np.int8], names: tuple[str, ...], valid: NDArray[np.bool_]) -> pa.Array:
    full = np.zeros(len(valid), dtype=np.int8)
    full[valid] = codes
    indices = pa.Array.from_buffers(pa.int8(), len(valid), [bitmap(valid), pa.py_buffer(full)])
    return pa.DictionaryArray.from_arrays(indices, text_array(names))


def _elements(lists: pa.Array, kind: Kind | None) -> Facet:
    # not `list_parent_indices`: it counts what lies below a null, which `list_flatten` leaves out
    lengths = dense_numbers(pc.list_value_length(lists))
    rows = np.repeat(np.flatnonzero(is_valid(lists)), lengths)
    return Facet(pc.list_flatten(lists), kind, rows.astype(np.int64))


_FACETS: dict[Kind, Callable[[pa.Array], dict[str, Facet]]] = {
    "text": _of_text,
    "identifier": _of_identifiers,
    "nested": _of_nested,
}
