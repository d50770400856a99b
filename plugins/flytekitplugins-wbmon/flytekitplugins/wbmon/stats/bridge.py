"""The largest distance of a Brownian bridge from 0, where it is looked at only at some times.

The difference of two empirical distribution functions behaves like a bridge whose time is the
share of rows up to a value. Values that many rows share make it jump over times, and its largest
distance is then smaller than that of a bridge which is looked at all the time.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.stats.arrays import Counts, Floats
from flytekitplugins.wbmon.stats.tail_probabilities import kolmogorov_sf

_LEAST_JUMP = 0.01  # share of rows of one value; of less it counts as continuous
_LEAST_STRETCH = 0.0025
_LEAST_OF_REST = 0.25  # where nearly all rows have one value, a jump is this share of the others
_ROUNDED = 1e-12
_NODES = (24, 256)
_NODES_A_SPREAD = 2.5  # nodes in a standard deviation of the narrowest step; the error is 1e-9
_IMAGES = np.arange(-3, 4)
_FAR = 4.0  # from here on Kolmogorov's series says as much
_NEVER = 10.0  # in standard deviations: a chance of 1e-22
_NEAR = 0.25  # in standard deviations of a step: a motion that stays so near has a chance of 1e-8
_PATHS = 512
_SPACING = 0.01
_MEAN = math.sqrt(math.pi / 2) * math.log(2)  # of the largest distance at all times
_CORRECTION = 0.5826  # -zeta(1/2) / sqrt(2 pi): between two looks the bridge goes so far beyond


class BridgeTimes(NamedTuple):
    """When a bridge is looked at, as steps from 0 to 1.

    Attributes:
        lengths: Length of each step, in order, with sum 1; shape `(k,)`.
        is_jump: Whether it is looked at only at the ends of the step; shape `(k,)`.
    """

    lengths: Floats
    is_jump: NDArray[np.bool_]

    @property
    def are_all(self) -> bool:
        """Whether it is looked at all the time."""
        return not self.is_jump.any()

    @property
    def rest(self) -> float:
        """Share of the time outside the longest step that is jumped over, in [0, 1]."""
        return max(0.0, 1 - float(self.lengths[self.is_jump].max(initial=0.0)))


ALL_TIMES = BridgeTimes(np.ones(1), np.zeros(1, dtype=bool))
"""That a bridge is looked at all the time."""


def bridge_times(pooled_counts: Counts) -> BridgeTimes:
    """The times that the ties of two samples leave.

    Args:
        pooled_counts: Rows of both samples in the cells of a grid, as `cell_counts` returns them,
            open and edge cells alternating; shape `(2k + 1,)`, with at least one row.
    """
    shares = np.asarray(pooled_counts, dtype=np.float64) / pooled_counts.sum()
    is_edge = np.arange(len(shares)) % 2 == 1
    # beside a value that nearly all rows have, rare ones are all there is to see
    rest = 1 - float(shares.max())
    finer = min(1.0, _LEAST_OF_REST * rest / _LEAST_JUMP) if rest > _ROUNDED else 1.0
    is_jump = is_edge & (shares >= finer * _LEAST_JUMP)
    # cells between two jumps are one step
    step = np.cumsum(is_jump | np.append(False, is_jump[:-1]))
    lengths = np.bincount(step, weights=shares).astype(np.float64)
    jumps = np.bincount(step, weights=is_jump) > 0
    return _without_short(lengths, jumps, finer * _LEAST_STRETCH)


def _without_short(lengths: Floats, is_jump: NDArray[np.bool_], least: float) -> BridgeTimes:
    """The steps, with those that are too short for the nodes added to the next, or the last."""
    keeps = is_jump | (lengths >= least)
    if not keeps.any():
        return ALL_TIMES
    to = np.minimum(np.append(0, np.cumsum(keeps)[:-1]), int(keeps.sum()) - 1)
    return BridgeTimes(np.bincount(to, weights=lengths).astype(np.float64), is_jump[keeps])


def largest_distance_sf(distance: float, times: BridgeTimes) -> float:
    """Probability that the bridge is at least once at least `distance` away from 0; in [0, 1].

    From step to step, the density of a Brownian motion that was not away so far is integrated with
    Gauss-Legendre nodes, and at the end divided by that of a motion which ends at 0. Where it is
    looked at all the time, the density is that of a motion absorbed at either distance, by the
    method of images.

    Args:
        distance: Not negative.
        times: When it is looked at.

    References:
        Doob (1949), Heuristic approach to the Kolmogorov-Smirnov theorems; Conover (1972), A
        Kolmogorov goodness-of-fit test for discontinuous distributions, for the effect of ties.
    """
    if times.are_all or distance >= _FAR:
        return kolmogorov_sf(distance)
    longest = math.sqrt(float(times.lengths[~times.is_jump].max(initial=0.0)))
    if distance <= _NEAR * longest:
        return 1.0
    if distance > _NEVER * math.sqrt(times.rest):
        # the bridge is looked at near its ends alone; of a single value, nowhere else
        return 0.0
    spread = math.sqrt(float(times.lengths.min()))
    n_nodes = min(max(math.ceil(_NODES_A_SPREAD * 2 * distance / spread), _NODES[0]), _NODES[1])
    points, weights = _nodes(n_nodes)
    x = distance * points
    steps = list(zip(times.lengths.tolist(), times.is_jump.tolist(), strict=True))
    density = _density(np.zeros(1), x, *steps[0], distance)[0]
    for length, is_jump in steps[1:-1]:
        density = (density * weights * distance) @ _density(x, x, length, is_jump, distance)
    last = _density(x, np.zeros(1), *steps[-1], distance)[:, 0]
    inside = float((density * weights * distance * last).sum()) * math.sqrt(2 * math.pi)
    return min(1.0, max(0.0, 1 - inside))


def largest_distance_mean(times: BridgeTimes) -> float:
    """Expectation of the largest distance; `sqrt(pi / 2) log 2 = 0.87` if it is looked at always.

    Otherwise the mean of 512 bridges that are drawn with a fixed seed, with the correction of
    Broadie, Glasserman & Kou for what lies between two looks; its standard error is 2 %.

    References:
        Broadie, Glasserman & Kou (1997), A continuity correction for discrete barrier options.
    """
    if times.are_all:
        return _MEAN
    parts = np.where(times.is_jump, 1, np.ceil(times.lengths / _SPACING)).astype(np.int64)
    steps = np.repeat(times.lengths / parts, parts)
    beyond = np.where(np.repeat(times.is_jump, parts), 0.0, _CORRECTION * np.sqrt(steps))
    motion = np.cumsum(_normals()[:, : len(steps)] * np.sqrt(steps), axis=1)
    bridge = motion - np.cumsum(steps) * motion[:, -1:]
    return float((np.abs(bridge) + beyond).max(axis=1).mean())


def _density(x: Floats, y: Floats, length: float, is_jump: bool, distance: float) -> Floats:
    """Density of a motion from each `x` to each `y` in one step; shape `(len(x), len(y))`."""
    start, end = x[:, None], y[None, :]
    if is_jump:
        return _normal_density(end - start, length)
    shifts = 4 * distance * _IMAGES
    there = sum(_normal_density(end - start + shift, length) for shift in shifts)
    mirrored = sum(_normal_density(end + start + 2 * distance + shift, length) for shift in shifts)
    return np.asarray(there - mirrored)


def _normal_density(x: Floats, variance: float) -> Floats:
    return np.asarray(np.exp(-x * x / (2 * variance)) / math.sqrt(2 * math.pi * variance))


@cache
def _nodes(n: int) -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(n)


@cache
def _normals() -> Floats:
    # steps are at most the jumps, and as many parts as fit between them
    n_steps = 2 * math.ceil(1 / _LEAST_JUMP) + math.ceil(1 / _SPACING) + 1
    return np.random.default_rng(0).standard_normal((_PATHS, n_steps))
