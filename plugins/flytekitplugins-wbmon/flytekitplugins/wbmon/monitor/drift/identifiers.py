"""Columns of whole numbers that count something off: they have no distribution that could drift."""

from __future__ import annotations

import math

from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.uniqueness import uniqueness_evidence

_SURE = 20.0  # nats: one window in 500 million of a measured column, and it takes two


def looks_like_identifier(feature: FeatureProfile) -> bool:
    """Whether whole numbers cannot have been measured: they lie too close for none to repeat."""
    # the ends are floats: above 2**53 the span may be larger by as much as they were rounded
    span = feature.maximum - feature.minimum + 1 + math.ulp(feature.maximum)
    if not feature.differing_pairs > 0 or span < feature.n_values:
        return False
    return uniqueness_evidence(feature.differing_pairs, span) >= _SURE
