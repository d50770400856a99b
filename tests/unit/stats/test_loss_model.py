from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from flytekitplugins.wbmon.stats.loss_model import LossModel, expected_loss, fit_loss_model


def rows(rng, n, *, hard):
    """Features, and the absolute error of a model that errs more where they say so."""
    x, kind = rng.uniform(0, 1, n), (rng.random(n) < hard).astype(float)
    sd = (0.3 + x) * np.where(kind == 1, 3.0, 1.0)
    return np.column_stack([x, kind]), np.abs(rng.normal(0, sd))


@pytest.mark.parametrize("hard", [0.2, 0.7], ids=["the same", "harder"])
@pytest.mark.parametrize("power", [1, 2], ids=["absolute", "squared"])
def test_the_interval_holds_the_loss_that_comes(rng, hard, power):
    """Of 60 windows 95 % should; three references stand behind them, so 85 % must."""
    held = 0
    for _ in range(3):
        features, loss = rows(rng, 1500, hard=0.2)
        model = fit_loss_model(features, loss**power, np.ones(1500))
        for _ in range(20):
            coming, truth = rows(rng, 500, hard=hard)
            guess = expected_loss(model, coming, np.ones(500))
            held += guess.low <= (truth**power).mean() <= guess.high
    assert held >= 51


def test_rows_of_great_weight_count_as_often(rng):
    features, loss = rows(rng, 1500, hard=0.5)
    model = fit_loss_model(features, loss, np.ones(1500))
    is_hard = features[:, 1] == 1
    weighted = expected_loss(model, features, np.where(is_hard, 1.0, 1e-9))
    alone = expected_loss(model, features[is_hard], np.ones(is_hard.sum()))
    assert weighted.value == pytest.approx(alone.value)
    easy = expected_loss(model, features[~is_hard], np.ones((~is_hard).sum()))
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


def test_each_tenth_is_corrected_by_what_models_err_on_rows_they_did_not_see(rng):
    features, loss = rows(rng, 1200, hard=0.4)
    weight = rng.uniform(0.5, 3, 1200)

    model = fit_loss_model(features, loss, weight)

    predicted = held_out_of(features, loss, weight)
    assert len(model.models) == 5
    assert model.edges == pytest.approx(np.quantile(predicted, np.linspace(0.1, 0.9, 9)))
    tenth = np.digitize(predicted, model.edges, right=True)  # trees give ties, also at an edge
    for at in range(10):
        of_bin = np.flatnonzero(tenth == at)
        residual, w = (loss - predicted)[of_bin], weight[of_bin]
        mean = np.average(residual, weights=w)
        spread = np.average((residual - mean) ** 2, weights=w)
        n = w.sum() ** 2 / (w**2).sum()  # Kish (1965), effective sample size
        assert model.correction[at] == pytest.approx(mean)
        assert model.spread[at] == pytest.approx(spread)
        assert model.variance[at] == pytest.approx(spread / n)


@pytest.mark.parametrize("n_low", [20, 60, 100])
def test_a_bin_without_rows_corrects_nothing(n_low):
    # one feature of two values: few predictions are distinct, and the last bin may be empty
    features = np.repeat([[0.0], [1.0]], (n_low, 120 - n_low), axis=0)
    loss, weight = 1 + 2 * features[:, 0], np.full(120, 0.001)
    loss[::7] += 1
    model = fit_loss_model(features, loss, weight)
    predicted = held_out_of(features, loss, weight)
    place = np.digitize(predicted, model.edges, right=True)
    bins = len(model.edges) + 1
    filled = np.bincount(place, minlength=bins) > 0
    assert not filled.all()
    for part in (model.correction, model.variance, model.spread):
        assert part.shape == (bins,)
        assert part[~filled].tolist() == [0.0] * (~filled).sum()
    for at in np.flatnonzero(filled):
        assert model.correction[at] == pytest.approx((loss - predicted)[place == at].mean())


class Column(NamedTuple):
    """A model that predicts one of the features, so much higher."""

    more: float

    def predict(self, features):
        return features[:, 0] + self.more


def test_the_expected_loss_and_its_error_by_hand():
    model = LossModel(
        (Column(0.0), Column(0.5)),  # 0.25 more on average
        np.array([1.0]),
        np.array([0.5, -0.25]),
        np.array([0.01, 0.04]),
        np.array([0.3, 0.6]),
    )
    features, weight = np.array([[0.0], [0.75], [1.75]]), np.array([1.0, 2.0, 1.0])

    found = expected_loss(model, features, weight)

    # predicted 0.25, 1 (at the edge, so still of the first bin) and 2
    value = (0.75 + 2 * 1.5 + 1.75) / 4
    by_row = (0.3 + 4 * 0.3 + 0.6) / 16
    by_bin = (3 / 4) ** 2 * 0.01 + (1 / 4) ** 2 * 0.04
    ratio = math.exp(1.959964 * math.sqrt(by_row + by_bin) / value)
    assert found[:3] == pytest.approx((value, value / ratio, value * ratio))


def test_no_loss_is_expected_below_zero():
    nothing = np.zeros(1)
    model = LossModel((Column(-1.0),), np.empty(0), nothing, nothing, np.ones(1))
    found = expected_loss(model, np.array([[0.5], [0.0]]), np.ones(2))
    assert found[:3] == (0.0, 0.0, 0.0)
