"""An estimate with its 95 % interval, and the forms of interval that the metrics share.

All are deterministic. Weighted rows are treated as independent draws with known weights; their
variance is the linearised one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.interval import wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Z95 = 1.959963984540054
_LARGEST_EXPONENT = 700.0


class Estimate(NamedTuple):
    """A value with the ends of its interval; `nan` where undefined, and then a reason."""

    value: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""


def undefined(reason: str) -> Estimate:
    """An estimate that has no value, and why."""
    return Estimate(math.nan, reason=reason)


class Share(NamedTuple):
    """A share of weighted rows, and how many rows of equal weight would be as certain.

    Attributes:
        value: In [0, 1]; `nan` without rows.
        n: The effective number of rows behind it.
    """

    value: float
    n: float

    @property
    def estimate(self) -> Estimate:
        """With Wilson's interval; `nan` without rows."""
        if self.n == 0:
            return undefined("no row counts")
        return Estimate(self.value, *wilson_interval(self.value * self.n, self.n))


def weighted_share(
    success: float, failure: float, success_unit: float, failure_unit: float
) -> Share:
    """A share of weighted rows, `success / (success + failure)`.

    A side's unit is `sum w^2 / sum w` of its rows: what one more row of it would weigh. The
    effective number of rows is `total / ((1 - p) * success_unit + p * failure_unit)`, which gives
    the linearised variance, and stays right where the weight depends on the outcome.

    Args:
        success: Sum of the weights of the successes, `>= 0`.
        failure: Sum of the weights of the failures, `>= 0`.
        success_unit: Of the successes; what they would weigh if there are none.
        failure_unit: Of the failures; what they would weigh if there are none.
    """
    total = success + failure
    if total <= 0:
        return Share(math.nan, 0.0)
    share = success / total
    return Share(share, total / ((1 - share) * success_unit + share * failure_unit))


def student_quantile(df: float, *, z: float = Z95) -> float:
    """A quantile of Student's t, by the Cornish-Fisher expansion; by default that of 97.5 %.

    Args:
        df: Degrees of freedom; need not be whole.
        z: The normal quantile of the same probability.

    Returns:
        The quantile; by default within 0.01 for `df >= 4`. Infinite for `df < 1`.

    References:
        Abramowitz & Stegun (1964), 26.7.5.
    """
    if df < 1:
        return math.inf
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / df ** (k + 1) for k, term in enumerate(terms))


def effective_rows(weight: Floats) -> float:
    """Kish's effective number of rows, `(sum w)^2 / sum w^2`; 0 without weight."""
    squares = float((weight * weight).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def influence_error(influence: Floats, weight: Floats) -> float:
    """Standard error of a statistic from what each row contributes to it.

    `sqrt(sum((w * u)^2)) / sum w`, with the small-sample factor `n / (n - 1)` at the effective
    number of rows.

    Args:
        influence: Each row's influence on the statistic, of weighted mean zero; shape `(n,)`.
        weight: Row weights, `>= 0`; shape `(n,)`.

    Returns:
        The standard error; `nan` below two effective rows.
    """
    n = effective_rows(weight)
    if n < 2:  # noqa: PLR2004 - one row has no spread
        return math.nan
    part = weight * influence
    return math.sqrt(float((part * part).sum()) * n / (n - 1)) / float(weight.sum())


def positive_mean(values: Floats, weight: Floats) -> Estimate:
    """Weighted mean of non-negative values, such as losses, with a log-scale t interval.

    `mean * exp(± t * se / mean)`: losses are skewed to the right, and the interval with them.

    Args:
        values: Non-negative and finite; shape `(n,)`, `n >= 1`.
        weight: Row weights, `> 0`; shape `(n,)`.

    Returns:
        The estimate; without ends below two effective rows.
    """
    mean = float((values * weight).sum()) / float(weight.sum())
    return log_interval(mean, influence_error(values - mean, weight), effective_rows(weight))


def log_interval(value: float, error: float, n: float) -> Estimate:
    """A positive estimate with an interval that is symmetric in its logarithm.

    Args:
        value: The estimate, `>= 0`.
        error: Its standard error; `nan` gives an estimate without ends.
        n: Effective rows behind it.
    """
    if math.isnan(error):
        return Estimate(value)
    if value <= 0 or error <= 0:
        return Estimate(value, value, value)
    ratio = math.exp(min(student_quantile(n - 1) * error / value, _LARGEST_EXPONENT))
    return Estimate(value, value / ratio, value * ratio)


def mean_of_shares(parts: list[Estimate], smoothed: Floats, covariance: Floats) -> Estimate:
    """The plain mean of shares, with the wider of two intervals on either side.

    One is Wilson's at the mean's effective number of rows, `p * (1 - p)` over its variance: right
    where many shares add up. The other puts the parts' own distances together, `sqrt(d' R d) / k`:
    right where one rare part makes the error. Both take smoothed shares for the variance, because a
    share of 0 or 1 is not certain.

    Args:
        parts: Shares in [0, 1] with their intervals; an undefined one counts as 0, as scikit-learn
            counts it, and may be anything.
        smoothed: The shares, drawn a little away from 0 and 1; shape `(k,)`.
        covariance: Of the shares; shape `(k, k)`.

    References:
        Zou & Donner (2008), Construction of confidence limits about effect measures.
    """
    known = [Estimate(0.0, 0.0, 1.0) if math.isnan(part.value) else part for part in parts]
    values, lows, highs, _ = (np.array(column) for column in zip(*known, strict=True))
    k, mean, middle = len(parts), float(values.mean()), float(smoothed.mean())
    n = middle * (1 - middle) * k**2 / float(covariance.sum())
    low, high = wilson_interval(mean * n, n)
    error = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(error, error)
    down, up = (
        math.sqrt(float((np.outer(side, side) * correlation).sum())) / k
        for side in (values - lows, highs - values)
    )
    return Estimate(mean, max(0.0, min(low, mean - down)), min(1.0, max(high, mean + up)))


def difference(current: Estimate, baseline: Estimate) -> Estimate:
    """`current - baseline` of two independent windows, its interval recovered from theirs.

    A baseline without an interval is taken as exactly known.

    References:
        Zou & Donner (2008), Construction of confidence limits about effect measures.
    """
    change = current.value - baseline.value
    if math.isnan(change) or math.isnan(current.low):
        return Estimate(change)
    base = baseline
    if math.isnan(base.low):
        base = Estimate(base.value, base.value, base.value)
    low = change - math.hypot(current.value - current.low, base.high - base.value)
    high = change + math.hypot(current.high - current.value, base.value - base.low)
    return Estimate(change, low, high)


def p_value_of_zero(change: Estimate) -> float:
    """Two-sided p-value of a change being 0, told from its 95 % interval.

    The interval's end on the side of 0 lies 1.96 standard errors away.

    Returns:
        In [0, 1]; `nan` without an interval.
    """
    if math.isnan(change.low):
        return math.nan
    if change.value == 0:
        return 1.0
    reach = change.value - change.low if change.value > 0 else change.high - change.value
    return math.erfc(Z95 * abs(change.value) / reach / math.sqrt(2)) if reach > 0 else 0.0
