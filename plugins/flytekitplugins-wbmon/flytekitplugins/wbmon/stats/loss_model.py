"""Expected loss of a regression before the labels come, from a model of the loss itself.

Where a model errs more can be learned from its labelled past: a second model predicts the loss of a
row from its features and its prediction. What it cannot see is a loss that the features do not
tell: where their relation to the label has changed, the estimate stays as it was.

References:
    NannyML, Direct Loss Estimation (DLE), for the idea.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Estimate, log_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BINS = 10
_FOLDS = 5
_MANY = 1e9


class LossModel(NamedTuple):
    """What was learned of the loss.

    Attributes:
        models: Each fitted without one fifth of the reference; their mean is the prediction.
        edges: Between bins of predicted loss, ascending; shape `(b - 1,)`.
        correction: Mean of loss less predicted loss in each bin, out of fold; shape `(b,)`.
        variance: Of the correction; shape `(b,)`.
        spread: Variance of the loss around its prediction in each bin; shape `(b,)`.
    """

    models: tuple[Any, ...]
    edges: Floats
    correction: Floats
    variance: Floats
    spread: Floats


def fit_loss_model(features: Floats, loss: Floats, weight: Floats) -> LossModel:
    """Learn the loss from labelled rows that the monitored model was not trained on.

    Gradient boosted trees, fitted on four fifths of the rows at a time; how wrong they are is told
    by the fifth that they did not see.

    Args:
        features: Of each row, its prediction among them; `nan` where missing; shape `(n, d)`.
        loss: Non-negative; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    held_out, models = _cross_fit(features, loss, weight)
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
    """Mean loss that a window is expected to show once its labels are there.

    The interval holds the chance of the labels and the error of the correction; it is symmetric in
    the logarithm, as losses are skewed.

    Args:
        model: Of the loss.
        features: Of the window's rows, as the model was fitted; shape `(n, d)`, `n >= 1`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        predicted = np.mean([each.predict(features) for each in model.models], axis=0)
    bins = np.searchsorted(model.edges, predicted, side="left")
    share = weight / weight.sum()
    value = max(float((share * (predicted + model.correction[bins])).sum()), 0.0)
    by_bin = np.bincount(bins, weights=share, minlength=len(model.correction))
    variance = float((share**2 * model.spread[bins]).sum() + (by_bin**2 * model.variance).sum())
    return log_interval(value, variance**0.5, _MANY)


def _cross_fit(features: Floats, loss: Floats, weight: Floats) -> tuple[Floats, list[Any]]:
    """Each row's loss as predicted by a model that did not see it, and the models."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold
    from threadpoolctl import threadpool_limits

    held_out = np.empty(len(loss))
    models = []
    # threads that wait for each other in a pod with few cores take longer than one
    with threadpool_limits(1):
        for seen, unseen in KFold(_FOLDS, shuffle=True, random_state=0).split(features):
            model = HistGradientBoostingRegressor(
                max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
            )
            model.fit(features[seen], loss[seen], sample_weight=weight[seen])
            held_out[unseen] = model.predict(features[unseen])
            models.append(model)
    return held_out, models
