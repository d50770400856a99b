"""Categories that are others in every window, as sessions and orders of many rows are.

One window cannot tell the sessions of a day from the stores of a chain: both recur in many rows.
Where the next window has hardly any value of the reference, and those that it has look alike, that
is natural for the one and a fault for the other, and only past windows know.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import text_array
from flytekitplugins.wbmon.data.text_parts import alphabets, code_words, text_formats
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile

_MANY = 50  # categories; fewer are no identifiers
_REPLACED = 0.9  # share of rows in new values
_ODD = 0.1  # share of these whose values may look otherwise than those of the reference
_CROWDED = 3.0  # times as many rows of a value as in the reference


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
    return rows[1] <= _CROWDED * rows[0] and _share_of_other_forms(known, new) <= _ODD


def _rows(feature: FeatureProfile) -> dict[str, float]:
    """Rows of the categories that are known by name."""
    counts = np.asarray(feature.counts)[:-1]
    table = zip(feature.categories, counts.tolist(), strict=True)
    return {**{name: float(n) for name, n in table if n}, **feature.unseen}


def _share_of_other_forms(known: dict[str, float], new: dict[str, float]) -> float:
    """Share of the rows of new names that are in a form which no known name has."""
    parts = [_parts(list(names)) for names in (known, new)]
    had = [set().union(*each) for each in zip(*parts[0], strict=True)]
    is_other = [
        any(not part <= of_known for part, of_known in zip(each, had, strict=True))
        for each in parts[1]
    ]
    rows = np.array(list(new.values()))
    return float(rows[np.array(is_other)].sum() / rows.sum())


def _parts(names: Sequence[str]) -> list[tuple[set[str], ...]]:
    """Of each name its format, its alphabet and its words."""
    texts = text_array(names)
    words = pc.fill_null(code_words(texts), []).to_pylist()
    formats, letters = (each.to_pylist() for each in (text_formats(texts), alphabets(texts)))
    return [({a}, {b}, set(c)) for a, b, c in zip(formats, letters, words, strict=True)]
