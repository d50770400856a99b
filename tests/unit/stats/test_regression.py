from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from flytekitplugins.wbmon.stats.estimate import student_quantile
from flytekitplugins.wbmon.stats.regression import (
    loss_tail_share,
    mean_absolute_error,
    mean_absolute_percentage_error,
    r2_score,
    root_mean_squared_error,
)

pairs = st.lists(
    st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=3, max_size=40
).filter(lambda rows: np.ptp([row[0] for row in rows]) > 1)


def columns(rows):
    labels, predictions = np.array(rows).T
    return labels, predictions, np.ones(len(rows))


@given(pairs, st.floats(0.01, 100), st.floats(-50, 50))
def test_r2_does_not_depend_on_the_unit_or_the_origin(rows, unit, origin):
    labels, predictions, ones = columns(rows)
    moved = r2_score(labels * unit + origin, predictions * unit + origin, ones)
    assert moved[:3] == pytest.approx(r2_score(labels, predictions, ones)[:3], rel=1e-5, abs=1e-5)


@given(pairs)
def test_values_lie_in_their_intervals_and_mae_is_at_most_rmse(rows):
    found = [
        metric(*columns(rows))
        for metric in (mean_absolute_error, root_mean_squared_error, r2_score)
    ]
    assert found[0].value <= found[1].value + 1e-9
    for estimate in found:
        assert estimate.low <= estimate.value + 1e-9
        assert estimate.value <= estimate.high + 1e-9


@given(pairs)
def test_a_weight_of_two_counts_a_row_twice(rows):
    labels, predictions, ones = columns(rows)
    heavy = ones.copy()
    heavy[0] = 2
    twice = [np.append(column, column[0]) for column in (labels, predictions, ones)]
    for metric in (mean_absolute_error, root_mean_squared_error, r2_score):
        assert metric(labels, predictions, heavy).value == pytest.approx(metric(*twice).value)


def test_the_interval_of_r2_is_that_of_its_unexplained_share_by_numerical_slopes(rng):
    labels, weight = rng.normal(3, 2, 60), rng.uniform(0.5, 3, 60)
    predictions = labels + rng.normal(0, 1, 60)

    def unexplained(weight):
        return 1 - sk.r2_score(labels, predictions, sample_weight=weight)

    # the infinitesimal jackknife: how much a little more of each row moves the statistic
    slopes = [
        (unexplained(weight + step) - unexplained(weight - step)) / 2e-5
        for step in 1e-5 * np.eye(60)
    ]
    n = weight.sum() ** 2 / (weight**2).sum()
    error = math.sqrt(((np.array(slopes) * weight) ** 2).sum() * n / (n - 1))
    left = unexplained(weight)
    part = np.array(slopes) * weight
    kurtosis = (part**4).mean() / (part**2).mean() ** 2
    df = min(n - 1, 2 * 60 / (kurtosis - 1))
    ratio = math.exp(student_quantile(df) * error / left)

    found = r2_score(labels, predictions, weight)

    assert found.value == pytest.approx(1 - left)
    assert found.low == pytest.approx(1 - left * ratio, abs=1e-6)
    assert found.high == pytest.approx(1 - left / ratio, abs=1e-6)


def test_two_rows_have_an_r2():
    labels, predictions = np.array([0.0, 2.0]), np.array([0.5, 1.0])
    assert r2_score(labels, predictions, np.ones(2)).value == pytest.approx(1 - 1.25 / 2)


def test_perfect_predictions_have_no_error():
    labels = np.arange(10.0)
    assert root_mean_squared_error(labels, labels, np.ones(10))[:3] == (0.0, 0.0, 0.0)
    assert r2_score(labels, labels, np.ones(10))[:3] == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("labels", "why"), [(np.ones(5), "equal"), (np.ones(1), "fewer than two rows")]
)
def test_r2_without_variance_is_undefined_and_says_why(labels, why):
    found = r2_score(labels, labels + 1, np.ones(len(labels)))
    assert math.isnan(found.value)
    assert why in found.reason


def test_percentage_errors_leave_out_labels_of_zero():
    labels = np.array([0.0, 2.0, -4.0, 0.0])
    found = mean_absolute_percentage_error(labels, np.array([5.0, 1.0, 1.0, 0.0]), np.ones(4))
    assert found.value == pytest.approx((1 / 2 + 1 / 4) / 2)
    none = mean_absolute_percentage_error(np.zeros(3), np.ones(3), np.ones(3))
    assert "all labels of the window are 0" in none.reason


def test_the_share_of_the_largest_losses_is_that_of_sorted_rows(rng):
    losses = rng.exponential(size=500) ** 2
    expected = np.sort(losses)[-5:].sum() / losses.sum()
    assert loss_tail_share(losses, np.full(500, 0.1)) == pytest.approx(expected)
    # of few rows it is the largest alone, and weights count rows
    assert loss_tail_share(np.array([1.0, 3.0]), np.ones(2)) == pytest.approx(0.75)
    assert loss_tail_share(np.array([1.0, 3.0]), np.array([3.0, 1.0])) == pytest.approx(0.5)
    assert math.isnan(loss_tail_share(np.zeros(4), np.ones(4)))


def test_squared_normal_errors_have_the_tail_share_that_the_docstring_says():
    z = scipy_stats.norm.ppf(0.995)
    expected = 2 * (z * scipy_stats.norm.pdf(z) + 0.005)
    losses = np.random.default_rng(0).normal(size=400_000) ** 2
    assert loss_tail_share(losses, np.ones(400_000)) == pytest.approx(expected, abs=0.002)
    assert expected == pytest.approx(0.08, abs=0.005)


@given(st.floats(-300, 306))
def test_errors_of_any_size_have_their_interval(power):
    unit = 10.0**power
    labels, predictions = np.array([1.0, 2.0, 4.0, 3.0]), np.array([1.5, 2.0, 3.0, 3.3])
    for metric in (mean_absolute_error, root_mean_squared_error, r2_score):
        small = metric(labels, predictions, np.ones(4))
        large = metric(labels * unit, predictions * unit, np.ones(4))
        scale = 1 if metric is r2_score else unit
        assert large[:3] == pytest.approx([end * scale for end in small[:3]], rel=1e-6, abs=0)
