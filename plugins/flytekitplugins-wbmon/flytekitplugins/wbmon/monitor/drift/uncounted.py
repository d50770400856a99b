"""Test of the values that have no count of their own: rows by the hash of their value.

Identifiers, and categories outside the table, are too many to be counted each. The values of a
bucket are counted together, and of many values any that gains or loses many rows shows in its
bucket, which a sample of the values would rarely have.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from flytekitplugins.wbmon.monitor.drift.distances import sample_factor
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.shares import shares_check
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.distinct import N_BUCKETS
from flytekitplugins.wbmon.stats.two_sample import two_proportion_test

_ROWS_A_BUCKET = 10
_MOST_TESTED = 4


def uncounted_check(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> Check | None:
    """Test whether rows moved between values without a count of their own.

    Rows may have moved between many values or come to one, so the p-value is twice the smaller of
    two: that of all buckets together, of few rows several as one, and that of the bucket in which
    the shares differ most, times the number of buckets. The effect is the share of all rows that
    moved, rather too small: what moves within a bucket is not seen. None if there are too few rows,
    or the buckets are not known.
    """
    a, b = uncounted_rows(reference), uncounted_rows(current)
    if a is None or b is None:
        return None
    n_rows = min(a.sum(), b.sum())
    if n_rows < 2 * _ROWS_A_BUCKET:
        return None
    n_cells = 2 ** min(math.floor(math.log2(n_rows / _ROWS_A_BUCKET)), int(math.log2(N_BUCKETS)))
    cells = [each.reshape(-1, n_cells).sum(axis=0) for each in (a, b)]
    found = shares_check("uncounted_values", cells[0], cells[1], rule)
    if found is None:
        return None
    share = float(b.sum() / current.effective_values)
    return replace(
        found,
        p_value=min(1.0, 2 * min(found.p_value, _largest_p_value(a, b))),
        effect_size=share * found.effect_size,
        effect_low=share * found.effect_low,
    )


def _largest_p_value(a: Floats, b: Floats) -> float:
    """P-value of the largest difference of a bucket's shares, by Bonferroni's inequality."""
    n, m = float(a.sum()), float(b.sum())
    pooled = (a + b) / (n + m)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    z = np.divide(abs(a / n - b / m), spread, out=np.zeros_like(a), where=spread > 0)
    # the exact test takes its time, and is needed where the approximate one sees most
    tests = (
        two_proportion_test(float(a[i]), n, float(b[i]), m) for i in np.argsort(z)[-_MOST_TESTED:]
    )
    # a bucket of no or all rows has no p-value
    return len(a) * min((test.p_value for test in tests if test.p_value >= 0), default=1.0)


def uncounted_rows(feature: FeatureProfile) -> Floats | None:
    """Rows without a count of their own in each bucket, scaled to effective ones.

    None if there are none, or profiles that do not have the buckets are among those merged.
    """
    if feature.buckets is None:
        return None
    rows = np.asarray(feature.buckets, dtype=np.float64)
    total = feature.value_weight if feature.counts is None else float(feature.counts[-1])
    if not math.isclose(rows.sum(), total, rel_tol=1e-6):
        return None
    return sample_factor(feature) * rows
