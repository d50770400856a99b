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
    Share,
    mean_of_shares,
    positive_mean,
    student_quantile,
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
    return _share(confusion, hit, ~hit).estimate


def precision(confusion: Confusion, code: int) -> Estimate:
    """Share of the rows predicted as class `code` that are of it; Wilson interval.

    `nan` if no row was predicted so.
    """
    hit, false_positive, _ = _cells(confusion, code)
    return _share(confusion, hit, false_positive).estimate


def recall(confusion: Confusion, code: int) -> Estimate:
    """Share of the rows of class `code` that were predicted so; Wilson interval.

    `nan` if no row is of the class.
    """
    hit, _, false_negative = _cells(confusion, code)
    return _share(confusion, hit, false_negative).estimate


def f1(confusion: Confusion, code: int) -> Estimate:
    """Harmonic mean of precision and recall of class `code`, `2 tp / (2 tp + fp + fn)`.

    It is `2 j / (1 + j)` of `j = tp / (tp + fp + fn)`, which is a share: the interval is Wilson's
    for `j`, carried over. `nan` if no row is or was predicted of the class.

    References:
        Lam, Gopal & Qian (2023), Confidence intervals for the F1 score: a comparison of four
        methods; there "Wilson indirect".
    """
    return _f1_of(_jaccard(confusion, code))


def macro_precision(confusion: Confusion) -> Estimate:
    """Plain mean of the classes' precision, 0 for a class that no row was predicted as."""
    cells = (_cells(confusion, code) for code in range(len(confusion.weight)))
    return _mean_of_independent([_share(confusion, hit, wrong) for hit, wrong, _ in cells])


def macro_recall(confusion: Confusion) -> Estimate:
    """Plain mean of the classes' recall, 0 for a class that no row is of."""
    cells = (_cells(confusion, code) for code in range(len(confusion.weight)))
    return _mean_of_independent([_share(confusion, hit, missed) for hit, _, missed in cells])


