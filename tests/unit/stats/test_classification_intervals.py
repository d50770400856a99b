"""The intervals of a classifier's metrics, against variances that were computed in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special
from sklearn.metrics import roc_auc_score

from flytekitplugins.wbmon.stats import classification as c
from flytekitplugins.wbmon.stats import ranking
from flytekitplugins.wbmon.stats.class_losses import brier_score, log_loss
from flytekitplugins.wbmon.stats.estimate import (
    Estimate,
    mean_of_shares,
    positive_mean,
    student_quantile,
)

Z = 1.959963984540054


def wilson(p, n):
    """The proportions from which `p` lies 1.96 of their standard errors away."""
    ends = np.roots([1 + Z**2 / n, -(2 * p + Z**2 / n), p * p]).real
    return min(ends), max(ends)


def share_of(hit, weight):
    """A weighted share, and how many rows of equal weight have its linearised variance."""
    p = np.average(hit, weights=weight)
    variance = ((weight * (hit - p)) ** 2).sum() / weight.sum() ** 2
    return p, p * (1 - p) / variance


@pytest.fixture
def rows(rng):
    """Labels, predictions and similar weights of three classes."""
    labels = rng.integers(0, 3, 90)
    predictions = np.where(rng.random(90) < 0.6, labels, rng.integers(0, 3, 90))
    return labels, predictions, rng.uniform(1, 1.3, 90) * (1 + labels)


def test_each_share_has_wilsons_interval_at_its_linearised_variance(rows):
    labels, predictions, weight = rows
    confusion = c.confusion_matrix(labels, predictions, 3, weight)
    hit = labels == predictions
    cases = [(c.accuracy(confusion), np.full(90, True))]
    for code in range(3):
        cases.append((c.class_metrics(confusion)[code].precision, predictions == code))
        cases.append((c.class_metrics(confusion)[code].recall, labels == code))
    for found, among in cases:
        p, n = share_of(hit[among], weight[among])
        assert found[:3] == pytest.approx((p, *wilson(p, n)))
    for code in range(3):
        among = (predictions == code) | (labels == code)
        p, n = share_of(hit[among], weight[among])
        expected = [2 * j / (1 + j) for j in (p, *wilson(p, n))]
        assert c.class_metrics(confusion)[code].f1[:3] == pytest.approx(tuple(expected))


def test_rows_that_were_never_seen_weigh_what_rows_of_their_class_do():
    # ten rows of weight 2 and four of weight 5, all predicted right
    labels = np.repeat([0, 1], [10, 4])
    weight = np.where(labels == 0, 2.0, 5.0)
    confusion = c.confusion_matrix(labels, labels, 2, weight)
    lowest = lambda n: n / (n + Z**2)  # noqa: E731 - Wilson (1927), of n successes in n trials
    # a row of class 0 that is missed weighs 2; one of class 1 that is taken for it 5
    assert c.class_metrics(confusion)[0].recall.low == pytest.approx(lowest(20 / 2))
    assert c.class_metrics(confusion)[0].precision.low == pytest.approx(lowest(20 / 5))
    assert c.class_metrics(confusion)[1].recall.low == pytest.approx(lowest(20 / 5))
    assert c.class_metrics(confusion)[1].precision.low == pytest.approx(lowest(20 / 2))
    # without any row of the other class, one weighs what rows weigh on average: (2^2 10) / (2 10)
    alone = c.confusion_matrix(labels[:10], labels[:10], 2, weight[:10])
    assert c.class_metrics(alone)[0].precision.low == pytest.approx(lowest(20 / 2))


@pytest.mark.parametrize("named", [3, 4], ids=["every class", "one class without rows"])
def test_a_macro_metric_is_a_mean_of_shares_with_two_rows_added(rows, named):
    labels, predictions, weight = rows
    confusion = c.confusion_matrix(labels, predictions, named, weight)
    hit = labels == predictions
    choices = {
        c.macro_precision: lambda code: predictions == code,
        c.macro_recall: lambda code: labels == code,
        c.macro_f1: lambda code: (labels == code) | (predictions == code),
    }
    for metric, choose in choices.items():
        shares = [share_of(hit[choose(code)], weight[choose(code)]) for code in range(3)]
        p, n = (np.array(column) for column in zip(*shares, strict=True))
        smooth = (p * n + 1) / (n + 2)
        error = np.sqrt(smooth * (1 - smooth) / np.maximum(n, 1))
        ends = [(share, *wilson(share, rows)) for share, rows in shares]
        correlation = np.eye(3)
        if metric is c.macro_f1:
            ends = [[2 * j / (1 + j) for j in each] for each in ends]
            # numerically: the slope of 2 j / (1 + j)
            error = error * (2 * (smooth + 1e-6) / (1 + smooth + 1e-6) - 2 * smooth / (1 + smooth))
            error, smooth = error / 1e-6, 2 * smooth / (1 + smooth)
            correlation = c._f1_correlation(confusion)[:3, :3]
        parts = [Estimate(*each) for each in ends]
        expected = mean_of_shares(parts, smooth, correlation * np.outer(error, error))
        assert metric(confusion)[:3] == pytest.approx(expected[:3], abs=1e-5)


@pytest.mark.parametrize("k", [2, 3])
def test_losses_have_the_interval_of_a_weighted_mean(rng, k):
    labels, weight = rng.integers(0, k, 50), rng.uniform(0.5, 4, 50)
    probabilities = rng.dirichlet(np.ones(k), 50)
    squared = ((probabilities - np.eye(k)[labels]) ** 2).sum(axis=1)
    if k == 2:
        squared /= 2  # Brier's score of two classes counts one of them
    logs = [-math.log(row[label]) for row, label in zip(probabilities, labels, strict=True)]
    for metric, losses in (
        (brier_score, squared),
        (log_loss, np.array(logs)),
    ):
        found = metric(labels, probabilities, weight)
        assert found[:3] == pytest.approx(positive_mean(losses, weight)[:3])


def test_a_sure_and_right_prediction_costs_a_rounding_error():
    found = log_loss(np.array([1, 1]), np.array([[0.0, 1.0]] * 2), np.ones(2))
    assert 0 < found.value < 3e-16


@pytest.mark.parametrize("codes", [(0, 1), (0, 2, 3)], ids=["two classes", "three of four"])
def test_the_interval_of_a_weighted_auc_follows_from_numerical_slopes(rng, codes):
    labels = rng.choice(codes, 24)
    weight = rng.uniform(0.5, 3, 24)
    scores = np.round(rng.dirichlet(np.ones(4), 24) + 0.4 * np.eye(4)[labels], 1)

    def auc(weight):
        sides = codes[1:] if len(codes) == 2 else codes
        each = [roc_auc_score(labels == i, scores[:, i], sample_weight=weight) for i in sides]
        return np.mean(each)

    slopes = [(auc(weight + step) - auc(weight - step)) / 2e-5 for step in 1e-5 * np.eye(24)]
    squares = (weight * np.array(slopes)) ** 2
    size = np.array(
        [weight[labels == i].sum() ** 2 / (weight[labels == i] ** 2).sum() for i in codes]
    )
    variance = np.array([squares[labels == i].sum() for i in codes]) * size / (size - 1)
    freedom = variance.sum() ** 2 / (variance**2 / (size - 1)).sum()
    value = auc(weight)
    half = student_quantile(freedom) * math.sqrt(variance.sum()) / (value * (1 - value))
    ends = special.expit(special.logit(value) + np.array([-half, half]))

    if len(codes) == 2:
        found = ranking.roc_auc(labels == 1, scores[:, 1], weight)
    else:
        found = ranking.roc_auc_one_vs_rest(labels, scores, weight)

    assert found[:3] == pytest.approx((value, *ends), abs=1e-6)


def test_two_rows_of_a_class_have_the_interval_of_delong():
    score = np.array([0.35, 0.8, 0.1, 0.2, 0.3, 0.4, 0.9])
    positive = np.arange(7) < 2
    wins = score[:2, None] > score[None, 2:]  # 3 and 4 of 5
    parts = wins.mean(axis=1).var(ddof=1) / 2, wins.mean(axis=0).var(ddof=1) / 5
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 1 + parts[1] ** 2 / 4)
    half = student_quantile(freedom) * math.sqrt(sum(parts)) / (0.7 * 0.3)
    found = ranking.roc_auc(positive, score, np.ones(7))
    ends = special.expit(special.logit(0.7) + np.array([-half, half]))
    assert found[:3] == pytest.approx((0.7, *ends))


@pytest.mark.parametrize(
    ("score", "m", "value"),
    [
        (np.arange(30.0), 10, 1.0),
        (-np.arange(30.0), 10, 0.0),
        (np.array([*range(20), 13.5]), 1, 0.7),
        (np.ones(12), 4, 0.5),
    ],
    ids=["perfect", "upside down", "one row", "all tied"],
)
def test_an_auc_without_a_variance_has_the_interval_of_newcombes_method_5(score, m, value):
    n = len(score) - m

    def excess(auc):  # Newcombe (2006), part 2: Hanley and McNeil's variance, sizes made equal
        half = (m + n) / 2 - 1
        factor = 1 + half * ((1 - auc) / (2 - auc) + auc / (1 + auc))
        return (auc - value) ** 2 - Z**2 * auc * (1 - auc) * factor / (m * n)

    low = optimize.brentq(excess, 1e-9, value - 1e-9) if value > 0 else 0.0
    high = optimize.brentq(excess, value + 1e-9, 1 - 1e-9) if value < 1 else 1.0
    found = ranking.roc_auc(np.arange(m + n) >= n, score, np.full(m + n, 2.5))
    assert found[:3] == pytest.approx((value, low, high), abs=1e-8)


def test_the_correlation_of_f1_does_not_depend_on_the_unit_of_the_weights(rows):
    labels, predictions, weight = rows
    found = [
        c._f1_correlation(c.confusion_matrix(labels, predictions, 3, weight * unit))
        for unit in (1.0, 1e-4)
    ]
    assert found[1] == pytest.approx(found[0])
    assert np.diag(found[0]).tolist() == [1.0, 1.0, 1.0]


def test_a_perfect_ranking_has_an_auc_of_one_whatever_the_weights_sum_to(rng):
    positive, score = np.arange(12) >= 6, np.arange(12.0)
    for _ in range(100):
        found = ranking.roc_auc(positive, score, rng.uniform(0.1, 1, 12))
        assert found.value == found.high == 1.0
        assert 0.3 < found.low < 0.9
