"""AUC of rows that come in clusters, such as sessions, whose rows are not independent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Estimate, student_quantile
from flytekitplugins.wbmon.stats.ranking import hanley_mcneil_ends, roc_area
from flytekitplugins.wbmon.stats.tail_probabilities import student_t_sf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]


class ClusteredAuc(NamedTuple):
    """An AUC with its 95 % interval, and the test of the hypothesis that it is 1/2.

    Attributes:
        estimate: The AUC.
        p_value: One-sided p-value; in [0, 1].
    """

    estimate: Estimate
    p_value: float


class _Spread(NamedTuple):
    """Variance of an AUC over clusters, and its degrees of freedom."""

    variance: float
    freedom: float


def clustered_roc_auc(positive: NDArray[np.bool_], score: Floats, cluster: Codes) -> ClusteredAuc:
    """Probability that a positive row scores above a negative one, ties counting half.

    The influences of the rows are summed by cluster, and the variance of the AUC is that of these
    sums. Its ratio to DeLong's variance is the design effect `d`. The test statistic is
    `(auc - 1/2) / sqrt(d (n + m + 1) / (12 n m))`, the Mann-Whitney statistic for one row a
    cluster, with Student's t distribution at Satterthwaite's degrees of freedom. The interval is
    that of DeLong on the logit scale, with the variance over clusters. Where all pairs are ordered
    alike there is no variance: the design effect is then the mean number of rows in the cluster of
    a row, and the interval is that of Hanley and McNeil for one row a cluster.

    Args:
        positive: Whether each row is positive; shape `(n,)`, rows of both classes.
        score: Higher means more likely to be positive; shape `(n,)`.
        cluster: Code `>= 0` of the cluster of each row; each class must have rows of two clusters.

    References:
        Obuchowski (1997), Nonparametric analysis of clustered ROC curve data.
    """
    n_rows = len(score)
    value, influence, _ = roc_area(positive, score, np.ones(n_rows))
    part = influence / n_rows
    over_rows = _spread(positive, part, np.arange(n_rows))
    spread = _spread(positive, part, cluster)
    # no pair, or no sum over a cluster, differs from the others
    is_degenerate = min(over_rows.variance, spread.variance) <= 0
    effect = _rows_a_cluster(cluster) if is_degenerate else spread.variance / over_rows.variance
    m = int(positive.sum())
    n = n_rows - m
    z = (value - 0.5) / math.sqrt(effect * (n + m + 1) / (12 * n * m))
    if is_degenerate:
        sizes = sorted(len(np.unique(cluster[side])) for side in (positive, ~positive))
        estimate = Estimate(value, *hanley_mcneil_ends(value, *sizes))
    else:
        estimate = _on_logit_scale(value, spread)
    return ClusteredAuc(estimate, student_t_sf(z, degrees=spread.freedom))


def _spread(positive: NDArray[np.bool_], part: Floats, cluster: Codes) -> _Spread:
    """Variance of the sum of `part`, from its sums over clusters."""
    k = int(cluster.max()) + 1
    sums, of_class, sizes = [], [], []
    for side in (positive, ~positive):
        total = np.bincount(cluster[side], weights=part[side], minlength=k)
        size = len(np.unique(cluster[side]))
        sums.append(total)
        sizes.append(size)
        of_class.append(float((total * total).sum()) * size / (size - 1))
    both = float((sums[0] * sums[1]).sum())
    variance = sum(of_class)
    if variance <= 0:
        return _Spread(0.0, float(sum(sizes) - 2))
    terms = zip(of_class, sizes, strict=True)
    freedom = variance**2 / sum(each**2 / (size - 1) for each, size in terms)
    # clusters of both classes: a subject whose rows all score high helps one side, hurts the other
    everywhere = len(np.unique(cluster))
    return _Spread(variance + 2 * both * everywhere / (everywhere - 1), freedom)


def _rows_a_cluster(cluster: Codes) -> float:
    sizes = np.bincount(cluster)
    return float((sizes * sizes).sum() / sizes.sum())


def _on_logit_scale(value: float, spread: _Spread) -> Estimate:
    # delta method: the derivative of the logit is 1 / (value (1 - value))
    error = math.sqrt(spread.variance) / (value * (1 - value))
    half = student_quantile(spread.freedom) * error
    logit = math.log(value / (1 - value))
    low, high = (1 / (1 + math.exp(-(logit + side))) for side in (-half, half))
    return Estimate(value, low, high)
