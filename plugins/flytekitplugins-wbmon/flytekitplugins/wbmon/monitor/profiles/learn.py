"""Learns the layout of a column from some of its rows: what it is, and how it is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import (
    dense_numbers,
    kind_of,
    shortest,
    text_array,
)
from flytekitplugins.wbmon.data.exact import (
    are_told_apart,
    joined,
    may_be_long,
    numbers_of,
    on_a_grid,
    sort_numbers,
)
from flytekitplugins.wbmon.data.kind import NOTHING_DECLARED, Declared, Kind
from flytekitplugins.wbmon.data.names import encode_names
from flytekitplugins.wbmon.data.objects import split, value_type
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.unreadable import MOST
from flytekitplugins.wbmon.monitor.profiles.count import GRID_KINDS, read_layout
from flytekitplugins.wbmon.monitor.profiles.facets import MAX_DEPTH, Embed, Facet, facets_of
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.vectors import learn_vectors
from flytekitplugins.wbmon.stats.arrays import Floats, Values
from flytekitplugins.wbmon.stats.binning import grid_edges

MAX_CATEGORIES = 1000
"""Maximum number of categories that have their own count."""

_MIN_TABLE_COUNT = 100
_IDENTIFIER_SHARE = 0.5
_IDENTIFIER_DISTINCT = 50
_RECURRING = 5  # rows that a cell of the chi-squared test needs
_LOOK = 10_000  # distinct texts that are looked at for what they are


def learn_kind(
    name: str,
    chunks: Sequence[pa.Array],
    dtype: pa.DataType,
    declared: Declared = NOTHING_DECLARED,
) -> FeatureProfile:
    """What a column is, as a layout that has no cells yet.

    Args:
        name: Name of the column.
        chunks: Some of its rows, in their plain form; of numbers that int64 and float64 hold none
            is looked at.
        dtype: Plain type of the column.
        declared: What the user says about it.
    """
    stored = kind_of(value_type(dtype))
    return FeatureProfile(
        name=name,
        kind=declared.kind or _kind(stored, chunks, declared),
        stored="" if declared.kind else stored,
        dtype=type_name(dtype),
        categories=declared.order,
        missing_values=declared.missing_values,
    )


def learn_feature(
    name: str,
    chunks: Sequence[pa.Array],
    dtype: pa.DataType,
    declared: Declared = NOTHING_DECLARED,
    *,
    at: Sequence[Floats | None] | None = None,
    embed: Embed | None = None,
    depth: int = 0,
) -> FeatureProfile:
    """Learn the layout of a column from some of its rows.

    Args:
        name: Name of the column.
        chunks: The rows, in their plain form.
        dtype: Plain type of the column.
        declared: What the user says about it.
        at: The times of the rows of each chunk, in seconds since 1970; None if they are not known.
        embed: Turns texts into vectors; None if their meaning is not counted.
        depth: How many structs and lists the column lies in.
    """
    layout = learn_kind(name, chunks, dtype, declared)
    read = [read_layout(layout, chunk).values for chunk in chunks]
    if layout.kind in GRID_KINDS:
        layout = with_grid(layout, sort_numbers(read).values)
    elif layout.kind == "boolean":
        layout = replace(layout, categories=("false", "true"), counts=_zeros(3))
    elif layout.kind == "vector":
        layout = learn_vectors(layout, read)
    elif layout.kind == "category":
        layout = _with_table(layout, *_named(read))
    if depth > MAX_DEPTH:
        return layout
    times = at or [None] * len(read)
    found = [
        facets_of(layout.kind, values, at=each, embed=embed)
        for values, each in zip(read, times, strict=True)
    ]
    return replace(layout, facets=_learn_facets(found, declared.missing_values, depth))


def with_grid(layout: FeatureProfile, values: Values) -> FeatureProfile:
    """The layout of a column of numbers.

    Args:
        layout: The layout without a grid.
        values: Values from which the grid is learned, sorted ascending and finite.
    """
    values = on_a_grid(values)
    if layout.kind == "ordinal" and layout.categories:
        edges: Values = np.arange(len(layout.categories))
    elif layout.kind == "time":
        edges = np.unique(values[[0, -1]]) if len(values) else values
    else:
        edges = grid_edges(values)
    # integers stay integers, because floats above 2**53 are rounded; uint64 does not fit int64, and
    # its neighbours are rounded to one: equal edges would be counted twice, and less than 0 between
    whole = edges.dtype.kind in "iu" and edges.dtype != np.uint64
    bits = 8 * edges.dtype.itemsize if edges.dtype.kind == "f" else 64
    edges = edges.astype(np.int64) if whole else np.unique(shortest(edges))
    return replace(
        layout,
        edges=edges,
        float_bits=bits,
        counts=_zeros(2 * len(edges) + 1),
    )


def type_name(dtype: pa.DataType) -> str:
    """The name of a type in reports."""
    inner = value_type(dtype)
    # a file says what it holds, and its reader encodes it
    named = inner.value_type if pa.types.is_dictionary(inner) else inner
    return str(named) if inner == dtype else f"{named} and others"


def _learn_facets(
    found: Sequence[dict[str, Facet]], missing: tuple[str, ...], depth: int
) -> dict[str, FeatureProfile]:
    names = list(dict.fromkeys(name for facets in found for name in facets))
    learned = {}
    for name in names:
        facets = [facets[name] for facets in found if name in facets]
        arrays = [facet.array for facet in facets]
        # what lies in a list or a struct is a value of the column; its length is none
        is_value = facets[0].kind is None
        said = Declared(kind=facets[0].kind, missing_values=missing if is_value else ())
        learned[name] = learn_feature(name, arrays, arrays[0].type, said, depth=depth + 1)
    return learned


def _kind(stored: Kind, chunks: Sequence[pa.Array], declared: Declared) -> Kind:
    if stored == "text":
        return _kind_of_text(chunks, declared)
    if stored == "vector":
        return _kind_of_lists(chunks)
    if stored == "number":
        return _kind_of_numbers(chunks, declared)
    return stored


def _kind_of_numbers(chunks: Sequence[pa.Array], declared: Declared) -> Kind:
    """A number, if numbers can tell its values apart; else what their names are."""
    long = [chunk for chunk in chunks if may_be_long(value_type(chunk.type))]
    read = [read_as("number", chunk, missing=declared.missing_values).values for chunk in long]
    if _are_quantities(read):
        return "number"
    named = [read_as("category", chunk, missing=declared.missing_values).values for chunk in chunks]
    return "category" if _has_table(*_named(named)) else "identifier"


def _are_quantities(read: Sequence[pa.Array]) -> bool:
    parts = [numbers_of(values) for values in read if values.null_count < len(values)]
    return not parts or are_told_apart(joined(parts), few=_IDENTIFIER_DISTINCT)


def _kind_of_text(chunks: Sequence[pa.Array], declared: Declared) -> Kind:
    """What text holds: categories if its names repeat, else numbers, times, identifiers or text."""
    read = [read_as("category", chunk, missing=declared.missing_values).values for chunk in chunks]
    counts, n_values = _named(read)
    if not counts:
        return "category"
    has_table = _has_table(counts, n_values)
    texts = text_array(list(counts)[:_LOOK])
    # of days there are few in a window, and others in the next
    if _reads_as("time", texts):
        return "time"
    if len(counts) > _IDENTIFIER_DISTINCT:
        if _share(_is_fraction(texts)) > 1 - MOST and _reads_as("number", texts):
            return "number"
        if not has_table and _reads_as("number", texts) and not _share(_is_padded(texts)):
            return "number"
    if has_table:
        return "category"
    return "text" if _is_prose(texts) else "identifier"


def _has_table(counts: dict[str, int], n_values: int) -> bool:
    return _recurs(counts, n_values) and bool(_table(counts, n_values))


def _recurs(counts: dict[str, int], n_values: int) -> bool:
    """Whether most rows have a name that others have, too, so that shares can be compared.

    Not where most rows differ, nor where most names are of fewer than five rows, as the lines of an
    order or the calls of a session are.
    """
    if len(counts) <= _IDENTIFIER_DISTINCT:
        return True
    often = sum(n for n in counts.values() if n >= _RECURRING)
    return min(often, n_values - len(counts)) >= _IDENTIFIER_SHARE * n_values


def _is_prose(texts: pa.Array) -> bool:
    """Whether texts have several words, and differ in more than a number, as `order 17` does."""
    blanks = pc.match_substring_regex(pc.utf8_trim_whitespace(texts), r"\s")
    patterns = pc.count_distinct(pc.replace_substring_regex(texts, r"\d+", "0")).as_py()
    return bool(_share(blanks) > 1 - MOST and patterns > _IDENTIFIER_SHARE * len(texts))


def _reads_as(kind: Kind, texts: pa.Array) -> bool:
    values = read_as(kind, texts).values
    if len(values) - values.null_count < MOST * len(texts):
        return False
    return kind != "number" or _are_quantities([values])


def _is_fraction(texts: pa.Array) -> pa.Array:
    return pc.match_substring_regex(texts, r"^\s*[+-]?\d*\.\d*[1-9]\d*\s*$")


def _is_padded(texts: pa.Array) -> pa.Array:
    """Whether digits begin with a zero, or many with a plus, as in codes but not in numbers."""
    return pc.match_substring_regex(texts, r"^\s*([+-]?0\d|\+\d{7,}\s*$)")


def _share(flags: pa.Array) -> float:
    return float(pc.mean(flags).as_py() or 0.0)


def _kind_of_lists(chunks: Sequence[pa.Array]) -> Kind:
    """Vectors if most lists have one length, as embeddings have."""
    lists = [split(chunk).values for chunk in chunks]
    lengths = [dense_numbers(pc.list_value_length(each)) for each in lists]
    lengths = [each[each > 0] for each in lengths]
    together = np.concatenate(lengths) if lengths else np.empty(0, dtype=np.int64)
    if not len(together):
        return "vector"
    most = np.bincount(together).max()
    return "vector" if most >= MOST * len(together) else "nested"


def _named(read: Sequence[pa.Array]) -> tuple[dict[str, int], int]:
    """Rows by name, and the number of rows that have one."""
    counts: dict[str, int] = {}
    for array in read:
        names, codes = encode_names(array)
        for label, count in zip(names, np.bincount(codes, minlength=len(names)), strict=True):
            counts[label] = counts.get(label, 0) + int(count)
    counts = {label: count for label, count in counts.items() if count}
    return counts, sum(counts.values())


def _table(counts: dict[str, int], n_values: int) -> dict[str, int]:
    if len(counts) <= MAX_CATEGORIES:
        return counts
    # not the top MAX_CATEGORIES: which of the rare names near the limit get in would be chance
    least = max(_MIN_TABLE_COUNT, n_values / MAX_CATEGORIES)
    return {label: count for label, count in counts.items() if count >= least}


def _with_table(layout: FeatureProfile, counts: dict[str, int], n_values: int) -> FeatureProfile:
    table = _table(counts, n_values)
    categories = tuple(sorted(table, key=lambda label: (-table[label], label)))
    return replace(layout, categories=categories, counts=_zeros(len(categories) + 1))


def _zeros(length: int) -> NDArray[np.int64]:
    return np.zeros(length, dtype=np.int64)
