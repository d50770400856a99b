"""Metrics of a regression model, each with a 95 % interval; the values agree with scikit-learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flytekitplugins.wbmon.stats.estimate import (
    Estimate,
    positive_estimate,
    positive_mean,
    undefined,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

_TAIL = 0.01
_ROUNDING = 1e-9  # of a sum of weights


def mean_absolute_error(
    labels: Floats, predictions: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Mean of `|label - prediction|`, in the label's unit; lower is better.

    Args:
        labels: True values, finite; shape `(n,)`.
        predictions: Predicted values, finite; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.
    """
    unit = _unit(labels, predictions)
    return _times(positive_mean(abs(labels / unit - predictions / unit), weight, cluster), unit)


def root_mean_squared_error(
    labels: Floats, predictions: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Square root of the mean of `(label - prediction)^2`, in the label's unit; lower is better.

    The ends of the interval are the square roots of those of the mean squared error.

    Args:
        labels: True values, finite; shape `(n,)`.
        predictions: Predicted values, finite; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.
    """
    unit = _unit(labels, predictions)
    squares = (labels / unit - predictions / unit) ** 2
    value, low, high, _ = positive_mean(squares, weight, cluster)
    return _times(Estimate(math.sqrt(value), math.sqrt(low), math.sqrt(high)), unit)


def mean_absolute_percentage_error(
    labels: Floats, errors: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Mean of `|error| / |label|` over the rows whose label is not 0; lower is better.

    A share, as in scikit-learn: 0.1 is 10 %. Where a label is 0, scikit-learn divides by `2e-16`
    instead, so that one such row makes the mean; here it is left out.

    Args:
        labels: True values, finite; shape `(n,)`.
        errors: Label minus prediction; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    Returns:
        The estimate; `nan` if all labels are 0.
    """
    known = labels != 0
    if not known.any():
        return undefined("all labels of the window are 0")
    share = abs(errors[known]) / abs(labels[known])
    return positive_mean(share, weight[known], None if cluster is None else cluster[known])


def loss_tail_share(losses: Floats, weight: Floats) -> float:
    """Share of the sum of losses that the largest 1 % of rows carry, at least one row; in [0, 1].

    Of squared errors it is 0.08 if they are normal. Where it is above 0.3, their mean hangs on a
    few rows, and its interval cannot be believed: another window may have rows as large, or none.

    Args:
        losses: Loss of each row, `>= 0`; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.

    Returns:
        The share; `nan` without rows, and if all losses are 0.
    """
    largest = float(losses.max(initial=0.0))
    if not 0 < largest < math.inf:
        return math.nan
    order = np.argsort(-losses)
    part = (losses / largest * weight)[order]
    # rows that begin within the first 1 % of the weight
    before = np.cumsum(weight[order]) - weight[order]
    inside = before < weight.sum() * _TAIL * (1 - _ROUNDING)
    return float(part[inside].sum() / part.sum())


def r2_score(
    labels: Floats, predictions: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Coefficient of determination R²; at most 1, can be negative.

    `1 - sum(w * (y - p)^2) / sum(w * (y - mean y)^2)`. The interval is symmetric on the log scale
    of the unexplained share `1 - R²`, whose standard error is computed by linearisation.

    Args:
        labels: True values, finite; shape `(n,)`.
        predictions: Predicted values, finite; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    Returns:
        The estimate; `nan` with fewer than two rows or if all labels are equal.
    """
    total = float(weight.sum())
    if len(labels) < 2:  # noqa: PLR2004 - one row has no variance
        return undefined("fewer than two rows")
    unit = _unit(labels, predictions)
    labels, predictions = labels / unit, predictions / unit
    mean = float((labels * weight).sum()) / total
    deviation = (labels - mean) ** 2
    variance = float((deviation * weight).sum()) / total
    if variance == 0:
        return undefined("all labels of the window are equal")
    error = (labels - predictions) ** 2
    unexplained = float((error * weight).sum()) / total / variance
    # influence of a ratio of means; the mean of the labels has no first-order influence
    influence = (error - unexplained * deviation) / variance
    left = positive_estimate(unexplained, influence, weight, cluster)
    # the ends change places: less unexplained is more explained
    return Estimate(1 - left.value, 1 - left.high, 1 - left.low, left.reason)


def _unit(labels: Floats, predictions: Floats) -> float:
    """A power of 2 near the largest value, by which all are divided: no square is infinite or 0."""
    largest = max(float(abs(values).max(initial=0.0)) for values in (labels, predictions))
    # 2**1024 is no float; of a sum of two halves nothing is lost
    return math.ldexp(1.0, min(math.frexp(largest)[1], 1023)) if largest else 1.0


def _times(estimate: Estimate, unit: float) -> Estimate:
    return Estimate(estimate.value * unit, estimate.low * unit, estimate.high * unit)
