"""The area under the precision-recall curve, and both areas of clustered rows."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.metrics import average_precision_score

from flytekitplugins.wbmon.stats import ranking
from flytekitplugins.wbmon.stats.interval import wilson_interval

rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.floats(0.2, 5)), min_size=2, max_size=30
).filter(lambda drawn: len({positive for positive, _, _ in drawn}) == 2)


@given(rows)
def test_the_area_is_scikit_learns_and_lies_in_its_interval(drawn):
    positive, score, weight = (np.array(column) for column in zip(*drawn, strict=True))
    found = ranking.pr_auc(positive, score.astype(float), weight)
    expected = average_precision_score(positive, score, sample_weight=weight)
    assert found.value == pytest.approx(expected)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_influence_of_a_row_is_the_slope_in_its_weight(rng):
    positive, weight = rng.random(30) < 0.4, rng.uniform(0.5, 3, 30)
    score = np.round(rng.normal(size=30) + positive, 1)

    def area(weight):
        return average_precision_score(positive, score, sample_weight=weight)

    slopes = [(area(weight + step) - area(weight - step)) / 2e-6 for step in 1e-6 * np.eye(30)]
    found = ranking._precision_area(positive, score, weight)
    assert found.influence == pytest.approx(np.array(slopes) * weight.sum(), abs=1e-5)


def test_a_perfect_ranking_has_the_interval_of_as_many_successes():
    found = ranking.pr_auc(np.arange(40) >= 30, np.arange(40.0), np.ones(40))
    assert found.value == 1.0
    assert found[1:3] == pytest.approx(wilson_interval(10, 10))


def test_one_class_has_no_area():
    assert math.isnan(ranking.pr_auc(np.ones(5, dtype=bool), np.arange(5.0), np.ones(5)).value)
    labels = np.zeros(5, dtype=int)
    assert "one class" in ranking.pr_auc_one_vs_rest(labels, np.ones((5, 2)), np.ones(5)).reason


@pytest.mark.parametrize("area", [ranking.roc_auc, ranking.pr_auc])
def test_clusters_of_one_row_are_rows(rng, area):
    positive = rng.random(60) < 0.5
    score = rng.normal(size=60) + positive
    alone = area(positive, score, np.ones(60))
    assert area(positive, score, np.ones(60), np.arange(60))[:3] == pytest.approx(alone[:3])


def test_copies_of_a_row_in_its_cluster_leave_the_roc_area_as_it_is(rng):
    positive = rng.random(60) < 0.5
    score = rng.normal(size=60) + positive
    alone = ranking.roc_auc(positive, score, np.ones(60))
    thrice = [np.repeat(each, 3) for each in (positive, score, np.ones(60), np.arange(60))]
    assert ranking.roc_auc(*thrice)[:3] == pytest.approx(alone[:3])
    naive = ranking.roc_auc(*thrice[:3])
    assert naive.high - naive.low < 0.7 * (alone.high - alone.low)


def test_of_single_rows_the_test_is_that_of_mann_and_whitney(rng):
    positive = np.repeat([False, True], (400, 300))
    score = rng.normal(size=700) + 0.5 * positive

    p_value = ranking.rank_test(positive, score, np.arange(700))

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
    # Kish's numbers of equal clusters
    k, k_now, k_before = (
        sum(sizes) ** 2 / sum(size**2 for size in sizes)
        for sizes in (Counter(cluster[rows]).values() for rows in (np.r_[now, before], now, before))
    )
    of_now = sum(x * x for x in a.values()) * k_now / (k_now - 1)
    of_before = sum(x * x for x in b.values()) * k_before / (k_before - 1)
    both = sum(a[c] * b[c] for c in {*a} & {*b}) * k / (k - 1)
    freedom = (of_now + of_before) ** 2 / (of_now**2 / (k_now - 1) + of_before**2 / (k_before - 1))
    return auc, of_now + of_before + 2 * both, freedom


def test_the_variance_is_that_of_sums_over_clusters(rng):
    positive = rng.random(60) < 0.5
    cluster = rng.integers(0, 12, 60)
    score = np.round(rng.normal(size=12)[cluster] + rng.normal(size=60) + 0.8 * positive, 1)

    value, low, high, _ = ranking.roc_auc(positive, score, np.ones(60), cluster)
    p_value = ranking.rank_test(positive, score, cluster)

    auc, variance, freedom = by_hand(positive, score, cluster)
    assert value == pytest.approx(auc)
    half = scipy_stats.t.ppf(0.975, freedom) * np.sqrt(variance) / (auc * (1 - auc))
    ends = [1 / (1 + np.exp(-(np.log(auc / (1 - auc)) + side))) for side in (-half, half)]
    assert (low, high) == pytest.approx(ends, abs=1e-4)
    _, of_rows, _ = by_hand(positive, score, np.arange(60))
    m, n = positive.sum(), (~positive).sum()
    z = (auc - 0.5) / np.sqrt(variance / of_rows * (n + m + 1) / (12 * n * m))
    assert p_value == pytest.approx(scipy_stats.t.sf(z, freedom), rel=1e-6)


def judged(positive, score, cluster):
    """The AUC of clustered rows with its interval, and its p-value."""
    found = ranking.roc_auc(positive, score, np.ones(len(score)), cluster)
    return found, ranking.rank_test(positive, score, cluster)


def test_every_row_five_times_is_no_more_evidence(rng):
    positive = np.repeat([False, True], 200)
    score = rng.normal(size=400) + 0.2 * positive
    once, once_p = judged(positive, score, np.arange(400))

    often, often_p = judged(
        np.repeat(positive, 5), np.repeat(score, 5), np.repeat(np.arange(400), 5)
    )

    assert often[:3] == pytest.approx(once[:3], abs=2e-3)
    assert often_p == pytest.approx(once_p, rel=0.05)


def test_false_alarms_of_clusters_are_as_frequent_as_they_say(rng):
    positive = np.repeat([False, True], 200)
    cluster = np.arange(400) // 10
    p_values, covered = [], []
    for _ in range(1500):
        score = rng.normal(size=40)[cluster] + 0.3 * rng.normal(size=400)
        estimate, p_value = judged(positive, score, cluster)
        p_values.append(p_value)
        covered.append(estimate.low <= 0.5 <= estimate.high)

    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_windows_that_are_separated_are_evidence_of_as_many_clusters(rng):
    positive = np.repeat([False, True], 500)
    score = positive + 0.1 * rng.random(1000)

    (few, few_p), (many, many_p) = (judged(positive, score, np.arange(1000) // k) for k in (100, 2))

    assert few.value == many.value == 1.0
    # ten clusters are five pairs of sides, of which 1 of 252 divisions looks like this
    assert 1e-4 < few_p < 0.05
    assert many_p < 1e-9
    assert few.low < many.low < 1.0
    assert few.high == many.high == 1.0


@given(st.integers(0, 2**32 - 1))
def test_exchanging_the_classes_turns_the_auc_around(seed):
    rng = np.random.default_rng(seed)
    positive = np.arange(60) % 2 == 0
    score, cluster = rng.integers(0, 9, 60).astype(float), rng.integers(0, 10, 60)

    (found, p_value), (turned, turned_p) = (
        judged(side, score, cluster) for side in (positive, ~positive)
    )

    assert turned.value == pytest.approx(1 - found.value)
    assert turned.low == pytest.approx(1 - found.high)
    assert turned_p == pytest.approx(1 - p_value)
