"""Metrics of a classifier, each with its interval; values as scikit-learn defines them.

Classes are codes `0 .. k-1`. Everything but the ranking metrics is read off one confusion matrix,
so it costs one pass and does not grow with the rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import (
    Z95,
    Estimate,
    influence_error,
    mean_of_shares,
    positive_mean,
    undefined,
    weighted_share,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

_EPSILON = float(np.finfo(np.float64).eps)


class Confusion(NamedTuple):
    """Weights by true class (rows) and predicted class (columns).

    Attributes:
        weight: Sum of the row weights in each cell; shape `(k, k)`.
        square: Sum of the squared row weights in each cell; shape `(k, k)`.
    """

    weight: Floats
    square: Floats


def confusion_matrix(labels: Codes, predictions: Codes, k: int, weight: Floats) -> Confusion:
    """Count rows by true and predicted class.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        predictions: Predicted classes, the same codes; shape `(n,)`.
        k: How many classes there are.
        weight: Row weights, `>= 0`; shape `(n,)`.
    """
    cell = labels * k + predictions
    sums = np.bincount(cell, weights=weight, minlength=k * k)
    squares = np.bincount(cell, weights=weight * weight, minlength=k * k)
    return Confusion(*(cells.astype(np.float64).reshape(k, k) for cells in (sums, squares)))


def accuracy(confusion: Confusion) -> Estimate:
    """Share of rows whose predicted class is the true one; Wilson interval."""
    hit = np.eye(len(confusion.weight), dtype=bool)
    return _share(confusion, hit, ~hit)


def precision(confusion: Confusion, code: int) -> Estimate:
    """Share of the rows predicted as class `code` that are of it; Wilson interval.

    `nan` if no row was predicted so.
    """
    hit, false_positive, _ = _cells(confusion, code)
    return _share(confusion, hit, false_positive)


def recall(confusion: Confusion, code: int) -> Estimate:
    """Share of the rows of class `code` that were predicted so; Wilson interval.

    `nan` if no row is of the class.
    """
    hit, _, false_negative = _cells(confusion, code)
    return _share(confusion, hit, false_negative)


def f1(confusion: Confusion, code: int) -> Estimate:
    """Harmonic mean of precision and recall of class `code`, `2 tp / (2 tp + fp + fn)`.

    It is `2 j / (1 + j)` of `j = tp / (tp + fp + fn)`, which is a share: the interval is Wilson's
    for `j`, carried over. `nan` if no row is or was predicted of the class.

    References:
        Lam, Gopal & Qian (2023), Confidence intervals for the F1 score: a comparison of four
        methods; there "Wilson indirect".
    """
    hit, false_positive, false_negative = _cells(confusion, code)
    jaccard = _share(confusion, hit, false_positive | false_negative)
    value, low, high = (2 * j / (1 + j) for j in jaccard[:3])
    return Estimate(value, low, high, jaccard.reason)


def macro(parts: list[Estimate]) -> Estimate:
    """Plain mean over the classes of precision or of recall, whose parts are independent."""
    return mean_of_shares(parts)


def macro_f1(confusion: Confusion, parts: list[Estimate]) -> Estimate:
    """Plain mean over the classes of F1; a false positive of one is a false negative of another.

    The parts' correlation is that of their linearisations over the cells of the confusion matrix.
    """
    k = len(confusion.weight)
    tp = np.diag(confusion.weight)
    size = confusion.weight.sum(axis=0) + confusion.weight.sum(axis=1)
    size = np.where(size > 0, size, 1.0)
    score = 2 * tp / size
    slope = np.zeros((k, k, k))
    for code in range(k):
        slope[code, code, :] -= score[code] / size[code]
        slope[code, :, code] -= score[code] / size[code]
        slope[code, code, code] += 2 / size[code]
    flat = slope.reshape(k, k * k) * np.sqrt(confusion.square.reshape(k * k))
    covariance = (flat[:, None, :] * flat[None, :, :]).sum(axis=2)
    error = np.sqrt(np.diag(covariance))
    error = np.where(error > 0, error, np.inf)
    correlation = covariance / np.outer(error, error)
    np.fill_diagonal(correlation, 1.0)
    return mean_of_shares(parts, correlation)


def log_loss(labels: Codes, probabilities: Floats, weight: Floats) -> Estimate:
    """Mean of `-log(probability of the true class)` in nats; lower is better.

    Probabilities are kept `2.2e-16` away from 0, as in scikit-learn.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Of each class; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    return positive_mean(-np.log(np.clip(chosen, _EPSILON, 1 - _EPSILON)), weight)


