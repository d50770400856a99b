"""Whether probabilities are to be believed: what was predicted against what happened.

A score is calibrated if of the rows scored 0.3 three in ten are positive. For more than two classes
ask it of the predicted class: its probability against whether it was right.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import weighted_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


class CalibrationBin(NamedTuple):
    """Rows of similar score.

    Attributes:
        score: Their mean score.
        share: The share that was positive.
        low: Lower end of its 95 % interval.
        high: Upper end of it.
        weight: Sum of their weights.
        variance: Of the share, were the scores true: `sum (w^2 p (1 - p)) / (sum w)^2`.
    """

    score: float
    share: float
    low: float
    high: float
    weight: float
    variance: float


def calibration_curve(
    positive: Flags, score: Floats, weight: Floats, *, bins: int = 10
) -> list[CalibrationBin]:
    """The reliability curve over bins that hold about equally many rows.

    Args:
        positive: What happened; shape `(n,)`.
        score: What was predicted, in [0, 1]; shape `(n,)`. Equal scores stay in one bin.
        weight: Row weights, `> 0`; shape `(n,)`.
        bins: At most so many; fewer if many scores are equal.

    Returns:
        The bins in ascending order of score; empty without rows.
    """
    if not len(score):
        return []
    order = np.argsort(score)
    reached = np.cumsum(weight[order])
    cuts = np.searchsorted(reached, reached[-1] * np.arange(1, bins) / bins)
    edges = np.unique(score[order][np.minimum(cuts, len(score) - 1)])
    place = np.searchsorted(edges, score, side="left")
    sums = (
        np.bincount(place, weights=values, minlength=len(edges) + 1)
        for values in (
            weight,
            weight * weight,
            weight * score,
            weight * positive,
            weight * weight * score * (1 - score),
        )
    )
    columns = zip(*(each.tolist() for each in sums), strict=True)
    return [_bin(*column) for column in columns if column[0] > 0]


def expected_calibration_error(curve: list[CalibrationBin]) -> float:
    """Mean distance between score and share over the bins, by weight; in [0, 1].

    It is never 0 on a finite window: compare with `calibration_error_by_chance`.

    Returns:
        The error; `nan` without bins.

    References:
        Naeini, Cooper & Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
        binning.
    """
    total = sum(each.weight for each in curve)
    if not total:
        return math.nan
    return sum(each.weight * abs(each.score - each.share) for each in curve) / total


def calibration_error_by_chance(curve: list[CalibrationBin]) -> float:
    """The expected calibration error that true scores would show: `sqrt(2/pi)` standard errors.

    Returns:
        The error; `nan` without bins.
    """
    total = sum(each.weight for each in curve)
    if not total:
        return math.nan
    spread = sum(each.weight * math.sqrt(each.variance) for each in curve)
    return math.sqrt(2 / math.pi) * spread / total


def spiegelhalter_z(positive: Flags, score: Floats, weight: Floats) -> float:
    """Test of the scores being true, from the Brier score's expectation and variance.

    `sum(w (y - p)(1 - 2p)) / sqrt(sum(w^2 (1 - 2p)^2 p (1 - p)))`: standard normal if they are,
    positive if they are too sure.

    Returns:
        The statistic; `nan` where no score leaves anything to chance (all 0, 1/2 or 1).

    References:
        Spiegelhalter (1986), Probabilistic prediction in patient management and clinical trials.
    """
    tilt = weight * (1 - 2 * score)
    spread = float((tilt * tilt * score * (1 - score)).sum())
    if spread <= 0:
        return math.nan
    return float((tilt * (positive - score)).sum()) / math.sqrt(spread)


def _bin(
    weight: float, squares: float, scored: float, success: float, variance: float
) -> CalibrationBin:
    unit = squares / weight
    share = weighted_share(success, max(weight - success, 0.0), unit, unit).estimate
    return CalibrationBin(
        scored / weight, share.value, share.low, share.high, weight, variance / weight**2
    )
