from __future__ import annotations

import math
from hashlib import shake_128

import numpy as np
import pytest

from flytekitplugins.wbmon.stats.projections import (
    project,
    slice_counts,
    slice_edges,
    sliced_ks_statistic,
)


@pytest.mark.parametrize("dimension", [1, 2, 3, 50])
def test_directions_are_unit_vectors_from_a_hash_of_the_dimension(dimension):
    digest = shake_128(f"directions of dimension {dimension}".encode()).digest(dimension * 256)
    words = [int.from_bytes(digest[i : i + 2], "little") for i in range(0, len(digest), 2)]
    sums = [sum(words[i : i + 4]) - 2 * (2**16 - 1) for i in range(0, len(words), 4)]
    columns = [sums[i::32] for i in range(32)]
    expected = [[x / math.sqrt(sum(y * y for y in column)) for x in column] for column in columns]

    found = project(np.eye(dimension))

    np.testing.assert_allclose(found.T, expected, rtol=1e-12)


def test_directions_point_everywhere():
    found = project(np.eye(50))

    # signs alone would have a kurtosis of 1, a normal distribution 3, and sums of four 2.7
    assert np.mean(found**4) * 50**2 == pytest.approx(2.7, abs=0.4)
    assert np.abs(found.mean()) < 0.02


def test_vectors_without_a_dimension_are_all_projected_on_zero():
    assert project(np.empty((3, 0))).tolist() == [[0.0] * 32] * 3


def test_edges_are_sixty_four_quantiles_of_each_direction(rng: np.random.Generator):
    offsets = 1000.0 * np.arange(32)
    # 127 values from 0 to 126: every second one is a quantile
    values = np.stack([rng.permutation(127) for _ in range(32)], axis=1) + offsets

    edges = slice_edges(values).reshape(32, 64)

    np.testing.assert_array_equal(edges, np.arange(0, 127, 2) + offsets[:, None])


def test_equal_quantiles_are_moved_apart_by_the_smallest_step():
    edges = slice_edges(np.ones((5, 32))).reshape(32, 64)

    steps = 1 + np.arange(64) * np.finfo(np.float64).eps
    np.testing.assert_array_equal(edges, np.tile(steps, (32, 1)))


def test_rows_are_counted_below_at_and_between_the_edges_of_each_direction(
    rng: np.random.Generator,
):
    edges = slice_edges(rng.integers(0, 500, (200, 32)).astype(float))
    rows = rng.integers(-20, 520, (300, 32)).astype(float)

    found = slice_counts(rows, edges).reshape(32, 129)

    for direction, grid in enumerate(edges.reshape(32, 64)):
        # twice the edges below a value, and one more at an edge, is the cell of the value
        cells = [2 * int((grid < x).sum()) + int((grid == x).any()) for x in rows[:, direction]]
        assert found[direction].tolist() == np.bincount(cells, minlength=129).tolist()


def test_the_largest_distance_and_the_largest_upper_bound_can_be_of_two_directions():
    reference, current = np.zeros((32, 129)), np.zeros((32, 129))
    reference[:, 1] = current[:, 1] = 10  # equal windows, except in two directions
    # 0.3 of the rows are at another edge, and no open cell has rows: the distance is exactly 0.3
    current[4, [1, 5]] = 7, 3
    # all rows of both windows are in one open cell: anything from 0 to 1
    reference[9], current[9] = 0, 0
    reference[9, 2] = current[9, 2] = 10

    found = sliced_ks_statistic(reference.ravel(), current.ravel())

    assert found == pytest.approx((0.3, 0.7))
