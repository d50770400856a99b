from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from flytekitplugins.wbmon.stats.sliced_ks import sliced_ks_test, with_equal_slices


def slices(n: int, rows: float = 10) -> np.ndarray:
    """All rows at the first edge of each slice."""
    counts = np.zeros((n, 129))
    counts[:, 1] = rows
    return counts


def test_the_distance_and_the_largest_upper_bound_can_be_of_two_slices():
    reference, current = slices(32), slices(32)
    # 0.3 of the rows are at another edge, and no open cell has rows: the distance is exactly 0.3
    current[4, [1, 5]] = 7, 3
    # all rows of both windows are in one open cell: anything from 0 to 1
    reference[9], current[9] = 0, 0
    reference[9, 2] = current[9, 2] = 10

    found = sliced_ks_test(reference.ravel(), current.ravel())

    assert (found.value, found.bound) == pytest.approx((0.3, 0.7))


def test_the_slice_with_the_lowest_p_value_is_told_and_corrected_for_all():
    reference, current = slices(3, 4000), slices(3, 1000)
    current[0, [1, 5]] = 900, 100
    # a larger distance of few rows
    reference[1], current[1] = slices(1, 40), slices(1, 10)
    current[1, [1, 5]] = 8, 2

    found = sliced_ks_test(reference.ravel(), current.ravel(), alpha=0.1)

    assert found.value == pytest.approx(0.1)
    root = math.sqrt(4000 * 1000 / 5000)
    assert found.p_value == pytest.approx(3 * scipy_stats.kstwobign.sf(0.1 * root), rel=1e-6)
    margin = math.sqrt(math.log(2 / (0.1 / 3)) / 2 * (1 / 4000 + 1 / 1000))
    assert found.low == pytest.approx(0.1 - margin)


def test_of_several_certain_slices_the_one_that_moved_most_is_told():
    reference, current = slices(3, 10**6), slices(3, 10**6)
    for place, share in enumerate((0.4, 0.9, 0.6)):
        current[place, [1, 5]] = (1 - share) * 10**6, share * 10**6

    assert sliced_ks_test(reference.ravel(), current.ravel()).value == pytest.approx(0.9)


def test_a_slice_without_rows_is_left_out():
    reference, current = slices(2), slices(2)
    current[1] = 0
    reference[0, [1, 5]] = 5, 5

    found = sliced_ks_test(reference.ravel(), current.ravel())

    alone = sliced_ks_test(reference[0], current[0])
    assert found == alone
    assert all(map(math.isnan, sliced_ks_test(reference[1], current[1])))


def test_slices_are_scaled_to_as_many_rows_and_empty_ones_take_the_shares_of_the_other():
    counts, like = np.zeros((3, 129)), np.zeros((3, 129))
    counts[0, :2], counts[1, :4] = (30, 10), (1, 2, 3, 4)
    like[:, 7], like[:, 8] = 1, 4

    found = with_equal_slices(counts.ravel(), 200.0, like.ravel()).reshape(3, 129)

    assert found[0, :2].tolist() == [150, 50]
    assert found[1, :4] == pytest.approx([20, 40, 60, 80])
    assert found[2, 7:9].tolist() == [40, 160]
    assert found.sum(axis=1).tolist() == [200, 200, 200]
