"""The distances that explain a finding, against scipy and their formulas."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from flytekitplugins.wbmon.monitor.drift.distances import (
    ExactDistances,
    bin_distances,
    number_distances,
    ratio_of_spreads,
    sample_factor,
    scaled_counts,
)
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, WeightSums

EDGES = np.arange(40.0)


def profile(values: np.ndarray) -> FeatureProfile:
    """A profile of whole numbers below 40, each of which has its own cell."""
    counts = np.zeros(2 * len(EDGES) + 1)
    counts[1::2] = np.bincount(values, minlength=len(EDGES))
    return FeatureProfile(
        name="x",
        kind="integer",
        n_rows=len(values),
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean=float(values.mean()),
        squared=float(values.var() * len(values)),
        edges=EDGES,
        counts=counts,
    )


UNIFORM = np.tile(np.arange(40), 20)  # 80 rows in each decile
SKEWED = np.repeat(np.arange(40), np.arange(40))


def expected_of_bins(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Each distance by its formula or by scipy."""
    p, q = a / a.sum(), b / b.sum()
    # half a row in every bin, so that none is empty
    ps, qs = (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum()
    index = float(((qs - ps) * np.log(qs / ps)).sum())
    return {
        "psi": index,
        "psi_corrected": max(0.0, index - (len(a) - 1) * (1 / a.sum() + 1 / b.sum())),
        "jensen_shannon": float(jensenshannon(p, q, base=2)),
        "hellinger": float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2)),
        "total_variation": float(np.abs(p - q).sum() / 2),
    }


@pytest.mark.parametrize("b", [(10, 30, 60), (31, 29, 40), (30, 30, 40)])
def test_distances_of_bins_are_those_of_scipy_and_of_their_formulas(b):
    a, b = np.array([30.0, 30.0, 40.0]), np.array(b, dtype=float)
    assert bin_distances(a, b) == pytest.approx(expected_of_bins(a, b), abs=1e-12)
    assert bin_distances(a, b)["psi_corrected"] >= 0


def test_numbers_are_compared_by_the_deciles_of_the_reference():
    found = number_distances(profile(UNIFORM), profile(SKEWED), None)

    deciles = [np.bincount(values // 4, minlength=10) for values in (UNIFORM, SKEWED)]
    assert found == pytest.approx(found | expected_of_bins(*deciles))


def test_cramer_von_mises_is_that_of_scipy():
    found = number_distances(profile(UNIFORM), profile(SKEWED), None)["cramer_von_mises"]
    n, m = len(UNIFORM), len(SKEWED)
    # Anderson (1962), from the mid-ranks is another tie rule; by the definition instead
    values = np.concatenate((UNIFORM, SKEWED))
    gaps = [np.mean(value >= UNIFORM) - np.mean(value >= SKEWED) for value in values]
    assert found == pytest.approx(np.square(gaps).sum() / (n + m))


def test_without_the_values_the_wasserstein_distance_leaves_out_the_tails():
    found = number_distances(profile(UNIFORM), profile(SKEWED), None)
    exact = stats.wasserstein_distance(UNIFORM, SKEWED)
    # no share of 0.1 % lies in a tail here, so nothing is left out
    assert found["wasserstein_winsorised"] == pytest.approx(exact)
    assert found["wasserstein_winsorised_normed"] == pytest.approx(exact / np.std(UNIFORM))
    assert "wasserstein" not in found


def test_with_the_values_the_wasserstein_distance_is_exact():
    exact = ExactDistances(ks=0.5, wasserstein=6.0)
    found = number_distances(profile(UNIFORM), profile(SKEWED), exact)
    assert found["wasserstein"] == 6.0
    assert found["wasserstein_normed"] == pytest.approx(6.0 / np.std(UNIFORM))
    assert "wasserstein_winsorised" not in found


def test_a_constant_reference_has_no_scale():
    constant = profile(np.full(100, 7))
    found = number_distances(constant, profile(UNIFORM), ExactDistances(ks=1, wasserstein=6.0))
    assert found["wasserstein"] == 6.0
    assert "wasserstein_normed" not in found


def test_edges_near_the_largest_float_do_not_warn():
    values = np.array([-1.7e308, 1.7e308])
    wide = FeatureProfile(
        name="x",
        kind="float",
        n_rows=100,
        minimum=-1.7e308,
        maximum=1.7e308,
        mean=0.0,
        squared=math.inf,
        edges=values,
        counts=np.array([0.0, 50.0, 0.0, 50.0, 0.0]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = number_distances(wide, wide, None)
    assert found["psi"] == 0.0


def test_small_numbers_have_a_scale_too():
    small = replace(profile(UNIFORM), mean=0.1, squared=0.25 * len(UNIFORM))
    found = number_distances(small, profile(SKEWED), ExactDistances(ks=0.5, wasserstein=6.0))
    assert found["wasserstein_normed"] == pytest.approx(12.0)


def test_the_interval_of_the_spread_knows_how_heavy_the_tails_are():
    """Every row of the window is its smallest value but for one, far beyond the last edge."""
    far, near = (replace(profile(np.arange(40)), maximum=maximum) for maximum in (4000.0, 39.0))
    counts = far.counts + np.eye(1, len(far.counts), len(far.counts) - 1)[0]
    rule = DriftRule()

    def width(feature: FeatureProfile) -> float:
        ratio = ratio_of_spreads(replace(feature, counts=counts, n_rows=41), near, rule)
        return ratio.high - ratio.low

    assert width(far) > 2 * width(near)

    below = far.counts + np.eye(1, len(far.counts))[0]
    low = replace(profile(np.arange(40)), counts=below, n_rows=41, minimum=-4000.0)
    deep = ratio_of_spreads(low, near, rule)
    assert deep.high - deep.low > 2 * width(near)


def weighted(rows: float, squared: float) -> FeatureProfile:
    sums = WeightSums(rows=rows, rows_squared=squared, values_squared=squared)
    counts = np.array([0.0, rows, 0.0])
    return FeatureProfile(
        name="x", kind="float", n_rows=9, edges=np.zeros(1), counts=counts, weights=sums
    )


@pytest.mark.parametrize(
    ("rows", "squared", "factor"),
    [
        (12.0, 36.0, 12.0**2 / 36 / 12),  # Kish (1965): (sum w)^2 / sum w^2 rows in effect
        (0.5, 0.25, 2.0),
        (0.0, 0.0, 1.0),
    ],
)
def test_weights_are_scaled_to_the_effective_number_of_rows(rows, squared, factor):
    feature = weighted(rows, squared)
    assert sample_factor(feature) == pytest.approx(factor)
    assert scaled_counts(feature).tolist() == pytest.approx([0.0, factor * rows, 0.0])


def test_rows_without_weights_count_once():
    assert sample_factor(profile(UNIFORM)) == 1.0
    assert scaled_counts(profile(UNIFORM)).sum() == len(UNIFORM)
