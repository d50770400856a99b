"""Test of the split of an experiment's units among its variants, at any number of looks."""

from __future__ import annotations

import math
from collections.abc import Sequence

# with it, shares of a half have a prior standard deviation of 5 percentage points: the test is near
# its best from some hundreds to a million units
_PRIOR_UNITS = 100.0


def split_p_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """p-value of planned shares that stays valid however often the growing counts are tested.

    The probability of the counts under the plan, divided by that under shares drawn from a
    Dirichlet distribution with the planned shares as mean: under the plan the inverse is a
    non-negative martingale, so it exceeds `1 / alpha` at any look with probability at most `alpha`.

    Args:
        counts: Units by variant; shape `(k,)`.
        shares: Planned shares, with sum 1; shape `(k,)`. A unit in a variant of share 0 cannot come
            from the plan.

    Returns:
        In [0, 1].

    References:
        Lindon & Malek (2022), Anytime-valid inference for multinomial count data.
    """
    log_ratio = math.lgamma(_PRIOR_UNITS) - math.lgamma(_PRIOR_UNITS + sum(counts))
    for count, share in zip(counts, shares, strict=True):
        if not count:
            continue
        if share <= 0:
            return 0.0
        prior = _PRIOR_UNITS * share
        log_ratio += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return min(1.0, math.exp(-max(0.0, log_ratio)))
