from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.stats.binning import cell_counts, cumulative_shares, grid_edges
from flytekitplugins.wbmon.stats.divergence import (
    grid_wasserstein,
    hellinger_distance,
    jensen_shannon_distance,
    population_stability_index,
    share_moved,
    stability_index_bias,
    total_variation,
    total_variation_bias,
    wasserstein_distance,
)

counts = arrays(np.int64, 6, elements=st.integers(0, 500)).filter(lambda a: a.sum() > 0)
samples = arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e6, 1e6)).map(np.sort)
DISTANCES = [
    population_stability_index,
    jensen_shannon_distance,
    hellinger_distance,
    total_variation,
]


@pytest.mark.parametrize("distance", DISTANCES)
@given(a=counts, b=counts)
def test_distances_are_not_negative_and_do_not_care_for_order(distance, a, b):
    found = distance(a, b)

    assert found >= 0
    assert distance(a[::-1], b[::-1]) == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("distance", DISTANCES[1:])
@given(a=counts, b=counts)
def test_distances_are_symmetric_and_at_most_one(distance, a, b):
    assert distance(a, b) == pytest.approx(distance(b, a), abs=1e-12)
    assert distance(a, b) <= 1 + 1e-12


@pytest.mark.parametrize("distance", DISTANCES[1:])
@given(a=counts, factor=st.integers(1, 9))
def test_equal_proportions_are_no_distance(distance, a, factor):
    assert distance(a, factor * a) == pytest.approx(0, abs=1e-6)


@given(counts)
def test_equal_counts_have_a_stability_index_of_zero(a):
    assert population_stability_index(a, a) == 0


@pytest.mark.parametrize("distance", DISTANCES[1:])
def test_windows_without_a_shared_bin_are_at_distance_one(distance):
    assert distance([5, 0], [0, 9]) == pytest.approx(1)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_distance_to_an_empty_window_is_undefined(distance):
    assert math.isnan(distance([0, 0], [1, 2]))
    assert math.isnan(distance([1, 2], [0, 0]))


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("bad", [([1, 2], [1]), ([1, -1], [1, 1]), ([1, np.inf], [1, 1])])
def test_impossible_counts_are_refused(distance, bad):
    with pytest.raises(DataError, match=r"same bins|finite and not negative"):
        distance(*bad)


def test_one_stray_observation_in_a_new_bin_does_not_alarm():
    assert population_stability_index([1000, 1000, 0], [1000, 1000, 1]) < 0.001


def test_a_stability_index_worked_by_hand_is_reproduced():
    reference, current = [500, 500], [400, 600]

    expected = (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.6 - 0.5) * math.log(0.6 / 0.5)
    assert population_stability_index(reference, current, pseudocount=0) == pytest.approx(expected)


def test_the_bias_of_the_stability_index_is_its_mean_without_drift():
    rng = np.random.default_rng(0)
    share = np.full(10, 0.1)
    found = [
        population_stability_index(rng.multinomial(2000, share), rng.multinomial(1000, share))
        for _ in range(500)
    ]

    assert np.mean(found) == pytest.approx(stability_index_bias(10, 2000, 1000), rel=0.05)


def test_the_bias_of_total_variation_is_its_mean_without_drift():
    rng = np.random.default_rng(0)
    share = np.full(10, 0.1)
    pairs = [(rng.multinomial(2000, share), rng.multinomial(1000, share)) for _ in range(500)]

    found = [total_variation(a, b) for a, b in pairs]
    expected = [total_variation_bias(a, b, n=2000, m=1000) for a, b in pairs]

    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.03)


@given(samples, samples)
def test_wasserstein_is_symmetric(a, b):
    found = wasserstein_distance(a, b)

    assert found >= 0
    assert wasserstein_distance(b, a) == pytest.approx(found, rel=1e-9, abs=1e-9)


@given(samples, st.floats(-100, 100))
def test_wasserstein_of_a_shift_is_the_shift(a, shift):
    assert wasserstein_distance(a, a + shift) == pytest.approx(abs(shift), rel=1e-6, abs=1e-6)


@given(samples, samples, st.floats(0.1, 10))
def test_wasserstein_has_the_unit_of_the_values(a, b, scale):
    scaled = wasserstein_distance(scale * a, scale * b)

    assert scaled == pytest.approx(scale * wasserstein_distance(a, b), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(3, 7), (1000, 999), (70_000, 200_001)])
