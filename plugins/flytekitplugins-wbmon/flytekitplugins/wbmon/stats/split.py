"""Tests of how an experiment's units are split among its variants, at any number of looks."""

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


def measured_share_p_value(measured: Sequence[int], exposed: Sequence[int]) -> float:
    """p-value of the same share of measured units in every variant, at any number of looks.

    The measured units, and also the others, are split among the variants as the exposed ones are:
    twice the smaller p-value of the two. It is conservative, the more so the fewer are measured,
    because the exposed units vary less than those of a plan.

    Args:
        measured: Units with an outcome by variant; shape `(k,)`.
        exposed: All units of each variant, same order; shape `(k,)`, at least those measured.

    Returns:
        In [0, 1]; `nan` if all units were measured, or none.
    """
    n = sum(exposed)
    if sum(measured) in (0, n):
        return math.nan
    shares = [each / n for each in exposed]
    others = [whole - part for part, whole in zip(measured, exposed, strict=True)]
    return min(1.0, 2 * min(split_p_value(measured, shares), split_p_value(others, shares)))
