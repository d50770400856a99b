"""Is a window farther from the past windows than they are from each other?

Rows of one night share a day, a campaign, a sensor: they are not independent, and a test that
believes they are finds drift every night. Stored profiles of past windows know how much windows
differ when nothing is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift.compare_feature import Comparison
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.stats.tail_probabilities import student_t_sf

MIN_PAST_WINDOWS = 5
_LEAST_SPREAD = 0.05

_Rows = NDArray[np.float64]


def window_p_values(compared: Sequence[Comparison], past: Sequence[Profile]) -> list[float]:
    """For each check of each feature, in order: the chance of a window like the past ones.

    `nan` where fewer than `MIN_PAST_WINDOWS` past windows have the feature.
    """
    return [
        _p_value(check, found.current, _past_features(found.current.name, past))
        for found in compared
        for check in found.checks
    ]


def predictive_p_value(distances: Sequence[float], distance: float) -> float:
    """Chance that the next of a series of distances is at least `distance`; in [0, 1].

    Logarithms of the distances are taken for normal with unknown mean and spread, which makes
    `(log x - mean) / (sd * sqrt(1 + 1/W))` a Student t variable with `W - 1` degrees of freedom.

    Args:
        distances: Of past windows, each from the others; `W >= 2` positive numbers.
        distance: Of the current window from all of them; positive.

    References:
        Geisser (1993), Predictive inference, chapter 2.
    """
    logs = np.log(distances)
    n = len(logs)
    spread = max(float(logs.std(ddof=1)), _LEAST_SPREAD) * math.sqrt(1 + 1 / n)
    return student_t_sf((math.log(distance) - float(logs.mean())) / spread, degrees=n - 1)


def _past_features(name: str, past: Sequence[Profile]) -> list[FeatureProfile]:
    features = (window.features.get(name) for window in past)
    return [item for item in features if item is not None and item.status == "ok" and item.n_rows]


def _p_value(check: Check, current: FeatureProfile, past: Sequence[FeatureProfile]) -> float:
    rows = [_row(check, feature) for feature in past]
    kept = [row for row in rows if row is not None and row.sum() > 0]
    now = _row(check, current)
    if len(kept) < MIN_PAST_WINDOWS or now is None:
        return math.nan
    windows = np.array(kept)
    total = windows.sum(axis=0)
    ordered = check.test in ("ks", "sliced_ks")
    sizes = windows.sum(axis=1)
    scale = math.sqrt(float(np.median(sizes)))
    distances = _distances(windows, total - windows, ordered=ordered, scale=scale)
    distance = _distances(now[None, :], total[None, :], ordered=ordered, scale=scale)
    return predictive_p_value(distances.tolist(), float(distance[0]))


def _row(check: Check, feature: FeatureProfile) -> _Rows | None:
    """What the check counts, as cells of one window."""
    if check.name == "missing_rate":
        return _two_cells(feature.missing_share, feature.n_rows)
    if check.name == "infinite_rate":
        return _two_cells(feature.infinite_share, feature.n_rows)
    if feature.counts is None:
        return None
    counts = np.asarray(feature.counts, dtype=np.float64)
    if check.name == "new_categories":
        return np.array([counts[-1], counts[:-1].sum()])
    return counts


def _two_cells(share: float, n_rows: int) -> _Rows:
    return np.array([share, 1 - share]) * n_rows


def _distances(a: _Rows, b: _Rows, *, ordered: bool, scale: float) -> _Rows:
    """Kolmogorov-Smirnov distance or total variation, row by row.

    A window of fewer rows than usual lies farther off by chance alone; its distance is shrunk
    accordingly. No distance is taken for smaller than what half a row would make.
    """
    size_a, size_b = a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    difference = a / size_a - b / size_b
    if ordered:
        distance = np.abs(np.cumsum(difference, axis=1)).max(axis=1)
    else:
        distance = np.abs(difference).sum(axis=1) / 2
    sizes = size_a[:, 0]
    shrunk = distance * np.minimum(1.0, np.sqrt(sizes) / scale)
    return np.asarray(np.maximum(shrunk, 0.5 / np.maximum(sizes, scale**2)))