def test_wasserstein_of_windows_of_unequal_size_is_the_area_between_their_distributions(n, m):
    rng = np.random.default_rng(n)
    a, b = np.sort(rng.normal(size=n).round(2)), np.sort(rng.normal(0.1, 1.2, m).round(2))
    ends = np.unique(np.concatenate([a, b]))
    gaps = np.searchsorted(a, ends, "right") / n - np.searchsorted(b, ends, "right") / m
    area = float((np.abs(gaps[:-1]) * np.diff(ends)).sum())
    assert wasserstein_distance(a, b) == pytest.approx(area, rel=1e-9)
    assert wasserstein_distance(b, a) == pytest.approx(area, rel=1e-9)


def test_a_distance_that_is_not_part_of_the_wasserstein_distance_may_overflow():
    few, many = np.array([-1e308, 1e308]), np.array([-1e308, -1e308, -1e308, 1e308, 1e308, 1e308])
    with np.errstate(over="ignore"):
        assert wasserstein_distance(few, many) == 0


def test_wasserstein_of_an_empty_window_is_undefined():
    assert math.isnan(wasserstein_distance(np.empty(0), np.array([1.0])))


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_the_winsorised_distance_is_close_to_the_exact_one_for_light_tails(shift):
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.normal(0, 1, 20_000)), np.sort(rng.normal(shift, 1, 15_000))
    edges = grid_edges(a)
    shares = [cumulative_shares(cell_counts(x, edges)) for x in (a, b)]

    found = grid_wasserstein(edges, *shares)

    assert found == pytest.approx(wasserstein_distance(a, b), rel=0.02, abs=0.002)


def test_the_winsorised_distance_of_a_single_edge_is_zero():
    shares = cumulative_shares(np.array([1, 2, 3]))

    assert grid_wasserstein(np.array([1.0]), shares, shares) == 0


def test_half_a_row_is_added_to_every_bin_of_the_stability_index():
    p, q = np.array([8.5, 2.5, 0.5]) / 11.5, np.array([4.5, 12.5, 3.5]) / 20.5

    expected = float(((q - p) * np.log(q / p)).sum())
    assert population_stability_index([8, 2, 0], [4, 12, 3]) == pytest.approx(expected)
    assert population_stability_index([8, 0], [8, 0], pseudocount=0) == 0
    assert population_stability_index([8, 0], [7, 1], pseudocount=0) == math.inf


def test_the_bias_of_total_variation_is_a_sum_of_standard_errors():
    # pooled shares of 100 and 300 rows: (50 + 60) / 400 and (50 + 240) / 400
    error = math.sqrt(0.275 * 0.725 * (1 / 100 + 1 / 300))

    found = total_variation_bias([5, 5], [2, 8], n=100, m=300)

    assert found == pytest.approx(math.sqrt(2 / math.pi) * error)


@pytest.mark.parametrize("seed", range(20))
def test_the_winsorised_distance_is_the_area_between_two_broken_lines(seed):
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.uniform(0.1, 5, 6))
    # both tails of the reference hold so little that the outer cells are left out
    reference = np.array([0, 1, 0, *rng.integers(500, 4000, 7), 0, 1, 0])
    current = rng.integers(0, 900, 13)
    shares = [cumulative_shares(x) for x in (reference, current)]
    area = 0.0
    for i in range(5):
        if reference[: 2 * i + 2].sum() <= 0.001 * reference.sum():
            continue
        if reference[2 * i + 3 :].sum() <= 0.001 * reference.sum():
            continue
        x = np.linspace(0, 1, 200_001)
        f, g = ((1 - x) * up_to[i] + x * below[i + 1] for below, up_to in shares)
        area += np.abs(f - g).mean() * (edges[i + 1] - edges[i])

    assert grid_wasserstein(edges, *shares) == pytest.approx(area, rel=1e-4)


def test_the_stability_index_takes_proportions_as_well_as_counts():
    reference, current = np.array([0.5, 0.5]), np.array([0.4, 0.6])
    by_hand = 0.1 * math.log(0.5 / 0.4) + 0.1 * math.log(0.6 / 0.5)
    assert population_stability_index(reference, current, pseudocount=0) == pytest.approx(by_hand)
    assert population_stability_index([5, 5], current, pseudocount=0) == pytest.approx(by_hand)
    assert population_stability_index(reference, [4, 6], pseudocount=0) == pytest.approx(by_hand)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8, np.int64])
