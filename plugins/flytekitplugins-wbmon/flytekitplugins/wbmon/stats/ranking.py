"""How well scores rank positive rows above others: the areas under two curves, with intervals.

The values agree with scikit-learn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Z95, Estimate, logit_interval, undefined
from flytekitplugins.wbmon.stats.influence import (
    cluster_sums,
    effective_rows,
    influence_error,
    influence_freedom,
)
from flytekitplugins.wbmon.stats.interval import wilson_interval
from flytekitplugins.wbmon.stats.tail_probabilities import student_t_sf

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_ONE_CLASS = "all labels of the window are of one class"


class _Area(NamedTuple):
    """An area, and the influence of each row on it.

    Attributes:
        value: The area.
        influence: Influence of each row; shape `(n,)`.
        bias: How far the area is above that of the population in the mean, to second order.
    """

    value: float
    influence: Floats
    bias: float = 0.0


class _Spread(NamedTuple):
    """Sampling error of an area over clusters.

    Attributes:
        variance: The variance, `>= 0`.
        freedom: Its degrees of freedom.
        sizes: Effective number of clusters of each class; shape `(k,)`.
    """

    variance: float
    freedom: float
    sizes: Floats


def roc_auc(
    positive: Mask, score: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Probability that a positive row scores above a negative one, ties counting half.

    The interval uses DeLong's variance on the logit scale, with a Student t quantile at
    Satterthwaite's degrees of freedom. Where that variance is zero (all pairs are ordered alike) or
    undefined (a class of one row), the interval is the set of AUCs that a score test with Hanley
    and McNeil's variance does not reject. With clusters, DeLong's components are added up within
    each, over rows of both classes, and sizes are effective numbers of clusters (Obuchowski).

    Args:
        positive: Whether each row is positive; shape `(n,)`.
        score: Higher means more likely to be positive; shape `(n,)`.
        weight: Row weights; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    Returns:
        The estimate; `nan` if all rows are of one class.

    References:
        DeLong, DeLong & Clarke-Pearson (1988), Comparing the areas under two or more correlated
        ROC curves. Brunner & Munzel (2000), The nonparametric Behrens-Fisher problem, for the
        degrees of freedom. Newcombe (2006), Confidence intervals for an effect size measure based
        on the Mann-Whitney statistic, method 5. Obuchowski (1997), Nonparametric analysis of
        clustered ROC curve data.
    """
    if positive.all() or not positive.any():
        return undefined(_ONE_CLASS)
    area = _roc_area(positive, score, weight)
    return _roc_interval(area, weight, positive.astype(np.int64), cluster)


def rank_test(positive: Mask, score: Floats, cluster: Codes) -> float:
    """One-sided p-value of the hypothesis that positive rows score no higher than negative ones.

    The statistic is `(auc - 1/2) / sqrt(d (n + m + 1) / (12 n m))`: Mann and Whitney's for single
    rows, with the design effect `d`, the ratio of the variance of the AUC over clusters to that
    over rows. Its distribution is Student's t at Satterthwaite's degrees of freedom. Where all
    pairs are ordered alike, the design effect is the mean number of rows in the cluster of a row.

    Args:
        positive: Whether each row is positive; shape `(n,)`, rows of both classes.
        score: Higher means more likely to be positive; shape `(n,)`.
        cluster: Code `>= 0` of the cluster of each row; two in effect or more for each class.

    Returns:
        In [0, 1].
    """
    weight, groups = np.ones(len(score)), positive.astype(np.int64)
    area = _roc_area(positive, score, weight)
    of_rows, of_clusters = (_roc_spread(area, weight, groups, each) for each in (None, cluster))
    if of_rows.variance > 0 and of_clusters.variance > 0:
        effect = of_clusters.variance / of_rows.variance
    else:
        rows = np.bincount(cluster)
        effect = float((rows * rows).sum() / rows.sum())
    m = int(positive.sum())
    n = len(score) - m
    z = (area.value - 0.5) / math.sqrt(effect * (n + m + 1) / (12 * n * m))
    return student_t_sf(z, degrees=of_clusters.freedom)


