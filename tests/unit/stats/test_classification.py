from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from flytekitplugins.wbmon.stats import classification as c
from flytekitplugins.wbmon.stats import ranking
from flytekitplugins.wbmon.stats.class_losses import brier_score, log_loss

labelled = st.integers(2, 5).flatmap(
    lambda k: st.tuples(
        st.just(k),
        st.lists(
            st.tuples(st.integers(0, k - 1), st.integers(0, k - 1), st.floats(0.5, 9)),
            min_size=1,
            max_size=60,
        ),
    )
)


def confusion_of(k, rows):
    labels, predictions, weight = (np.array(column) for column in zip(*rows, strict=True))
    return c.confusion_matrix(labels, predictions, k, weight.astype(float))


@given(labelled)
def test_every_share_lies_in_its_interval_within_zero_and_one(case):
    k, rows = case
    confusion = confusion_of(k, rows)
    found = [c.accuracy(confusion), c.macro_precision(confusion), c.macro_recall(confusion)]
    found += [c.macro_f1(confusion)]
    found += [estimate for metrics in c.class_metrics(confusion) for estimate in metrics]
    for estimate in found:
        if math.isnan(estimate.value):
            assert estimate.reason
        else:
            assert 0 <= estimate.low <= estimate.value + 1e-12
            assert estimate.value - 1e-12 <= estimate.high <= 1


@given(labelled, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_names_of_classes_change_nothing(case, random):
    k, rows = case
    names = list(range(k))
    random.shuffle(names)
    shuffled = [(names[a], names[b], w) for a, b, w in rows]
    random.shuffle(shuffled)
    one, two = confusion_of(k, rows), confusion_of(k, shuffled)
    for metric in (c.accuracy, c.macro_precision, c.macro_recall, c.macro_f1):
        assert metric(one)[:3] == pytest.approx(metric(two)[:3], nan_ok=True)


@given(labelled)
def test_doubling_every_weight_moves_no_metric_and_no_interval(case):
    k, rows = case
    one, two = confusion_of(k, rows), confusion_of(k, [(a, b, 2 * w) for a, b, w in rows])
    for metric in (c.accuracy, c.macro_precision, c.macro_recall, c.macro_f1):
        assert metric(one)[:3] == pytest.approx(metric(two)[:3], nan_ok=True)


def test_weights_far_below_one_are_weights():
    rows = [(0, 0, 3.0), (0, 1, 1.0), (1, 1, 2.0), (1, 1, 5.0), (2, 2, 1.0)]
    one, tiny = confusion_of(3, rows), confusion_of(3, [(a, b, w / 4096) for a, b, w in rows])
    for metric in (c.accuracy, c.macro_precision, c.macro_recall, c.macro_f1):
        assert metric(one)[:3] == pytest.approx(metric(tiny)[:3])
    for of_one, of_tiny in zip(c.class_metrics(one), c.class_metrics(tiny), strict=True):
        for a, b in zip(of_one, of_tiny, strict=True):
            assert a[:3] == pytest.approx(b[:3], nan_ok=True)


@given(labelled)
def test_repeating_every_row_narrows_the_interval(case):
    k, rows = case
    once, often = confusion_of(k, rows), confusion_of(k, rows * 4)
    assert c.accuracy(often).value == pytest.approx(c.accuracy(once).value)
    width = [estimate.high - estimate.low for estimate in (c.accuracy(once), c.accuracy(often))]
    assert width[1] < width[0]


@given(labelled)
def test_the_correlation_of_f1_is_that_of_resampled_rows(case):
    """Against numerical slopes of each class's F1 over the cells."""
    k, rows = case
    confusion = confusion_of(k, rows)

    def f1_of_each(weight):
        size = weight.sum(axis=0) + weight.sum(axis=1)
        return 2 * np.diag(weight) / np.where(size > 0, size, 1)

    slopes = np.zeros((k, k * k))
    for cell in range(k * k):
        moved = confusion.weight.copy()
        moved.flat[cell] += 1e-6
        slopes[:, cell] = (f1_of_each(moved) - f1_of_each(confusion.weight)) / 1e-6
    covariance = (slopes * confusion.square.ravel()) @ slopes.T
    error = np.sqrt(np.diag(covariance))
    found = c._f1_correlation(confusion)
    for i in range(k):
        for j in range(i):
            if min(error[i], error[j]) > 1e-4:
                expected = covariance[i, j] / error[i] / error[j]
                assert found[i, j] == pytest.approx(expected, abs=1e-3)


def test_a_thousand_classes_cost_no_cube_of_memory(rng):
    labels = rng.integers(0, 1000, 20_000)
    predictions = np.where(rng.random(20_000) < 0.7, labels, rng.integers(0, 1000, 20_000))
    confusion = c.confusion_matrix(labels, predictions, 1000, np.ones(20_000))
    f1 = c.macro_f1(confusion)
    assert f1.low < f1.value < f1.high


scored = st.lists(
    st.tuples(st.booleans(), st.integers(0, 8), st.floats(0.5, 4)), min_size=4, max_size=50
).filter(lambda rows: 0 < sum(row[0] for row in rows) < len(rows))


def auc_of(rows, turn=lambda score: score):
    positive, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    return ranking.roc_auc(positive, turn(score.astype(float)), weight.astype(float))


@given(scored)
def test_auc_does_not_change_under_a_rising_function_of_the_score(rows):
    assert auc_of(rows)[:3] == pytest.approx(auc_of(rows, lambda score: np.exp(score) - 4)[:3])


@given(scored)
def test_auc_of_the_reversed_score_is_its_mirror_image(rows):
    there, back = auc_of(rows), auc_of(rows, lambda score: -score)
    assert there.value == pytest.approx(1 - back.value)
    assert (there.low, there.high) == pytest.approx((1 - back.high, 1 - back.low), abs=1e-9)


@given(scored)
def test_auc_lies_in_its_interval(rows):
    auc = auc_of(rows)
    assert 0 <= auc.low <= auc.value + 1e-9
    assert auc.value - 1e-9 <= auc.high <= 1


def test_a_perfect_ranking_of_few_rows_is_not_certain():
    score = np.arange(20.0)
    auc = ranking.roc_auc(score >= 10, score, np.ones(20))
    assert auc.value == auc.high == 1.0
    assert 0.6 < auc.low < 0.95


def test_a_score_without_information_gives_one_half():
    auc = ranking.roc_auc(np.arange(40) % 2 == 0, np.ones(40), np.ones(40))
    assert auc.value == 0.5
    assert auc.low < 0.4
    assert auc.high > 0.6


def test_a_single_positive_row_still_gives_an_interval():
    score = np.arange(30.0)
    auc = ranking.roc_auc(score == 20, score, np.ones(30))
    assert auc.low < auc.value < auc.high
    assert auc.high - auc.low > 0.3


@pytest.mark.parametrize("positive", [np.zeros(5, dtype=bool), np.ones(5, dtype=bool)])
def test_auc_of_one_class_is_undefined_and_says_why(positive):
    auc = ranking.roc_auc(positive, np.arange(5.0), np.ones(5))
    assert math.isnan(auc.value)
    assert "one class" in auc.reason


def test_one_vs_rest_leaves_out_a_class_without_labels():
    labels = np.array([0, 0, 1, 1, 0, 1])
    probabilities = np.column_stack([1 - labels * 0.8, labels * 0.8, np.zeros(6)])
    assert ranking.roc_auc_one_vs_rest(labels, probabilities, np.ones(6)).value == 1.0
    alone = ranking.roc_auc_one_vs_rest(np.zeros(6, dtype=int), probabilities, np.ones(6))
    assert "one class" in alone.reason


def test_a_sure_and_wrong_prediction_costs_much_but_not_infinity():
    loss = log_loss(np.array([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]]), np.ones(2))
    assert loss.value == pytest.approx(-math.log(np.finfo(float).eps) / 2)


