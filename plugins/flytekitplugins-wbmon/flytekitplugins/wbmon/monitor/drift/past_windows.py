"""A test at the level of windows: is the current window farther from past ones than they are apart?

The rows of one window share a day, a campaign or a sensor, so they are not independent. A test that
assumes independence then finds drift in every window. Stored profiles of past windows show how much
windows differ from each other without drift. Where windows have a weekday, they are compared with
others of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift.comparison import RATES, Comparison
from flytekitplugins.wbmon.monitor.drift.distances import scaled_counts
from flytekitplugins.wbmon.monitor.drift.novelty import known_rows
from flytekitplugins.wbmon.monitor.drift.past import MIN_OF_WEEKDAY, MIN_PAST_WINDOWS, Past
from flytekitplugins.wbmon.monitor.drift.past_outlier import PastOutlier
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.tails import tail_rows
from flytekitplugins.wbmon.monitor.drift.uncounted import uncounted_rows
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.distinct import frequent_share
from flytekitplugins.wbmon.stats.multiplicity import benjamini_hochberg
from flytekitplugins.wbmon.stats.sliced_ks import with_equal_slices
from flytekitplugins.wbmon.stats.tail_probabilities import student_t_sf

_LEAST_SPREAD = 0.05  # of log distances; equal past windows would make it 0, and divide by it
_MOST_OUTLIERS = 0.2  # share of the past windows
_SUSPECT = 3.0  # robust standard deviations from which on a window is tested for being an outlier
_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation

# cells that a check compares with all others: other categories, open cells, before the first time
_ASIDE = {"new_categories": slice(-1, None), "new_values": slice(0, None, 2), "earlier": slice(1)}

_Rows = NDArray[np.float64]


class WindowTests(NamedTuple):
    """What past windows say.

    Attributes:
        p_values: The window-level p-value of each check of each feature, in order; `nan` where too
            few past windows have the feature.
        outliers: Past windows that are unlike the others, in their order.
    """

    p_values: list[float]
    outliers: tuple[PastOutlier, ...]


class _Counted(NamedTuple):
    """What a check compares: the counts of the past windows that have them, and of the current one.

    Attributes:
        rows: Counts of one window in each row; shape `(w, c)`.
        weekdays: Weekday of each window; shape `(w,)`.
        places: Place of each window among all past windows; shape `(w,)`.
        now: Counts of the window that is compared with them; shape `(c,)`.
        weekday: Its weekday.
        ordered: Whether the cells have an order.
    """

    rows: _Rows
    weekdays: NDArray[np.int64]
    places: NDArray[np.int64]
    now: _Rows
    weekday: int
    ordered: bool

    def without(self, rows: int | NDArray[np.intp]) -> _Counted:
        """Without some of the past windows."""
        return self._replace(
            rows=np.delete(self.rows, rows, axis=0),
            weekdays=np.delete(self.weekdays, rows),
            places=np.delete(self.places, rows),
        )

    def of(self, row: int) -> _Counted:
        """One of the past windows, compared with the others."""
        return self.without(row)._replace(now=self.rows[row], weekday=int(self.weekdays[row]))


class _Group(NamedTuple):
    """Past windows of one weekday: their rows, and their distances from the others of it."""

    rows: NDArray[np.intp]
    distances: _Rows


class _Suspect(NamedTuple):
    """A past window that may be an outlier, and how likely the others make it."""

    place: int
    p_value: float


def calibrate(compared: Sequence[Comparison], past: Past, rule: DriftRule) -> WindowTests:
    """Compare the current window with the past ones, and these with each other.

    A past window is an outlier of a check if it would be found against the other ones, with
    Bonferroni's correction over the windows and Benjamini and Hochberg's over the checks; at most a
    fifth of the windows, by Rosner's rule: the farthest is taken out, then the next, and the last
    that is significant makes those before it outliers, too.

    Args:
        compared: The features, as compared with the reference.
        past: The past windows.
        rule: Its `alpha`, and whether outliers are left out (`fence_past`).

    References:
        Rosner (1983), Percentage points for a generalized ESD many-outlier procedure.
    """
    if len(past.windows) < MIN_PAST_WINDOWS:
        return WindowTests([math.nan for found in compared for _ in found.checks], ())
    names = [found.reference.name for found in compared for _ in found.checks]
    counted = [_counted(check, found, past) for found in compared for check in found.checks]
    places = _outliers([[] if each is None else _suspects(each) for each in counted], rule.alpha)
    if rule.fence_past:
        counted = [
            each and each.without(np.flatnonzero(np.isin(each.places, out)))
            for each, out in zip(counted, places, strict=True)
        ]
    p_values = [math.nan if each is None else _p_value(each) for each in counted]
    features: dict[int, dict[str, None]] = {}
    for name, out in zip(names, places, strict=True):
        for place in out:
            features.setdefault(place, {})[name] = None
    outliers = (
        PastOutlier(window=past.windows[place].name, features=tuple(features[place]))
        for place in sorted(features)
    )
    return WindowTests(p_values, tuple(outliers))


def predictive_p_value(
    distances: Sequence[float], distance: float, others: Sequence[Sequence[float]] = ()
) -> float:
    """Predictive probability that the next distance is at least `distance`; in [0, 1].

    The logarithms of the distances are assumed to be normal with unknown mean and variance. Then
    `(log x - mean) / (sd * sqrt(1 + 1/W))` of the next distance `x` has a Student t distribution
    with `W - 1` degrees of freedom. Other groups of distances, each with a mean of its own, share
    the variance: `sd` is then pooled over the residuals of all groups, with as many degrees of
    freedom as all have together.

    Args:
        distances: Distance of each past window from the others; `W >= 2` positive numbers.
        distance: Distance of the current window from all past windows; positive.
        others: Distances of other groups, such as those of other weekdays; likewise.

    References:
        Geisser (1993), Predictive inference, chapter 2.
    """
    groups = [np.log(group) for group in (distances, *others)]
    degrees = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    logs = groups[0]
    spread = max(math.sqrt(squares / degrees), _LEAST_SPREAD) * math.sqrt(1 + 1 / len(logs))
    return student_t_sf((math.log(distance) - float(logs.mean())) / spread, degrees=degrees)


def _counted(check: Check, found: Comparison, past: Past) -> _Counted | None:
    """What a check compares; None if too few past windows have it, or the current one has not."""
    now = _row(check, found.current, found.reference)
    if now is None:
        return None
    kept = []
    for place, window in enumerate(past.windows):
        feature = window.profile.features.get(found.current.name)
        # a window without rows, or with the column in another type, has no distance to the others
        if feature is None or feature.status != "ok" or not feature.n_rows:
            continue
        row = _row(check, feature, found.reference)
        if row is not None and row.sum() > 0:
            kept.append((row, window.weekday, place))
    if len(kept) < MIN_PAST_WINDOWS:
        return None
    rows, weekdays, places = zip(*kept, strict=True)
    return _Counted(
        rows=np.array(rows),
        weekdays=np.array(weekdays),
        places=np.array(places),
        now=now,
        weekday=past.weekday,
        ordered=check.test in ("ks", "sliced_ks"),
    )


def _suspects(counted: _Counted) -> list[_Suspect]:
    """The windows that are farthest from the others, one after the other."""
    n = len(counted.rows)
    most = min(max(1, math.floor(_MOST_OUTLIERS * n)), n - MIN_PAST_WINDOWS)
    found: list[_Suspect] = []
    while len(found) < most:
        chances = {row: _p_value(counted.of(row)) for row in _far_rows(counted)}
        # nan: without it, too few windows of its weekday are left
        chances = {row: chance for row, chance in chances.items() if not math.isnan(chance)}
        if not chances:
            break
        row = min(chances, key=chances.__getitem__)
        p_value = min(1.0, len(counted.rows) * chances[row])
        found.append(_Suspect(int(counted.places[row]), p_value))
        counted = counted.without(row)
    return found


def _far_rows(counted: _Counted) -> list[int]:
    """Windows so far from the others that one of them may be an outlier.

    A bad window is far from the others of its weekday, and if there are few of these, they are far
    from each other by it; so those far by the measure of all weekdays are looked at, too.
    """
    groups = _apart(counted).values()
    if not groups:
        return []
    rows = np.concatenate([group.rows for group in groups])
    logs = [np.log(group.distances) for group in groups]
    within = np.concatenate([each - np.median(each) for each in logs])
    beyond = np.maximum(within, np.concatenate(logs) - np.median(np.concatenate(logs)))
    spread = max(_MAD * float(np.median(np.abs(within))), _LEAST_SPREAD)
    return [int(row) for row in rows[beyond > _SUSPECT * spread]]


def _outliers(suspects: Sequence[Sequence[_Suspect]], alpha: float) -> list[list[int]]:
    """Places of the outliers of each check, in order of their distance."""
    least = [min((each.p_value for each in found), default=1.0) for found in suspects]
    q_values = benjamini_hochberg(least).tolist()
    limit = max((p for p, q in zip(least, q_values, strict=True) if q <= alpha), default=0.0)
    outliers = []
    for found in suspects:
        last = max((i for i, each in enumerate(found, 1) if each.p_value <= limit), default=0)
        outliers.append([each.place for each in found[:last]])
    return outliers


def _p_value(counted: _Counted) -> float:
    groups = _apart(counted)
    own = groups.pop(counted.weekday, None)
    if own is None:
        return math.nan
    total = counted.rows[counted.weekdays == counted.weekday].sum(axis=0)
    distance = _distances(
        counted.now[None, :], total[None, :], ordered=counted.ordered, scale=_scale(counted)
    )
    others = [group.distances.tolist() for group in groups.values()]
    return predictive_p_value(own.distances.tolist(), distance.item(), others)


def _apart(counted: _Counted) -> dict[int, _Group]:
    """How far past windows are from the others of their weekday, by weekday."""
    groups = {}
    for weekday in np.unique(counted.weekdays).tolist():
        (rows,) = np.nonzero(counted.weekdays == weekday)
        if len(rows) >= MIN_OF_WEEKDAY:
            windows = counted.rows[rows]
            # leave-one-out: a window compared with a sum that contains it would look too close
            others = windows.sum(axis=0) - windows
            scale = _scale(counted)
            distances = _distances(windows, others, ordered=counted.ordered, scale=scale)
            groups[weekday] = _Group(rows, distances)
    return groups


def _scale(counted: _Counted) -> float:
    return math.sqrt(float(np.median(counted.rows.sum(axis=1))))


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
    if check.test == "sliced_ks":
        # learned slices have fewer rows than the others, and an empty one tells nothing
        counts = with_equal_slices(counts, feature.effective_values, scaled_counts(reference))
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
        # also right for sliced_ks: every slice has the same mass, so the sum is 0 after each
        distance = np.abs(np.cumsum(difference, axis=1)).max(axis=1)
    else:
        distance = np.abs(difference).sum(axis=1) / 2
    sizes = size_a.ravel()
    shrunk = distance * np.minimum(1.0, np.sqrt(sizes) / scale)
    return np.asarray(np.maximum(shrunk, 0.5 / np.maximum(sizes, scale**2)))
