"""Expected performance of a multiclass classifier before labels are available.

The score of each class is calibrated against all other classes, and the probabilities of a row are
normalised to sum to 1. Each metric is then a function of the expected confusion matrix, or a mean
over the rows.

References:
    Białek, Kuberski, Perrakis & Bifet (2024), Estimating model performance under covariate shift
    without labels, for the idea (CBPE).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Z95, Estimate, undefined
from flytekitplugins.wbmon.stats.label_free import Calibrator, auc_slope, fit_calibrator, pr_slope

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

_EPSILON = float(np.finfo(np.float64).eps)


class ExpectedClasses(NamedTuple):
    """Unlabelled rows with their calibrated probability of each class.

    Attributes:
        scores: Scores of the model; shape `(n, k)`.
        probabilities: Calibrated probabilities; each row sums to 1; shape `(n, k)`.
        decided: Code of the predicted class; shape `(n,)`.
        weight: Row weights; shape `(n,)`.
        bins: Bin of each row in the calibrator of each class; shape `(n, k)`.
        variances: For each class, the variance of the correction of each bin.
    """

    scores: Floats
    probabilities: Floats
    decided: Codes
    weight: Floats
    bins: Codes
    variances: tuple[Floats, ...]


def fit_calibrators(labels: Codes, scores: Floats, weight: Floats) -> list[Calibrator]:
    """Fit one calibrator for each class against all other classes.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        scores: Score of each class, in [0, 1]; shape `(n, k)`.
        weight: Row weights, `> 0`; shape `(n,)`.
    """
    return [fit_calibrator(labels == k, scores[:, k], weight) for k in range(scores.shape[1])]


def expect_classes(
    calibrators: list[Calibrator], scores: Floats, decided: Codes, weight: Floats
) -> ExpectedClasses:
    """Calibrate the scores of unlabelled rows.

    Args:
        calibrators: One a class, fitted on labelled rows.
        scores: Score of each class, in [0, 1]; shape `(n, k)`.
        decided: Code of the predicted class; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.

    Returns:
        The rows with their probability of each class.
    """
    bins = np.column_stack(
        [
            np.searchsorted(each.edges, scores[:, k], side="left")
            for k, each in enumerate(calibrators)
        ]
    )
    corrected = [scores[:, k] + each.correction[bins[:, k]] for k, each in enumerate(calibrators)]
    # not 0: a row whose scores are all corrected to 0 could not be normalised
    raised = np.clip(np.column_stack(corrected), _EPSILON, 1.0)
    probabilities = raised / raised.sum(axis=1, keepdims=True)
    variances = tuple(each.variance for each in calibrators)
    return ExpectedClasses(scores, probabilities, decided, weight, bins, variances)


def expected_class_metrics(rows: ExpectedClasses) -> dict[str, Estimate]:
    """Expected values of the metrics of the window, with 95 % prediction intervals.

    Means over classes are unweighted, over those of `expected_classes`. The interval includes, to
    first order, the randomness of the labels and the sampling error of the calibration.
    """
    p, s, w = rows.probabilities, rows.scores, rows.weight
    total = float(w.sum())
    share = w[:, None] / total
    kept = np.clip(s, _EPSILON, 1.0)
    loss = -np.log(kept)
    # the Brier score of a row if the class of the column is the true one
    squared = (s**2).sum(axis=1, keepdims=True) - 2 * s + 1
    return {
        **_of_confusion(rows),
        "roc_auc": _expected_area(rows, auc_slope),
        "pr_auc": _expected_area(rows, pr_slope),
        "log_loss": _estimate(
            rows, float((share * p * loss).sum()), share * loss, highest=math.inf
        ),
        "brier": _estimate(rows, float((share * p * squared).sum()), share * squared, highest=2.0),
    }


def expected_classes(rows: ExpectedClasses) -> dict[str, Codes]:
    """The classes that each mean over classes is over, as far as known without labels.

    Those that are expected to occur; for precision, of these the ones that are predicted.
    """
    w = rows.weight
    expected = (w[:, None] * rows.probabilities).sum(axis=0)
    # a class with an expected weight below half a row will probably not occur in the labels
    likely = np.flatnonzero(expected >= w.mean() / 2)
    predicted = likely[np.isin(likely, rows.decided)]
    return {"precision": predicted, "recall": likely, "f1": likely}


def _of_confusion(rows: ExpectedClasses) -> dict[str, Estimate]:
    """Accuracy, precision, recall and F1, from the expected confusion matrix."""
    p, w = rows.probabilities, rows.weight
    chosen = np.zeros_like(p)
    chosen[np.arange(len(w)), rows.decided] = 1.0
    hits, expected, predicted = (
        (w[:, None] * mass).sum(axis=0) for mass in (p * chosen, p, chosen)
    )
    slopes = {
        "precision": (hits / _filled(predicted), chosen / _filled(predicted)),
        "recall": (
            hits / _filled(expected),
            (chosen - hits / _filled(expected)) / _filled(expected),
        ),
    }
    both = _filled(expected + predicted)
    f1 = 2 * hits / both
    slopes["f1"] = (f1, (2 * chosen - f1) / both)
    total = float(w.sum())
    found = {
        "accuracy": _estimate(rows, float(hits.sum()) / total, w[:, None] * chosen / total),
    }
    for name, codes in expected_classes(rows).items():
        if not len(codes):
            found[name] = undefined("no row is predicted as a class that is expected to occur")
            continue
        values, slope = slopes[name]
        mean = np.zeros(len(expected))
        mean[codes] = 1 / len(codes)
        found[name] = _estimate(rows, float(values @ mean), w[:, None] * slope * mean)
    return found


def _expected_area(
    rows: ExpectedClasses, slope_of: Callable[[Floats, Floats, Floats], tuple[float, Floats]]
) -> Estimate:
    k = rows.scores.shape[1]
    each = [slope_of(rows.scores[:, i], rows.probabilities[:, i], rows.weight) for i in range(k)]
    known = expected_classes(rows)["recall"]
    if len(known) <= 1:
        return undefined("all rows are expected to be of one class")
    slope = np.zeros_like(rows.scores)
    values = []
    for i in known:
        value, slope[:, i] = each[i]
        values.append(value)
    return _estimate(rows, float(np.mean(values)), slope / len(known))


def _filled(mass: Floats) -> Floats:
    return np.where(mass > 0, mass, 1.0)


def _estimate(
    rows: ExpectedClasses, value: float, slope: Floats, *, highest: float = 1.0
) -> Estimate:
    """An expected metric with its prediction interval.

    Args:
        rows: The window.
        value: Expected value of the metric.
        slope: Change of the metric if the row belongs to the class; shape `(n, k)`.
        highest: The largest value that the metric can have.
    """
    p = rows.probabilities
    mean = (p * slope).sum(axis=1, keepdims=True)
    # the probabilities of a row sum to 1: raising one lowers the others, so only deviations count
    away = slope - mean
    variance = float((p * away**2).sum())
    for k, of_bin in enumerate(rows.variances):
        by_bin = np.bincount(rows.bins[:, k], weights=away[:, k], minlength=len(of_bin))
        variance += float((by_bin**2 * of_bin).sum())
    error = math.sqrt(variance)
    return Estimate(value, max(0.0, value - Z95 * error), min(highest, value + Z95 * error))
