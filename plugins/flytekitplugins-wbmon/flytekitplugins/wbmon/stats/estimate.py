"""An estimate with its 95 % interval, and the interval methods that the metrics share.

All methods are deterministic: none resamples. Weighted rows are treated as independent draws with
known weights, and variances are computed by linearisation (the delta method).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.influence import influence_error, influence_freedom
from flytekitplugins.wbmon.stats.interval import wilson_interval
from flytekitplugins.wbmon.stats.tail_probabilities import normal_sf, student_t_sf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal
_MAX_STEPS = 2000  # of Newton's method; far in a heavy tail each of them only doubles the value
_ALONE = "fewer than two rows or clusters in effect: nothing tells its error"
_LARGEST_EXPONENT = 700.0  # math.exp overflows beyond 709


class Estimate(NamedTuple):
    """A value with its 95 % interval.

    Attributes:
        value: The estimate; `nan` if it is undefined.
        low: Lower end of the interval; `nan` if there is none.
        high: Upper end of the interval; `nan` if there is none.
        reason: Why it has no value, or a value without an interval; empty otherwise.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""


def undefined(reason: str) -> Estimate:
    """An estimate without a value, with the reason."""
    return Estimate(math.nan, reason=reason)


class Share(NamedTuple):
    """A weighted proportion with its effective sample size.

    Attributes:
        value: The proportion, in [0, 1]; `nan` without rows.
        n: Number of independent rows of equal weight that would give the same variance; 0 if
            nothing is known of it.
    """

    value: float
    n: float

    @property
    def estimate(self) -> Estimate:
        """The proportion with its Wilson interval; `nan` without rows."""
        if math.isnan(self.value):
            return undefined("no row counts")
        if self.n <= 0:
            return Estimate(self.value, 0.0, 1.0)
        return Estimate(self.value, *wilson_interval(self.value * self.n, self.n))


def weighted_share(
    success: float, failure: float, success_unit: float, failure_unit: float
) -> Share:
    """A proportion of weighted rows, `p = success / (success + failure)`.

    The unit of a group of rows is its typical row weight, `sum w^2 / sum w`. The effective sample
    size is `total / ((1 - p) * success_unit + p * failure_unit)`. With it, `p (1 - p) / n` equals
    the linearised variance, also if the weight depends on the outcome.

    Args:
        success: Sum of the weights of the successes, `>= 0`.
        failure: Sum of the weights of the failures, `>= 0`.
        success_unit: Unit of the successes; if there are none, the weight one would have.
        failure_unit: Unit of the failures; if there are none, the weight one would have.

    Returns:
        The proportion; undefined, with `n = 0`, if no row has weight.
    """
    total = success + failure
    if total <= 0:
        return Share(math.nan, 0.0)
    share = success / total
    return Share(share, total / ((1 - share) * success_unit + share * failure_unit))


def student_quantile(df: float, *, z: float = Z95) -> float:
    """A quantile of Student's t with the probability of a normal one; by default that of 97.5 %.

    Solved by Newton's method to a relative accuracy of 1e-6, and of 1e-8 up to a million degrees of
    freedom.

    Args:
        df: Degrees of freedom; need not be an integer. Infinitely many are those of the normal
            distribution.
        z: The normal quantile of the same probability; in [0, 26].

    Returns:
        The quantile. Infinite for `df < 1`, where it would claim a precision that does not exist.
    """
    if df < 1:
        return math.inf
    if math.isinf(df):
        return z
    tail = normal_sf(z)
    t = z
    # the tail of t is heavier than the normal one and convex, so the steps never pass the solution
    for _ in range(_MAX_STEPS):
        step = (student_t_sf(t, degrees=df) - tail) / _student_density(t, df)
        t += step
        if step <= 1e-10 * t:
            break
    return t


def positive_mean(values: Floats, weight: Floats, cluster: Codes | None = None) -> Estimate:
    """Weighted mean of non-negative values, such as losses, with a t interval on the log scale.

    The interval is `mean * exp(± t * se / mean)`. It is asymmetric, because the distribution of a
    mean loss is skewed to the right.

    Args:
        values: Non-negative and finite; shape `(n,)`, `n >= 1`.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.

    Returns:
        The estimate; it has no interval with fewer than two effective rows or clusters.
    """
    mean = float((values * weight).sum()) / float(weight.sum())
    return positive_estimate(mean, values - mean, weight, cluster)


