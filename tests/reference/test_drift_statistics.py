"""Every statistic of a drift check against scipy, which counts its own way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from scipy.spatial import distance

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.stats.binning import cell_counts
from flytekitplugins.wbmon.stats.divergence import (
    hellinger_distance,
    jensen_shannon_distance,
    population_stability_index,
    total_variation,
    wasserstein_distance,
)
from flytekitplugins.wbmon.stats.moments import mean_shift, moments
from flytekitplugins.wbmon.stats.multiplicity import benjamini_hochberg
from flytekitplugins.wbmon.stats.tail_probabilities import (
    chi_squared_sf,
    kolmogorov_sf,
    normal_sf,
    student_t_sf,
)
from flytekitplugins.wbmon.stats.two_sample import (
    chi_squared_two_sample,
    cramer_von_mises_statistic,
    ks_p_value,
    ks_statistic,
    two_proportion_test,
)

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tail": lambda rng, n: rng.lognormal(0, 3, n),
    "ties": lambda rng, n: rng.poisson(2, n).astype(float),
    "constant": lambda _, n: np.full(n, 3.0),
    "half zero": lambda rng, n: np.where(rng.random(n) < 0.5, 0.0, rng.exponential(size=n)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 400), (500, 500), (5000, 3001)])
def test_ks_and_wasserstein_agree_with_scipy(shape, n, m):
    rng = np.random.default_rng(n + m)
    a, b = np.sort(SHAPES[shape](rng, n)), np.sort(1.1 * SHAPES[shape](rng, m))

    expected = stats.ks_2samp(a, b, method="asymp")
    assert ks_statistic(a, b) == pytest.approx(expected.statistic, abs=1e-12)
    assert wasserstein_distance(a, b) == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(5, 9), (300, 200)])
def test_cramer_von_mises_agrees_with_scipy(n, m):
    rng = np.random.default_rng(n)
    a, b = np.sort(rng.normal(size=n)), np.sort(rng.normal(0.3, 1, m))
    edges = np.sort(np.concatenate((a, b)))

    found = cramer_von_mises_statistic(cell_counts(a, edges), cell_counts(b, edges))

    expected = stats.cramervonmises_2samp(a, b).statistic
    assert n * m / (n + m) * found == pytest.approx(expected)


def test_the_shift_of_the_mean_agrees_with_welch():
    rng = np.random.default_rng(0)
    a, b = rng.gamma(2, 1, 3000), rng.gamma(2, 1.1, 2000)

    found = mean_shift(moments(a), moments(b), n=3000, m=2000)

    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert found[1:] == pytest.approx((expected.low, expected.high), rel=1e-2)


def test_the_p_value_of_ks_agrees_with_the_limit_distribution():
    for n, m, statistic in [(100, 100, 0.1), (10_000, 500, 0.05), (10**6, 10**6, 0.002)]:
        expected = stats.kstwobign.sf(statistic * np.sqrt(n * m / (n + m)))
        assert ks_p_value(statistic, n, m) == pytest.approx(expected, abs=1e-12)


def test_the_p_value_of_ks_never_claims_more_than_the_exact_one():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.normal(size=150), rng.normal(0.2, 1, 120)
        exact = stats.ks_2samp(a, b, method="exact")
        assert ks_p_value(exact.statistic, 150, 120) >= 0.98 * exact.pvalue


def test_kolmogorov_agrees_with_scipy():
    for x in np.linspace(0.05, 6, 200):
        assert kolmogorov_sf(x) == pytest.approx(special.kolmogorov(x), abs=1e-13)


def test_chi_squared_tail_agrees_with_scipy():
    for degrees in (1, 2, 3, 10, 49, 500, 5000):
        for x in degrees * np.array([0.01, 0.5, 0.9, 1, 1.1, 2, 10]):
            expected = special.chdtrc(degrees, x)
            assert chi_squared_sf(x, degrees=degrees) == pytest.approx(
                expected, rel=1e-9, abs=1e-13
            )


def test_the_normal_tail_agrees_with_scipy():
    for z in np.linspace(-5, 30, 50):
        assert normal_sf(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)


def test_the_tail_of_student_agrees_with_scipy():
    for degrees in (1, 2, 4.5, 9, 29, 500):
        for t in (-30, -2, -0.1, 0, 0.1, 1, 3, 30, 1e4):
            assert student_t_sf(t, degrees=degrees) == pytest.approx(
                stats.t.sf(t, degrees), rel=1e-9
            )


def test_chi_squared_agrees_with_scipy():
    rng = np.random.default_rng(0)
    for cells in (2, 3, 50):
        table = rng.integers(1, 100, (2, cells))
        expected = stats.chi2_contingency(table, correction=False)
        found = chi_squared_two_sample(*table)
        assert found.statistic == pytest.approx(expected.statistic)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("table", [(0, 1000, 4, 1000), (3, 10, 1, 12), (9, 10, 2, 9), (1, 9, 0, 5)])
def test_small_proportions_agree_with_fisher(table):
    a, n, b, m = table

    expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue

    assert two_proportion_test(a, n, b, m).p_value == pytest.approx(expected, rel=1e-9)


def test_large_proportions_agree_with_the_uncorrected_chi_squared():
    found = two_proportion_test(120, 1000, 90, 1100)

    expected = stats.chi2_contingency([[120, 880], [90, 1010]], correction=False)
    assert found.statistic**2 == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_distances_of_counts_agree_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 50, 20), rng.integers(1, 50, 20)
    p, q = a / a.sum(), b / b.sum()

    assert jensen_shannon_distance(a, b) == pytest.approx(distance.jensenshannon(p, q, 2))
    both_ways = stats.entropy(p, q) + stats.entropy(q, p)
    assert population_stability_index(a, b, pseudocount=0) == pytest.approx(both_ways)
    assert total_variation(a, b) == pytest.approx(distance.cityblock(p, q) / 2)
    root = distance.euclidean(np.sqrt(p), np.sqrt(q)) / np.sqrt(2)
    assert hellinger_distance(a, b) == pytest.approx(root)


def test_q_values_agree_with_scipy():
    p = np.random.default_rng(0).random(40) ** 3

    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))


def test_a_whole_report_agrees_with_scipy():
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"x": rng.gamma(2, 1, 3000), "c": rng.choice(list("abc"), 3000)})
    current = pd.DataFrame({"x": rng.gamma(2, 1.1, 2000), "c": rng.choice(list("abc"), 2000)})

    features = check_drift(reference, current).features

    x = features["x"]
    assert x.statistic == pytest.approx(stats.ks_2samp(reference["x"], current["x"]).statistic)
    assert x.distances["wasserstein"] == pytest.approx(
        stats.wasserstein_distance(reference["x"], current["x"])
    )
    table = pd.concat([reference["c"].value_counts(), current["c"].value_counts()], axis=1)
    expected = stats.chi2_contingency(table, correction=False)
    assert features["c"].statistic == pytest.approx(expected.statistic)
    # of the tails of `x`, lower and upper ones of 0.5, 1 and 2 % of the rows of both
    rows = np.concatenate([reference["x"], current["x"]])
    tests = []
    for side in (-1, 1):
        for share in (0.005, 0.01, 0.02):
            threshold = np.quantile(side * rows, 1 - share)
            out = [(side * each["x"] > threshold).sum() for each in (reference, current)]
            table = [out, [3000 - out[0], 2000 - out[1]]]
            tests.append(stats.chi2_contingency(table, correction=False).pvalue)
    tails = next(check for check in x.checks if check.name == "tails")
    assert tails.p_value == pytest.approx(min(1.0, 6 * min(tests)), rel=0.2)
    q_values = stats.false_discovery_control([x.p_value, tails.p_value, expected.pvalue])
    found = [x.q_value, tails.q_value, features["c"].q_value]
    assert found == pytest.approx(q_values)
