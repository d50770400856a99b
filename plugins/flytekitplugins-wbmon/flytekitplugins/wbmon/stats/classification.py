"""Metrics of a classifier, each with a 95 % interval; the values agree with scikit-learn.

Classes are codes `0 .. k-1`. Accuracy, precision, recall and F1 are computed from one confusion
matrix, which needs one pass over the rows and memory that does not depend on their number.
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
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

# the distance from 0 and 1 at which scikit-learn clips float64 probabilities in log_loss
_EPSILON = float(np.finfo(np.float64).eps)


class Confusion(NamedTuple):
    """Confusion matrix: weights by true class (rows) and predicted class (columns).

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
        k: Number of classes.
        weight: Row weights, `>= 0`; shape `(n,)`.
    """
    # one flat index per pair, so that bincount fills the matrix in one pass
    cell = labels * k + predictions
    sums = np.bincount(cell, weights=weight, minlength=k * k)
    squares = np.bincount(cell, weights=weight * weight, minlength=k * k)
    return Confusion(*(cells.astype(np.float64).reshape(k, k) for cells in (sums, squares)))


class ClassMetrics(NamedTuple):
    """Precision, recall and F1 of one class; `nan` where no row could have shown it."""

    precision: Estimate
    recall: Estimate
    f1: Estimate


class _Part(NamedTuple):
    """One part of the matrix for each class, such as its true positives.

    Attributes:
        weight: Sum of the row weights; shape `(k,)`.
        unit: Typical weight of one row, `sum w^2 / sum w`. If the part is empty, that of the rows
            of the same true classes, and if there are none either, of all rows: weights often
            depend on the true class (for example, all frauds are kept). Shape `(k,)`.
    """

    weight: Floats
    unit: Floats


class _Parts(NamedTuple):
    """The parts of the matrix that the metrics of each class are made of."""

    hit: _Part
    false_positive: _Part
    false_negative: _Part
    wrong: _Part


def accuracy(confusion: Confusion) -> Estimate:
    """Share of rows whose predicted class is the true class; Wilson interval."""
    own, total = np.eye(len(confusion.weight), dtype=bool), _total_unit(confusion)
    hit, wrong = (
        _part([cells[inside].sum(keepdims=True) for cells in confusion], total)
        for inside in (own, ~own)
    )
    return _shares(hit, wrong)[0].estimate


def class_metrics(confusion: Confusion) -> list[ClassMetrics]:
    """Precision, recall and F1 of each class, with Wilson intervals.

    Precision is the share of the rows predicted as the class that belong to it, recall the share of
    its rows that were predicted as it, and F1 their harmonic mean, `2 tp / (2 tp + fp + fn)`. F1 is
    an increasing function, `2 j / (1 + j)`, of the Jaccard index `j = tp / (tp + fp + fn)`, which
    is a proportion; its interval is the Wilson interval of `j`, transformed in the same way.

    References:
        Lam, Gopal & Qian (2023), Confidence intervals for the F1 score: a comparison of four
        methods; there "Wilson indirect".
    """
    parts = _parts(confusion)
    shares = zip(
        _shares(parts.hit, parts.false_positive),
        _shares(parts.hit, parts.false_negative),
        _shares(parts.hit, parts.wrong),
        strict=True,
    )
    return [
        ClassMetrics(precision.estimate, recall.estimate, _f1_of(jaccard))
        for precision, recall, jaccard in shares
    ]


def macro_precision(confusion: Confusion) -> Estimate:
    """Unweighted mean of the precision of all classes.

    The precision of a class that no row was predicted as counts as 0, as in scikit-learn.
    """
    parts = _parts(confusion)
    # the classes' precisions are uncorrelated: each is computed from a different column
    return _mean_of_independent(_shares(parts.hit, parts.false_positive))


def macro_recall(confusion: Confusion) -> Estimate:
    """Unweighted mean of the recall of all classes.

    The recall of a class without rows counts as 0, as in scikit-learn.
    """
    parts = _parts(confusion)
    # the classes' recalls are uncorrelated: each is computed from a different row
    return _mean_of_independent(_shares(parts.hit, parts.false_negative))


def macro_f1(confusion: Confusion) -> Estimate:
    """Unweighted mean of the F1 of all classes.

    The F1 of a class that no row belongs to and none was predicted as counts as 0. The F1 of two
    classes are correlated, because a false positive of one is a false negative of another; the
    interval takes this correlation from the linearisation of F1 in the cells of the matrix.
    """
    parts = _parts(confusion)
    shares = _shares(parts.hit, parts.wrong)
    smooth, error = _smoothed(shares)
    # delta method: the derivative of 2 j / (1 + j) is 2 / (1 + j)^2
    error = error * 2 / (1 + smooth) ** 2
    covariance = _f1_correlation(confusion) * np.outer(error, error)
    each = [_f1_of(share) for share in shares]
    return mean_of_shares(each, 2 * smooth / (1 + smooth), covariance)


def log_loss(labels: Codes, probabilities: Floats, weight: Floats) -> Estimate:
    """Mean of `-log(probability of the true class)` in nats; lower is better.

    Probabilities are clipped to `[2.2e-16, 1 - 2.2e-16]`, as in scikit-learn.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Probability of each class, in [0, 1]; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    return positive_mean(-np.log(np.clip(chosen, _EPSILON, 1 - _EPSILON)), weight)


