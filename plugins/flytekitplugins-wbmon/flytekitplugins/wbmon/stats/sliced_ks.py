"""The Kolmogorov-Smirnov test of vectors, from the counts of their slices."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.stats.interval import ks_margin
from flytekitplugins.wbmon.stats.projections import SLICE_CELLS
from flytekitplugins.wbmon.stats.two_sample import grid_ks_statistic, ks_p_value


class SlicedKS(NamedTuple):
    """The test of the slice that tells most.

    Attributes:
        value: Its Kolmogorov-Smirnov distance, a lower bound of the exact one; in [0, 1].
        bound: How much larger the exact distance of any slice can be.
        p_value: Its p-value with Bonferroni's correction over the slices; in [0, 1].
        low: Lower confidence bound of its distance, corrected likewise.
    """

    value: float
    bound: float
    p_value: float
    low: float


def sliced_ks_test(
    reference_counts: NDArray[np.float64],
    current_counts: NDArray[np.float64],
    *,
    alpha: float = 0.05,
) -> SlicedKS:
    """Test each slice, and tell the one with the lowest p-value.

    Args:
        reference_counts: Counts of the reference, as `slice_counts` returns them, scaled to its
            effective number of rows. Slices may have different numbers of rows; those in which a
            window has none are left out.
        current_counts: Counts of the current window in the same cells, likewise.
        alpha: One minus the coverage of the lower bound; in (0, 1).

    Returns:
        The test; all `nan` if no slice has rows of both windows.
    """
    found = []
    a, b = (counts.reshape(-1, SLICE_CELLS) for counts in (reference_counts, current_counts))
    for before, now in zip(a, b, strict=True):
        n, m = float(before.sum()), float(now.sum())
        if min(n, m) > 0:
            found.append((grid_ks_statistic(before, now), n, m))
    if not found:
        return SlicedKS(math.nan, math.nan, math.nan, math.nan)
    tests = [(ks_p_value(distance.value, n, m), -distance.value) for distance, n, m in found]
    # of several whose p-value is 0 the one with the largest distance
    telling = min(range(len(found)), key=tests.__getitem__)
    distance, n, m = found[telling]
    limit = max(each.value + each.bound for each, _, _ in found)
    return SlicedKS(
        value=distance.value,
        bound=max(0.0, limit - distance.value),
        p_value=min(1.0, len(found) * tests[telling][0]),
        low=max(0.0, distance.value - ks_margin(n, m, alpha=alpha / len(found))),
    )


def with_equal_slices(
    counts: NDArray[np.float64], n_rows: float, like: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Counts of slices, each scaled to the same number of rows.

    Args:
        counts: Counts of all slices of one window.
        n_rows: The number of rows.
        like: Counts of another window, of which an empty slice takes the shares.
    """
    slices, others = (each.reshape(-1, SLICE_CELLS) for each in (counts, like))
    is_empty = slices.sum(axis=1, keepdims=True) <= 0
    filled = np.where(is_empty, others, slices)
    total = filled.sum(axis=1, keepdims=True)
    return np.asarray(n_rows * filled / np.where(total > 0, total, 1.0)).ravel()
