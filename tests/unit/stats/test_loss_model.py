from __future__ import annotations

import numpy as np
import pytest

from flytekitplugins.wbmon.stats.loss_model import expected_loss, fit_loss_model


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
