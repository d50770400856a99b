"""Recognises columns of numbers that have no distribution that could drift."""

from __future__ import annotations

import math

import numpy as np

from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.uniqueness import uniqueness_evidence

_EXACT = 2.0**53  # up to here every whole number is a float
_FLOATS = ("double", "float", "halffloat")
_SURE = 20.0  # nats: one window in 500 million of a measured column, and it takes two


def are_indistinct(reference: FeatureProfile, current: FeatureProfile) -> bool:
    """Whether numbers of both windows may differ, but only in digits that floats do not have.

    They are all one float, and in an open cell of the grid, which may hold several of its numbers.
    """
    if reference.edges is None or reference.kind not in ("number", "duration"):
        return False
    if reference.counts is None or current.counts is None:
        return False
    ends = {reference.minimum, reference.maximum, current.minimum, current.maximum}
    together = np.asarray(reference.counts) + np.asarray(current.counts)
    in_open_cell = int((together > 0).sum()) == 1 and bool(together[0::2].any())
    return len(ends) == 1 and in_open_cell and (_has_long(reference) or _has_long(current))


def _has_long(feature: FeatureProfile) -> bool:
    """Whether the numbers of a column may have more digits than floats."""
    if feature.dtype.startswith("decimal"):
        return True
    is_float = feature.dtype.split(" ")[0] in _FLOATS
    return abs(feature.maximum) >= _EXACT and not is_float


def looks_like_identifier(feature: FeatureProfile) -> bool:
    """Whether a column of integers is unlikely to hold measurements.

    Its values all differ, although they lie so close together that measurements would repeat.
    """
    # the ends are stored as floats: above 2**53 they are rounded, and the true span can be larger
    span = feature.maximum - feature.minimum + 1 + math.ulp(feature.maximum)
    return span >= feature.n_values and uniqueness_evidence(feature.differing_pairs, span) >= _SURE