def roc_auc_one_vs_rest(
    labels: Codes, probabilities: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Unweighted mean over the classes of the AUC of each class against the rest.

    Classes without a row in the window are left out of the mean.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Probability of each class; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    Returns:
        The estimate; `nan` if all rows are of one class.
    """
    codes = np.unique(labels)
    if len(codes) < 2:  # noqa: PLR2004 - one class has no rest
        return undefined(_ONE_CLASS)
    area = _mean_area(_roc_area, codes, labels, probabilities, weight)
    return _roc_interval(area, weight, np.searchsorted(codes, labels), cluster)


def pr_auc(positive: Mask, score: Floats, weight: Floats, cluster: Codes | None = None) -> Estimate:
    """Average precision: the area under the steps of the precision-recall curve.

    `sum_i (R_i - R_(i-1)) P_i` over the distinct scores from the highest down, `P` precision and
    `R` recall of the rows from that score on: scikit-learn's `average_precision_score`. Scores that
    say nothing have the share of positive rows. The interval is Student's t on the logit scale,
    with the variance of the influence function. It is around a value that is a little lower, since
    a positive row counts in its own precision, and wide enough to hold the value. If all positive
    rows rank first, it is Wilson's of as many successes.

    Args:
        positive: Whether each row is positive; shape `(n,)`.
        score: Higher means more likely to be positive; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    Returns:
        The estimate; `nan` if all rows are of one class.

    References:
        Boyd, Eng & Page (2013), Area under the precision-recall curve: point estimates and
        confidence intervals, for the logit scale.
    """
    if positive.all() or not positive.any():
        return undefined(_ONE_CLASS)
    area = _precision_area(positive, score, weight)
    return _precision_interval(area, weight, cluster, _size(positive, weight, cluster))


def pr_auc_one_vs_rest(
    labels: Codes, probabilities: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """Unweighted mean over the classes of the average precision of each class against the rest.

    Classes without a row in the window are left out of the mean.

    Args:
        labels: True classes, codes in `[0, k)`; shape `(n,)`.
        probabilities: Probability of each class; shape `(n, k)`.
        weight: Row weights; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    Returns:
        The estimate; `nan` if all rows are of one class.
    """
    codes = np.unique(labels)
    if len(codes) < 2:  # noqa: PLR2004 - one class has no rest
        return undefined(_ONE_CLASS)
    area = _mean_area(_precision_area, codes, labels, probabilities, weight)
    smallest = min(_size(labels == code, weight, cluster) for code in codes)
    return _precision_interval(area, weight, cluster, smallest)


def _mean_area(
    area_of: Callable[[Mask, Floats, Floats], _Area],
    codes: Codes,
    labels: Codes,
    probabilities: Floats,
    weight: Floats,
) -> _Area:
    each = [area_of(labels == code, probabilities[:, code], weight) for code in codes]
    value = float(np.mean([area.value for area in each]))
    # averaging a row's influences accounts for the correlation between the classes' areas
    bias = float(np.mean([area.bias for area in each]))
    return _Area(value, np.mean([area.influence for area in each], axis=0), bias)


def _size(inside: Mask, weight: Floats, cluster: Codes | None) -> float:
    return effective_rows(weight * inside, cluster)


def _roc_area(positive: Mask, score: Floats, weight: Floats) -> _Area:
    """ROC AUC; the rows of both classes must have weight."""
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
    return _Area(value, (won - value) * float(weight.sum()) / side_total)


def _precision_area(positive: Mask, score: Floats, weight: Floats) -> _Area:
    """Average precision; the rows of both classes must have weight."""
    levels, place = np.unique(-score, return_inverse=True)
    hits = np.bincount(place[positive], weights=weight[positive], minlength=len(levels))
    # of the rows that score at least as high as a level: their weight, and the share of positives
    above = np.cumsum(np.bincount(place, weights=weight, minlength=len(levels)))
    precision = np.minimum(np.cumsum(hits) / above, 1.0)
    total = float(hits.sum())
    value = float((hits * precision).sum()) / total
    # a row enters the precision at its own level and at all below
    per_weight, lost = (_sums_from(values) for values in (hits / above, hits * precision / above))
    own = np.where(positive, precision[place] - value + per_weight[place], 0.0)
    # a positive row is in its own precision; and a ratio of sums of unequal weights is biased
    squares, square_hits = (
        np.cumsum(np.bincount(place, weights=each, minlength=len(levels)))
        for each in (weight * weight, weight * weight * positive)
    )
    of_ratio = (precision * squares - square_hits) / above**2
    raised = weight * (1 - precision[place]) / above[place] + of_ratio[place]
    bias = float((weight * raised)[positive].sum()) / total
    return _Area(round(value, 14), (own - lost[place]) * float(weight.sum()) / total, bias)


def _sums_from(values: Floats) -> Floats:
    """The sum of each value and all that follow it."""
    return np.cumsum(values[::-1])[::-1]


def _precision_interval(
    area: _Area, weight: Floats, cluster: Codes | None, n_positive: float
) -> Estimate:
    value = area.value
    error = influence_error(area.influence, weight, cluster)
    centre = value - area.bias
    if error > 0 and 0 < centre < 1 and value < 1:
        df = influence_freedom(area.influence, weight, cluster)
        _, low, high, _ = logit_interval(centre, error, df)
        return Estimate(value, min(low, value), max(high, value))
    return Estimate(value, *wilson_interval(value * n_positive, n_positive))


def _roc_interval(area: _Area, weight: Floats, groups: Codes, cluster: Codes | None) -> Estimate:
    """Interval of an AUC from the influence of each row, by class (`groups`) of the row."""
    value = area.value
    spread = _roc_spread(area, weight, groups, cluster)
    if spread.variance > 0 and 0 < value < 1:
        return logit_interval(value, math.sqrt(spread.variance), spread.freedom)
    smallest = float(spread.sizes.min())
    ends = _hanley_mcneil_ends(value, smallest, float(spread.sizes.sum()) - smallest)
    return Estimate(value, *ends)


def _roc_spread(area: _Area, weight: Floats, groups: Codes, cluster: Codes | None) -> _Spread:
    """Variance of an AUC; 0 where nothing differs, or a class is of fewer than two clusters."""
    codes = np.unique(groups)
    sizes = np.array([_size(groups == code, weight, cluster) for code in codes])
    if sizes.min() < 2:  # noqa: PLR2004 - one row has no spread
        return _Spread(0.0, 0.0, sizes)
    part = weight * area.influence / weight.sum()
    squares = np.array(
        [float((cluster_sums(part * (groups == code), cluster) ** 2).sum()) for code in codes]
    )
    variance = squares * sizes / (sizes - 1)
    total = float(variance.sum())
    if total <= 0:
        return _Spread(0.0, float((sizes - 1).sum()), sizes)
    # Satterthwaite's degrees of freedom: near those of the class that makes the variance
    freedom = total**2 / float((variance**2 / (sizes - 1)).sum())
    # a customer whose rows all score high helps the positive ones and hurts the others
    n = effective_rows(weight, cluster)
    across = float((cluster_sums(part, cluster) ** 2).sum() - squares.sum()) * n / (n - 1)
    # single rows are of one class: what is left of the difference is rounding
    return _Spread(total if cluster is None else max(total + across, 0.0), freedom, sizes)


def _hanley_mcneil_ends(value: float, m: float, n: float) -> tuple[float, float]:
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