def test_brier_score_of_a_coin_is_a_quarter_for_two_classes():
    half = np.full((4, 2), 0.5)
    assert brier_score(np.array([0, 1, 1, 0]), half, np.ones(4)).value == 0.25
    third = np.full((3, 3), 1 / 3)
    assert brier_score(np.arange(3), third, np.ones(3)).value == pytest.approx(2 / 3)


def test_precision_without_a_positive_prediction_is_undefined():
    confusion = c.confusion_matrix(np.array([0, 1]), np.zeros(2, dtype=int), 2, np.ones(2))
    assert math.isnan(c.class_metrics(confusion)[1].precision.value)
    assert c.class_metrics(confusion)[1].recall.value == 0.0
    assert c.class_metrics(confusion)[1].f1.value == 0.0


def test_the_interval_of_the_auc_is_delongs_over_all_pairs(rng):
    positive = np.arange(60) < 22
    score = np.round(rng.normal(positive * 1.0, 1.0), 1)  # with ties

    found = ranking.roc_auc(positive, score, np.ones(60))

    pairs = np.array([[(a > b) + (a == b) / 2 for b in score[~positive]] for a in score[positive]])
    auc, m, n = pairs.mean(), *pairs.shape
    parts = pairs.mean(axis=1).var(ddof=1) / m, pairs.mean(axis=0).var(ddof=1) / n
    error = math.sqrt(sum(parts))
    # Brunner & Munzel (2000), section 4
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (m - 1) + parts[1] ** 2 / (n - 1))
    half = scipy_stats.t.ppf(0.975, freedom) * error / (auc * (1 - auc))
    ends = special.expit(special.logit(auc) + np.array([-half, half]))
    assert found.value == pytest.approx(auc)
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-4)


def test_the_auc_of_weighted_rows_knows_its_error_by_resampling(rng):
    positive = np.arange(300) < 120
    score, weight = rng.normal(positive * 1.2, 1.0), rng.uniform(0.2, 4, 300)

    found = ranking.roc_auc(positive, score, weight)

    sides = np.flatnonzero(positive), np.flatnonzero(~positive)
    resampled = []
    for _ in range(600):
        rows = np.concatenate([rng.choice(side, len(side)) for side in sides])
        resampled.append(roc_auc_score(positive[rows], score[rows], sample_weight=weight[rows]))
    # of 600 resamples the standard deviation is known to 1 / sqrt(1200), 3 %; four times that
    width = special.logit(found.high) - special.logit(found.low)
    expected = 2 * 1.96 * np.std(special.logit(resampled))
    assert width == pytest.approx(expected, rel=0.15)


@given(labelled)
def test_a_class_is_judged_as_if_all_others_were_one(case):
    k, rows = case
    for code, metrics in enumerate(c.class_metrics(confusion_of(k, rows))):
        against_all = [(int(a == code), int(b == code), weight) for a, b, weight in rows]
        alone = c.class_metrics(confusion_of(2, against_all))[1]
        assert [each.value for each in metrics] == pytest.approx(
            [each.value for each in alone], nan_ok=True
        )
