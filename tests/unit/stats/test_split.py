"""The split of units: against numerical integration, and how often it is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from flytekitplugins.wbmon.stats.split import measured_share_p_value, split_p_value


@pytest.mark.parametrize(("counts", "share"), [((130, 90), 0.5), ((300, 80), 0.7), ((3, 9), 0.5)])
def test_the_p_value_is_one_over_the_ratio_of_mixture_and_plan(counts, share):
    n, first = sum(counts), counts[0]
    prior = stats.beta(100 * share, 100 * (1 - share))
    mixture, _ = integrate.quad(
        lambda p: prior.pdf(p) * stats.binom.pmf(first, n, p), 0, 1, points=[first / n], limit=200
    )
    expected = min(1.0, stats.binom.pmf(first, n, share) / mixture)
    assert split_p_value(counts, (share, 1 - share)) == pytest.approx(expected, rel=1e-6)


def test_the_planned_split_rarely_looks_wrong_on_any_of_many_nights():
    rng = np.random.default_rng(0)
    shares = [0.5, 0.3, 0.2]
    refused = by_chi_squared = 0
    for _ in range(400):
        counts = np.cumsum(rng.multinomial(100, shares, 60), axis=0)
        refused += min(split_p_value(each, shares) for each in counts.tolist()) < 0.05
        expected = counts.sum(axis=1, keepdims=True) * np.array(shares)
        statistic = ((counts - expected) ** 2 / expected).sum(axis=1)
        by_chi_squared += stats.chi2.sf(statistic, 2).min() < 0.05
    assert refused <= 0.05 * 400
    assert by_chi_squared > 0.25 * 400


@pytest.mark.parametrize(("n", "share"), [(100_000, 0.49), (3000, 0.45), (400, 0.37)])
def test_a_broken_split_is_found(n, share):
    assert split_p_value([round(n * share), n - round(n * share)], [0.5, 0.5]) < 0.001


def test_units_in_a_variant_without_a_share_cannot_come_from_the_plan():
    assert split_p_value([5, 1], [1.0, 0.0]) == 0.0
    assert split_p_value([5, 0], [1.0, 0.0]) == 1.0
    assert split_p_value([0, 0], [0.5, 0.5]) == 1.0


def test_the_share_of_measured_units_is_tested_by_them_and_by_the_others():
    exposed, shares = [400, 100], [0.8, 0.2]
    for measured in ([380, 60], [20, 40], [200, 50]):
        others = [a - b for a, b in zip(exposed, measured, strict=True)]
        both = [split_p_value(counts, shares) for counts in (measured, others)]
        found = measured_share_p_value(measured, exposed)
        assert found == min(1.0, 2 * min(both))
        assert found == measured_share_p_value(others, exposed)
    assert measured_share_p_value([380, 60], exposed) < 1e-4
    assert measured_share_p_value([200, 50], exposed) == 1.0
    # stricter than the exact test at one look
    table = [[88, 70], [12, 30]]
    assert measured_share_p_value([88, 70], [100, 100]) > stats.fisher_exact(table)[1]


@pytest.mark.parametrize("measured", [[0, 0], [40, 10]])
def test_where_all_units_or_none_were_measured_there_is_nothing_to_test(measured):
    assert math.isnan(measured_share_p_value(measured, [40, 10]))


def test_the_share_of_measured_units_rarely_looks_different_on_any_of_many_nights():
    rng = np.random.default_rng(1)
    for share in (0.1, 0.5, 0.95):
        refused = 0
        for _ in range(100):
            exposed = rng.poisson((60, 20), (30, 2))
            measured = rng.binomial(exposed, share).cumsum(axis=0).tolist()
            looks = zip(measured, exposed.cumsum(axis=0).tolist(), strict=True)
            refused += any(measured_share_p_value(*look) < 0.05 for look in looks)
        assert refused <= 5
