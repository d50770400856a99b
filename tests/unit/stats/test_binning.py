from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flytekitplugins.wbmon.stats.binning import (
    cell_counts,
    cumulative_shares,
    grid_edges,
    quantile_groups,
    sum_groups,
    weighted_cell_counts,
)

numbers = arrays(
    np.float64,
    st.integers(0, 80),
    elements=st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 2.0])),
)


def test_few_distinct_values_are_all_edges():
    assert grid_edges(np.array([1.0, 1.0, 2.0, 2.0, 5.0, 5.0])).tolist() == [1, 2, 5]


def test_edges_lie_at_the_quantiles():
    edges = grid_edges(np.arange(10_001.0), size=11)

    assert edges.tolist() == [i * 1000.0 for i in range(11)]


def test_as_many_distinct_values_as_edges_are_wanted_are_all_edges():
    values = np.array([0.0] * 50 + [1.0, 2.0, 3.0])
    assert grid_edges(values, size=4).tolist() == [0, 1, 2, 3]
    assert len(grid_edges(values, size=3)) < 4


def test_a_grid_answers_to_one_part_in_1024():
    # a cell between edges must hold no more than that share of rows, or the statistics lose more
    values = np.arange(1_000_000.0)
    counts = cell_counts(values, grid_edges(values))
    assert counts[2::2].max() <= len(values) / 1023
    assert len(counts) == 2 * 1024 + 1


def test_a_grid_has_1024_edges_unless_another_size_is_asked_for():
    assert len(grid_edges(np.arange(5000.0))) == len(grid_edges(np.arange(1024.0))) == 1024


def test_counts_are_whole_numbers():
    assert cell_counts(np.array([1.0, 2.0]), np.array([1.5])).dtype == np.int64
    assert cell_counts(np.array([1.0, 2.0]), np.empty(0)).dtype == np.int64


def test_a_value_that_many_share_is_one_edge():
    values = np.sort(np.concatenate((np.zeros(5000), np.arange(1.0, 5001.0))))

    edges = grid_edges(values, size=101)

    assert (edges == 0).sum() == 1
    assert len(edges) == 51


def test_no_values_have_no_edges_and_one_cell():
    edges = grid_edges(np.empty(0))

    assert edges.tolist() == []
    assert cell_counts(np.array([1.0, 2.0]), edges).tolist() == [2]
    assert weighted_cell_counts(np.array([1.0]), np.array([0.5]), edges).tolist() == [0.5]


def test_cells_alternate_between_open_ranges_and_edges():
    values = np.array([-1.0, 0.0, 0.0, 0.5, 1.0, 9.0])

    assert cell_counts(values, np.array([0.0, 1.0])).tolist() == [1, 2, 1, 1, 1]


@given(numbers, numbers)
def test_every_value_is_in_one_cell(grid, values):
    edges = grid_edges(np.sort(grid), size=7)

    counts = cell_counts(np.sort(values), edges)

    assert counts.sum() == len(values)
    assert (counts >= 0).all()


@given(numbers, numbers)
def test_weights_of_one_count_rows(grid, values):
    edges = grid_edges(np.sort(grid), size=7)

    weighted = weighted_cell_counts(values, np.ones(len(values)), edges)

    assert weighted.tolist() == cell_counts(np.sort(values), edges).tolist()


@given(numbers, numbers, numbers)
def test_counts_of_two_parts_add_up_to_those_of_the_whole(grid, a, b):
    edges = grid_edges(np.sort(grid), size=7)

    parts = cell_counts(np.sort(a), edges) + cell_counts(np.sort(b), edges)

    whole = cell_counts(np.sort(np.concatenate((a, b))), edges)
    np.testing.assert_array_equal(parts, whole)


def test_cumulative_shares_are_those_below_and_up_to_each_edge():
    below, up_to = cumulative_shares(np.array([1, 2, 1, 0, 4]))

    assert below.tolist() == [0.125, 0.5]
    assert up_to.tolist() == [0.375, 0.5]


