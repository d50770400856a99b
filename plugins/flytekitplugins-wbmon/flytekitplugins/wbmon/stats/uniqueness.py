"""Evidence that a column of integers holds identifiers, row numbers or ranks, not measurements.

Measured integers repeat: the probability that `n` independent draws from a distribution over `span`
integers are all different is at most `exp(-n (n - 1) / (2 span))` (the birthday problem). If all
values differ although this probability is negligible, they are not independent draws from a
distribution, and there is no distribution that could drift.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

_LOOK = 1024


def differing_pairs(values: NDArray[Any]) -> float:
    """Number of pairs of values that are known to differ.

    Args:
        values: Integers in ascending order; shape `(n,)`.

    Returns:
        `n (n - 1) / 2` if all values differ, `-inf` if two are equal. The results of the parts of a
        column can be added: pairs across parts are not compared and not counted, and one equal pair
        makes the sum `-inf`.
    """
    n = len(values)
    # fewer integers than values: some two are equal; int(), because the difference can overflow
    if n and int(values[-1]) - int(values[0]) < n - 1:
        return -math.inf
    # a look at the middle first: there most measured columns repeat, which saves the full scan
    middle = values[n // 2 :][:_LOOK]
    for some in (middle, values):
        if (some[1:] == some[:-1]).any():
            return -math.inf
    return n * (n - 1) / 2


def uniqueness_evidence(pairs: float, span: float) -> float:
    """Evidence against independent draws: minus the log of the probability that all values differ.

    `pairs / span`, from the birthday problem. The probability is largest for the uniform
    distribution, so the bound holds for every distribution over the same integers.

    Args:
        pairs: Result of `differing_pairs`, for one part or summed over several.
        span: Number of integers from the smallest to the largest value; at least 1.

    Returns:
        Evidence in nats; 20 corresponds to a probability of one in 500 million. `-inf` if two
        values are equal.

    References:
        Munford (1977), A note on the uniformity assumption in the birthday problem.
    """
    return pairs / span
