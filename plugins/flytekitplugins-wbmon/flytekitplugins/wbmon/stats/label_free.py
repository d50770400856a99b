"""Expected performance of a binary classifier before labels are available.

If the scores are calibrated, a row with score 0.3 is positive with probability 0.3, so every metric
of the window has an expected value. The method cannot detect concept drift: if the relation between
scores and labels has changed, the estimate does not change.

References:
    Białek, Kuberski, Perrakis & Bifet (2024), Estimating model performance under covariate shift
    without labels, for the idea (CBPE).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Z95, Estimate, undefined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

_BINS = 20
_EPSILON = float(np.finfo(np.float64).eps)


class Calibrator(NamedTuple):
    """Correction that turns scores into probabilities, one value for each bin of scores.

    Attributes:
        edges: Bounds between the bins, ascending; shape `(k - 1,)`.
        correction: Share of positives minus mean score of each bin; shape `(k,)`.
        variance: Sampling variance of each correction; shape `(k,)`.
    """

    edges: Floats
    correction: Floats
    variance: Floats


class Expected(NamedTuple):
    """Unlabelled rows with their calibrated probability of being positive.

    Attributes:
        score: Score of the model, in [0, 1]; shape `(n,)`.
        probability: Calibrated probability of being positive; shape `(n,)`.
        decided: 1 if the row is predicted positive, else 0; shape `(n,)`.
        weight: Row weights; shape `(n,)`.
        bins: Bin of each row in the calibrator; shape `(n,)`.
        variance: Variance of the correction of each bin; shape `(k,)`.
    """

    score: Floats
    probability: Floats
    decided: Floats
    weight: Floats
    bins: Codes
    variance: Floats


def fit_calibrator(positive: NDArray[np.bool_], score: Floats, weight: Floats) -> Calibrator:
    """Learn the correction of scores from labelled rows, in at most 20 bins of about equal size.

    Args:
        positive: Whether each row is positive; shape `(n,)`.
        score: Score of each row, in [0, 1]; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    # unique: if many scores are equal, some quantiles coincide
    edges = np.unique(np.quantile(score, np.arange(1, _BINS) / _BINS))
    place = np.searchsorted(edges, score, side="left")
    k = len(edges) + 1
    total, squares, scored, hits = (
        np.bincount(place, weights=values, minlength=k)
        for values in (weight, weight**2, weight * score, weight * positive)
    )
    filled = total > 0
    safe = np.where(filled, total, 1.0)
    # Kish's effective sample size of each bin
    rows = np.where(filled, total**2 / np.where(filled, squares, 1.0), 0.0)
    # half a success and half a failure added: a bin without positives is not certain to have none
    smooth = (hits / safe * rows + 0.5) / (rows + 1)
    return Calibrator(
        edges=edges,
        correction=np.where(filled, (hits - scored) / safe, 0.0),
        variance=smooth * (1 - smooth) / np.maximum(rows, 1),
    )


def expect(
    calibrator: Calibrator, score: Floats, decided: NDArray[np.bool_], weight: Floats
) -> Expected:
    """Calibrate the scores of unlabelled rows.

    Args:
        calibrator: Fitted on labelled rows.
        score: Score of each row, in [0, 1]; shape `(n,)`.
        decided: Whether each row is predicted positive; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.

    Returns:
        The rows with their probability of being positive.
    """
    bins = np.searchsorted(calibrator.edges, score, side="left")
    probability = np.clip(score + calibrator.correction[bins], 0.0, 1.0)
    return Expected(
        score, probability, decided.astype(np.float64), weight, bins, calibrator.variance
    )


def expected_metrics(rows: Expected) -> dict[str, Estimate]:
    """Expected values of the metrics of the window, with 95 % prediction intervals.

    The interval is for the value that will be measured once the labels are known. It includes, to
    first order, the randomness of the labels and the sampling error of the calibration.

    Returns:
        Estimates under the metric names of `check_performance`; `nan` with a reason where a metric
        is undefined.
    """
    w, p, q, s = rows.weight, rows.probability, rows.decided, rows.score
    total, positives, predicted = float(w.sum()), float((w * p).sum()), float((w * q).sum())
    hits = float((w * p * q).sum())
    estimates = {
        "accuracy": _estimate(
            rows, float((w * (p * q + (1 - p) * (1 - q))).sum()) / total, w * (2 * q - 1) / total
        ),
        "precision": undefined("no row is predicted positive"),
        "recall": undefined("no row is expected to be positive"),
        "f1": undefined("no row is expected or predicted positive"),
    }
    if predicted > 0:
        estimates["precision"] = _estimate(rows, hits / predicted, w * q / predicted)
    if positives > 0:
        # the slopes are derivatives in the probability of a row, by the quotient rule
        recall = hits / positives
        estimates["recall"] = _estimate(rows, recall, w * (q - recall) / positives)
    if predicted + positives > 0:
        f1 = 2 * hits / (predicted + positives)
        estimates["f1"] = _estimate(rows, f1, w * (2 * q - f1) / (predicted + positives))
    estimates["roc_auc"] = _expected_area(rows, auc_slope)
    estimates["pr_auc"] = _expected_area(rows, pr_slope)
    kept = np.clip(s, _EPSILON, 1 - _EPSILON)
    loss = -(p * np.log(kept) + (1 - p) * np.log1p(-kept))
    # log1p(-s), because 1 - s loses digits for small scores
    slope = np.log1p(-kept) - np.log(kept)
    estimates["log_loss"] = _estimate(
        rows, float((w * loss).sum()) / total, w * slope / total, highest=math.inf
    )
    squared = p * (1 - s) ** 2 + (1 - p) * s**2
    estimates["brier"] = _estimate(
        rows, float((w * squared).sum()) / total, w * (1 - 2 * s) / total
    )
    return estimates


