"""Tests of shares: of the rows that have a property, and of those in each category."""

from __future__ import annotations

import math

from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.divergence import (
    share_moved,
    total_variation,
    total_variation_bias,
)
from flytekitplugins.wbmon.stats.interval import newcombe_interval, total_variation_margin
from flytekitplugins.wbmon.stats.two_sample import (
    chi_squared_two_sample,
    pool_small_cells,
    two_proportion_test,
)


def rate_check(
    name: str, reference: float, n: float, current: float, m: float, rule: DriftRule
) -> Check | None:
    """Test of one rate; None if no row, or every row, of both windows has the property.

    Such a pair cannot differ, and one check fewer in the family leaves more power to the others.
    """
    result = two_proportion_test(reference * n, n, current * m, m)
    if math.isnan(result.p_value):
        return None
    low, high = newcombe_interval(reference * n, n, current * m, m, alpha=rule.alpha)
    return Check(
        name=name,
        test="two_proportion",
        statistic=result.statistic,
        p_value=result.p_value,
        effect_size=abs(current - reference),
        # the end of the interval that is nearer to 0; 0 if the interval contains it
        effect_low=max(0.0, low, -high),
    )


def shares_check(
    name: str, a: Floats, b: Floats, rule: DriftRule, *, n_rest: int = 0
) -> Check | None:
    """Test of the shares of categories; None if too few of them have enough rows.

    Args:
        name: Name of the check.
        a: Rows of each category in the reference, scaled to the effective ones; shape `(k,)`.
        b: Those of the current window; shape `(k,)`.
        rule: Gives the level of the lower bound.
        n_rest: Number of categories at the end that are counted as one with the small ones.
    """
    # the chi-squared distribution is a poor approximation for small expected counts
    cells = pool_small_cells(a, b, n_rest=n_rest)
    result = chi_squared_two_sample(*cells)
    if math.isnan(result.p_value):
        return None
    # effective sample sizes, because the counts are scaled to them
    n, m = float(a.sum()), float(b.sum())
    # with many categories, sampling alone gives a large total variation
    by_chance = total_variation_bias(*cells, n=n, m=m) + total_variation_margin(
        n, m, alpha=rule.alpha
    )
    return Check(
        name=name,
        test="chi_squared",
        statistic=result.statistic,
        p_value=result.p_value,
        effect_size=share_moved(*cells, n=n, m=m),
        effect_low=max(0.0, total_variation(*cells) - by_chance),
    )
