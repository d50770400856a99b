"""Proportions of rows that come in clusters: how many independent rows they are worth.

A proportion of clustered rows keeps its value. Its effective sample size is divided by the design
effect, the ratio of its variance with clusters (Liang & Zeger) to that without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Z95, Share, student_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Mask = NDArray[np.bool_]


class Trials(NamedTuple):
    """The rows that `k` proportions are made of; a row may count in several.

    Attributes:
        of: The proportion that each trial counts in, codes in `[0, k)`; shape `(m,)`.
        hit: Whether it is a success; shape `(m,)`.
        weight: Its weight; shape `(m,)`.
        cluster: Its cluster, codes `>= 0`; shape `(m,)`.
    """

    of: Codes
    hit: Mask
    weight: Floats
    cluster: Codes


class ClusteredShares(NamedTuple):
    """Proportions with their effective sizes.

    Attributes:
        shares: The proportions.
        correlation: Correlation matrix of their errors, with 0 for what is negative; shape
            `(k, k)`.
    """

    shares: list[Share]
    correlation: Floats


def clustered_shares(shares: Sequence[Share], trials: Trials) -> ClusteredShares:
    """Proportions as of independent rows, with the effective sizes that clusters leave them.

    `n / d * (z / t)^2`, where `d >= 1` is the design effect and `t` the quantile of Student's
    distribution with one degree of freedom fewer than the effective number of clusters. The
    variances are taken around proportions with one success and one failure added, so that rows that
    are all alike are worth as many rows as there are clusters.

    Args:
        shares: The proportions as if rows were independent.
        trials: The rows.

    Returns:
        The proportions; of one in a single cluster, `n` is 0.

    References:
        Korn & Graubard (1998), Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data.
    """
    from scipy.sparse import csr_array

    k = len(shares)
    value = np.nan_to_num([share.value for share in shares])
    n = np.array([share.n for share in shares])
    smooth = (value * n + 1) / (n + 2)
    residual = trials.weight * (trials.hit - smooth[trials.of])
    places = (trials.cluster, trials.of)
    shape = (int(trials.cluster.max(initial=0)) + 1, k)
    sums = csr_array((residual, places), shape=shape)
    # how the proportions vary together, from the sums of each cluster
    together: Floats = (sums.T @ sums).toarray()
    alone = np.bincount(trials.of, weights=residual * residual, minlength=k)
    size = csr_array((trials.weight, places), shape=shape)
    total = np.asarray(size.sum(axis=0))
    squares = np.asarray((size * size).sum(axis=0))
    clusters = np.divide(total**2, squares, out=np.zeros(k), where=squares > 0)
    columns = (clusters.tolist(), np.diag(together).tolist(), alone.tolist())
    found = [
        Share(share.value, share.n * _worth(*each))
        for share, *each in zip(shares, *columns, strict=True)
    ]
    spread = np.sqrt(np.diag(together))
    spread[spread == 0] = np.inf
    # of few clusters, errors that cancel out do so by chance
    correlation = np.maximum(together / np.outer(spread, spread), 0.0)
    np.fill_diagonal(correlation, 1.0)
    return ClusteredShares(found, correlation)


def _worth(clusters: float, together: float, alone: float) -> float:
    """Share of the effective size that clusters leave."""
    if clusters <= 1 or alone <= 0:
        return 0.0
    effect = max(1.0, together / alone * clusters / (clusters - 1))
    return (Z95 / student_quantile(clusters - 1)) ** 2 / effect
