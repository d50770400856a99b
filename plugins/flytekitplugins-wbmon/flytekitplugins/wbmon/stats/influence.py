"""Sampling error of a statistic from the influence of each row, of single rows or of clusters.

Rows of one customer or session are alike, so they tell less than as many unrelated rows. Their
influences are added up within each cluster, and only the clusters are taken as independent.

References:
    Liang & Zeger (1986), Longitudinal data analysis using generalized linear models.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]


def cluster_sums(values: Floats, cluster: Codes | None) -> Floats:
    """Sum of the values of each cluster; the values themselves without clusters.

    Args:
        values: One value a row; shape `(n,)`.
        cluster: Cluster of each row, codes `>= 0`, of which some may have no row; None if each row
            is a cluster of its own.
    """
    if cluster is None:
        return values
    return np.bincount(cluster, weights=values).astype(np.float64)


def effective_rows(weight: Floats, cluster: Codes | None = None) -> float:
    """Kish's effective sample size, `(sum w)^2 / sum w^2`; 0 if all weights are 0.

    Args:
        weight: Row weights, `>= 0`; shape `(n,)`.
        cluster: Cluster of each row; with it, `w` are the weights of whole clusters.
    """
    weight = cluster_sums(weight, cluster)
    squares = float((weight * weight).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def influence_error(influence: Floats, weight: Floats, cluster: Codes | None = None) -> float:
    """Standard error of a statistic from its influence function.

    `sqrt(sum(s^2) * n / (n - 1)) / sum w`, where `s` is the sum of `w * u` over the rows of a
    cluster, `u` the influence of a row and `n` the effective number of clusters. The sum of squares
    is at least that of the rows: of few clusters it can be smaller by chance.

    Args:
        influence: Influence of each row on the statistic, with weighted mean 0; shape `(n,)`.
        weight: Row weights, `>= 0`; shape `(n,)`.
        cluster: Cluster of each row; None if each row is a cluster of its own.

    Returns:
        The standard error; `nan` with fewer than two effective clusters.
    """
    n = effective_rows(weight, cluster)
    if n < 2:  # noqa: PLR2004 - one row has no spread
        return math.nan
    part = weight * influence
    squares = max(float((each**2).sum()) for each in (part, cluster_sums(part, cluster)))
    return math.sqrt(squares * n / (n - 1)) / float(weight.sum())


def influence_freedom(influence: Floats, weight: Floats, cluster: Codes | None = None) -> float:
    """Degrees of freedom of `influence_error`, for Student's t.

    At most `n - 1` of the effective number of clusters, and at most `2 n / (k - 1)`, where `k` is
    the kurtosis of the sums: a variance that hangs on a few rows is known as badly as that of a few
    rows (Satterthwaite's approximation).

    Args:
        influence: Influence of each row on the statistic, with weighted mean 0; shape `(n,)`.
        weight: Row weights, `>= 0`; shape `(n,)`.
        cluster: Cluster of each row; None if each row is a cluster of its own.

    Returns:
        Positive; not more than 0 with one effective cluster or none.
    """
    most = effective_rows(weight, cluster) - 1
    part = cluster_sums(weight * influence, cluster)
    n = int((cluster_sums(weight, cluster) > 0).sum())
    largest = float(np.abs(part).max(initial=0.0))
    if not largest > 0 or not math.isfinite(largest):
        return most
    # the fourth powers of small and large numbers are none
    square = (part / largest) ** 2
    kurtosis = n * float((square * square).sum()) / float(square.sum()) ** 2
    return min(most, 2 * n / (kurtosis - 1)) if kurtosis > 1 else most