def brier_score(labels: Codes, probabilities: Floats, weight: Floats) -> Estimate:
    """Mean squared distance of the probabilities from the truth; lower is better.

    Binary: `(p - y)^2`, in [0, 1]. More classes: the sum over classes of it, in [0, 2].

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Of each class; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.

    References:
        Brier (1950), Verification of forecasts expressed in terms of probability.
    """
    k = probabilities.shape[1]
    if k == 2:  # noqa: PLR2004 - binary
        return positive_mean((probabilities[:, 1] - labels) ** 2, weight)
    chosen = probabilities[np.arange(len(labels)), labels]
    return positive_mean((probabilities**2).sum(axis=1) - 2 * chosen + 1, weight)


def roc_auc(positive: NDArray[np.bool_], score: Floats, weight: Floats) -> Estimate:
    """Probability that a positive row scores above a negative one, ties counting half.

    The interval is DeLong's, symmetric on the logit scale; where every pair is ordered alike, so
    that DeLong's variance is zero, it is Hanley and McNeil's, solved for its ends.

    Args:
        positive: Whether a row is of the class; shape `(n,)`.
        score: Higher means more likely of the class; shape `(n,)`.
        weight: Row weights; shape `(n,)`.

    Returns:
        The estimate; `nan` if all rows are of one class.

    References:
        DeLong, DeLong & Clarke-Pearson (1988), Comparing the areas under two or more correlated
        ROC curves. Newcombe (2006), Confidence intervals for an effect size measure based on the
        Mann-Whitney statistic, method 5.
    """
    if positive.all() or not positive.any():
        return undefined("all labels of the window are of one class")
    value, influence = _auc_influence(positive, score, weight)
    sizes = positive.sum(), (~positive).sum()
    return _auc_interval(value, influence_error(influence, weight), *map(float, sizes))


def roc_auc_one_vs_rest(labels: Codes, probabilities: Floats, weight: Floats) -> Estimate:
    """Plain mean over the classes of the AUC of each against the rest.

    Classes without a label in the window are left out of the mean.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Of each class; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.

    Returns:
        The estimate; `nan` if all rows are of one class.
    """
    codes = np.unique(labels)
    if len(codes) < 2:  # noqa: PLR2004 - one class has no rest
        return undefined("all labels of the window are of one class")
    each = [_auc_influence(labels == code, probabilities[:, code], weight) for code in codes]
    value = float(np.mean([auc for auc, _ in each]))
    influence = np.mean([part for _, part in each], axis=0)
    smallest = float(min((labels == code).sum() for code in codes))
    return _auc_interval(
        value, influence_error(influence, weight), smallest, len(labels) - smallest
    )


def _cells(confusion: Confusion, code: int) -> tuple[NDArray[np.bool_], ...]:
    row = np.zeros(confusion.weight.shape, dtype=bool)
    column = row.copy()
    row[code], column[:, code] = True, True
    return row & column, column & ~row, row & ~column


def _share(
    confusion: Confusion, success: NDArray[np.bool_], failure: NDArray[np.bool_]
) -> Estimate:
    return weighted_share(
        float(confusion.weight[success].sum()),
        float(confusion.weight[failure].sum()),
        float(confusion.square[success].sum()),
        float(confusion.square[failure].sum()),
    )


def _auc_influence(
    positive: NDArray[np.bool_], score: Floats, weight: Floats
) -> tuple[float, Floats]:
    levels, place = np.unique(score, return_inverse=True)
    sums = [
        np.bincount(place[side], weights=weight[side], minlength=len(levels))
        for side in (positive, ~positive)
    ]
    below_positive, below_negative = (np.cumsum(side) - side / 2 for side in sums)
    total_positive, total_negative = (float(side.sum()) for side in sums)
    won = np.where(
        positive,
        below_negative[place] / total_negative,
        1 - below_positive[place] / total_positive,
    )
    value = float((won * weight)[positive].sum()) / total_positive
    side_total = np.where(positive, total_positive, total_negative)
    return value, (won - value) * float(weight.sum()) / side_total


def _auc_interval(value: float, error: float, n_positive: float, n_negative: float) -> Estimate:
    spread = value * (1 - value)
    if spread > 0 and error > 0:
        half = Z95 * error / spread
        logit = math.log(value / (1 - value))
        low, high = (1 / (1 + math.exp(-(logit + side))) for side in (-half, half))
        return Estimate(value, low, high)
    if math.isnan(error):
        return Estimate(value)
    return Estimate(value, *_hanley_mcneil_ends(value, n_positive, n_negative))


def _hanley_mcneil_ends(value: float, m: float, n: float) -> tuple[float, float]:
    def inside(auc: float) -> bool:
        half = (m + n) / 2 - 1
        spread = auc * (1 - auc) * (1 + half * (1 - auc) / (2 - auc) + half * auc / (1 + auc))
        return abs(auc - value) <= Z95 * math.sqrt(spread / (m * n))

    return _edge(inside, value, 0.0), _edge(inside, value, 1.0)


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    for _ in range(50):
        middle = (start + end) / 2
        start, end = (middle, end) if inside(middle) else (start, middle)
    return start
