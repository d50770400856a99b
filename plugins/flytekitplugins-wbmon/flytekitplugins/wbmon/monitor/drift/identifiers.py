"""Recognises integer columns that are identifiers: they have no distribution that could drift."""

from __future__ import annotations

import math

from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.uniqueness import uniqueness_evidence

_SURE = 20.0  # nats: one window in 500 million of a measured column, and it takes two


def looks_like_identifier(feature: FeatureProfile) -> bool:
    """Whether a column of integers is unlikely to hold measurements.

    Its values all differ, although they lie so close together that measurements would repeat.
    """
    # the ends are stored as floats: above 2**53 they are rounded, and the true span can be larger
    span = feature.maximum - feature.minimum + 1 + math.ulp(feature.maximum)
    return span >= feature.n_values and uniqueness_evidence(feature.differing_pairs, span) >= _SURE
