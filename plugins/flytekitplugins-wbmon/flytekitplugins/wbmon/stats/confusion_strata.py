"""The parts of a confusion matrix in strata of row weight, and which of them could have rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Z95
from flytekitplugins.wbmon.stats.weight_strata import Cells, unseen_shares, weight_strata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Mask = NDArray[np.bool_]


class ConfusionStrata(NamedTuple):
    """The rows of `h` strata of weight; the parts of classes have a column for each class.

    Attributes:
        right: Rows whose predicted class is the true one; one column.
        off: All others; one column.
        hit: Rows of a class that are predicted as it.
        false_positive: Rows of another class that are predicted as it.
        false_negative: Rows of a class that are predicted as another one.
        wrong: The false positives and false negatives of a class.
    """

    right: Cells
    off: Cells
    hit: Cells
    false_positive: Cells
    false_negative: Cells
    wrong: Cells

    def class_rows(self) -> Floats:
        """Effective number of rows of each class, `(sum w)^2 / sum w^2`; shape `(k,)`.

        To the sum of squares comes the square of the weight that each stratum without a row of the
        class could have, over `z^2`.
        """
        weight = self.hit.weight + self.false_negative.weight
        square = self.hit.square + self.false_negative.square
        unseen = np.maximum(self.hit.unseen, self.false_negative.unseen) * self.hit.total
        square = square + np.where(weight > 0, 0.0, unseen / Z95) ** 2
        total = weight.sum(axis=0)
        found: Floats = np.divide(
            total**2, square.sum(axis=0), out=np.zeros_like(total), where=total > 0
        )
        return found


def confusion_strata(
    labels: Codes, predictions: Codes, k: int, weight: Floats, score: Floats | None = None
) -> ConfusionStrata | None:
    """Sum the rows of a confusion matrix by stratum of weight.

    A stratum without a row of some kind could have had one, unless the log was sampled so that it
    cannot. Where the scores of the strata do not overlap, or each predicted class lies in one
    stratum, the weight follows from the prediction: all requests with a high score were kept, and
    those of the others that are heavy cannot have one. Where each true class lies in one stratum,
    and the prediction does not say so, too, the weight follows from the label.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        predictions: Predicted classes, the same codes; shape `(n,)`.
        k: Number of classes.
        weight: Row weights, `>= 0`; shape `(n,)`.
        score: Score of each row, of two classes; None without; shape `(n,)`.

    Returns:
        The strata; None if all weights are similar.
    """
    counts = weight > 0
    if not counts.any():
        return None
    labels, predictions, weight = labels[counts], predictions[counts], weight[counts]
    stratum = weight_strata(weight)
    h = int(stratum.max()) + 1
    if h == 1:
        return None

    occurs, predicted = (
        np.bincount(stratum * k + codes, minlength=h * k).reshape(h, k)
        for codes in (labels, predictions)
    )
    by_score = score is not None and _are_apart(score[counts], stratum, h)
    label, prediction = _possible(occurs, predicted, by_score=by_score)
    # a row that is wrong needs a label and a prediction that differ
    both = label & prediction
    false_positive = prediction & (label.sum(axis=1, keepdims=True) > label)
    false_negative = label & (prediction.sum(axis=1, keepdims=True) > prediction)
    total, square = (
        np.bincount(stratum, weights=each).astype(np.float64)[:, None]
        for each in (weight, weight * weight)
    )
    unseen = unseen_shares(total, square)

    def summed(inside: Mask, codes: Codes, possible: Mask) -> Cells:
        columns = possible.shape[1]
        places = stratum[inside] * columns + codes[inside]
        sums, squares = (
            np.bincount(places, weights=each[inside], minlength=h * columns)
            .astype(np.float64)
            .reshape(h, columns)
            for each in (weight, weight * weight)
        )
        return Cells(sums, squares, unseen * possible, total)

    is_right, one = labels == predictions, np.zeros_like(labels)
    positives = summed(~is_right, predictions, false_positive)
    negatives = summed(~is_right, labels, false_negative)
    return ConfusionStrata(
        right=summed(is_right, one, np.any(both, axis=1, keepdims=True)),
        off=summed(~is_right, one, np.any(false_positive, axis=1, keepdims=True)),
        hit=summed(is_right, labels, both),
        false_positive=positives,
        false_negative=negatives,
        wrong=Cells(
            positives.weight + negatives.weight,
            positives.square + negatives.square,
            np.maximum(positives.unseen, negatives.unseen),
            total,
        ),
    )


def _are_apart(score: Floats, stratum: Codes, h: int) -> bool:
    """Whether the ranges of the strata's scores do not overlap."""
    low, high = np.full(h, np.inf), np.full(h, -np.inf)
    np.minimum.at(low, stratum, score)
    np.maximum.at(high, stratum, score)
    order = np.argsort(low)
    return bool((low[order][1:] > high[order][:-1]).all())


def _possible(occurs: Codes, predicted: Codes, *, by_score: bool) -> tuple[Mask, Mask]:
    """Whether a stratum could have rows of a class, and predictions of it; each of shape `(h, k)`.

    Args:
        occurs: Number of rows of each class in each stratum; shape `(h, k)`.
        predicted: Number of predictions of each class, likewise.
        by_score: Whether the weight follows from the score.
    """
    always = np.ones_like(occurs, dtype=bool)
    by_label, by_class = (
        bool(((count > 0).sum(axis=0) <= 1).all()) for count in (occurs, predicted)
    )
    if by_score or (by_class and not by_label):
        return always, predicted > 0
    return (occurs > 0 if by_label and not by_class else always), always