def auc_slope(score: Floats, probability: Floats, weight: Floats) -> tuple[float, Floats]:
    """Expected AUC, and its derivative with respect to the probability of each row.

    Each row counts as positive with its probability and as negative with the rest, so the AUC is
    that of `2n` weighted rows.

    Args:
        score: Score of the model; shape `(n,)`.
        probability: Calibrated probability of being positive; shape `(n,)`.
        weight: Row weights; shape `(n,)`.

    Returns:
        The AUC, ties counting half, and the derivatives, shape `(n,)`; `nan` and zeros if one
        class has no expected weight.
    """
    place = np.unique(score, return_inverse=True)[1]
    masses = [weight * side for side in (probability, 1 - probability)]
    if min(float(mass.sum()) for mass in masses) <= 0:
        return math.nan, np.zeros(len(score))
    below = []
    for mass in masses:
        level = np.bincount(place, weights=mass)
        # half of the own level: tied pairs count one half
        below.append(((np.cumsum(level) - level / 2) / mass.sum())[place])
    value = float((masses[0] * below[1]).sum() / masses[0].sum())
    slope = weight * (
        (below[1] - value) / masses[0].sum() - (1 - below[0] - value) / masses[1].sum()
    )
    return value, slope


def pr_slope(score: Floats, probability: Floats, weight: Floats) -> tuple[float, Floats]:
    """Expected average precision, and its derivative with respect to the probability of each row.

    In the precision that a positive row has at its own score it is positive for certain, and the
    rows above it with their probability.

    Args:
        score: Score of the model; shape `(n,)`.
        probability: Calibrated probability of being positive; shape `(n,)`.
        weight: Row weights; shape `(n,)`.

    Returns:
        The average precision and the derivatives, shape `(n,)`; `nan` and zeros if one class has no
        expected weight.
    """
    levels, place = np.unique(-score, return_inverse=True)
    mass, k = weight * probability, len(levels)
    total = float(mass.sum())
    if total <= 0 or float(weight.sum()) - total <= 0:
        return math.nan, np.zeros(len(score))
    at = np.bincount(place, weights=mass, minlength=k)
    above = np.cumsum(np.bincount(place, weights=weight, minlength=k))
    precision = (np.cumsum(at)[place] + weight * (1 - probability)) / above[place]
    value = float((mass * precision).sum()) / total
    # a row enters the precision of those at its own level and at all below
    entered = np.cumsum((at / above)[::-1])[::-1][place] - mass / above[place]
    return min(value, 1.0), weight * (precision - value + entered) / total


def _expected_area(
    rows: Expected, slope_of: Callable[[Floats, Floats, Floats], tuple[float, Floats]]
) -> Estimate:
    value, slope = slope_of(rows.score, rows.probability, rows.weight)
    if math.isnan(value):
        return undefined("all rows are expected to be of one class")
    return _estimate(rows, value, slope)


def _estimate(rows: Expected, value: float, slope: Floats, *, highest: float = 1.0) -> Estimate:
    """An expected metric with its prediction interval.

    Args:
        rows: The window.
        value: Expected value of the metric.
        slope: Change of the metric if a row is positive instead of negative; shape `(n,)`.
        highest: The largest value that the metric can have.
    """
    # labels are independent Bernoulli variables given the probabilities
    chance = float((slope**2 * rows.probability * (1 - rows.probability)).sum())
    # rows of a bin share one correction, so its error adds up within the bin
    by_bin = np.bincount(rows.bins, weights=slope, minlength=len(rows.variance))
    error = math.sqrt(chance + float((by_bin**2 * rows.variance).sum()))
    return Estimate(value, max(0.0, value - Z95 * error), min(highest, value + Z95 * error))
