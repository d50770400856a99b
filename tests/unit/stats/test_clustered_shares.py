"""Proportions of clustered rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.stats import classification as c
from flytekitplugins.wbmon.stats.clustered_shares import Trials, clustered_shares
from flytekitplugins.wbmon.stats.estimate import Share, student_quantile


def effective(hit, weight, cluster):
    share = Share(np.average(hit, weights=weight), weight.sum() ** 2 / (weight**2).sum())
    zero = np.zeros(len(hit), dtype=int)
    return clustered_shares([share], Trials(zero, hit, weight, cluster)).shares[0]


def test_rows_that_are_alike_are_worth_as_many_as_there_are_clusters():
    cluster = np.repeat(np.arange(30), 8)
    for hit in (np.ones(240, dtype=bool), np.repeat(np.arange(30) % 2 == 0, 8)):
        # Student's t of 29 degrees of freedom takes a little more
        lost = (1.959964 / student_quantile(29)) ** 2
        assert effective(hit, np.ones(240), cluster).n == pytest.approx(30 * lost, rel=0.05)


def test_clusters_of_independent_rows_cost_little(rng):
    hit = rng.random(20_000) < 0.3
    found = effective(hit, np.ones(20_000), np.repeat(np.arange(4000), 5))
    assert found.n == pytest.approx(20_000, rel=0.1)


def test_of_a_single_cluster_nothing_is_known():
    found = effective(np.arange(50) < 20, np.ones(50), np.zeros(50, dtype=int))
    assert found.estimate[:3] == (0.4, 0.0, 1.0)


@given(st.integers(0, 2**32 - 1))
def test_an_interval_of_clusters_is_never_shorter_than_that_of_rows(seed):
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, 3, 80), rng.integers(0, 3, 80)
    weight, cluster = rng.uniform(0.5, 3, 80), rng.integers(0, 25, 80)
    alone = c.confusion_matrix(labels, predictions, 3, weight)
    together = c.confusion_matrix(labels, predictions, 3, weight, cluster)
    for metric in (c.accuracy, lambda m: c.class_metrics(m)[0].f1):
        wide, narrow = metric(together), metric(alone)
        assert wide.value == narrow.value
        assert wide.high - wide.low >= narrow.high - narrow.low - 1e-12
    for metric in (c.macro_precision, c.macro_recall, c.macro_f1):
        found = metric(together)
        assert found.value == metric(alone).value
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_correlation_of_two_shares_is_that_of_their_cluster_sums(rng):
    cluster, of = rng.integers(0, 40, 300), rng.integers(0, 2, 300)
    hit = rng.random(300) < 0.2 + 0.6 * rng.random(40)[cluster]
    shares = [Share(hit[of == k].mean(), float((of == k).sum())) for k in range(2)]
    found = clustered_shares(shares, Trials(of, hit, np.ones(300), cluster))
    sums = np.zeros((40, 2))
    for row in range(300):
        share = shares[of[row]]
        sums[cluster[row], of[row]] += hit[row] - (share.value * share.n + 1) / (share.n + 2)
    both = sums.T @ sums
    expected = both[0, 1] / np.sqrt(both[0, 0] * both[1, 1])
    assert expected > 0.2
    assert found.correlation[0, 1] == pytest.approx(expected)
