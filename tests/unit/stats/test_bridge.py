"""The largest distance of a Brownian bridge, against scipy, formulas and windows dealt out anew."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flytekitplugins.wbmon.stats.bridge import (
    ALL_TIMES,
    bridge_times,
    largest_distance_mean,
    largest_distance_sf,
)
from flytekitplugins.wbmon.stats.two_sample import ks_effect, ks_p_value


def of_values(*rows: float) -> np.ndarray:
    """The cells of a grid in which every value is an edge."""
    counts = np.zeros(2 * len(rows) + 1)
    counts[1::2] = rows
    return counts


def zero_inflated(zeros: int, others: int, cells: int = 100) -> np.ndarray:
    counts = np.zeros(2 * cells + 1)
    counts[1] = zeros
    counts[2::2] = others / cells
    return counts


some_counts = st.lists(st.integers(0, 500), min_size=1, max_size=200).filter(any)


@pytest.mark.parametrize("distance", [0.05, 0.3, 0.83, 1.36, 2.2, 5.0])
def test_without_ties_it_has_kolmogorovs_distribution(distance):
    assert largest_distance_sf(distance, ALL_TIMES) == pytest.approx(stats.kstwobign.sf(distance))
    even = bridge_times(of_values(*[1] * 1000))
    assert even.are_all
    assert largest_distance_mean(even) == pytest.approx(stats.kstwobign.mean(), rel=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.3, 0.97])
@pytest.mark.parametrize("distance", [0.2, 0.5, 0.9, 1.5])
def test_of_two_values_it_is_normal_as_a_difference_of_two_shares_is(share, distance):
    times = bridge_times(of_values(1000 * share, 1000 * (1 - share)))
    spread = math.sqrt(share * (1 - share))

    expected = 2 * stats.norm.sf(distance / spread)
    assert largest_distance_sf(distance, times) == pytest.approx(expected, abs=1e-8)
    mean = stats.halfnorm.mean() * spread
    assert largest_distance_mean(times) == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize("shares", [(0.2, 0.5, 0.3), (0.05, 0.9, 0.05)])
@pytest.mark.parametrize("distance", [0.3, 0.5, 0.8])
def test_of_three_values_it_is_a_rectangle_of_two_normal_variables(shares, distance):
    times = bridge_times(of_values(*(1000 * share for share in shares)))
    s, t = np.cumsum(shares)[:2]
    joint = stats.multivariate_normal(cov=[[s * (1 - s), s * (1 - t)], [s * (1 - t), t * (1 - t)]])
    inside = joint.cdf([distance, distance], lower_limit=[-distance, -distance])
    assert largest_distance_sf(distance, times) == pytest.approx(1 - inside, abs=1e-6)


@pytest.mark.parametrize(
    "counts",
    [of_values(*stats.poisson.pmf(range(12), 1) * 1e4), of_values(*[7] * 60), of_values(1, 99)],
    ids=["poisson", "sixty values", "a rare one"],
)
def test_it_is_that_of_rows_dealt_out_anew(counts):
    rng = np.random.default_rng(0)
    rows = np.round(20 * counts[1::2]).astype(int)
    n = int(rows.sum()) // 3
    m = int(rows.sum()) - n
    dealt = rng.multivariate_hypergeometric(rows, n, size=20_000, method="marginals")
    gaps = np.cumsum(dealt / n - (rows - dealt) / m, axis=1)
    distances = np.abs(gaps).max(axis=1) * math.sqrt(n * m / (n + m))
    times = bridge_times(counts)

    for level in (0.5, 0.1, 0.02):
        # halfway between two values that it can have
        at = np.quantile(distances, 1 - level)
        above = distances[distances > at + 1e-9]
        at = (at + above.min()) / 2 if len(above) else at
        truth = np.mean(distances >= at)
        error = 4 * math.sqrt(truth / len(distances))
        assert largest_distance_sf(at, times) == pytest.approx(truth, rel=0.1, abs=error)
    assert largest_distance_mean(times) == pytest.approx(distances.mean(), rel=0.1)


@pytest.mark.parametrize("zeros", [50, 90])
def test_a_jump_before_a_continuous_part(zeros):
    rng = np.random.default_rng(1)
    steps = np.append(zeros / 100, np.full(2000, (1 - zeros / 100) / 2000))
    motion = np.cumsum(rng.standard_normal((4000, len(steps))) * np.sqrt(steps), axis=1)
    bridge = np.abs(motion - np.cumsum(steps) * motion[:, -1:]).max(axis=1)
    times = bridge_times(zero_inflated(zeros * 100, 10_000 - zeros * 100))

    for distance in np.quantile(bridge, [0.5, 0.9]):
        truth = np.mean(bridge >= distance)
        # looked at 2000 times and not always, it is a little less
        assert truth - 0.02 < largest_distance_sf(distance, times) < truth + 0.05
    assert largest_distance_mean(times) == pytest.approx(bridge.mean(), rel=0.06)


@given(some_counts, st.floats(0, 4), st.floats(0, 4))
def test_it_falls_and_is_never_more_than_without_ties(rows, one, other):
    times = bridge_times(of_values(*rows))
    near, far = sorted((one, other))

    assert 0 <= largest_distance_sf(far, times) <= largest_distance_sf(near, times) + 1e-8 <= 1.1
    assert largest_distance_sf(near, times) <= largest_distance_sf(near, ALL_TIMES) + 1e-6
    assert 0 <= largest_distance_mean(times) <= largest_distance_mean(ALL_TIMES) * 1.05


@given(some_counts)
def test_the_steps_are_the_whole_time(rows):
    times = bridge_times(of_values(*rows))

    assert times.lengths.sum() == pytest.approx(1)
    rest = 1 - times.lengths.max()
    assert (times.lengths >= min(0.0025, rest / 16) - 1e-12).all()
    assert len(times.lengths) == len(times.is_jump)


def test_one_value_cannot_differ():
    times = bridge_times(of_values(500))

    assert largest_distance_sf(0.0, times) == 1
    assert largest_distance_mean(times) == pytest.approx(0)
    assert ks_p_value(0.0, 100, 100, times=times) == 1
    assert ks_effect(0.0, 100, 100, times=times) == 0


@pytest.mark.parametrize("n", [500, 20_000, 10_000_000])
@pytest.mark.parametrize("share", [1e-6, 1e-4, 2e-3, 0.02])
def test_beside_a_value_that_nearly_all_rows_have_a_rare_one_counts(n, share):
    """Such columns had p = 0 for nothing, which also made others of the run significant."""
    rare = max(1, round(n * share))
    t = rare / n
    spread = math.sqrt(t * (1 - t))
    jump = bridge_times(of_values(n - rare, rare))
    # looked at once: a normal variable
    assert largest_distance_mean(jump) == pytest.approx(spread * math.sqrt(2 / math.pi), rel=0.06)
    # looked at all the time up to there: twice as often, by reflection, in either direction
    stretch = bridge_times(np.array([rare, 0, 0, n - rare, 0]))
    for z in (0.5, 1.0, 2.0, 4.0):
        once = 2 * stats.norm.sf(z)
        assert largest_distance_sf(z * spread, jump) == pytest.approx(once, rel=1e-6)
        always = largest_distance_sf(z * spread, stretch)
        # the bridge may also have been farther away than where it ends
        assert once <= always <= min(1.0, 2 * once * 1.05)
    assert max(largest_distance_sf(12 * spread, times) for times in (jump, stretch)) < 1e-12


@pytest.mark.parametrize("rare", [1, 5, 20])
def test_nearly_constant_columns_have_few_findings(rare):
    rng = np.random.default_rng(rare)
    values = np.arange(2000) < rare
    times = bridge_times(of_values(2000 - rare, rare))
    found = []
    for _ in range(500):
        first, second = rng.permutation(values).reshape(2, 1000).mean(axis=1)
        found.append(ks_p_value(abs(first - second), 1000, 1000, times=times))
    # of 5 rare rows all are in one window with a probability of 6 %
    assert np.mean(np.array(found) <= 0.05) <= 0.09
    assert min(found) > 1e-5


@pytest.mark.parametrize("n", [5000, 400, 60])
@pytest.mark.parametrize(("rare", "in_first"), [(1, 1), (6, 5), (9, 4), (25, 11), (40, 0)])
def test_few_rows_with_another_value_are_dealt_out_as_they_may_be(n, rare, in_first):
    """Of 9 rare rows of 5,500, five in 500 have a chance of 1 in 1,000, not of 1 in 200,000."""
    small = 500 if n > 500 else 30
    distance = abs(in_first / small - (rare - in_first) / n)
    p_value = ks_p_value(distance, n, small, times=bridge_times(of_values(n + small - rare, rare)))
    k = np.arange(rare + 1)
    dealt = stats.hypergeom(n + small, rare, small).pmf(k)
    as_far = abs(k / small - (rare - k) / n) >= distance - 1e-12
    assert p_value >= dealt[as_far].sum() * (1 - 1e-9)
    # and hardly more, where the normal distribution is not too wide itself
    z = distance / math.sqrt(rare / (n + small) * (1 - rare / (n + small)) * (1 / n + 1 / small))
    assert p_value <= max(dealt[as_far].sum(), 2 * stats.norm.sf(z)) * 1.02


@pytest.mark.parametrize("moved", [0.0, 0.1, 0.2, 1.0])
def test_an_effect_is_the_share_that_moved_and_hardly_more(moved):
    rng = np.random.default_rng(2)
    n = 200
    effects = []
    for _ in range(200):
        a, b = rng.random(n), rng.random(n)
        b = np.where(rng.random(n) < moved, b + 1, b)
        effects.append(ks_effect(stats.ks_2samp(a, b).statistic, n, n))

    assert np.mean(effects) == pytest.approx(moved, abs=0.03 if moved else 0.05)
