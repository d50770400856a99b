"""Whole numbers that only count something off: identifiers, row numbers, the ranks of a list.

Measured numbers repeat: of `n` independent draws from any distribution over `span` whole numbers
some two are equal, but for a chance of at most `exp(-n (n - 1) / (2 span))`, the birthday bound. A
column in which none are, although that chance is nil, was not drawn from a distribution at all, and
there is no distribution that could drift.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

_LOOK = 1024


def differing_pairs(values: NDArray[Any]) -> float:
    """How many pairs of these values are known to differ.

    Args:
        values: Whole numbers in ascending order; shape `(n,)`.

    Returns:
        `n (n - 1) / 2` if all differ, `-inf` if two are equal: sums over parts of a column keep
        their meaning, pairs of different parts not being looked at.
    """
    n = len(values)
    if n and int(values[-1]) - int(values[0]) < n - 1:
        return -math.inf
    middle = values[n // 2 : n // 2 + _LOOK]  # where most columns repeat, so most end here
    for some in (middle, values):
        if (some[1:] == some[:-1]).any():
            return -math.inf
    return n * (n - 1) / 2


def uniqueness_evidence(pairs: float, span: float) -> float:
    """Why values that all differ are no independent draws: minus the logarithm of their chance.

    `pairs / span`, the birthday bound; the chance is largest for a uniform distribution, so it
    holds for every other.

    Args:
        pairs: Of `differing_pairs`, of one part or summed over several.
        span: Whole numbers from the least value to the greatest; at least 1.

    Returns:
        In nats; 20 is a chance of one in 500 million. `-inf` if two values are equal.

    References:
        Munford (1977), A note on the uniformity assumption in the birthday problem.
    """
    return pairs / span