def positive_estimate(
    value: float, influence: Floats, weight: Floats, cluster: Codes | None = None
) -> Estimate:
    """A non-negative estimate with the interval that its influence function gives.

    Args:
        value: The estimate, `>= 0`.
        influence: Influence of each row on it; shape `(n,)`.
        weight: Row weights, `> 0`; shape `(n,)`.
        cluster: Cluster of each row; None if rows are independent.
    """
    error = influence_error(influence, weight, cluster)
    return log_interval(value, error, influence_freedom(influence, weight, cluster))


def log_interval(value: float, error: float, df: float) -> Estimate:
    """A non-negative estimate with a t interval that is symmetric on the log scale.

    Args:
        value: The estimate, `>= 0`.
        error: Its standard error; `nan` gives an estimate without an interval.
        df: Degrees of freedom of the error.
    """
    if math.isnan(error):
        return Estimate(value, reason=_ALONE)
    if value <= 0 or error <= 0:
        return Estimate(value, value, value)
    # delta method: the standard error of log(value) is error / value
    ratio = math.exp(min(student_quantile(df) * error / value, _LARGEST_EXPONENT))
    return Estimate(value, value / ratio, value * ratio)


def logit_interval(value: float, error: float, df: float) -> Estimate:
    """An estimate between 0 and 1 with a t interval that is symmetric on the logit scale.

    Args:
        value: The estimate, in (0, 1).
        error: Its standard error, `> 0`.
        df: Degrees of freedom of the error.
    """
    # delta method: the derivative of the logit is 1 / (value (1 - value))
    half = min(student_quantile(df) * error / (value * (1 - value)), _LARGEST_EXPONENT)
    odds = value / (1 - value)
    low, high = (odds * math.exp(side) for side in (-half, half))
    # of odds without bound the share is 1
    return Estimate(value, low / (1 + low), 1 / (1 + 1 / high))


def mean_of_shares(parts: list[Estimate], smoothed: Floats, covariance: Floats) -> Estimate:
    """Unweighted mean of `k` proportions, with the wider of two intervals at each end.

    The first is Wilson's interval at the effective sample size `p (1 - p) / variance` of the mean;
    it is accurate if many proportions contribute to the error. The second combines the distances
    `d` from each proportion to the end of its interval, `sqrt(d' R d) / k` with the correlation
    matrix `R`; it is accurate if one rare class dominates the error. The variances use smoothed
    proportions, because an observed proportion of 0 or 1 still has sampling error.

    Args:
        parts: Proportions in [0, 1] with their intervals; one or more, none undefined.
        smoothed: The proportions, shrunk towards 1/2; shape `(k,)`, in (0, 1).
        covariance: Covariance matrix of the proportions, with a positive diagonal; shape `(k, k)`.

    References:
        Zou & Donner (2008), Construction of confidence limits about effect measures.
    """
    values, lows, highs, _ = (np.array(column) for column in zip(*parts, strict=True))
    k, mean, middle = len(parts), float(values.mean()), float(smoothed.mean())
    # the variance of the mean of k proportions is the sum of their covariances over k^2
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
    """`current - baseline` of two independent windows, with an interval derived from theirs.

    The method of variance estimates recovery (MOVER): each end combines the distances of the two
    estimates from the relevant ends of their intervals. A baseline without an interval is treated
    as a known constant, unless it has a reason to have none.

    Args:
        current: Estimate of the current window.
        baseline: Estimate of the baseline window, independent of the current one.

    Returns:
        The difference; it has no interval if `current` has none, or the baseline should have one.

    References:
        Zou & Donner (2008), Construction of confidence limits about effect measures.
    """
    change = current.value - baseline.value
    if math.isnan(change) or math.isnan(current.low) or baseline.reason:
        return Estimate(change)
    base = baseline
    if math.isnan(base.low):
        base = Estimate(base.value, base.value, base.value)
    # the change is smallest where the current value is low and the baseline is high
    low = change - math.hypot(current.value - current.low, base.high - base.value)
    high = change + math.hypot(current.high - current.value, base.value - base.low)
    return Estimate(change, low, high)


def p_value_of_zero(change: Estimate) -> float:
    """Two-sided p-value of the hypothesis that a change is 0, derived from its 95 % interval.

    The distance from the value to the end of the interval that is nearer to 0 is taken as 1.96
    standard errors, so `p < 0.05` exactly if the interval excludes 0.

    Args:
        change: A difference with its 95 % interval.

    Returns:
        In [0, 1]; `nan` without an interval.
    """
    if math.isnan(change.low):
        return math.nan
    if change.value == 0:
        return 1.0
    reach = change.value - change.low if change.value > 0 else change.high - change.value
    return math.erfc(Z95 * abs(change.value) / reach / math.sqrt(2)) if reach > 0 else 0.0


def _student_density(t: float, df: float) -> float:
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df))
