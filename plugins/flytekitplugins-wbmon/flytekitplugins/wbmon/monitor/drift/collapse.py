"""Recognises columns of times in which many rows suddenly have one and the same time.

Times go on, so that a later window has other times is no finding, nor that its rows are close
together: all dates of a window of one day are equal, and so are the times of a batch. What is
neither is a default value, such as 1970-01-01, in place of birth dates or of precise times.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flytekitplugins.wbmon.monitor.drift.distances import scaled_counts
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.distinct import DistinctSketch, frequent_share, n_clusters
from flytekitplugins.wbmon.stats.repeats import repeats_test

_SELDOM = 0.01  # share of the rows that repeat a time, up to which times are not those of batches
_MANY_TIMES = 500  # of rows that are spread
_BUSY = 0.3  # share of all times that those of a busy hour and a quiet night are worth
_UNITS = {"finer": 1e-6, "second": 1.0, "minute": 60.0, "hour": 3600.0}
_END = 4_102_444_800.0  # 2100-01-01, in seconds since 1970: no event has been later


def collapse_check(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> Check | None:
    """Test for rows that share one time, where the reference had them spread.

    The p-value is that of the test for repeats. The effect is the share of the rows at the most
    frequent time, less what a usual time has, at most the repeats that the reference lacks. Where
    times are days or come in batches, a later window may have only one; then only rows before the
    last time of the reference count, or after the year 2100, less twice those that it has at such a
    time.

    Args:
        reference: The times of the reference window.
        current: Those of the current window.
        rule: Gives the level of the lower bound.

    Returns:
        None if a profile has no sketch, or nothing but later times that may be those of one batch.
    """
    before, now = reference.sketch, current.sketch
    if before is None or now is None:
        return None
    share = frequent_share(now)
    if comes_in_batches(reference):
        earlier = _share_that_is_no_later_batch(reference, current)
        if earlier < rule.warn_effect:
            return None
        # a day may well have twice as many rows as another
        share = min(earlier, share - 2 * _most_rows(before, now) / now.n_rows)
    result = repeats_test(before, now, alpha=rule.alpha)
    effect = max(0.0, min(share, result.effect))
    return Check(
        name="one_time",
        test="rarefaction",
        statistic=result.effect,
        # rows that are merely close together are no finding, nor one time that some of them share
        p_value=result.p_value if effect >= rule.warn_effect else 1.0,
        effect_size=effect,
        effect_low=min(effect, result.lower),
    )


def comes_in_batches(reference: FeatureProfile) -> bool:
    """Whether many rows have the same time, or only a date; also if that is not known."""
    precision, sketch = reference.facets.get("precision"), reference.sketch
    if precision is None or precision.counts is None or sketch is None:
        return True
    named = dict(zip(precision.categories, precision.counts.tolist(), strict=False))
    if 2 * named.get("day", 0) > precision.value_weight:
        return True
    # of the times in the sketch, as their number in the whole column is an estimate
    is_seldom_repeated = len(sketch.hashes) >= (1 - _SELDOM) * sketch.counts.sum()
    return not (is_seldom_repeated or _are_spread(reference, sketch, _unit(named)))


def _unit(named: Mapping[str, float]) -> float:
    """The unit of which at least half of the times that are no days are no larger multiples."""
    as_fine = np.cumsum([named.get(name, 0.0) for name in _UNITS])
    return [*_UNITS.values()][int(np.argmax(2 * as_fine >= as_fine[-1]))]


def _are_spread(reference: FeatureProfile, sketch: DistinctSketch, unit: float) -> bool:
    """Whether times repeat only because there are no more: the seconds of a day with many rows.

    Of `n` rows that fall on `k` times at random, those of different times are worth about
    `n / (1 + n / k)` rows. Rows that come in batches are worth far less.
    """
    n, k = reference.n_values, _BUSY * (reference.maximum - reference.minimum) / unit
    return k > 0 and n_clusters(sketch) >= max(_MANY_TIMES, n / (1 + n / k))


def _share_that_is_no_later_batch(reference: FeatureProfile, current: FeatureProfile) -> float:
    """Share of the rows before the last time of the reference, or certainly after the last year."""
    # with a time without end in it, the reference does not tell when a window is later
    if not reference.maximum < _END:
        return 0.0
    counts = scaled_counts(current)
    # the cells of the last time of the reference, and of those after it
    earlier = 1 - counts[-2:].sum() / counts.sum()
    endless = 0.0
    if current.maximum > _END:
        # if all others were at the limit; fewer rows at the latest time do not give this mean
        endless = max(0.0, (current.mean - _END) / (current.maximum - _END))
    return float(earlier + endless)


def _most_rows(reference: DistinctSketch, current: DistinctSketch) -> int:
    """Rows of the reference at the most frequent time of the current window.

    Where its sketch cannot have that time, those at its own most frequent one.
    """
    most = current.hashes[np.argmax(current.counts)]
    if reference.is_exact or most <= reference.hashes[-1]:
        return int(reference.counts[reference.hashes == most].sum())
    return int(reference.counts.max())
