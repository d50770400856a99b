"""Evidence against chance: of the tests of one window together, and of many windows together.

A p-value holds for one look. `e_value` and `accumulated_evidence` hold for as many looks as one
takes: they bound how often a detector that watches for ever raises a false alarm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, median, stdev

from flytekitplugins.wbmon.stats.tail_probabilities import student_t_sf

SHIFTS = (0.5, 1.0, 2.0, 3.0)
"""Sizes of a change that the accumulated evidence looks for, in standard errors of one window."""

_LARGEST_EXPONENT = 30.0
_MOST_EVIDENCE = 1e12  # what is written to a file must be finite
_LEAST_P = 1e-300
_ROUNDING = 1e-9
_MOST_DEGREES = 12  # of the spread of past windows, whose tails are no normal ones


def simes_p_value(p_values: Sequence[float]) -> float:
    """The p-value of "nothing happened" given those of several tests, by Simes.

    The least of `m * p_(j) / j`, the p-values in ascending order.

    Args:
        p_values: In [0, 1], of tests that are independent or positively dependent; `nan` is left
            out.

    Returns:
        In [0, 1]; `nan` without a p-value.

    References:
        Simes (1986), An improved Bonferroni procedure for multiple tests of significance.
    """
    known = sorted(p for p in p_values if not math.isnan(p))
    return min((len(known) * p / j for j, p in enumerate(known, start=1)), default=math.nan)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values: rejecting those at most `alpha` errs at all with probability `alpha`.

    `max over i <= j of (m - i + 1) * p_(i)`, the p-values in ascending order, at most 1; whatever
    the dependence of the tests.

    Args:
        p_values: In [0, 1]; a `nan` stays `nan` and does not count.

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    adjusted = [math.nan] * len(p_values)
    order = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[place] = largest
    return adjusted


def cautious_p_value(past: Sequence[float], value: float) -> float:
    """Probability that the next value is at least `value`, given past ones that are nearly normal.

    `(value - mean) / (sd * sqrt(1 + 1/n))` of normal values has Student's t distribution with
    `n - 1` degrees of freedom, and as long as nothing changes the p-values of successive values are
    independent and uniform, though all share the same past. Moods of nights are not quite normal,
    so this is the larger of two p-values: one as there, one with the median for the mean and with
    the spread of the values above it, `sqrt(2 * sum((x - median)^2) / (n - 1))`, which is larger
    than the standard deviation if the values are skewed to that side. Both take at most 12 degrees
    of freedom, however many values are known: at 0.1 % the limit is then at 3.9 standard deviations
    and not at 3.1.

    Args:
        past: At least two values; finite.
        value: The next one; finite.

    Returns:
        In [0, 1]; of a past without spread 0 above it, 1 below it and 1/2 at it.

    References:
        Geisser (1993), Predictive inference, chapter 2.
    """
    n, middle = len(past), median(past)
    above = math.sqrt(2 * math.fsum((x - middle) ** 2 for x in past if x > middle) / (n - 1))
    degrees = min(n - 1, _MOST_DEGREES)
    return max(
        _student_p_value(value, fmean(past), stdev(past), n, degrees=degrees),
        _student_p_value(value, middle, above, n, degrees=degrees),
    )


def _student_p_value(value: float, middle: float, sd: float, n: int, *, degrees: int) -> float:
    distance = value - middle
    # of a constant past, a rounding error would be infinitely far
    if abs(distance) <= _ROUNDING * abs(value):
        return 0.5
    if sd == 0:
        return float(distance < 0)
    return student_t_sf(distance / (sd * math.sqrt(1 + 1 / n)), degrees=degrees)


def normal_distance(p_value: float) -> float:
    """The standard normal value that is exceeded with probability `p_value`; within ±37.

    Args:
        p_value: In [0, 1].
    """
    if math.isnan(p_value):
        return math.nan
    return -NormalDist().inv_cdf(min(max(p_value, _LEAST_P), 1 - 1e-16))


def e_value(p_value: float, shift: float) -> float:
    """Evidence of one p-value for a change by `shift` standard errors, with mean 1 without one.

    `exp(shift * z - shift^2 / 2)`, the likelihood ratio of the standard normal `z` that is exceeded
    with probability `p_value`.

    Args:
        p_value: In [0, 1]; at most `u` with probability `u` at most if nothing changed.
        shift: In standard errors of one window; `> 0`.

    References:
        Vovk & Wang (2021), E-values: calibration, combination and applications.
    """
    exponent = shift * normal_distance(p_value) - shift * shift / 2
    return math.exp(min(exponent, _LARGEST_EXPONENT))


def accumulated_evidence(before: Sequence[float], p_value: float) -> tuple[float, ...]:
    """Evidence that something changed at some time up to now, by the size of the change.

    `(1 + before) * e_value(p_value, shift)` for each of `SHIFTS`, the Shiryaev-Roberts sum: over
    all windows at which the change may have begun, the product of the e-values since. The mean over
    the sizes is an e-detector. One that begins anew after each alarm, and alarms at `c` or more,
    raises a false alarm once in `c` windows at most, on average, however often one looks.

    Args:
        before: The evidence up to the window before; empty at the start.
        p_value: Of this window; at most `u` with probability `u` at most, given the ones before.

    Returns:
        Of each size, at most 1e12; shape `(4,)`.

    References:
        Shin, Ramdas & Rinaldo (2023), E-detectors: a nonparametric framework for sequential change
        detection.
    """
    sums = before or (0.0,) * len(SHIFTS)
    return tuple(
        min((1 + known) * e_value(p_value, shift), _MOST_EVIDENCE)
        for known, shift in zip(sums, SHIFTS, strict=True)
    )
