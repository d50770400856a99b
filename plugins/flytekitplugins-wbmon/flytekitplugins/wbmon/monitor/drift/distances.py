"""Distances between two windows of a feature. They explain a finding; no verdict uses them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flytekitplugins.wbmon.monitor.drift.report import Shift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.binning import cumulative_shares, quantile_groups, sum_groups
from flytekitplugins.wbmon.stats.divergence import (
    grid_wasserstein,
    hellinger_distance,
    jensen_shannon_distance,
    population_stability_index,
    stability_index_bias,
    total_variation,
)
from flytekitplugins.wbmon.stats.moments import Moments, grid_kurtosis, mean_shift, spread_ratio
from flytekitplugins.wbmon.stats.two_sample import cramer_von_mises_statistic

_DECILES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDistances:
    """Distances that need the sorted values of both windows.

    Attributes:
        ks: Kolmogorov-Smirnov distance, in [0, 1].
        wasserstein: Wasserstein-1 distance, in the feature's unit.
    """

    ks: float
    wasserstein: float


def number_distances(
    reference: FeatureProfile, current: FeatureProfile, exact: ExactDistances | None
) -> dict[str, float]:
    """Distances of two windows of a numeric feature.

    Args:
        reference: The feature in the reference window.
        current: The feature in the current window, counted into the same grid.
        exact: Distances computed from the sorted values; None if only counts are available.

    Returns:
        Distances by name. Those of `bin_distances` are over the deciles of the reference, the
        Cramér-von Mises distance is over the grid. The Wasserstein distance is exact, or computed
        from the grid without the tails and then named `wasserstein_winsorised`; `…_normed` is it
        divided by the standard deviation of the reference.
    """
    # deciles, not equal widths: one outlier would put nearly all rows into one bin
    groups = quantile_groups(np.asarray(reference.counts), n_groups=_DECILES)
    a, b = scaled_counts(reference), scaled_counts(current)
    distances = bin_distances(sum_groups(a, groups), sum_groups(b, groups))
    distances["cramer_von_mises"] = cramer_von_mises_statistic(a, b)
    if exact is None:
        name = "wasserstein_winsorised"
        # edges near the largest float: their distance overflows to inf
        with np.errstate(over="ignore"):
            distance = grid_wasserstein(
                np.asarray(reference.edges), cumulative_shares(a), cumulative_shares(b)
            )
    else:
        name, distance = "wasserstein", exact.wasserstein
    distances[name] = distance
    # a constant reference has no scale to compare with
    if reference.std > 0:
        distances[f"{name}_normed"] = distance / reference.std
    return distances


def shift_of_mean(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule) -> Shift:
    """Difference of the means, current minus reference, in the feature's unit."""
    n, m = reference.effective_values, current.effective_values
    value, low, high = mean_shift(
        _moments(reference), _moments(current), n=n, m=m, alpha=rule.alpha
    )
    return Shift(value=value, low=low, high=high)


def ratio_of_spreads(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule) -> Shift:
    """Ratio of the standard deviations, current over reference."""
    value, low, high = spread_ratio(
        _moments(reference),
        _moments(current),
        n=reference.effective_values,
        m=current.effective_values,
        kurtosis=(_kurtosis(reference), _kurtosis(current)),
        alpha=rule.alpha,
    )
    return Shift(value=value, low=low, high=high)


def bin_distances(reference: Floats, current: Floats) -> dict[str, float]:
    """Distances of two windows that are counted into the same bins.

    Args:
        reference: Rows per bin of the reference, or counts scaled to its effective sample size.
        current: Rows per bin of the current window, scaled likewise.

    Returns:
        Distances by name. `psi_corrected` is the population stability index minus its expectation
        without drift, not below 0.
    """
    stability = population_stability_index(reference, current)
    bias = stability_index_bias(len(reference), float(reference.sum()), float(current.sum()))
    return {
        "psi": stability,
        "psi_corrected": max(0.0, stability - bias),
        "jensen_shannon": jensen_shannon_distance(reference, current),
        "hellinger": hellinger_distance(reference, current),
        "total_variation": total_variation(reference, current),
    }


def scaled_counts(feature: FeatureProfile) -> Floats:
    """Counts, scaled so that they sum to the effective sample size."""
    return sample_factor(feature) * np.asarray(feature.counts, dtype=np.float64)


def sample_factor(feature: FeatureProfile) -> float:
    """Factor from sums of weights to an effective number of rows; 1 if rows were not weighted."""
    if feature.weights is None or feature.value_weight <= 0:
        return 1.0
    return feature.effective_values / feature.value_weight


def _moments(feature: FeatureProfile) -> Moments:
    return Moments(feature.value_weight, feature.mean, feature.squared)


def _kurtosis(feature: FeatureProfile) -> float:
    return grid_kurtosis(
        np.asarray(feature.edges),
        np.asarray(feature.counts),
        minimum=feature.minimum,
        maximum=feature.maximum,
    )
