"""The area under the precision-recall curve, and both areas of clustered rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
