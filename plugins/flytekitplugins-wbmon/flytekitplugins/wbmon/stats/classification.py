"""Metrics of predicted classes, each with a 95 % interval; the values agree with scikit-learn.

Classes are codes `0 .. k-1`. All come from one confusion matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.clustered_shares import Trials, clustered_shares
from flytekitplugins.wbmon.stats.confusion_strata import ConfusionStrata, confusion_strata
from flytekitplugins.wbmon.stats.estimate import (
    Estimate,
    Share,
    mean_of_shares,
    undefined,
    weighted_share,
)
from flytekitplugins.wbmon.stats.weight_strata import Cells, stratified_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]


class ClusteredRows(NamedTuple):
    """The rows of a confusion matrix, each with its cluster.

    Attributes:
        labels: True classes; shape `(n,)`.
        predictions: Predicted classes; shape `(n,)`.
        weight: Row weights; shape `(n,)`.
        cluster: Cluster of each row, codes `>= 0`; shape `(n,)`.
    """

    labels: Codes
    predictions: Codes
    weight: Floats
    cluster: Codes


class Confusion(NamedTuple):
    """Confusion matrix: weights by true class (rows) and predicted class (columns).

    Attributes:
        weight: Sum of the row weights in each cell; shape `(k, k)`.
        square: Sum of the squared row weights in each cell; shape `(k, k)`.
        rows: The rows, if they come in clusters; None if they are independent.
        strata: The same rows by their weights; None if all weights are similar.
    """

    weight: Floats
    square: Floats
    rows: ClusteredRows | None = None
    strata: ConfusionStrata | None = None


def confusion_matrix(
    labels: Codes,
    predictions: Codes,
    k: int,
    weight: Floats,
    cluster: Codes | None = None,
    score: Floats | None = None,
) -> Confusion:
    """Count rows by true and predicted class.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        predictions: Predicted classes, the same codes; shape `(n,)`.
        k: Number of classes.
        weight: Row weights, `>= 0`; shape `(n,)`.
        cluster: Cluster of each row, codes `>= 0`; None if rows are independent.
        score: Score of each row, of two classes; it may say why rows weigh what they do.
    """
    cell = labels * k + predictions
    sums, squares = (
        np.bincount(cell, weights=each, minlength=k * k).astype(np.float64).reshape(k, k)
        for each in (weight, weight * weight)
    )
    rows = None if cluster is None else ClusteredRows(labels, predictions, weight, cluster)
    return Confusion(sums, squares, rows, confusion_strata(labels, predictions, k, weight, score))


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
        strata: The same rows by their weights; None if all weights are similar.
    """

    weight: Floats
    unit: Floats
    strata: Cells | None = None


class _Parts(NamedTuple):
    """The parts of the matrix that the metrics of each class are made of."""

    hit: _Part
    false_positive: _Part
    false_negative: _Part
    wrong: _Part


class _Shares(NamedTuple):
    """Proportions of several classes.

    Attributes:
        each: The proportion of each class.
        correlation: Correlation matrix of their errors; shape `(k, k)`.
    """

    each: list[Share]
    correlation: Floats

    def of(self, classes: Codes) -> _Shares:
        """Those of some classes."""
        return _Shares(
            [self.each[code] for code in classes], self.correlation[np.ix_(classes, classes)]
        )


def accuracy(confusion: Confusion) -> Estimate:
    """Share of rows whose predicted class is the true class; Wilson interval."""
    return accuracy_share(confusion).estimate


def accuracy_share(confusion: Confusion) -> Share:
    """Accuracy as a proportion with its effective sample size."""
    own, total = np.eye(len(confusion.weight), dtype=bool), _total_unit(confusion)
    strata = confusion.strata[:2] if confusion.strata else (None, None)
    hit, wrong = (
        _part([cells[inside].sum(keepdims=True) for cells in confusion[:2]], total, each)
        for inside, each in zip((own, ~own), strata, strict=True)
    )
    shares = _of_rows(hit, wrong)
    if confusion.rows is not None:
        labels, predictions, weight, cluster = confusion.rows
        trials = Trials(np.zeros_like(labels), labels == predictions, weight, cluster)
        shares = clustered_shares(shares, trials).shares
    return shares[0]


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
    found = zip(
        _precisions(confusion).each,
        _recalls(confusion).each,
        _jaccards(confusion).each,
        strict=True,
    )
    return [
        ClassMetrics(precision.estimate, recall.estimate, _f1_of(jaccard))
        for precision, recall, jaccard in found
    ]


def macro_classes(confusion: Confusion) -> dict[str, Codes]:
    """The classes that the macro metrics are means over: those that have rows, by their labels.

    Of a class without a labelled row, recall is undefined, and every prediction as it is wrong,
    whatever the model is worth: neither says anything of the model. Of a class that nothing was
    predicted as, precision is undefined; its recall and F1 are 0.
    """
    labelled = np.flatnonzero(confusion.weight.sum(axis=1) > 0)
    predicted = labelled[confusion.weight.sum(axis=0)[labelled] > 0]
    return {"precision": predicted, "recall": labelled, "f1": labelled}


def macro_precision(confusion: Confusion, classes: Codes | None = None) -> Estimate:
    """Unweighted mean of the precision of `classes`; those of `macro_classes` if None."""
    return _mean(_precisions(confusion), _chosen(confusion, "precision", classes))


def macro_recall(confusion: Confusion, classes: Codes | None = None) -> Estimate:
    """Unweighted mean of the recall of `classes`; those of `macro_classes` if None."""
    return _mean(_recalls(confusion), _chosen(confusion, "recall", classes))


