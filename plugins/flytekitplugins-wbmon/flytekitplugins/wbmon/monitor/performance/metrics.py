"""The metrics of a window: which there are, and each with its interval from the outcomes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.monitor.performance.outcomes import Outcomes
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.stats import class_losses, classification, ranking, regression
from flytekitplugins.wbmon.stats.estimate import Estimate, undefined
from flytekitplugins.wbmon.stats.influence import effective_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

Measured = dict[str, Estimate]

HIGHER_IS_BETTER = {
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "roc_auc": True,
    "pr_auc": True,
    "log_loss": False,
    "brier": False,
    "mae": False,
    "rmse": False,
    "mape": False,
    "r2": True,
}
OF_CLASSES = ("accuracy", "precision", "recall", "f1")
OF_PROBABILITIES = ("roc_auc", "pr_auc", "log_loss", "brier")
OF_VALUES = ("mae", "rmse", "mape", "r2")
_TOO_LARGE = "the values are too large for their errors to be numbers"
_FEWEST_OF_A_CLASS = 10
_FEWEST_EFFECTIVE = 30  # of unequal weights
_FEWEST_CLUSTERS = 5
_FEWEST_IN_EFFECT = 5  # of a class, likewise
HEAVY = 0.3  # share of the losses that the largest 1 % of rows carry


def confusion_of(outcomes: Outcomes) -> classification.Confusion:
    """The confusion matrix of a window with rows."""
    scores = outcomes.probabilities
    is_binary = len(outcomes.classes) == 2  # noqa: PLR2004
    return classification.confusion_matrix(
        outcomes.labels.astype(np.int64),
        outcomes.predictions.astype(np.int64),
        # with a single class, the other one exists but did not occur
        max(len(outcomes.classes), 2),
        outcomes.weight,
        outcomes.cluster,
        scores[:, 1] if is_binary and scores is not None else None,
    )


def measure_values(outcomes: Outcomes) -> Measured:
    """The metrics of a regression; without an interval where the largest errors make them."""
    if not len(outcomes.rows):
        return {name: undefined("no row could be measured") for name in OF_VALUES}
    values = values_of(outcomes)
    by = outcomes.weight, outcomes.cluster
    # the largest floats are infinite when added up
    with np.errstate(over="ignore", invalid="ignore"):
        losses = losses_of(values)
        measured = {
            "mae": regression.mean_absolute_error(values.errors, values.none, *by),
            "rmse": regression.root_mean_squared_error(values.errors, values.none, *by),
            "mape": regression.mean_absolute_percentage_error(values.labels, values.errors, *by),
            "r2": regression.r2_score(values.above, values.above - values.errors, *by),
        }
        tails = {name: regression.loss_tail_share(losses[name], outcomes.weight) for name in losses}
    tails["r2"] = tails["rmse"]
    why = carried_by_few(outcomes.weight)
    return {
        name: _unless(_believed(estimate, tails[name]), why) for name, estimate in measured.items()
    }


def n_of(name: str, outcomes: Outcomes) -> int:
    """Number of rows that a metric is measured on."""
    return int(np.count_nonzero(outcomes.labels)) if name == "mape" else len(outcomes.rows)


class Values(NamedTuple):
    """The values of a regression as floats.

    Attributes:
        labels: True values; shape `(n,)`.
        above: The same, of whole numbers that floats would round above the least; shape `(n,)`.
        errors: Label minus prediction; shape `(n,)`.
    """

    labels: Floats
    above: Floats
    errors: Floats

    @property
    def none(self) -> Floats:
        """No error."""
        return np.zeros(len(self.errors))


def values_of(outcomes: Outcomes) -> Values:
    """The values of a regression, with the errors that floats alone would round."""
    labels, predictions = (
        values.astype(np.float64, copy=False) for values in (outcomes.labels, outcomes.predictions)
    )
    if outcomes.whole is None:
        with np.errstate(over="ignore"):
            return Values(labels, labels, labels - predictions)
    above, errors = outcomes.whole.T
    return Values(labels, above, errors)


def losses_of(values: Values) -> dict[str, Floats]:
    """The loss of each row, by the metric that is made of its mean; squares are relative."""
    off = abs(values.errors)
    largest = off.max(initial=0.0) or 1.0
    known = values.labels != 0
    # an error may be infinite, which says nothing then of the shares
    with np.errstate(over="ignore", invalid="ignore"):
        share = np.divide(off, abs(values.labels), out=np.zeros(len(off)), where=known)
        return {"mae": off, "rmse": (off / largest) ** 2, "mape": share}


def _believed(estimate: Estimate, tail: float) -> Estimate:
    if estimate.reason:
        return estimate
    if not math.isfinite(estimate.value):
        return undefined(_TOO_LARGE)
    if tail > HEAVY:
        return Estimate(estimate.value, reason=f"the largest 1 % of losses carry {tail:.0%}")
    return estimate


def measure_classes(outcomes: Outcomes, confusion: classification.Confusion | None) -> Measured:
    """The metrics of a classification; mean losses have no interval where a class is too rare."""
    names = OF_CLASSES if outcomes.probabilities is None else (*OF_CLASSES, *OF_PROBABILITIES)
    # with one class it is unknown whether the scores are those of this class or of the other
    unsure = outcomes.probabilities is not None and len(outcomes.classes) == 1
    if confusion is None or unsure:
        return {name: undefined("no row could be measured") for name in names}
    if len(outcomes.classes) <= 2:  # noqa: PLR2004 - binary
        # the positive class is the last one
        positive = classification.class_metrics(confusion)[len(outcomes.classes) - 1]
        measured = {
            "accuracy": classification.accuracy(confusion),
            "precision": _explained(positive.precision, "predicted"),
            "recall": _explained(positive.recall, "labelled"),
            "f1": _explained(positive.f1, "labelled or predicted"),
        }
    else:
        measured = _measure_macro(confusion)
    measured |= _measure_probabilities(outcomes, confusion)
    why = _too_few_clusters(outcomes)
    return {name: _unless(estimate, why) for name, estimate in measured.items()}


def _too_few_clusters(outcomes: Outcomes) -> str:
    """Why nothing has an interval; how much clusters differ is not known of so few."""
    if outcomes.cluster is None:
        return ""
    n = len(np.unique(outcomes.cluster))
    few = f"{n} clusters do not tell how much clusters differ, {_FEWEST_CLUSTERS} are needed"
    return few if n < _FEWEST_CLUSTERS else ""


def _explained(estimate: Estimate, what: str) -> Estimate:
    return undefined(f"no row is {what} positive") if math.isnan(estimate.value) else estimate


def _measure_macro(confusion: classification.Confusion) -> Measured:
    return {
        "accuracy": classification.accuracy(confusion),
        "precision": classification.macro_precision(confusion),
        "recall": classification.macro_recall(confusion),
        "f1": classification.macro_f1(confusion),
    }


def _measure_probabilities(outcomes: Outcomes, confusion: classification.Confusion) -> Measured:
    scores = outcomes.probabilities
    if scores is None:
        return {}
    by = outcomes.weight, outcomes.cluster
    labels = outcomes.labels.astype(np.int64)
    if scores.shape[1] == 2:  # noqa: PLR2004 - binary
        areas = [area(labels == 1, scores[:, 1], *by) for area in (ranking.roc_auc, ranking.pr_auc)]
    else:
        areas = [
            area(labels, scores, *by)
            for area in (ranking.roc_auc_one_vs_rest, ranking.pr_auc_one_vs_rest)
        ]
    losses = [
        loss(labels, scores, *by) for loss in (class_losses.log_loss, class_losses.brier_score)
    ]
    of_class = _sizes(outcomes, labels)
    areas[1] = _unless(areas[1], _too_rare(of_class, _rows(outcomes)))
    # of several classes, the rare ones together make a mean loss
    together = of_class if len(of_class) == 2 else _rest(of_class)  # noqa: PLR2004 - binary
    losses = [_unless(loss, _too_rare(together, _rows(outcomes))) for loss in losses]
    why = carried_by_few(outcomes.weight)
    if confusion.strata and not why:
        in_effect = zip(of_class, confusion.strata.class_rows().tolist(), strict=True)
        why = _too_rare(dict(in_effect), "rows in effect", _FEWEST_IN_EFFECT)
    found = [_unless(estimate, why) for estimate in (*areas, *losses)]
    return dict(zip(OF_PROBABILITIES, found, strict=True))


def _sizes(outcomes: Outcomes, labels: Codes) -> dict[str, float]:
    """Rows of each class, or clusters that have such rows."""
    if outcomes.cluster is not None:
        pairs = np.unique(np.column_stack([labels, outcomes.cluster]), axis=0)
        labels = pairs[:, 0]
    found = np.bincount(labels, minlength=len(outcomes.classes)).tolist()
    return {quoted_name(name): n for name, n in zip(outcomes.classes, found, strict=True)}


def _rest(of_class: dict[str, float]) -> dict[str, float]:
    """The most frequent class, and all others as one."""
    most = max(of_class, key=lambda name: of_class[name])
    return {
        most: of_class[most],
        f"classes other than {most}": sum(of_class.values()) - of_class[most],
    }


def _rows(outcomes: Outcomes) -> str:
    return "rows" if outcomes.cluster is None else "clusters"


def _too_rare(of_class: dict[str, float], rows: str, fewest: int = _FEWEST_OF_A_CLASS) -> str:
    """Why a metric has no interval; empty if it has one.

    Losses are large in rows of a rare class; only several of them show how large.
    """
    rare = min(of_class, key=lambda name: of_class[name] or math.inf)
    if len(of_class) == 2:  # noqa: PLR2004 - of two classes, one without a row counts too
        rare = min(of_class, key=lambda name: of_class[name])
    if of_class[rare] >= fewest:
        return ""
    return f"{fewest} {rows} of each class are needed, found {of_class[rare]:.3g} of {rare}"


def carried_by_few(weight: Floats) -> str:
    """Why a mean has no interval: what the few heavy rows could also have been is not seen.

    Args:
        weight: Weights of the rows; shape `(n,)`.

    Returns:
        The reason; empty if rows enough make the mean.
    """
    n = effective_rows(weight)
    if n >= _FEWEST_EFFECTIVE or n > len(weight) / 2:
        return ""
    return (
        f"the weights leave {n:.3g} of {len(weight)} rows in effect, {_FEWEST_EFFECTIVE} are needed"
    )


def _unless(estimate: Estimate, why: str) -> Estimate:
    """The estimate, without its interval if there is a reason to have none."""
    return Estimate(estimate.value, reason=why) if why and not estimate.reason else estimate
