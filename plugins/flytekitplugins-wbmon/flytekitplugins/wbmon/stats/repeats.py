"""Do the values of one window repeat more often than those of another?

A longer window repeats more, because the thousandth row of a user is new to no window. So both are
compared at the number of rows of the smaller one (rarefaction), and from their sketches alone.

If the rows of both windows are draws from the same values, then each row of the two together could
as well have been in the other window. That is what the test asks: how a value's `c` rows are
divided is known, and the values with the lowest hashes of both windows together are a sample of all
values that does not depend on the division. So sketches lose power, and not the level of the test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.distinct import SKETCH_SIZE, DistinctSketch
from flytekitplugins.wbmon.stats.tail_probabilities import normal_sf

_STEEPEST = 64.0
_POINTS = 256
_HALF_A_REPEAT = 0.5


class RepeatsTest(NamedTuple):
    """How much more the rows of the current window repeat earlier ones.

    Attributes:
        effect: Share of its rows that repeat an earlier one, less that of the reference, both at
            the rows of the smaller window; in [0, 1], and 0 if it repeats less.
        p_value: Probability of such an effect if both windows draw from the same values.
        lower: Lower confidence bound of the effect; in [0, 1].
    """

    effect: float
    p_value: float
    lower: float


class _Sample(NamedTuple):
    """Values of two windows, drawn without regard to which of them they are in.

    Attributes:
        a: Rows of each in the reference; shape `(k,)`.
        b: Rows of each in the current window; shape `(k,)`.
        n_a: All rows of the reference.
        n_b: All rows of the current window.
        share: Share of all values that is in the sample.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    n_a: int
    n_b: int
    share: float

    @property
    def m(self) -> int:
        """Rows at which the windows are compared."""
        return min(self.n_a, self.n_b)


def repeats_test(
    reference: DistinctSketch, current: DistinctSketch, *, alpha: float = 0.05
) -> RepeatsTest:
    """One-sided test whether values repeat more often in the current window.

    TODO
    """
    sample = _pooled(reference, current)
    if sample.m == 0:
        return RepeatsTest(math.nan, math.nan, math.nan)
    # with all values known both count the same
    forms = (_fewer_distinct,) if sample.share == 1 else (_fewer_distinct, _more_repeats)
    tested = [(_p_value(sample, form), form) for form in forms]
    p_value, form = min(tested, key=lambda pair: pair[0])
    gains = form(sample.a, sample.b, sample)
    effect = float(gains.sum()) / sample.share / sample.m
    error = _standard_error(sample, gains)
    lower = effect - error * _z(alpha)
    return RepeatsTest(
        min(1.0, max(0.0, effect)), min(1.0, len(forms) * p_value), min(1.0, max(0.0, lower))
    )


def expected_distinct(counts: NDArray[np.int64], n: int, m: int) -> Floats:
    """Chance that a value is among `m` rows drawn from all `n` without replacement.

    `1 - C(n - c, m) / C(n, m)` for a value with `c` rows; their sum over all values is the expected
    number of distinct values (rarefaction).

    Args:
        counts: Rows of each value, at most `n`; shape `(k,)`.
        n: All rows.
        m: Rows drawn; at most `n`.

    References:
        Hurlbert (1971), The nonconcept of species diversity, formula 6.
    """
    left = n - counts - m
    inside = np.maximum(left, 0)
    log_missed = (
        _log_factorial(n - counts)
        + _log_factorial(np.array(n - m))
        - _log_factorial(inside)
        - _log_factorial(np.array(n))
    )
    return np.where(left < 0, 1.0, -np.expm1(np.minimum(log_missed, 0.0)))


def _pooled(reference: DistinctSketch, current: DistinctSketch) -> _Sample:
    hashes, share = np.union1d(reference.hashes, current.hashes), 1.0
    if not (reference.is_exact and current.is_exact):
        # the last one only says how densely the others lie
        last = hashes[:SKETCH_SIZE][-1]
        hashes, share = hashes[: SKETCH_SIZE - 1], (float(last) + 1) / 2.0**64
    a, b = _rows_of(reference, hashes), _rows_of(current, hashes)
    return _Sample(a, b, reference.n_rows, current.n_rows, share)