def macro_f1(confusion: Confusion) -> Estimate:
    """Plain mean of the classes' F1, 0 for a class that no row is or was predicted of.

    A false positive of one class is a false negative of another: the correlation of the classes is
    that of their linearisations over the cells of the confusion matrix.
    """
    shares = [_jaccard(confusion, code) for code in range(len(confusion.weight))]
    smooth, error = _smoothed(shares)
    error = error * 2 / (1 + smooth) ** 2
    covariance = _f1_correlation(confusion) * np.outer(error, error)
    parts = [_f1_of(share) for share in shares]
    return mean_of_shares(parts, 2 * smooth / (1 + smooth), covariance)


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

    The interval is DeLong's on the logit scale, with Student's t at the degrees of freedom of the
    smaller class. Where that variance is zero (every pair ordered alike) or unknown (a class of one
    row), it is Hanley and McNeil's, solved for its ends.

    Args:
        positive: Whether a row is of the class; shape `(n,)`.
        score: Higher means more likely of the class; shape `(n,)`.
        weight: Row weights; shape `(n,)`.

    Returns:
        The estimate; `nan` if all rows are of one class.

    References:
        DeLong, DeLong & Clarke-Pearson (1988), Comparing the areas under two or more correlated
        ROC curves. Brunner & Munzel (2000), The nonparametric Behrens-Fisher problem, for the
        degrees of freedom. Newcombe (2006), Confidence intervals for an effect size measure based
        on the Mann-Whitney statistic, method 5.
    """
    if positive.all() or not positive.any():
        return undefined("all labels of the window are of one class")
    value, influence = _auc_influence(positive, score, weight)
    return _auc_interval(value, influence, weight, positive.astype(np.int64))


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
    return _auc_interval(value, influence, weight, np.searchsorted(codes, labels))


def _cells(confusion: Confusion, code: int) -> tuple[NDArray[np.bool_], ...]:
    row = np.zeros(confusion.weight.shape, dtype=bool)
    column = row.copy()
    row[code], column[:, code] = True, True
    return row & column, column & ~row, row & ~column


def _jaccard(confusion: Confusion, code: int) -> Share:
    hit, false_positive, false_negative = _cells(confusion, code)
    return _share(confusion, hit, false_positive | false_negative)


def _f1_of(jaccard: Share) -> Estimate:
    value, low, high, reason = jaccard.estimate
    value, low, high = (2 * share / (1 + share) for share in (value, low, high))
    return Estimate(value, low, high, reason)


def _share(confusion: Confusion, success: NDArray[np.bool_], failure: NDArray[np.bool_]) -> Share:
    return weighted_share(
        float(confusion.weight[success].sum()),
        float(confusion.weight[failure].sum()),
        _unit(confusion, success),
        _unit(confusion, failure),
    )


def _unit(confusion: Confusion, cells: NDArray[np.bool_]) -> float:
    """Weight of one row of the cells; if they are empty, of one row of their true classes."""
    rows = np.repeat(np.any(cells, axis=1, keepdims=True), cells.shape[1], axis=1)
    for inside in (cells, rows):
        weight = float(confusion.weight[inside].sum())
        if weight > 0:
            return float(confusion.square[inside].sum()) / weight
    return float(confusion.square.sum()) / float(confusion.weight.sum())


def _smoothed(shares: list[Share]) -> tuple[Floats, Floats]:
    n = np.array([share.n for share in shares])
    value = np.nan_to_num([share.value for share in shares])
    smooth = (value * n + 1.0) / (n + 2.0)
    return smooth, np.sqrt(smooth * (1 - smooth) / np.maximum(n, 1))


def _mean_of_independent(shares: list[Share]) -> Estimate:
    smooth, error = _smoothed(shares)
    return mean_of_shares([share.estimate for share in shares], smooth, np.diag(error**2))


def _f1_correlation(confusion: Confusion) -> Floats:
    """Of the classes' F1: one row of cell `(i, j)` moves class `i` and class `j` alike."""
    size = confusion.weight.sum(axis=0) + confusion.weight.sum(axis=1)
    size = np.where(size > 0, size, 1.0)
    slope = 2 * np.diag(confusion.weight) / size**2
    both = confusion.square + confusion.square.T
    hits = np.diag(confusion.square)
    own = (2 / size - 2 * slope) ** 2 * hits + slope**2 * (both.sum(axis=1) - 2 * hits)
    error = np.where(own > 0, np.sqrt(own), np.inf)
    correlation: Floats = np.outer(slope / error, slope / error) * both
    np.fill_diagonal(correlation, 1.0)
    return correlation


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
    # sums of weights leave a perfect ranking a rounding error away from 1
    value = round(float((won * weight)[positive].sum()) / total_positive, 14)
    side_total = np.where(positive, total_positive, total_negative)
    return value, (won - value) * float(weight.sum()) / side_total


def _auc_interval(value: float, influence: Floats, weight: Floats, groups: Codes) -> Estimate:
    part = weight * influence
    size = _by_group(weight, groups) ** 2 / _by_group(weight**2, groups)
    smallest = float(size.min())
    spread = value * (1 - value)
    if smallest >= 2 and spread > 0:  # noqa: PLR2004 - one row has no spread
        variance = _by_group(part * part, groups) * size / (size - 1) / weight.sum() ** 2
        total = float(variance.sum())
        if total > 0:
            freedom = total**2 / float((variance**2 / (size - 1)).sum())
            half = student_quantile(freedom) * math.sqrt(total) / spread
            logit = math.log(value / (1 - value))
            low, high = (1 / (1 + math.exp(-(logit + side))) for side in (-half, half))
            return Estimate(value, low, high)
    return Estimate(value, *_hanley_mcneil_ends(value, smallest, float(size.sum()) - smallest))


def _by_group(values: Floats, groups: Codes) -> Floats:
    return np.bincount(groups, weights=values).astype(np.float64)


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
