"""Categories that are others in every window, as sessions and orders of many rows are.

One window cannot tell the sessions of a day from the stores of a chain: both recur in many rows.
Where the next window has hardly any value of the reference, and those that it has look alike, that
is natural for the one and a fault for the other, and only past windows know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TypeAlias

import numpy as np
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import text_array
from flytekitplugins.wbmon.data.text_parts import alphabets, code_words, text_formats
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile

_MANY = 50  # categories; fewer are no identifiers
_REPLACED = 0.9  # share of rows in new values
_ODD = 0.1  # share of new values that may look otherwise than those of the reference
_CROWDED = 3.0  # times as many rows of a value as in the reference

_Parts: TypeAlias = "tuple[set[str], ...]"


def are_turned_over(reference: FeatureProfile, current: FeatureProfile) -> bool:
    """Whether nearly all categories were replaced, by others of the same form.

    That is more than 50 categories whose kind was learned, and nine in ten rows of the window in
    values that the reference does not have. They are of formats, alphabets and words that the
    reference knows, and a value has not many more rows than there.
    """
    if not reference.stored or reference.n_categories <= _MANY or not current.n_categories:
        return False
    known, now = _rows(reference), _rows(current)
    new = {name: n for name, n in now.items() if name not in known}
    if sum(new.values()) < _REPLACED * sum(now.values()):
        return False
    rows = [feature.n_values / feature.n_categories for feature in (reference, current)]
    return rows[1] <= _CROWDED * rows[0] and _more_other_forms([*known], [*new]) <= _ODD


def _rows(feature: FeatureProfile) -> dict[str, float]:
    """Rows of the categories that are known by name."""
    counts = np.asarray(feature.counts)[:-1]
    table = zip(feature.categories, counts.tolist(), strict=True)
    return {**{name: float(n) for name, n in table if n}, **feature.unseen}


def _more_other_forms(known: Sequence[str], new: Sequence[str]) -> float:
    """Share of new names in a form that no known name has, beyond what chance lets expect.

    As large a share as of the known names are in a form that no other known name has may be in
    another one, as in the letters of hexadecimal digits (Good and Turing).
    """
    parts = _parts(known)
    times = [Counter(chain.from_iterable(each)) for each in zip(*parts, strict=True)]
    alone = _share_with(parts, [{part for part, n in each.items() if n == 1} for each in times])
    others = _parts(new)
    had = [set(each) for each in times]
    unknown = [set(chain.from_iterable(each)) for each in zip(*others, strict=True)]
    return _share_with(others, [a - b for a, b in zip(unknown, had, strict=True)]) - alone


def _share_with(names: Sequence[_Parts], wanted: Sequence[set[str]]) -> float:
    """Share of names that have one of the wanted formats, alphabets or words."""
    has = [
        any(not part.isdisjoint(each) for part, each in zip(name, wanted, strict=True))
        for name in names
    ]
    return sum(has) / len(has)


def _parts(names: Sequence[str]) -> list[_Parts]:
    """Of each name its format, its alphabet and its words."""
    texts = text_array(names)
    words = pc.fill_null(code_words(texts), []).to_pylist()
    formats, letters = (each.to_pylist() for each in (text_formats(texts), alphabets(texts)))
    return [({a}, {b}, set(c)) for a, b, c in zip(formats, letters, words, strict=True)]
