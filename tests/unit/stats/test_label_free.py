"""Expected metrics against scikit-learn's on rows that are positive and negative at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from flytekitplugins.wbmon.stats.label_free import (
    Calibrator,
    Expected,
    auc_slope,
    expect,
    expected_metrics,
    fit_calibrator,
)

METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier")
Z = 1.959964  # of the normal distribution, 97.5 %


def window(rng, n=16):
    """Rows in three bins of scores, some tied, with weights."""
    score = np.round(rng.uniform(0.05, 0.95, n), 1)
    probability = np.clip(score + rng.uniform(-0.04, 0.04, n), 0.01, 0.99)
    bins = np.searchsorted([0.3, 0.7], score)
    variance = np.array([0.002, 0.01, 0.0005])
    decided = (score >= 0.45).astype(float)
    return Expected(score, probability, decided, rng.uniform(0.5, 3, n), bins, variance)


def metrics_of(rows, probability):
    """Each row counts as positive with its probability and as negative with the rest."""
    n = len(rows.score)
    labels = np.repeat([1, 0], n)
    weight = np.concatenate([rows.weight * probability, rows.weight * (1 - probability)])
    given = {"sample_weight": weight}
    decided, score = np.tile(rows.decided, 2), np.tile(rows.score, 2)
    return np.array(
        [
            sk.accuracy_score(labels, decided, **given),
            sk.precision_score(labels, decided, **given),
            sk.recall_score(labels, decided, **given),
            sk.f1_score(labels, decided, **given),
            sk.roc_auc_score(labels, score, **given),
            average_precision(rows, probability),
            sk.log_loss(labels, score, **given),
            sk.brier_score_loss(labels, score, **given),
        ]
    )


def average_precision(rows, probability):
    """Pair by pair: a positive row is sure of itself, and the rows above it are likely positive."""
    above = (rows.score[None, :] >= rows.score[:, None]) * rows.weight[None, :]
    likely = np.where(np.eye(len(probability), dtype=bool), 1.0, probability[None, :])
    precision = (above * likely).sum(axis=1) / above.sum(axis=1)
    return np.average(precision, weights=rows.weight * probability)


def moved_by(rows, direction, step=1e-5):
    """Numerical derivative of every metric, if the probabilities move in this direction."""
    up, down = (metrics_of(rows, rows.probability + side * direction) for side in (step, -step))
    return (up - down) / (2 * step)


def test_every_metric_and_its_error_is_that_of_rows_of_both_classes(rng):
    rows = window(rng)
    by_row = np.array([moved_by(rows, row) for row in np.eye(len(rows.score))])
    by_bin = np.array([moved_by(rows, (rows.bins == i) * 1.0) for i in range(3)])
    chance = (by_row**2 * (rows.probability * (1 - rows.probability))[:, None]).sum(axis=0)
    error = np.sqrt(chance + (by_bin**2 * rows.variance[:, None]).sum(axis=0))

    found = expected_metrics(rows)

    assert tuple(found) == METRICS
    for estimate, value, half in zip(
        found.values(), metrics_of(rows, rows.probability), Z * error, strict=True
    ):
        assert estimate.value == pytest.approx(value)
        assert estimate.low == pytest.approx(max(0, value - half), abs=1e-6)
        assert estimate.low > 0
        if estimate is found["log_loss"] or value + half < 1:
            assert estimate.high == pytest.approx(value + half, abs=1e-6)
        else:
            assert estimate.high == 1.0


def test_an_interval_ends_where_the_metric_ends(rng):
    sure = np.full(4, 0.98)
    rows = Expected(sure, sure, np.ones(4), np.ones(4), np.zeros(4, int), np.array([0.01]))
    found = expected_metrics(rows)
    assert [found[name].high for name in ("accuracy", "precision", "f1")] == [1.0] * 3
    assert found["brier"].low == 0.0
    wrong = rows._replace(probability=1 - sure)
    assert expected_metrics(wrong)["accuracy"].low == 0.0
    assert expected_metrics(wrong)["log_loss"].high > 1


def test_a_score_of_zero_or_one_costs_what_it_costs_in_scikit_learn():
    score, probability = np.array([0.0, 1.0, 1.0]), np.array([0.25, 0.5, 1.0])
    rows = Expected(score, probability, score, np.ones(3), np.zeros(3, int), np.zeros(1))
    found = expected_metrics(rows)["log_loss"]
    assert found.value == pytest.approx(metrics_of(rows, probability)[METRICS.index("log_loss")])
    # a class taken for impossible costs 36 nats more than the sure one
    cost = -math.log(np.finfo(float).eps)
    half = Z * cost / 3 * math.sqrt(0.25 * 0.75 + 0.5 * 0.5)
    assert found.high - found.value == pytest.approx(half, rel=1e-5)


def test_a_metric_without_rows_to_count_is_undefined_and_says_why(rng):
    rows = window(rng)
    none = np.zeros(len(rows.score))
    unpredicted = expected_metrics(rows._replace(decided=none))
    assert "predicted positive" in unpredicted["precision"].reason
    assert unpredicted["recall"].value == unpredicted["f1"].value == 0.0
    impossible = expected_metrics(rows._replace(probability=none))
    assert "expected to be positive" in impossible["recall"].reason
    assert impossible["precision"].value == impossible["f1"].value == 0.0
    assert "one class" in impossible["roc_auc"].reason
    neither = expected_metrics(rows._replace(probability=none, decided=none))
    assert neither["f1"].reason == "no row is expected or predicted positive"
    for estimate in (unpredicted["precision"], impossible["recall"], neither["f1"]):
        assert math.isnan(estimate.value)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_auc_of_one_class_is_undefined_and_has_no_slope(probability):
    value, slope = auc_slope(np.arange(3.0), np.full(3, probability), np.ones(3))
    assert math.isnan(value)
    assert slope.tolist() == [0.0, 0.0, 0.0]


def test_few_expected_rows_of_a_class_still_have_an_auc():
    # 0.4 positive rows against 3.6: the one in the middle wins two of three pairs and ties itself
    value, _ = auc_slope(np.arange(4.0), np.array([0, 0, 0.4, 0]), np.ones(4))
    assert value == pytest.approx((2 + 0.6 / 2) / 3.6)


def test_twenty_bins_of_equal_size_correct_scores_by_their_own_residual(rng):
    score, weight = rng.permutation(np.linspace(0, 1, 2000)), rng.uniform(0.5, 3, 2000)
    positive = rng.random(2000) < score**2

    found = fit_calibrator(positive, score, weight)

    bins = np.array_split(np.argsort(score), 20)
    assert len(found.edges) == 19
    for at, rows in enumerate(bins):
        w, hit = weight[rows], positive[rows]
        share = np.average(hit, weights=w)
        assert found.correction[at] == pytest.approx(share - np.average(score[rows], weights=w))
        n = w.sum() ** 2 / (w**2).sum()  # Kish (1965), effective sample size
        # the estimate of Krichevsky and Trofimov (1981): half a row added to each side
        smooth = (share * n + 0.5) / (n + 1)
        assert found.variance[at] == pytest.approx(smooth * (1 - smooth) / n)


def test_a_bin_between_two_tied_scores_is_empty_and_corrects_nothing():
    # half of the rows score 0.2, half 0.6: the median lies between, where no row is
    score = np.repeat([0.2, 0.6], 10)
    positive = np.arange(20) < 4

    found = fit_calibrator(positive, score, np.full(20, 0.04))

    assert found.edges == pytest.approx([0.2, 0.4, 0.6])
    assert found.correction == pytest.approx([0.2, 0.0, -0.6, 0.0])
    parts = [4.5 / 11, 0.5, 0.5 / 11, 0.5]
    rows = [10, 1, 10, 1]  # nothing is known of an empty bin: the variance of one fair coin
    expected = [p * (1 - p) / n for p, n in zip(parts, rows, strict=True)]
    assert found.variance == pytest.approx(expected)


def test_a_score_at_an_edge_belongs_to_the_bin_below_and_a_probability_stays_one():
    calibrator = Calibrator(np.array([0.5]), np.array([-0.3, 0.4]), np.array([0.1, 0.2]))
    score, weight = np.array([0.1, 0.5, 0.51, 0.9]), np.arange(1.0, 5)

    found = expect(calibrator, score, score > 0.2, weight)

    assert found.probability == pytest.approx([0.0, 0.2, 0.91, 1.0])
    assert found.bins.tolist() == [0, 0, 1, 1]
    assert found.decided.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert found.decided.dtype == float
    assert found.score is score
    assert found.weight is weight
    assert found.variance is calibrator.variance
