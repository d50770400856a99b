from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from flytekitplugins.wbmon.stats.boosted_trees import BoostedTrees
from flytekitplugins.wbmon.stats.density_ratio import density_ratio
from flytekitplugins.wbmon.stats.loss_model import FittedLoss, expected_loss, fit_loss


def rows(rng, n, *, hard, by=0.0):
    """Features, and the absolute error of a model that errs more where they say so."""
    x, kind = rng.normal(by, 1, n), (rng.random(n) < hard).astype(float)
    sd = np.exp(0.4 * x) * np.where(kind == 1, 3.0, 1.0)
    return np.column_stack([x, kind]), np.abs(rng.normal(0, sd))


@pytest.mark.parametrize(
    ("hard", "by", "power"),
    [(0.2, 0, 1), (0.7, 0, 1), (0.2, 1, 1), (0.2, 1, 2)],
    ids=["the same", "harder", "moved", "moved, squared"],
)
def test_the_interval_holds_the_loss_that_comes(rng, hard, by, power):
    """Of 50 windows 95 % should; five references stand behind them, so 82 % must."""
    held, off = 0, []
    for _ in range(5):
        features, loss = rows(rng, 1500, hard=0.2)
        model = fit_loss(features, loss**power, np.ones(1500))
        for _ in range(10):
            coming, truth = rows(rng, 500, hard=hard, by=by)
            alike = density_ratio(features, coming, np.ones(1500), np.ones(500))
            guess = expected_loss(model, alike, coming, np.ones(500))
            held += guess.low <= (truth**power).mean() <= guess.high
            off.append(guess.value / (truth**power).mean() - 1)
    assert held >= 41
    # without the correction the value is a tenth too small where rows moved, and a quarter squared
    assert abs(np.median(off)) < 0.06 * power


def test_rows_of_great_weight_count_as_often(rng):
    features, loss = rows(rng, 1500, hard=0.5)
    model = fit_loss(features, loss, np.ones(1500))
    is_hard = features[:, 1] == 1
    same = np.ones(1500)
    weighted = expected_loss(model, same, features, np.where(is_hard, 1.0, 1e-9))
    alone = expected_loss(model, same, features[is_hard], np.ones(is_hard.sum()))
    assert weighted.value == pytest.approx(alone.value)
    assert weighted[1:3] == pytest.approx(alone[1:3])
    easy = expected_loss(model, same, features[~is_hard], np.ones((~is_hard).sum()))
    assert weighted.value > 1.5 * easy.value


def held_out_of(features, loss, weight):
    """Predictions of each row by fifty trees of fifteen leaves that did not see it."""
    predicted = np.empty(len(loss))
    with threadpool_limits(1):
        for seen, unseen in KFold(5, shuffle=True, random_state=0).split(features):
            trees = HistGradientBoostingRegressor(
                max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
            )
            trees.fit(features[seen], loss[seen], sample_weight=weight[seen])
            predicted[unseen] = trees.predict(features[unseen])
    return predicted


def test_each_error_is_that_of_models_which_did_not_see_the_row(rng):
    features, loss = rows(rng, 1200, hard=0.4)
    weight = rng.uniform(0.5, 3, 1200)

    model = fit_loss(features, loss, weight)

    assert model.residual == pytest.approx(loss - held_out_of(features, loss, weight))
    assert len(model.trees.roots) == 5 * 50


def leaves(base: float) -> BoostedTrees:
    """One tree of one node, so everything is predicted alike."""
    nothing, place = np.zeros(1), np.zeros(1, dtype=np.int32)
    return BoostedTrees(base, place, place - 1, nothing, np.zeros(1, bool), place, place, nothing)


def test_the_expected_loss_and_its_error_by_hand():
    residual, alike = np.array([0.5, -0.25, 1.0, 0.0]), np.array([1.0, 4.0, 2.0, 1.0])
    weight = np.array([1.0, 2.0, 1.0])

    found = expected_loss(FittedLoss(leaves(2.0), residual), alike, np.zeros((3, 1)), weight)

    correction = (0.5 - 1.0 + 2.0 + 0.0) / 8
    off = residual - correction
    n = 8**2 / (1 + 16 + 4 + 1)  # Kish (1965), effective sample size
    of_correction = (alike**2 * off**2).sum() / 8**2 * n / (n - 1)
    of_labels = (alike * off**2).sum() / 8 * (1 + 4 + 1) / 16
    parts = (alike * off) ** 2
    kurtosis = 4 * (parts**2).sum() / parts.sum() ** 2
    df = min(n - 1, 8 / (kurtosis - 1))
    value = 2 + correction
    half = scipy_stats.t.ppf(0.975, df) * np.sqrt(of_correction + of_labels) / value
    expected = (value, value * np.exp(-half), value * np.exp(half))
    assert found[:3] == pytest.approx(expected, rel=1e-4)


def test_no_loss_is_expected_below_zero():
    model = FittedLoss(leaves(-1.0), np.array([0.1, -0.1]))
    assert expected_loss(model, np.ones(2), np.zeros((2, 1)), np.ones(2))[:3] == (0.0, 0.0, 0.0)


def test_a_single_row_that_is_alike_gives_no_interval():
    model = FittedLoss(leaves(2.0), np.array([0.1, -0.1, 0.3]))
    found = expected_loss(model, np.array([1.0, 0.0, 0.0]), np.zeros((2, 1)), np.ones(2))
    assert found.value == pytest.approx(2.1)
    assert np.isnan(found.low)
