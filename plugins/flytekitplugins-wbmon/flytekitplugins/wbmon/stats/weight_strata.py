"""Proportions of rows whose weights differ by much: what the heavy rows could also have been.

The linearised variance of a weighted proportion sees the rows that are there. If none of twenty
rows of weight 100 is a failure, it takes failures to be light. Here rows are put into strata of
similar weight, and each stratum keeps its own doubt about how many successes and failures it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import Z95

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_RATIO = 4.0  # weights in a stratum differ by less


class Cells(NamedTuple):
    """The successes, or the failures, of `k` proportions in `h` strata.

    Attributes:
        weight: Sum of their weights; shape `(h, k)`.
        square: Sum of their squared weights; shape `(h, k)`.
        unseen: Share of the stratum that they could be where there are none, 0 where there can be
            none; shape `(h, k)`.
        total: Sum of all weights of a stratum; shape `(h, 1)`.
    """

    weight: Floats
    square: Floats
    unseen: Floats
    total: Floats


def weight_strata(weight: Floats) -> Codes:
    """The stratum of each row, codes in `[0, h)` by rising weight; one if weights are similar.

    Args:
        weight: Row weights, `> 0`; shape `(n,)`, `n >= 1`.
    """
    # a weight that is the ratio up to rounding starts the next stratum
    steps = np.floor(np.log(weight / weight.min()) / np.log(_RATIO) + 1e-9)
    if not steps.any():
        return np.zeros(len(weight), dtype=np.int64)  # most logs are not weighted: nothing to sort
    return np.unique(steps, return_inverse=True)[1].astype(np.int64)


def unseen_shares(total: Floats, square: Floats) -> Floats:
    """Share of strata that rows of a kind could be of which they have none.

    `z^2 / (m + z^2)` of `m = total^2 / square` effective rows, the end of Wilson's interval.

    Args:
        total: Sum of the weights of each stratum, `> 0`.
        square: Sum of the squared weights; the same shape.
    """
    shares: Floats = Z95**2 / (total**2 / square + Z95**2)
    return shares


def stratified_sizes(success: Cells, failure: Cells) -> Floats:
    """Effective sample sizes of proportions, by the limits of their counts in each stratum.

    The counts of successes and of failures in a stratum are taken for Poisson variables, each with
    its score interval. A count at one of its limits, all others as they are, moves the proportion
    from `p` to `e`; as Wilson's interval reaches `e` with `z^2 e (1 - e) / (p - e)^2` rows, the
    inverse sizes of all counts are added up on either side, and the smaller size is taken. Where a
    stratum has none, they take their share of it from all others.

    Args:
        success: The successes of `k` proportions in `h` strata.
        failure: Their failures.

    Returns:
        Effective sizes; infinite for a proportion without rows; shape `(k,)`.

    References:
        Zou & Donner (2008), Construction of confidence limits about effect measures.
    """
    hits, misses = success.weight.sum(axis=0), failure.weight.sum(axis=0)
    value = _share(hits, misses)
    fewer_hits, more_hits, for_hits = _limits(success)
    fewer_misses, more_misses, for_misses = _limits(failure)
    above = _inverse_size(
        value, _share(hits + more_hits, misses - for_hits * failure.weight)
    ) + _inverse_size(value, _share(hits, misses + fewer_misses))
    below = _inverse_size(
        value, _share(hits - for_misses * success.weight, misses + more_misses)
    ) + _inverse_size(value, _share(hits + fewer_hits, misses))
    inverse = np.maximum(above, below)
    sizes: Floats = np.divide(
        1.0, inverse, out=np.full(len(hits), np.inf), where=(inverse > 0) & (hits + misses > 0)
    )
    return sizes


def _limits(cells: Cells) -> tuple[Floats, Floats, Floats]:
    """How far the weight of each cell may go down (`<= 0`) and up, and what others lose by it.

    Others lose this share of their weight in the stratum, and only to rows of a kind without any.
    """
    is_seen = cells.weight > 0
    unit = np.divide(cells.square, cells.weight, out=np.ones_like(cells.weight), where=is_seen)
    middle, half = Z95**2 / 2, Z95 * np.sqrt(cells.weight / unit + Z95**2 / 4)
    unseen = np.where(is_seen, 0.0, cells.unseen)
    down, up = (np.where(is_seen, (middle + side) * unit, 0.0) for side in (-half, half))
    return down, up + unseen * cells.total, unseen


def _inverse_size(value: Floats, end: Floats) -> Floats:
    """One over the rows with which Wilson's intervals reach the ends, summed over the strata."""
    away, spread = (value - end) ** 2, Z95**2 * end * (1 - end)
    # only the end of a proportion without rows has no spread
    each = np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)
    return np.asarray(each.sum(axis=0))


def _share(hits: Floats, misses: Floats) -> Floats:
    total = np.asarray(hits + misses, dtype=np.float64)
    return np.divide(hits, total, out=np.zeros_like(total), where=total > 0)