def test_counts_of_every_type_are_computed_with_in_64_bits(distance, dtype):
    a, b = np.array([3, 7, 100, 1], dtype=dtype), np.array([9, 20, 5, 66], dtype=dtype)
    exact = distance(a.astype(np.float64), b.astype(np.float64))
    assert distance(a, b.astype(np.float64)) == exact
    assert distance(a.astype(np.float64), b) == exact


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float16])
@pytest.mark.parametrize("n", [1, 2])
def test_the_distance_of_small_integers_does_not_overflow(dtype, n):
    largest = int(np.finfo(dtype).max if dtype is np.float16 else np.iinfo(dtype).max)
    low, high = np.array([-largest], dtype=dtype), np.full(n, largest, dtype=dtype)
    assert wasserstein_distance(low, high) == 2.0 * largest


def test_every_value_meets_its_neighbours_in_unsigned_integers_too():
    # 0, 0, 0, 200, 200, 200 against 100: each of the two quantile halves moves by 100
    few = np.array([100, 100], dtype=np.uint8)
    many = np.array([0, 0, 0, 200, 200], dtype=np.uint8)
    assert wasserstein_distance(few, many) == 100
    # the third of the five values lies across both halves: half of it moves by 200, half by 0
    few = np.array([0, 200], dtype=np.uint8)
    assert wasserstein_distance(few, many) == pytest.approx(0.1 * 200)
    assert wasserstein_distance(few[:1], np.array([200, 200], dtype=np.uint8)) == 200


def test_the_width_of_a_cell_does_not_overflow():
    below, up_to = np.array([0.2, 0.6]), np.array([0.4, 0.8])
    edges = np.array([-100, 100], dtype=np.int8)
    # |F - G| falls from 0.3 to 0.1 over a cell of width 200
    assert grid_wasserstein(edges, (below, up_to), (below - 0.1, up_to - 0.3)) == pytest.approx(40)


@pytest.mark.parametrize(("share", "counts"), [(0.0015, True), (0.0005, False)])
def test_a_tenth_of_a_percent_is_left_out_at_each_end(share, counts):
    reference = np.array([0, share, 1 - share]), np.array([share, 1 - share, 1])
    # in the current window nothing is in the first cell, or nothing in the last
    first = reference[0], reference[1] - np.array([share, 0, 0])
    last = reference[0] + np.array([0, 0, share]), reference[1]
    edges = np.array([0.0, 10.0, 20.0])
    moved = pytest.approx(10 * share / 2 if counts else 0)
    assert grid_wasserstein(edges, reference, first) == moved
    assert grid_wasserstein(edges, reference, last) == moved


@pytest.mark.parametrize("k", [2, 10, 50, 200])
@pytest.mark.parametrize("n", [500, 2_000])
@pytest.mark.parametrize("moved", [0.0, 0.1, 0.2])
def test_the_share_that_moved_is_estimated_wherever_it_moved_to(k, n, moved):
    rng = np.random.default_rng(0)
    even = np.full(k, 1 / k)
    few = min(5, max(1, k // 5))
    from_all, by_halves = even * (1 - moved / (1 - few / k)), even.copy()
    from_all[:few] += moved / (1 - few / k) / few
    by_halves[::2] += 2 * moved / k
    by_halves[1::2] -= 2 * moved / k

    for shares in (from_all, by_halves):
        found = []
        for _ in range(60):
            a, b = rng.multinomial(n, even), rng.multinomial(n, shares)
            found.append(share_moved(a, b, n=n, m=n))
        # what half of the categories gained and half lost is hard to tell from chance
        slack = 0.05 if k < n / 10 else 0.06
        assert np.mean(found) == pytest.approx(moved, abs=slack)


@given(counts, counts)
def test_the_share_that_moved_is_at_most_the_total_variation(a, b):
    k = min(len(a), len(b))
    a, b = np.array(a[:k]), np.array(b[:k])
    if a.sum() and b.sum():
        found = share_moved(a, b, n=float(a.sum()), m=float(b.sum()))
        assert 0 <= found <= total_variation(a, b) + 1e-12


def test_all_rows_moved_if_no_category_is_in_both():
    assert share_moved([100, 0], [0, 50], n=100, m=50) == 1
    assert share_moved([20] * 30 + [0] * 30, [0] * 30 + [20] * 30, n=600, m=600) == 1