def macro_f1(confusion: Confusion, classes: Codes | None = None) -> Estimate:
    """Unweighted mean of the F1 of `classes`; those of `macro_classes` if None.

    The F1 of two classes are correlated, because a false positive of one is a false negative of
    another; the interval takes this correlation from the linearisation of F1 in the cells of the
    matrix.
    """
    classes = _chosen(confusion, "f1", classes)
    shares = _jaccards(confusion).of(classes)
    smooth, error = _smoothed(shares.each)
    # delta method: the derivative of 2 j / (1 + j) is 2 / (1 + j)^2
    error = error * 2 / (1 + smooth) ** 2
    each = [_f1_of(share) for share in shares.each]
    covariance = shares.correlation * np.outer(error, error)
    return mean_of_shares(each, 2 * smooth / (1 + smooth), covariance)


def _precisions(confusion: Confusion) -> _Shares:
    parts = _parts(confusion)
    return _hits(confusion, _of_rows(parts.hit, parts.false_positive), "predictions")


def _recalls(confusion: Confusion) -> _Shares:
    parts = _parts(confusion)
    return _hits(confusion, _of_rows(parts.hit, parts.false_negative), "labels")


def _hits(
    confusion: Confusion, shares: list[Share], side: Literal["labels", "predictions"]
) -> _Shares:
    """Shares of hits among the rows that one side says are of a class, and their correlation."""
    if confusion.rows is None:
        # uncorrelated: each is computed from another row or column of the matrix
        return _Shares(shares, np.eye(len(shares)))
    rows = confusion.rows
    is_hit = rows.labels == rows.predictions
    trials = Trials(getattr(rows, side), is_hit, rows.weight, rows.cluster)
    return _Shares(*clustered_shares(shares, trials))


def _jaccards(confusion: Confusion) -> _Shares:
    parts = _parts(confusion)
    shares = _of_rows(parts.hit, parts.wrong)
    if confusion.rows is None:
        return _Shares(shares, _f1_correlation(confusion))
    labels, predictions, weight, cluster = confusion.rows
    off = labels != predictions
    # a confusion is a miss of both classes, of the true and of the predicted one
    trials = Trials(
        np.concatenate([labels, predictions[off]]),
        np.concatenate([~off, np.zeros(int(off.sum()), dtype=bool)]),
        np.concatenate([weight, weight[off]]),
        np.concatenate([cluster, cluster[off]]),
    )
    return _Shares(*clustered_shares(shares, trials))


def _parts(confusion: Confusion) -> _Parts:
    total = _total_unit(confusion)
    # rows of each class, and of all others; a difference of sums could be just above 0
    others = 1.0 - np.eye(len(confusion.weight))
    rows = [cells.sum(axis=1) for cells in confusion[:2]]
    of_class = _unit(rows, total)
    of_others = _unit([others @ each for each in rows], total)
    hits = [np.diag(cells) for cells in confusion[:2]]
    off = [cells * others for cells in confusion[:2]]
    strata = confusion.strata[2:] if confusion.strata else (None,) * 4
    return _Parts(
        hit=_part(hits, of_class, strata[0]),
        false_positive=_part([cells.sum(axis=0) for cells in off], of_others, strata[1]),
        false_negative=_part([cells.sum(axis=1) for cells in off], of_class, strata[2]),
        wrong=_part([cells.sum(axis=0) + cells.sum(axis=1) for cells in off], total, strata[3]),
    )


def _part(sums: Sequence[Floats], otherwise: Floats | float, strata: Cells | None) -> _Part:
    return _Part(sums[0], _unit(sums, otherwise), strata)


def _unit(sums: Sequence[Floats], otherwise: Floats | float) -> Floats:
    weight, square = sums
    unit = np.array(np.broadcast_to(otherwise, weight.shape), dtype=np.float64)
    return np.divide(square, weight, out=unit, where=weight > 0)


def _total_unit(confusion: Confusion) -> float:
    return float(confusion.square.sum()) / float(confusion.weight.sum())


def _of_rows(success: _Part, failure: _Part) -> list[Share]:
    columns = (success.weight, failure.weight, success.unit, failure.unit)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    shares = [weighted_share(*row) for row in rows]
    if success.strata is None or failure.strata is None:
        return shares
    sizes = stratified_sizes(success.strata, failure.strata).tolist()
    return [
        Share(share.value, min(share.n, size)) for share, size in zip(shares, sizes, strict=True)
    ]


def _f1_of(jaccard: Share) -> Estimate:
    value, low, high, reason = jaccard.estimate
    value, low, high = (2 * share / (1 + share) for share in (value, low, high))
    return Estimate(value, low, high, reason)


def _smoothed(shares: list[Share]) -> tuple[Floats, Floats]:
    """Shares with one success and one failure added, and their standard errors."""
    n = np.array([share.n for share in shares])
    value = np.array([share.value for share in shares])
    smooth = (value * n + 1.0) / (n + 2.0)
    return smooth, np.sqrt(smooth * (1 - smooth) / np.maximum(n, 1))


def _chosen(confusion: Confusion, name: str, classes: Codes | None) -> Codes:
    return macro_classes(confusion)[name] if classes is None else classes


def _mean(every: _Shares, classes: Codes) -> Estimate:
    if not len(classes):
        return undefined("no row is predicted as a class that has labels")
    shares = every.of(classes)
    smooth, error = _smoothed(shares.each)
    covariance = shares.correlation * np.outer(error, error)
    return mean_of_shares([share.estimate for share in shares.each], smooth, covariance)


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
