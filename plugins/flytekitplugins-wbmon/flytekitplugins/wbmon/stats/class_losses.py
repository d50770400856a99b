"""Losses of the probabilities of a classifier; the values agree with scikit-learn.

Classes are codes `0 .. k-1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Estimate, positive_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

# the distance from 0 and 1 at which scikit-learn clips float64 probabilities in log_loss
_EPSILON = float(np.finfo(np.float64).eps)


def log_loss(
    labels: Codes, probabilities: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Mean of `-log(probability of the true class)` in nats; lower is better.

    Probabilities are clipped to `[2.2e-16, 1 - 2.2e-16]`, as in scikit-learn.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Probability of each class, in [0, 1]; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.
    """
    return positive_mean(log_losses(labels, probabilities), weight, cluster)


def log_losses(labels: Codes, probabilities: Floats) -> Floats:
    """The log loss of each row, which `log_loss` is the mean of; shape `(n,)`."""
    chosen = probabilities[np.arange(len(labels)), labels]
    losses: Floats = -np.log(np.clip(chosen, _EPSILON, 1 - _EPSILON))
    return losses


def brier_score(
    labels: Codes, probabilities: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Mean squared difference between the probabilities and the outcome; lower is better.

    Two classes: `(p - y)^2` of the positive class, in [0, 1]. More classes: the sum of this over
    the classes, in [0, 2].

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Probability of each class, in [0, 1]; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    References:
        Brier (1950), Verification of forecasts expressed in terms of probability.
    """
    return positive_mean(brier_losses(labels, probabilities), weight, cluster)


def brier_losses(labels: Codes, probabilities: Floats) -> Floats:
    """The Brier score of each row, which `brier_score` is the mean of; shape `(n,)`."""
    if probabilities.shape[1] == 2:  # noqa: PLR2004 - binary
        binary: Floats = (probabilities[:, 1] - labels) ** 2
        return binary
    chosen = probabilities[np.arange(len(labels)), labels]
    # sum (p - y)^2 expanded, so that no one-hot matrix of the labels is needed
    losses: Floats = (probabilities**2).sum(axis=1) - 2 * chosen + 1
    return losses