def brier_score(labels: Codes, probabilities: Floats, weight: Floats) -> Estimate:
    """Mean squared difference between the probabilities and the outcome; lower is better.

    Two classes: `(p - y)^2` of the positive class, in [0, 1]. More classes: the sum of this over
    the classes, in [0, 2].

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Probability of each class, in [0, 1]; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.

    References:
        Brier (1950), Verification of forecasts expressed in terms of probability.
    """
    k = probabilities.shape[1]
    if k == 2:  # noqa: PLR2004 - binary
        return positive_mean((probabilities[:, 1] - labels) ** 2, weight)
    chosen = probabilities[np.arange(len(labels)), labels]
    # sum (p - y)^2 expanded, so that no one-hot matrix of the labels is needed
    return positive_mean((probabilities**2).sum(axis=1) - 2 * chosen + 1, weight)


def roc_auc(positive: NDArray[np.bool_], score: Floats, weight: Floats) -> Estimate:
    """Probability that a positive row scores above a negative one, ties counting half.

    The interval uses DeLong's variance on the logit scale, with a Student t quantile at
    Satterthwaite's degrees of freedom. Where that variance is zero (all pairs are ordered alike) or
    undefined (a class of one row), the interval is the set of AUCs that a score test with Hanley
    and McNeil's variance does not reject.

    Args:
        positive: Whether each row is positive; shape `(n,)`.
        score: Higher means more likely to be positive; shape `(n,)`.
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
    value, influence = auc_influence(positive, score, weight)
    return _auc_interval(value, influence, weight, positive.astype(np.int64))


def roc_auc_one_vs_rest(labels: Codes, probabilities: Floats, weight: Floats) -> Estimate:
    """Unweighted mean over the classes of the AUC of each class against the rest.

    Classes without a row in the window are left out of the mean.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Probability of each class; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.

    Returns:
        The estimate; `nan` if all rows are of one class.
    """
    codes = np.unique(labels)
    if len(codes) < 2:  # noqa: PLR2004 - one class has no rest
        return undefined("all labels of the window are of one class")
    each = [auc_influence(labels == code, probabilities[:, code], weight) for code in codes]
    value = float(np.mean([auc for auc, _ in each]))
    # averaging a row's influences accounts for the correlation between the classes' AUCs
    influence = np.mean([part for _, part in each], axis=0)
    return _auc_interval(value, influence, weight, np.searchsorted(codes, labels))


def _parts(confusion: Confusion) -> _Parts:
    total = _total_unit(confusion)
    # rows of each class, and of all others; a difference of sums could be just above 0
    others = 1.0 - np.eye(len(confusion.weight))
    rows = [cells.sum(axis=1) for cells in confusion]
    of_class = _part(rows, total).unit
    of_others = _part([others @ each for each in rows], total).unit
    hits = [np.diag(cells) for cells in confusion]
    off = [cells * others for cells in confusion]
    return _Parts(
        hit=_part(hits, of_class),
        false_positive=_part([cells.sum(axis=0) for cells in off], of_others),
        false_negative=_part([cells.sum(axis=1) for cells in off], of_class),
        wrong=_part([cells.sum(axis=0) + cells.sum(axis=1) for cells in off], total),
    )


def _part(sums: Sequence[Floats], otherwise: Floats | float) -> _Part:
    weight, square = sums
    unit = np.array(np.broadcast_to(otherwise, weight.shape), dtype=np.float64)
    np.divide(square, weight, out=unit, where=weight > 0)
    return _Part(weight, unit)


def _total_unit(confusion: Confusion) -> float:
    return float(confusion.square.sum()) / float(confusion.weight.sum())


def _shares(success: _Part, failure: _Part) -> list[Share]:
    columns = (success.weight, failure.weight, success.unit, failure.unit)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [weighted_share(*row) for row in rows]


def _f1_of(jaccard: Share) -> Estimate:
    value, low, high, reason = jaccard.estimate
    value, low, high = (2 * share / (1 + share) for share in (value, low, high))
    return Estimate(value, low, high, reason)


def _smoothed(shares: list[Share]) -> tuple[Floats, Floats]:
    """Shares with one success and one failure added, and their standard errors."""
    n = np.array([share.n for share in shares])
    # an undefined share has n = 0: it is smoothed to 1/2, whatever value stands in for nan
    value = np.nan_to_num([share.value for share in shares])
    smooth = (value * n + 1.0) / (n + 2.0)
    return smooth, np.sqrt(smooth * (1 - smooth) / np.maximum(n, 1))


def _mean_of_independent(shares: list[Share]) -> Estimate:
    smooth, error = _smoothed(shares)
    return mean_of_shares([share.estimate for share in shares], smooth, np.diag(error**2))


def _f1_correlation(confusion: Confusion) -> Floats:
    """Correlation matrix of the classes' F1; shape `(k, k)`.

    Each off-diagonal cell `(i, j)` enters the denominators of the F1 of both `i` and `j`.
    """
    size = confusion.weight.sum(axis=0) + confusion.weight.sum(axis=1)
    size = np.where(size > 0, size, 1.0)
    # F1 is 2 tp / size: a row outside the diagonal lowers it by this, a hit adds 2 / size first
    slope = 2 * np.diag(confusion.weight) / size**2
    both = confusion.square + confusion.square.T
    hits = np.diag(confusion.square)
    own = (2 / size - 2 * slope) ** 2 * hits + slope**2 * (both.sum(axis=1) - 2 * hits)
    # infinite, not 0: a class whose F1 cannot move correlates with none
    error = np.where(own > 0, np.sqrt(own), np.inf)
    correlation: Floats = np.outer(slope / error, slope / error) * both
    np.fill_diagonal(correlation, 1.0)
    return correlation


def auc_influence(
    positive: NDArray[np.bool_], score: Floats, weight: Floats
) -> tuple[float, Floats]:
    """AUC and the influence of each row on it; the rows of both classes must have weight.

    The influences are DeLong's structural components; their weighted mean is 0.
    """
    levels, place = np.unique(score, return_inverse=True)
    sums = [
        np.bincount(place[side], weights=weight[side], minlength=len(levels))
        for side in (positive, ~positive)
    ]
    # half of the own level: tied pairs count one half
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
    """Interval of an AUC from the influence of each row, by class (`groups`) of the row."""
    part = weight * influence
    # Kish's effective size of each class; the numbers of rows in the classes are taken as fixed
    size = _by_group(weight, groups) ** 2 / _by_group(weight**2, groups)
    smallest = float(size.min())
    spread = value * (1 - value)
    if smallest >= 2 and spread > 0:  # noqa: PLR2004 - one row has no spread
        variance = _by_group(part * part, groups) * size / (size - 1) / weight.sum() ** 2
        total = float(variance.sum())
        if total > 0:
            # Satterthwaite's degrees of freedom: near those of the class that makes the variance
            freedom = total**2 / float((variance**2 / (size - 1)).sum())
            # delta method: the derivative of the logit is 1 / (value (1 - value))
            half = student_quantile(freedom) * math.sqrt(total) / spread
            logit = math.log(value / (1 - value))
            low, high = (1 / (1 + math.exp(-(logit + side))) for side in (-half, half))
            return Estimate(value, low, high)
    return Estimate(value, *hanley_mcneil_ends(value, smallest, float(size.sum()) - smallest))


def _by_group(values: Floats, groups: Codes) -> Floats:
    return np.bincount(groups, weights=values).astype(np.float64)


def hanley_mcneil_ends(value: float, m: float, n: float) -> tuple[float, float]:
    """The AUCs below and above `value` at which the score test is just not rejected."""

    def inside(auc: float) -> bool:
        half = (m + n) / 2 - 1
        spread = auc * (1 - auc) * (1 + half * (1 - auc) / (2 - auc) + half * auc / (1 + auc))
        return abs(auc - value) <= Z95 * math.sqrt(spread / (m * n))

    return _edge(inside, value, 0.0), _edge(inside, value, 1.0)


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    # 50 halvings of an interval of length 1 reach the spacing of doubles
    for _ in range(50):
        middle = (start + end) / 2
        start, end = (middle, end) if inside(middle) else (start, middle)
    return start
