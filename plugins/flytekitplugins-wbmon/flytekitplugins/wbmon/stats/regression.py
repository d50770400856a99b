"""Metrics of a regression model, each with a 95 % interval; the values agree with scikit-learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.stats.estimate import (
    Estimate,
    effective_rows,
    influence_error,
    log_interval,
    positive_mean,
    undefined,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def mean_absolute_error(labels: Floats, predictions: Floats, weight: Floats) -> Estimate:
    """Mean of `|label - prediction|`, in the label's unit; lower is better.

    Args:
        labels: True values, finite; shape `(n,)`.
        predictions: Predicted values, finite; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    return positive_mean(abs(labels - predictions), weight)


def root_mean_squared_error(labels: Floats, predictions: Floats, weight: Floats) -> Estimate:
    """Square root of the mean of `(label - prediction)^2`, in the label's unit; lower is better.

    The ends of the interval are the square roots of those of the mean squared error.

    Args:
        labels: True values, finite; shape `(n,)`.
        predictions: Predicted values, finite; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    value, low, high, reason = positive_mean((labels - predictions) ** 2, weight)
    return Estimate(math.sqrt(value), math.sqrt(low), math.sqrt(high), reason)


def r2_score(labels: Floats, predictions: Floats, weight: Floats) -> Estimate:
    """Coefficient of determination R²; at most 1, can be negative.

    `1 - sum(w * (y - p)^2) / sum(w * (y - mean y)^2)`. The interval is symmetric on the log scale
    of the unexplained share `1 - R²`, whose standard error is computed by linearisation.

    Args:
        labels: True values, finite; shape `(n,)`.
        predictions: Predicted values, finite; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.

    Returns:
        The estimate; `nan` with fewer than two rows or if all labels are equal.
    """
    total = float(weight.sum())
    if len(labels) < 2:  # noqa: PLR2004 - one row has no variance
        return undefined("fewer than two rows")
    mean = float((labels * weight).sum()) / total
    deviation = (labels - mean) ** 2
    variance = float((deviation * weight).sum()) / total
    if variance == 0:
        return undefined("all labels of the window are equal")
    error = (labels - predictions) ** 2
    unexplained = float((error * weight).sum()) / total / variance
    # influence of a ratio of means; the mean of the labels has no first-order influence
    influence = (error - unexplained * deviation) / variance
    left = log_interval(unexplained, influence_error(influence, weight), effective_rows(weight))
    # the ends change places: less unexplained is more explained
    return Estimate(1 - left.value, 1 - left.high, 1 - left.low)
