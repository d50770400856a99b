"""Tail probabilities and quantiles of a resampled statistic, also beyond its resamples.

Ten thousand resamples know nothing of a level of one in a million, which an early look at an
experiment may ask for. There the tail is continued as that of Student's t.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from flytekitplugins.wbmon.stats.estimate import student_quantile
from flytekitplugins.wbmon.stats.tail_probabilities import student_t_sf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FEWEST = 10  # resamples beyond a value, itself included, that its probability is read off from

_ROUNDING = 1e-9  # relative; nearer values are equal but for the order in which they were summed
_LEAST = 200  # resamples with which the value they are read off to lies in the tail


def upper_tail_probability(resampled: Floats, observed: float, *, degrees: float) -> float:
    """Probability that the statistic is at least `observed`.

    `(1 + k) / (1 + n)` with the number `k` of the `n` resamples at or above it: the observed sample
    counts as a resample, so the probability is never 0. Where `1 + k` would be less than 10, it is
    the tail of Student's t beyond `t * observed / anchor`. The anchor is the value with
    `1 + k = 10`, and `t` Student's quantile of the same probability.

    Args:
        resampled: Values of the statistic, ascending; shape `(n,)`; may hold infinities.
        observed: The observed value.
        degrees: Degrees of freedom of Student's t, `>= 1`.

    Returns:
        In (0, 1].
    """
    n = len(resampled)
    beyond = n - int(np.searchsorted(resampled, _moved(observed, -_ROUNDING), side="left"))
    anchor, t = _anchor(resampled, degrees)
    if 1 + beyond >= _FEWEST or math.isinf(anchor):
        return (1 + beyond) / (1 + n)
    return max(student_t_sf(t * observed / anchor, degrees=degrees), math.ulp(0.0))


def upper_tail_quantile(resampled: Floats, level: float, *, degrees: float) -> float:
    """The largest value whose tail probability exceeds `level`.

    Args:
        resampled: Values of the statistic, ascending; shape `(n,)`; may hold infinities.
        level: In (0, 1).
        degrees: Degrees of freedom of Student's t, `>= 1`.

    Returns:
        The quantile: `upper_tail_probability(resampled, x) <= level` exactly for `x` beyond it.
        Infinite if the tail cannot be continued.
    """
    n = len(resampled)
    # the product may be a rounding error below a whole number
    rank = min(n, math.floor(level * (1 + n) * (1 + 1e-12)))
    anchor, t = _anchor(resampled, degrees)
    if rank >= _FEWEST or math.isinf(anchor):
        return _moved(float(resampled[n - rank]), _ROUNDING) if rank else math.inf
    return student_quantile(degrees, z=-NormalDist().inv_cdf(level)) * anchor / t


def _moved(value: float, by: float) -> float:
    return value if math.isinf(value) else value + by * abs(value)


def _anchor(resampled: Floats, degrees: float) -> tuple[float, float]:
    """The value from which the tail is continued, infinite if there is none, and its quantile."""
    n = len(resampled)
    if n < _LEAST:
        return math.inf, math.nan
    anchor = float(resampled[n - _FEWEST + 1])
    z = -NormalDist().inv_cdf(_FEWEST / (1 + n))
    return anchor if anchor > 0 else math.inf, student_quantile(degrees, z=z)