def test_cumulative_shares_of_three_edges_skip_none():
    below, up_to = cumulative_shares(np.array([1, 1, 1, 1, 1, 1, 2]) / 32)

    assert below.tolist() == [1 / 8, 3 / 8, 5 / 8]
    assert up_to.tolist() == [2 / 8, 4 / 8, 6 / 8]


def test_cumulative_shares_of_nothing_are_zero():
    below, up_to = cumulative_shares(np.zeros(3, dtype=np.int64))

    assert below.tolist() == up_to.tolist() == [0]


def test_groups_hold_about_equal_mass():
    counts = np.full(100, 10)

    groups = quantile_groups(counts, n_groups=10)

    assert sum_groups(counts, groups).tolist() == [100.0] * 10


def test_a_heavy_cell_is_a_group_of_its_own():
    groups = quantile_groups(np.array([5, 90, 5]), n_groups=10)

    assert groups.tolist() == [0, 1, 2]


def test_an_empty_cell_at_the_end_joins_the_last_group():
    assert quantile_groups(np.array([5, 5, 0]), n_groups=2).tolist() == [0, 1, 1]


def test_one_row_makes_two_groups_if_a_cell_before_it_is_empty():
    assert quantile_groups(np.array([0, 1, 0]), n_groups=4).tolist() == [0, 1, 2]


def test_no_counts_make_one_group():
    assert quantile_groups(np.zeros(5), n_groups=10).tolist() == [0] * 5


@given(arrays(np.int64, st.integers(1, 50), elements=st.integers(0, 1000)))
def test_groups_are_consecutive_and_lose_nothing(counts):
    groups = quantile_groups(counts, n_groups=10)

    assert groups[0] == 0
    assert set(np.diff(groups)) <= {0, 1}
    assert groups[-1] < 10
    assert sum_groups(counts, groups).sum() == pytest.approx(counts.sum())


@given(
    st.lists(st.integers(-(2**62), 2**62) | st.integers(2**60, 2**60 + 9), min_size=1),
    st.lists(st.integers(2**60, 2**60 + 9) | st.integers(0, 9), min_size=1, unique=True),
    st.sampled_from([np.float64, np.uint64, np.int64]),
)
def test_values_are_counted_at_the_edge_that_they_are(numbers, edges, dtype):
    """Wide whole numbers, of which several are one float."""
    values = np.sort(np.array([n for n in numbers if n >= 0 or dtype != np.uint64], dtype=dtype))
    edges = sorted(edges)
    expected = [0] * (2 * len(edges) + 1)
    for value in values.tolist():
        # numbers of Python are compared as they are
        below = sum(edge < value for edge in edges)
        expected[2 * below + (value in edges)] += 1

    assert cell_counts(values, np.array(edges)).tolist() == expected
    weights = np.full(len(values), 0.5)
    weighted = weighted_cell_counts(values[::-1], weights, np.array(edges))
    assert weighted.tolist() == [count / 2 for count in expected]


@pytest.mark.parametrize(
    ("value", "edges", "counts"),
    [
        (2.0**53, [2**53, 2**53 + 1], [0, 1, 0, 0, 0]),
        (2.0**53 + 4, [2**53 + 3, 2**53 + 4], [0, 0, 0, 1, 0]),
        (-(2.0**53), [-(2**53) - 1, -(2**53)], [0, 0, 0, 1, 0]),
        (2.0**60, [2**60 - 1, 2**60], [0, 0, 0, 1, 0]),
    ],
)
def test_the_first_whole_numbers_that_share_a_float_are_told_apart(value, edges, counts):
    values, weight = np.array([value]), np.array([0.5])

    assert cell_counts(values, np.array(edges)).tolist() == counts
    weighted = weighted_cell_counts(values, weight, np.array(edges))
    assert weighted.tolist() == [count / 2 for count in counts]
