from __future__ import annotations

import math
from hashlib import shake_128

import numpy as np
import pytest

from flytekitplugins.wbmon.stats.projections import (
    are_held_out,
    lengths,
    principal_directions,
    project,
    slice_counts,
    slice_edges,
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


@pytest.mark.parametrize("dimension", [1, 3, 40])
def test_lengths_are_euclidean_within_a_tenth_of_a_percent(rng, dimension):
    vectors = rng.normal(size=(50, dimension)) * 10.0 ** rng.integers(-5, 6, (50, 1))

    found = lengths(vectors)

    assert found.shape == (50, 1)
    np.testing.assert_allclose(found[:, 0], np.linalg.norm(vectors, axis=1), rtol=0.7e-3)


def test_normed_vectors_have_one_length_in_every_precision(rng):
    vectors = rng.normal(size=(500, 384))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = [vectors.astype(dtype).astype(np.float64) for dtype in ("f8", "f4", "f2")]

    assert {length for each in stored for length in lengths(each).ravel()} == {1.0}


def test_huge_tiny_and_empty_vectors_have_finite_projections_and_lengths():
    largest = np.finfo(np.float64).max
    vectors = np.array([[largest] * 8, [-largest, largest] * 4, [5e-324] * 8, [0.0] * 8])

    projected, length = project(vectors), lengths(vectors)[:, 0]

    assert np.isfinite(projected).all()
    assert length.tolist()[0] == length.tolist()[1] == 2.0**1023
    assert length[3] == 0
    assert length[2] == pytest.approx(5e-324 * math.sqrt(8), rel=0.5)
    assert np.isfinite(slice_edges(projected)).all()
    # a large scale changes nothing but the scale
    some = np.random.default_rng(0).normal(size=(20, 8))
    np.testing.assert_allclose(project(some * 2.0**600), project(some) * 2.0**600, rtol=1e-9)


def test_principal_directions_are_those_of_the_covariance(rng):
    scales = np.array([9.0, 5.0, 3.0, 2.0, *np.full(16, 0.3)])
    turn = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    vectors = (rng.normal(size=(3000, 20)) * scales) @ turn.T + 100

    found = principal_directions(vectors)

    expected = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2][:4]
    assert found.shape == (20, 4)
    np.testing.assert_allclose(np.abs((expected @ found).diagonal()), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "k"),
    [
        (np.ones((50, 3)), 0),
        (np.zeros((50, 3)), 0),
        (np.empty((0, 3)), 0),
        (np.ones((1, 3)), 0),
        (np.outer(np.arange(50.0), [1, 2, 2]), 1),
        (np.outer(np.arange(50.0), [1, 2, 2]) * 1e306, 1),
        (np.arange(50.0)[:, None], 1),
        (np.random.default_rng(0).normal(size=(50, 2)), 2),
        (np.random.default_rng(0).normal(size=(3, 200)), 2),
    ],
)
def test_there_are_as_many_principal_directions_as_vectors_differ_in(vectors, k):
    found = principal_directions(vectors)

    assert found.shape == (vectors.shape[1], k)
    np.testing.assert_allclose(found.T @ found, np.eye(k), atol=1e-4)


def test_three_in_four_vectors_are_held_out_whatever_their_order_and_sign_of_zero(rng):
    vectors = rng.integers(-2, 3, (4000, 5)) / 2

    found = are_held_out(vectors)

    assert np.mean(are_held_out(rng.normal(size=(20_000, 3)))) == pytest.approx(0.75, abs=0.015)
    np.testing.assert_array_equal(are_held_out(vectors[::-1])[::-1], found)
    np.testing.assert_array_equal(are_held_out(np.where(vectors == 0, -0.0, vectors)), found)
    _, first, where = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(found[first][where.ravel()], found)
