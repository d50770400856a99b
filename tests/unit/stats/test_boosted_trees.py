from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from flytekitplugins.wbmon.stats.boosted_trees import mean_of_models


def models_of(rng, features, n=3):
    """Models of different targets, so they have different trees."""
    with threadpool_limits(1):
        return [
            HistGradientBoostingRegressor(
                max_iter=8, max_leaf_nodes=15, min_samples_leaf=3, early_stopping=False
            ).fit(features, rng.normal(size=len(features)) + at)
            for at in range(n)
        ]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["normal", "few", "huge", "missing", "tiny"]))
@settings(max_examples=25)
def test_the_prediction_is_that_of_scikit_learn(seed, kind):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(120, 3))
    if kind == "few":
        features = np.round(features)
    elif kind == "huge":
        features = features * 1e300
    elif kind == "tiny":
        features = features * 1e-300
    elif kind == "missing":
        features[rng.random(features.shape) < 0.4] = np.nan
    models = models_of(rng, features)
    found = mean_of_models(models)
    # beyond all that was fitted, without any value, and where a threshold lies
    rows = np.concatenate(
        [
            features,
            features * 3,
            np.full((1, 3), np.nan),
            np.full((1, 3), np.inf),
            rng.choice(found.threshold[found.feature >= 0], size=(40, 3)),
        ]
    )
    expected = np.mean([model.predict(rows) for model in models], axis=0)
    assert found.predict(rows) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("n", [0, 1, 4095, 4096, 4097, 9000])
def test_any_number_of_rows_is_predicted(rng, n):
    models = models_of(rng, rng.normal(size=(200, 2)))
    rows = rng.normal(size=(n, 2))
    found = mean_of_models(models).predict(rows)
    assert found.shape == (n,)
    if n:
        assert found == pytest.approx(np.mean([model.predict(rows) for model in models], axis=0))


def test_a_constant_needs_no_tree(rng):
    model = HistGradientBoostingRegressor(max_iter=3).fit(rng.normal(size=(50, 2)), np.full(50, 7))
    assert mean_of_models([model]).predict(np.zeros((2, 2))) == pytest.approx([7, 7])


@pytest.mark.parametrize("sd", [5.0, 12.0])
def test_losses_of_all_sizes_leave_the_trees_what_they_are(rng, sd):
    """Leaves of great losses cancel out in the rows of small ones."""
    features = rng.normal(size=(2000, 3))
    with threadpool_limits(1):
        model = HistGradientBoostingRegressor(max_iter=50, max_leaf_nodes=15, early_stopping=False)
        model.fit(features, rng.lognormal(0, sd, 2000))
    found, expected = mean_of_models([model]).predict(features), model.predict(features)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * np.abs(expected).max())


def test_trees_that_are_kept_in_another_way_are_refused(rng):
    """Such as by another version, whose nodes mean something else."""
    models = models_of(rng, rng.normal(size=(200, 2)))
    for model in models:
        for trees in model._predictors:
            for tree in trees:
                tree.nodes["value"] = tree.nodes["value"] * tree.nodes["is_leaf"]
    mean_of_models(models)

    class Turned:
        n_features_in_ = 2
        _predictors = models[0]._predictors
        _baseline_prediction = models[0]._baseline_prediction

        def predict(self, rows):
            return -models[0].predict(rows)

    with pytest.raises(RuntimeError, match=r"scikit-learn .* install another version"):
        mean_of_models([Turned()])
