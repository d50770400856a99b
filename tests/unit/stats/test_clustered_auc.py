from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from flytekitplugins.wbmon.stats.clustered_auc import clustered_roc_auc
from flytekitplugins.wbmon.stats.ranking import roc_auc


def test_rows_that_are_clusters_of_their_own_have_the_interval_of_delong(rng):
    positive = np.repeat([False, True], (400, 300))
    score = rng.normal(size=700) + 0.5 * positive

    found, p_value = clustered_roc_auc(positive, score, np.arange(700))

    expected = roc_auc(positive, score, np.ones(700))
    assert found[:3] == pytest.approx(expected[:3], rel=1e-9)
    test = scipy_stats.mannwhitneyu(
        score[positive], score[~positive], alternative="greater", use_continuity=False
    )
    assert np.log(p_value) == pytest.approx(np.log(test.pvalue), rel=0.1)


def by_hand(positive, score, cluster):
    """Obuchowski's variance, by loops over clusters and pairs."""
    now, before = np.flatnonzero(positive), np.flatnonzero(~positive)
    won = {
        (i, j): 1.0 if score[i] > score[j] else 0.5 * (score[i] == score[j])
        for i in now
        for j in before
    }
    auc = sum(won.values()) / len(won)
    a, b = {}, {}
    for i in now:
        part = sum(won[i, j] for j in before) / len(before) - auc
        a[cluster[i]] = a.get(cluster[i], 0.0) + part / len(now)
    for j in before:
        part = sum(won[i, j] for i in now) / len(now) - auc
        b[cluster[j]] = b.get(cluster[j], 0.0) + part / len(before)
    every = len({*a, *b})
    of_now = sum(x * x for x in a.values()) * len(a) / (len(a) - 1)
    of_before = sum(x * x for x in b.values()) * len(b) / (len(b) - 1)
    both = sum(a[c] * b[c] for c in {*a} & {*b}) * every / (every - 1)
    freedom = (of_now + of_before) ** 2 / (of_now**2 / (len(a) - 1) + of_before**2 / (len(b) - 1))
    return auc, of_now + of_before + 2 * both, freedom


def test_the_variance_is_that_of_sums_over_clusters(rng):
    positive = rng.random(60) < 0.5
    cluster = rng.integers(0, 12, 60)
    score = np.round(rng.normal(size=12)[cluster] + rng.normal(size=60) + 0.8 * positive, 1)

    (value, low, high, _), p_value = clustered_roc_auc(positive, score, cluster)

    auc, variance, freedom = by_hand(positive, score, cluster)
    assert value == pytest.approx(auc)
    half = scipy_stats.t.ppf(0.975, freedom) * np.sqrt(variance) / (auc * (1 - auc))
    ends = [1 / (1 + np.exp(-(np.log(auc / (1 - auc)) + side))) for side in (-half, half)]
    assert (low, high) == pytest.approx(ends, abs=1e-4)
    _, of_rows, _ = by_hand(positive, score, np.arange(60))
    m, n = positive.sum(), (~positive).sum()
    z = (auc - 0.5) / np.sqrt(variance / of_rows * (n + m + 1) / (12 * n * m))
    assert p_value == pytest.approx(scipy_stats.t.sf(z, freedom), rel=1e-6)


def test_every_row_five_times_is_no_more_evidence(rng):
    positive = np.repeat([False, True], 200)
    score = rng.normal(size=400) + 0.2 * positive
    once = clustered_roc_auc(positive, score, np.arange(400))

    often = clustered_roc_auc(
        np.repeat(positive, 5), np.repeat(score, 5), np.repeat(np.arange(400), 5)
    )

    assert often.estimate[:3] == pytest.approx(once.estimate[:3], abs=2e-3)
    assert often.p_value == pytest.approx(once.p_value, rel=0.05)


def test_false_alarms_of_clusters_are_as_frequent_as_they_say(rng):
    positive = np.repeat([False, True], 200)
    cluster = np.arange(400) // 10
    p_values, covered = [], []
    for _ in range(1500):
        score = rng.normal(size=40)[cluster] + 0.3 * rng.normal(size=400)
        estimate, p_value = clustered_roc_auc(positive, score, cluster)
        p_values.append(p_value)
        covered.append(estimate.low <= 0.5 <= estimate.high)

    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_windows_that_are_separated_are_evidence_of_as_many_clusters(rng):
    positive = np.repeat([False, True], 500)
    score = positive + 0.1 * rng.random(1000)

    few, many = (clustered_roc_auc(positive, score, np.arange(1000) // k) for k in (100, 2))

    assert few.estimate.value == many.estimate.value == 1.0
    # ten clusters are five pairs of sides, of which 1 of 252 divisions looks like this
    assert 1e-4 < few.p_value < 0.05
    assert many.p_value < 1e-9
    assert few.estimate.low < many.estimate.low < 1.0
    assert few.estimate.high == many.estimate.high == 1.0


@given(st.integers(0, 2**32 - 1))
def test_exchanging_the_classes_turns_the_auc_around(seed):
    rng = np.random.default_rng(seed)
    positive = np.arange(60) % 2 == 0
    score, cluster = rng.integers(0, 9, 60).astype(float), rng.integers(0, 10, 60)

    found, turned = (clustered_roc_auc(side, score, cluster) for side in (positive, ~positive))

    assert turned.estimate.value == pytest.approx(1 - found.estimate.value)
    assert turned.estimate.low == pytest.approx(1 - found.estimate.high)
    assert turned.p_value == pytest.approx(1 - found.p_value)
