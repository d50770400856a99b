"""Metrics of a regression, each with its interval; values as scikit-learn defines them."""

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
    """Root of the mean of `(label - prediction)^2`, in the label's unit; lower is better.

    The ends are the roots of those of the mean squared error.
    """
    value, low, high, reason = positive_mean((labels - predictions) ** 2, weight)
    return Estimate(math.sqrt(value), math.sqrt(low), math.sqrt(high), reason)


def r2_score(labels: Floats, predictions: Floats, weight: Floats) -> Estimate:
    """Share of the labels' variance that the predictions explain; at most 1, may be negative.

    `1 - sum(w * (y - p)^2) / sum(w * (y - mean y)^2)`; the interval is symmetric in the logarithm
    of the unexplained share, by linearisation.

    Returns:
        The estimate; `nan` below two rows or if all labels are equal.
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
    influence = (error - unexplained * deviation) / variance
    left = log_interval(unexplained, influence_error(influence, weight), effective_rows(weight))
    return Estimate(1 - left.value, 1 - left.high, 1 - left.low)
