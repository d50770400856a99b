"""Expected loss of a regression model before labels are available, from a model of the loss.

A second model learns from labelled rows to predict the loss of a row from its features and its
prediction. The method cannot detect concept drift: if the relation between features and label has
changed, the estimate does not change.

References:
    NannyML, Direct Loss Estimation (DLE), for the idea.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Estimate, log_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BINS = 10
_FOLDS = 5


class LossModel(NamedTuple):
    """A fitted model of the loss.

    Attributes:
        models: Models fitted on four fifths of the reference each; the prediction is their mean.
        edges: Bounds between bins of predicted loss, ascending; shape `(b - 1,)`.
        correction: Mean of loss minus out-of-fold predicted loss in each bin; shape `(b,)`.
        variance: Sampling variance of each correction; shape `(b,)`.
        spread: Variance of the loss around its corrected prediction in each bin; shape `(b,)`.
    """

    models: tuple[Any, ...]
    edges: Floats
    correction: Floats
    variance: Floats
    spread: Floats


def fit_loss_model(features: Floats, loss: Floats, weight: Floats) -> LossModel:
    """Learn the loss from labelled rows that the monitored model was not trained on.

    Gradient boosted trees with five-fold cross-fitting: each model is fitted on four fifths of the
    rows, and its errors are measured on the remaining fifth.

    Args:
        features: Features of each row, including its prediction; `nan` where missing; shape
            `(n, d)`.
        loss: Loss of each row, non-negative; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    held_out, models = _cross_fit(features, loss, weight)
    # unique: if many predictions are equal, some quantiles coincide
    edges = np.unique(np.quantile(held_out, np.arange(1, _BINS) / _BINS))
    place = np.searchsorted(edges, held_out, side="left")
    k, residual = len(edges) + 1, loss - held_out
    total, squares, off = (
        np.bincount(place, weights=values, minlength=k)
        for values in (weight, weight**2, weight * residual)
    )
    safe = np.where(total > 0, total, 1.0)
    correction = off / safe
    away = weight * (residual - correction[place]) ** 2
    spread = np.bincount(place, weights=away, minlength=k) / safe
    return LossModel(tuple(models), edges, correction, spread * squares / safe**2, spread)


def expected_loss(model: LossModel, features: Floats, weight: Floats) -> Estimate:
    """Expected mean loss of a window, with a 95 % prediction interval.

    The interval is for the mean loss that will be measured once the labels are known. It includes
    the randomness of the labels and the sampling error of the correction, and is symmetric on the
    log scale, because losses are skewed.

    Args:
        model: The fitted model of the loss.
        features: Features of the window's rows, with the columns the model was fitted on; shape
            `(n, d)`, `n >= 1`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        predicted = np.mean([each.predict(features) for each in model.models], axis=0)
    bins = np.searchsorted(model.edges, predicted, side="left")
    share = weight / weight.sum()
    # trees can predict below 0, which no mean loss can be
    value = max(float((share * (predicted + model.correction[bins])).sum()), 0.0)
    by_bin = np.bincount(bins, weights=share, minlength=len(model.correction))
    # rows err independently; the error of a correction is shared by all rows of its bin
    variance = float((share**2 * model.spread[bins]).sum() + (by_bin**2 * model.variance).sum())
    return log_interval(value, variance**0.5, math.inf)


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
            model.fit(features[seen], loss[seen], sample_weight=weight[seen])
            held_out[unseen] = model.predict(features[unseen])
            models.append(model)
    return held_out, models
