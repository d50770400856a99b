"""Expected metrics of classes against scikit-learn's on rows that are of every class at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from flytekitplugins.wbmon.stats.label_free import Calibrator
from flytekitplugins.wbmon.stats.label_free_classes import (
    ExpectedClasses,
    expect_classes,
    expected_class_metrics,
    expected_classes,
    fit_calibrators,
)

METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier")
Z = 1.959964  # of the normal distribution, 97.5 %
K = 3


def window(rng, n=12):
    """Rows of three classes, two bins for each class, with weights."""
    scores = np.round(rng.dirichlet(np.ones(K), n), 1) + 0.01
    scores /= scores.sum(axis=1, keepdims=True)
    probabilities = 0.7 * scores + 0.3 * rng.dirichlet(np.ones(K), n)
    return ExpectedClasses(
        scores,
        probabilities,
        scores.argmax(axis=1),
        rng.uniform(0.5, 3, n),
        (scores > 0.4).astype(int),
        (np.array([0.001, 0.004]), np.array([0.0005, 0.002]), np.array([0.003, 0.001])),
    )


def metrics_of(rows, probabilities, classes=(0, 1, 2)):
    """Each row counts as of each class with the probability of it."""
    n = len(rows.scores)
    labels, weight = np.repeat(range(K), n), (rows.weight[:, None] * probabilities).T.ravel()
    decided, scores = np.tile(rows.decided, K), np.tile(rows.scores, (K, 1))
    given = {"sample_weight": weight}
    macro = {"average": "macro", "labels": list(classes), "zero_division": np.nan, **given}
    one_hot = labels[:, None] == range(K)
    return np.array(
        [
            sk.accuracy_score(labels, decided, **given),
            sk.precision_score(labels, decided, **macro),
            sk.recall_score(labels, decided, **macro),
            sk.f1_score(labels, decided, **macro),
            np.mean([sk.roc_auc_score(labels == i, scores[:, i], **given) for i in classes]),
            np.mean([average_precision(rows, probabilities, i) for i in classes]),
            sk.log_loss(labels, scores, **given),
            np.average(((scores - one_hot) ** 2).sum(axis=1), weights=weight),
        ]
    )


def average_precision(rows, probabilities, code):
    """Pair by pair: a row of the class is sure of itself, and those above it are likely of it."""
    score, likely = rows.scores[:, code], probabilities[:, code]
    above = (score[None, :] >= score[:, None]) * rows.weight[None, :]
    known = np.where(np.eye(len(score), dtype=bool), 1.0, likely[None, :])
    precision = (above * known).sum(axis=1) / above.sum(axis=1)
    return np.average(precision, weights=rows.weight * likely)


def moved_by(rows, moved, step=1e-5):
    """Numerical derivative of every metric, if these scores are corrected by more."""
    found = []
    for side in (step, -step):
        raised = rows.probabilities + side * moved
        found.append(metrics_of(rows, raised / raised.sum(axis=1, keepdims=True)))
    return (found[0] - found[1]) / (2 * step)


def test_every_metric_and_its_error_is_that_of_rows_of_all_classes(rng):
    rows = window(rng)
    variance = np.zeros(len(METRICS))
    for row, column in np.ndindex(*rows.scores.shape):
        moved = np.zeros_like(rows.scores)
        moved[row, column] = 1
        # normalised, a slope is a distance from the row's mean: its square is the variance
        variance += rows.probabilities[row, column] * moved_by(rows, moved) ** 2
    for column in range(K):
        for place in range(2):
            moved = np.zeros_like(rows.scores)
            moved[rows.bins[:, column] == place, column] = 1
            variance += rows.variances[column][place] * moved_by(rows, moved) ** 2

    found = expected_class_metrics(rows)

    assert set(found) == set(METRICS)
    values = metrics_of(rows, rows.probabilities)
    for name, value, half in zip(METRICS, values, Z * np.sqrt(variance), strict=True):
        assert found[name].value == pytest.approx(value), name
        assert found[name].low == pytest.approx(value - half, abs=1e-6), name
        assert found[name].high == pytest.approx(value + half, abs=1e-6), name


def few_rows(of_last):
    """Four rows that are predicted as one of two classes, and as a third with this probability."""
    scores = np.array([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.7, 0.2]])
    probabilities = np.column_stack([scores[:, :2], np.zeros(4)])
    probabilities *= (1 - of_last) / probabilities.sum(axis=1, keepdims=True)
    probabilities[:, 2] = of_last
    bins, variances = np.zeros((4, 3), int), (np.zeros(1),) * 3
    weight = np.full(4, 2.0)
    return ExpectedClasses(scores, probabilities, scores.argmax(axis=1), weight, bins, variances)


@pytest.mark.parametrize(("of_last", "classes"), [(0.125, (0, 1, 2)), (0.1249, (0, 1))])
def test_a_class_counts_from_half_an_expected_row(of_last, classes):
    rows = few_rows(of_last)
    found = expected_class_metrics(rows)
    expected = metrics_of(rows, rows.probabilities, classes)
    assert [found[name].value for name in METRICS] == pytest.approx(expected.tolist())


def test_a_class_that_is_left_out_adds_no_error():
    rows = few_rows(0.0)
    found = expected_class_metrics(rows)
    # precision is a mean of two proportions of two rows each, independent of one another
    p = rows.probabilities
    chance = sum(p[row, of] * (1 - p[row, of]) / 4 for row, of in enumerate((0, 0, 1, 1))) / 4
    value = (p[0, 0] + p[1, 0] + p[2, 1] + p[3, 1]) / 4
    assert found["precision"].value == pytest.approx(value)
    assert found["precision"].low == pytest.approx(value - Z * math.sqrt(chance))


def test_a_class_that_is_predicted_and_not_expected_counts_in_no_mean():
    rows = few_rows(0.0)._replace(decided=np.array([0, 0, 1, 2]))
    assert {name: codes.tolist() for name, codes in expected_classes(rows).items()} == {
        "precision": [0, 1],
        "recall": [0, 1],
        "f1": [0, 1],
    }
    found = expected_class_metrics(rows)
    p = rows.probabilities
    own, expected = np.array([p[:2, 0].sum(), p[2, 1]]), p.sum(axis=0)[:2]
    predicted = np.array([2, 1])
    assert found["precision"].value == pytest.approx((own / predicted).mean())
    assert found["recall"].value == pytest.approx((own / expected).mean())
    assert found["f1"].value == pytest.approx((2 * own / (expected + predicted)).mean())


def test_the_precision_of_classes_that_are_not_expected_is_undefined():
    found = expected_class_metrics(few_rows(0.0)._replace(decided=np.full(4, 2)))
    assert math.isnan(found["precision"].value)
    assert "no row is predicted" in found["precision"].reason
    assert found["recall"].value == 0.0


def test_the_auc_of_a_single_expected_class_is_undefined():
    rows = few_rows(0.0)
    sure = rows._replace(probabilities=np.tile([1.0, 0.0, 0.0], (4, 1)))
    found = expected_class_metrics(sure)["roc_auc"]
    assert math.isnan(found.value)
    assert "one class" in found.reason
    two = rows._replace(probabilities=np.tile([0.5, 0.5, 0.0], (4, 1)))
    assert expected_class_metrics(two)["roc_auc"].value == pytest.approx(0.5)


def test_an_interval_ends_where_the_metric_ends():
    scores = np.array([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01]])
    rows = ExpectedClasses(
        scores, scores, np.array([0, 1]), np.ones(2), np.zeros((2, 3), int), (np.ones(1),) * 3
    )
    right = expected_class_metrics(rows)
    assert right["accuracy"].high == 1.0
    assert right["brier"].low == 0.0
    upside_down = expected_class_metrics(rows._replace(probabilities=scores[::-1]))
    assert upside_down["accuracy"].low == 0.0
    assert upside_down["brier"].high == 2.0
    assert upside_down["log_loss"].high > 2


def test_a_score_of_zero_costs_what_it_costs_in_scikit_learn():
    rows = few_rows(0.25)
    rows = rows._replace(scores=np.array([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0]] * 2))
    found = expected_class_metrics(rows)["log_loss"].value
    expected = metrics_of(rows, rows.probabilities)[METRICS.index("log_loss")]
    assert found == pytest.approx(expected)


def test_each_class_is_corrected_against_the_rest_and_rows_sum_to_one():
    calibrators = [
        Calibrator(np.array([0.5]), np.array([0.1, -0.2]), np.array([0.01, 0.02])),
        Calibrator(np.array([0.3]), np.array([-0.4, 0.0]), np.array([0.03, 0.04])),
    ]
    scores = np.array([[0.5, 0.5], [0.7, 0.3], [0.2, 0.3]])

    found = expect_classes(calibrators, scores, np.array([0, 0, 1]), np.ones(3))

    assert found.bins.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert found.probabilities[0] == pytest.approx([0.6 / 1.1, 0.5 / 1.1])
    assert found.probabilities[1:] == pytest.approx(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert [each.tolist() for each in found.variances] == [[0.01, 0.02], [0.03, 0.04]]


def test_a_row_that_no_class_may_have_belongs_to_all_alike():
    nothing = Calibrator(np.empty(0), np.array([-1.0]), np.zeros(1))
    found = expect_classes([nothing] * 4, np.full((1, 4), 0.25), np.zeros(1, int), np.ones(1))
    assert found.probabilities[0] == pytest.approx([0.25] * 4)
    # a corrected score above 1 is cut before the row is normalised
    above = Calibrator(np.empty(0), np.array([1.0]), np.zeros(1))
    found = expect_classes([above, nothing], np.full((1, 2), 0.5), np.zeros(1, int), np.ones(1))
    assert found.probabilities[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-12)
    wide = Calibrator(np.empty(0), np.array([0.5]), np.zeros(1))
    found = expect_classes(
        [wide, Calibrator(np.empty(0), np.zeros(1), np.zeros(1))],
        np.array([[0.9, 0.25]]),
        np.zeros(1, int),
        np.ones(1),
    )
    assert found.probabilities[0] == pytest.approx([0.8, 0.2])


def test_each_class_gets_a_calibrator_of_its_own():
    labels = np.repeat([0, 1, 2], 10)
    found = fit_calibrators(labels, np.tile([0.5, 0.3, 0.2], (30, 1)), np.ones(30))
    assert [each.correction[0] for each in found] == pytest.approx([1 / 3 - 0.5, 1 / 30, 2 / 15])
