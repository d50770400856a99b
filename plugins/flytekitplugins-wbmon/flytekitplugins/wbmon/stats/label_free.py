"""Expected performance of a binary classifier before the labels come, from calibrated scores.

If the scores are calibrated, a row scored 0.3 is positive with probability 0.3, and every metric of
the window has an expectation. What it cannot see is concept drift: where the meaning of a score has
changed, the estimate stays as it was.

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
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

_BINS = 20
_EPSILON = float(np.finfo(np.float64).eps)


class Calibrator(NamedTuple):
    """What to add to a score to make it a probability, by bins of the reference's scores.

    Attributes:
        edges: Between the bins, ascending; shape `(k - 1,)`.
        correction: Share of positives less mean score of each bin; shape `(k,)`.
        variance: Of the correction; shape `(k,)`.
    """

    edges: Floats
    correction: Floats
    variance: Floats


class Expected(NamedTuple):
    """Rows with the probability of being positive.

    Attributes:
        score: As the model gave it; shape `(n,)`.
        probability: Calibrated; shape `(n,)`.
        decided: Whether the row is predicted positive, 0 or 1; shape `(n,)`.
        weight: Row weights; shape `(n,)`.
        bins: Each row's bin of the calibrator; shape `(n,)`.
        variance: Of the correction of each bin; shape `(k,)`.
    """

    score: Floats
    probability: Floats
    decided: Floats
    weight: Floats
    bins: Codes
    variance: Floats


def fit_calibrator(positive: NDArray[np.bool_], score: Floats, weight: Floats) -> Calibrator:
    """Learn the correction of scores from labelled rows, in 20 bins of about equal size.

    Args:
        positive: Whether the row is positive; shape `(n,)`.
        score: In [0, 1]; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    edges = np.unique(np.quantile(score, np.arange(1, _BINS) / _BINS))
    place = np.searchsorted(edges, score, side="left")
    k = len(edges) + 1
    total, squares, scored, hits = (
        np.bincount(place, weights=values, minlength=k)
        for values in (weight, weight**2, weight * score, weight * positive)
    )
    filled = total > 0
    safe = np.where(filled, total, 1.0)
    rows = np.where(filled, total**2 / np.where(filled, squares, 1.0), 0.0)
    smooth = (hits / safe * rows + 0.5) / (rows + 1)
    return Calibrator(
        edges=edges,
        correction=np.where(filled, (hits - scored) / safe, 0.0),
        variance=smooth * (1 - smooth) / np.maximum(rows, 1),
    )


def expect(
    calibrator: Calibrator, score: Floats, decided: NDArray[np.bool_], weight: Floats
) -> Expected:
    """Rows without labels, with the probability of being positive."""
    bins = np.searchsorted(calibrator.edges, score, side="left")
    probability = np.clip(score + calibrator.correction[bins], 0.0, 1.0)
    return Expected(
        score, probability, decided.astype(np.float64), weight, bins, calibrator.variance
    )


def expected_metrics(rows: Expected) -> dict[str, Estimate]:
    """The metrics that the window is expected to show once its labels are there.

    The interval is for the value that the labels will give: it holds the chance of the labels and
    the error of the calibration, to first order.

    Returns:
        By the names of `check_performance`; `nan` with a reason where nothing is expected.
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
        recall = hits / positives
        estimates["recall"] = _estimate(rows, recall, w * (q - recall) / positives)
    if predicted + positives > 0:
        f1 = 2 * hits / (predicted + positives)
        estimates["f1"] = _estimate(rows, f1, w * (2 * q - f1) / (predicted + positives))
    estimates["roc_auc"] = _expected_auc(rows)
    kept = np.clip(s, _EPSILON, 1 - _EPSILON)
    loss = -(p * np.log(kept) + (1 - p) * np.log1p(-kept))
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
    """The expected AUC, and what each row would change in it by being positive.

    Args:
        score: As the model gave it; shape `(n,)`.
        probability: Of being positive; shape `(n,)`.
        weight: Row weights; shape `(n,)`.

    Returns:
        The AUC, ties counting half, and the slopes, shape `(n,)`; `nan` without either class.
    """
    levels, place = np.unique(score, return_inverse=True)
    masses = [weight * side for side in (probability, 1 - probability)]
    if min(float(mass.sum()) for mass in masses) <= 0:
        return math.nan, np.zeros(len(score))
    below = []
    for mass in masses:
        level = np.bincount(place, weights=mass, minlength=len(levels))
        below.append(((np.cumsum(level) - level / 2) / mass.sum())[place])
    value = float((masses[0] * below[1]).sum() / masses[0].sum())
    slope = weight * (
        (below[1] - value) / masses[0].sum() - (1 - below[0] - value) / masses[1].sum()
    )
    return value, slope


def _expected_auc(rows: Expected) -> Estimate:
    value, slope = auc_slope(rows.score, rows.probability, rows.weight)
    if math.isnan(value):
        return undefined("all rows are expected to be of one class")
    return _estimate(rows, value, slope)


def _estimate(rows: Expected, value: float, slope: Floats, *, highest: float = 1.0) -> Estimate:
    """An expectation, and how far the labels may take it: `slope` is what one label changes."""
    chance = float((slope**2 * rows.probability * (1 - rows.probability)).sum())
    by_bin = np.bincount(rows.bins, weights=slope, minlength=len(rows.variance))
    error = math.sqrt(chance + float((by_bin**2 * rows.variance).sum()))
    return Estimate(value, max(0.0, value - Z95 * error), min(highest, value + Z95 * error))
