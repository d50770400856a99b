"""Expected loss of a regression model before labels are available, from a model of the loss.

A second model learns from labelled rows to predict the loss of a row from its features and its
prediction. Where rows move, its error is the larger the further they do, so the mean prediction of
a window is corrected by the errors of the reference rows, each weighted by how much more often rows
like it occur in the window: the estimate is right if either the model or the weights are. The
method cannot detect concept drift: if the relation between features and label has changed, the
estimate does not change.

References:
    NannyML, Direct Loss Estimation (DLE), for the idea. Robins, Rotnitzky & Zhao (1994), Estimation
    of regression coefficients when some regressors are not always observed, for the correction.
    Chernozhukov et al. (2018), Double/debiased machine learning, for the cross-fitting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.boosted_trees import BoostedTrees, mean_of_models, trainable
from flytekitplugins.wbmon.stats.estimate import Estimate, log_interval
from flytekitplugins.wbmon.stats.influence import (
    effective_rows,
    influence_error,
    influence_freedom,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FOLDS = 5


class FittedLoss(NamedTuple):
    """A fitted model of the loss.

    Attributes:
        trees: The mean of models fitted on four fifths of the reference each.
        residual: Loss minus out-of-fold predicted loss of each reference row; shape `(n,)`.
    """

    trees: BoostedTrees
    residual: Floats


def fit_loss(features: Floats, loss: Floats, weight: Floats) -> FittedLoss:
    """Learn the loss from labelled rows that the monitored model was not trained on.

    Gradient boosted trees with five-fold cross-fitting: each model is fitted on four fifths of the
    rows, and its errors are measured on the remaining fifth.

    Args:
        features: Features of each row, including its prediction; `nan` where missing; shape
            `(n, d)`, `n >= 5`.
        loss: Loss of each row, non-negative; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    held_out, models = _cross_fit(features, loss, weight)
    return FittedLoss(mean_of_models(models), loss - held_out)


def expected_loss(
    model: FittedLoss, reference_weight: Floats, features: Floats, weight: Floats
) -> Estimate:
    """Expected mean loss of a window, with a 95 % prediction interval.

    The interval is for the mean loss that will be measured once the labels are known. It includes
    the randomness of the labels and the sampling error of the correction, is symmetric on the log
    scale, because losses are skewed, and has the degrees of freedom of the correction, which can
    hang on few rows of the reference.

    Args:
        model: The fitted model of the loss.
        reference_weight: Weight of each reference row in the window, its own weight times the
            density ratio, `>= 0`; shape of `model.residual`.
        features: Features of the window's rows, with the columns the model was fitted on; shape
            `(n, d)`, `n >= 1`.
        weight: Row weights, `> 0`; shape `(n,)`.

    Returns:
        The estimate; without an interval if the reference rows are worth fewer than two.
    """
    predicted = float(np.average(model.trees.predict(features), weights=weight))
    correction = float(np.average(model.residual, weights=reference_weight))
    # trees can predict below 0, which no mean loss can be
    value = max(predicted + correction, 0.0)
    off = model.residual - correction
    of_rows = float(np.average(off**2, weights=reference_weight)) / effective_rows(weight)
    error = np.hypot(influence_error(off, reference_weight), of_rows**0.5)
    return log_interval(value, float(error), influence_freedom(off, reference_weight))


def _cross_fit(features: Floats, loss: Floats, weight: Floats) -> tuple[Floats, list[Any]]:
    """Out-of-fold predictions of the loss, and the five models."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold
    from threadpoolctl import threadpool_limits

    held_out = np.empty(len(loss))
    models = []
    # with few cores, threads waiting for each other make these small trees slower than one thread
    with threadpool_limits(1):
        for seen, unseen in KFold(_FOLDS, shuffle=True, random_state=0).split(features):
            model = HistGradientBoostingRegressor(
                max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
            )
            model.fit(trainable(features[seen]), loss[seen], sample_weight=weight[seen])
            held_out[unseen] = model.predict(features[unseen])
            models.append(model)
    return held_out, models
