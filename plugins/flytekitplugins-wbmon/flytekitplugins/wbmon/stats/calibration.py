"""Calibration of predicted probabilities: predicted scores against observed outcomes.

A model is calibrated if, among the rows with score 0.3, 30 % are positive. With more than two
classes, use the predicted class: its probability as the score, and whether it was correct as the
outcome.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.clustered_shares import Trials, clustered_shares
from flytekitplugins.wbmon.stats.estimate import Share, weighted_share
from flytekitplugins.wbmon.stats.influence import cluster_sums, effective_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Codes = NDArray[np.int64]


class CalibrationBin(NamedTuple):
    """One bin of a reliability curve: rows with similar scores.

    Attributes:
        score: Weighted mean score of the rows, in [0, 1].
        share: Weighted share of positive rows, in [0, 1].
        low: Lower end of the 95 % interval of `share`.
        high: Upper end of the 95 % interval of `share`.
        weight: Sum of the row weights.
        variance: Variance of `share` if the scores are the true probabilities:
            `sum (w^2 p (1 - p)) / (sum w)^2`.
    """

    score: float
    share: float
    low: float
    high: float
    weight: float
    variance: float


def calibration_curve(
    positive: Flags,
    score: Floats,
    weight: Floats,
    cluster: Codes | None = None,
    *,
    bins: int = 10,
) -> list[CalibrationBin]:
    """The reliability curve, over bins of about equal total weight.

    Args:
        positive: Whether each row is positive; shape `(n,)`.
        score: Predicted probability of each row, in [0, 1]; shape `(n,)`. Rows with equal scores
            are always in the same bin.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row, codes `>= 0`; None if rows are independent.
        bins: Maximum number of bins; there are fewer if many scores are equal.

    Returns:
        The bins in ascending order of score; empty if there are no rows.
    """
    if not len(score):
        return []
    order = np.argsort(score)
    reached = np.cumsum(weight[order])
    cuts = np.searchsorted(reached, reached[-1] * np.arange(1, bins) / bins)
    edges = np.unique(score[order][cuts])
    # bins are cut between distinct scores, so equal scores cannot be separated
    place = np.searchsorted(edges, score, side="left")
    sums = (
        np.bincount(place, weights=values)
        for values in (
            weight,
            weight * weight,
            weight * score,
            weight * positive,
            weight * weight * score * (1 - score),
        )
    )
    total, squares, scored, success, variance = (each.tolist() for each in sums)
    shares = [
        # never below 0, however the sums are rounded: both add the same rows in the same order
        weighted_share(hits, weight - hits, square / weight, square / weight)
        for weight, square, hits in zip(total, squares, success, strict=True)
    ]
    worth = shares
    if cluster is not None:
        worth = clustered_shares(shares, Trials(place, positive, weight, cluster)).shares
    columns = zip(total, scored, variance, shares, worth, strict=True)
    return [_bin(*column) for column in columns]


def expected_calibration_error(curve: list[CalibrationBin]) -> float:
    """Expected calibration error: weighted mean over the bins of `|score - share|`; in [0, 1].

    Sampling noise makes it positive even for a perfectly calibrated model: compare it with
    `calibration_error_by_chance`.

    Args:
        curve: Bins, as `calibration_curve` returns them.

    Returns:
        The error; `nan` if there are no bins.

    References:
        Naeini, Cooper & Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
        binning.
    """
    total = sum(each.weight for each in curve)
    if not total:
        return math.nan
    return sum(each.weight * abs(each.score - each.share) for each in curve) / total


def calibration_error_by_chance(curve: list[CalibrationBin]) -> float:
    """Mean of the expected calibration error under perfect calibration, from sampling noise alone.

    In each bin `share - score` is then approximately normal with the bin's `variance`, and the mean
    absolute value of a centred normal variable is `sqrt(2 / pi)` standard deviations.

    Args:
        curve: Bins, as `calibration_curve` returns them.

    Returns:
        The error; `nan` if there are no bins.
    """
    total = sum(each.weight for each in curve)
    if not total:
        return math.nan
    spread = sum(each.weight * math.sqrt(each.variance) for each in curve)
    return math.sqrt(2 / math.pi) * spread / total


def spiegelhalter_z(
    positive: Flags, score: Floats, weight: Floats, cluster: Codes | None = None
) -> float:
    """Spiegelhalter's z statistic: a test of calibration based on the Brier score.

    `sum(w (y - p)(1 - 2p)) / sqrt(sum(w^2 (1 - 2p)^2 p (1 - p)))`: approximately standard normal if
    the scores are calibrated; positive if they are overconfident (too close to 0 and 1). With
    clusters, the denominator is the root of the sum of the squared sums of the numerator within
    each cluster, times `n / (n - 1)` of their effective number, and never less than without them.

    Args:
        positive: Whether each row is positive; shape `(n,)`.
        score: Predicted probability of each row, in [0, 1]; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    Returns:
        The statistic; `nan` if its variance is 0, that is if all scores are 0, 1/2 or 1.

    References:
        Spiegelhalter (1986), Probabilistic prediction in patient management and clinical trials.
    """
    tilt = weight * (1 - 2 * score)
    spread = float((tilt * tilt * score * (1 - score)).sum())
    if spread <= 0:
        return math.nan
    part = tilt * (positive - score)
    if cluster is not None:
        n = effective_rows(weight, cluster)
        if n <= 1:
            return math.nan
        spread = max(spread, float((cluster_sums(part, cluster) ** 2).sum()) * n / (n - 1))
    return float(part.sum()) / math.sqrt(spread)


def _bin(
    weight: float, scored: float, variance: float, alone: Share, worth: Share
) -> CalibrationBin:
    value, low, high, _ = worth.estimate
    # nothing is known of the variance of a single cluster
    effect = alone.n / worth.n if worth.n else 1.0
    return CalibrationBin(scored / weight, value, low, high, weight, variance / weight**2 * effect)