def _rows_of(sketch: DistinctSketch, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    rows = np.zeros(len(hashes), dtype=np.int64)
    _, there, here = np.intersect1d(sketch.hashes, hashes, assume_unique=True, return_indices=True)
    rows[here] = sketch.counts[there]
    return rows


def _fewer_distinct(a: NDArray[np.int64], b: NDArray[np.int64], of: _Sample) -> Floats:
    return expected_distinct(a, of.n_a, of.m) - expected_distinct(b, of.n_b, of.m)


def _more_repeats(a: NDArray[np.int64], b: NDArray[np.int64], of: _Sample) -> Floats:
    return _fewer_distinct(a, b, of) + b * (of.m / of.n_b) - a * (of.m / of.n_a)


_Form = Callable[[NDArray[np.int64], NDArray[np.int64], _Sample], Floats]


def _p_value(sample: _Sample, form: _Form) -> float:
    observed = float(form(sample.a, sample.b, sample).sum()) - _HALF_A_REPEAT
    if observed <= 0:
        return 1.0
    sizes, n_values = np.unique(sample.a + sample.b, return_counts=True)
    n = sample.n_a + sample.n_b
    chance = sample.n_b / n
    b, pmf, starts = _divisions(sizes, chance)
    per_size = np.diff(np.append(starts, len(b)))
    c = np.repeat(sizes, per_size)
    gain = form(c - b, b, sample)
    gain -= np.repeat(np.add.reduceat(pmf * gain, starts), per_size)
    excess = b - c * chance
    slope = float((n_values * np.add.reduceat(pmf * gain * excess, starts)).sum())
    slope /= n * chance * (1 - chance)
    gain -= slope * excess
    n_rest = n - int((sizes * n_values).sum())

    def exponent(s: float) -> tuple[float, float]:
        """Log of the moment generating function, and its derivative."""
        power = s * gain
        top = np.maximum.reduceat(power, starts)
        weight = pmf * np.exp(power - np.repeat(top, per_size))
        total = np.add.reduceat(weight, starts)
        mean = np.add.reduceat(weight * gain, starts) / total
        value = float((n_values * (np.log(total) + top)).sum())
        slant = float((n_values * mean).sum())
        up, down = -slope * (1 - chance), slope * chance
        w_up, w_down = chance * math.exp(s * up), (1 - chance) * math.exp(s * down)
        value += n_rest * math.log(w_up + w_down)
        slant += n_rest * (w_up * up + w_down * down) / (w_up + w_down)
        return value, slant

    low, high = 0.0, 1e-3
    while high < _STEEPEST and exponent(high)[1] < observed:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        if exponent(middle)[1] < observed:
            low = middle
        else:
            high = middle
    root = 2 * (low * observed - exponent(low)[0])
    return normal_sf(math.sqrt(max(0.0, root)))


def _divisions(sizes, chance):
    """Ways to divide."""
    mean = sizes * chance
    reach = 9 * np.sqrt(mean * (1 - chance)) + 20
    first = np.maximum(0, np.floor(mean - reach)).astype(np.int64)
    last = np.minimum(sizes, np.ceil(mean + reach)).astype(np.int64)
    step = np.maximum(1, (last - first) // _POINTS)
    n_points = (last - first) // step + 1
    starts = np.cumsum(n_points) - n_points
    nth = np.arange(n_points.sum()) - np.repeat(starts, n_points)
    b = np.repeat(first, n_points) + nth * np.repeat(step, n_points)
    c = np.repeat(sizes, n_points)
    log_pmf = _log_factorial(c) - _log_factorial(b) - _log_factorial(c - b)
    log_pmf += b * math.log(chance) + (c - b) * math.log1p(-chance)
    pmf = np.exp(log_pmf)
    pmf /= np.repeat(np.add.reduceat(pmf, starts), n_points)
    return b, pmf, starts


def _standard_error(sample: _Sample, gains: Floats) -> float:
    m = sample.m
    variance = float((gains**2).sum()) * (1 - sample.share) / sample.share**2
    for counts, n in ((sample.a, sample.n_a), (sample.b, sample.n_b)):
        once = min(float(m), float(_once(counts, n, m).sum()) / sample.share)
        variance += m / n * once * (1 - once / m)
    return math.sqrt(variance) / m


def _once(counts, n, m):
    """Chance that exactly one row of a value is among `m` rows drawn from all `n`."""
    return m * (expected_distinct(counts, n, m) - expected_distinct(counts, n, m - 1))


def _z(alpha):
    from statistics import NormalDist

    return NormalDist().inv_cdf(1 - alpha)


def _log_factorial(x):
    """Stirling."""
    y = np.asarray(x, dtype=np.float64) + 1
    shift = np.zeros_like(y)
    # the series needs arguments of 8 or more
    small = y < 8
    if small.any():
        table = np.array([math.lgamma(k) for k in range(1, 9)])
    series = 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5) - 1 / (1680 * y**7)
    result = (y - 0.5) * np.log(y) - y + 0.5 * math.log(2 * math.pi) + series
    if small.any():
        result = np.where(small, table[np.minimum(np.asarray(x), 7).astype(int)], result)
    return result
