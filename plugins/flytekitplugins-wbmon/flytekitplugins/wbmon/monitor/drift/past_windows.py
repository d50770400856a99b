"""A test at the level of windows: is the current window farther from past ones than they are apart?

The rows of one window share a day, a campaign or a sensor, so they are not independent. A test that
assumes independence then finds drift in every window. Stored profiles of past windows show how much
windows differ from each other without drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift.comparison import RATES, Comparison
from flytekitplugins.wbmon.monitor.drift.distances import scaled_counts
from flytekitplugins.wbmon.monitor.drift.novelty import known_rows
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.tails import tail_rows
from flytekitplugins.wbmon.monitor.drift.uncounted import uncounted_rows
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.stats.distinct import frequent_share
from flytekitplugins.wbmon.stats.tail_probabilities import student_t_sf

MIN_PAST_WINDOWS = 5
_LEAST_SPREAD = 0.05  # of log distances; equal past windows would make it 0, and divide by it

# cells that a check compares with all others: other categories, open cells, before the first time
_ASIDE = {"new_categories": slice(-1, None), "new_values": slice(0, None, 2), "earlier": slice(1)}

_Rows = NDArray[np.float64]


def window_p_values(compared: Sequence[Comparison], past: Sequence[Profile]) -> list[float]:
    """The window-level p-value of each check of each feature, in order.

    Args:
        compared: The features, as compared with the reference.
        past: Profiles of past windows, in the layout of the reference.

    Returns:
        p-values; `nan` where fewer than `MIN_PAST_WINDOWS` past windows have the feature.
    """
    return [
        _p_value(check, found, _past_features(found.current.name, past))
        for found in compared
        for check in found.checks
    ]


def predictive_p_value(distances: Sequence[float], distance: float) -> float:
    """Predictive probability that the next distance is at least `distance`; in [0, 1].

    The logarithms of the distances are assumed to be normal with unknown mean and variance. Then
    `(log x - mean) / (sd * sqrt(1 + 1/W))` of the next distance `x` has a Student t distribution
    with `W - 1` degrees of freedom.

    Args:
        distances: Distance of each past window from the others; `W >= 2` positive numbers.
        distance: Distance of the current window from all past windows; positive.

    References:
        Geisser (1993), Predictive inference, chapter 2.
    """
    logs = np.log(distances)
    n = len(logs)
    spread = max(float(logs.std(ddof=1)), _LEAST_SPREAD) * math.sqrt(1 + 1 / n)
    return student_t_sf((math.log(distance) - float(logs.mean())) / spread, degrees=n - 1)


def _past_features(name: str, past: Sequence[Profile]) -> list[FeatureProfile]:
    features = (window.features.get(name) for window in past)
    # a window without rows, or with the column in another type, has no distance to the others
    return [item for item in features if item is not None and item.status == "ok" and item.n_rows]


def _p_value(check: Check, found: Comparison, past: Sequence[FeatureProfile]) -> float:
    rows = [_row(check, feature, found.reference) for feature in past]
    kept = [row for row in rows if row is not None and row.sum() > 0]
    now = _row(check, found.current, found.reference)
    if len(kept) < MIN_PAST_WINDOWS or now is None:
        return math.nan
    windows = np.array(kept)
    total = windows.sum(axis=0)
    ordered = check.test in ("ks", "sliced_ks")
    sizes = windows.sum(axis=1)
    scale = math.sqrt(float(np.median(sizes)))
    # leave-one-out: a window compared with a sum that contains it would look too close
    distances = _distances(windows, total - windows, ordered=ordered, scale=scale)
    distance = _distances(now[None, :], total[None, :], ordered=ordered, scale=scale)
    return predictive_p_value(distances.tolist(), distance.item())


def _row(check: Check, feature: FeatureProfile, reference: FeatureProfile) -> _Rows | None:
    """The counts that the check compares, for one window; None if the window has none.

    Weights are scaled to the effective number of rows, as in the tests of the rows.
    """
    if check.facet:
        facet, like = (each.facets.get(check.facet[0]) for each in (feature, reference))
        inner = replace(check, facet=check.facet[1:])
        return None if facet is None or like is None else _row(inner, facet, like)
    if check.name in RATES:
        return _two_cells(getattr(feature, RATES[check.name]), feature.effective_rows)
    if check.name in _OF_ONE:
        return _OF_ONE[check.name](feature)
    known = known_rows(check, reference, feature)
    if known is not None or feature.counts is None:
        return known
    counts = scaled_counts(feature)
    inside = _ASIDE.get(check.name)
    if inside is None:
        return tail_rows(feature, reference) if check.name == "tails" else counts
    aside = counts[inside].sum()
    return np.array([aside, counts.sum() - aside])


def _frequent_rows(feature: FeatureProfile) -> _Rows | None:
    sketch = feature.sketch
    if sketch is None or not sketch.n_rows:
        return None
    return _two_cells(frequent_share(sketch), feature.effective_rows)


# what a window says by itself, whatever the reference has
_OF_ONE = {"one_time": _frequent_rows, "uncounted_values": uncounted_rows}


def _two_cells(share: float, n_rows: float) -> _Rows:
    return np.array([share, 1 - share]) * n_rows


def _distances(a: _Rows, b: _Rows, *, ordered: bool, scale: float) -> _Rows:
    """Kolmogorov-Smirnov distance, or total variation, between corresponding rows of `a` and `b`.

    Args:
        a: Counts of one window in each row; shape `(w, c)`.
        b: Counts to compare with; shape `(w, c)`.
        ordered: Whether the cells have an order (Kolmogorov-Smirnov) or not (total variation).
        scale: Square root of the typical number of rows of a window. The sampling error of a
            smaller window is larger by `scale / sqrt(n)`; its distance is divided by this factor.

    Returns:
        Distances, shape `(w,)`; at least that of half a row, so that logarithms exist.
    """
    size_a, size_b = a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    difference = a / size_a - b / size_b
    if ordered:
        # also right for sliced_ks: every direction has the same mass, so the sum is 0 after each
        distance = np.abs(np.cumsum(difference, axis=1)).max(axis=1)
    else:
        distance = np.abs(difference).sum(axis=1) / 2
    sizes = size_a.ravel()
    shrunk = distance * np.minimum(1.0, np.sqrt(sizes) / scale)
    return np.asarray(np.maximum(shrunk, 0.5 / np.maximum(sizes, scale**2)))
