"""The split of units: against numerical integration, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from flytekitplugins.wbmon.stats.split import split_p_value


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
