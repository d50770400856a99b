from __future__ import annotations

import math
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.stats import distinct
from flytekitplugins.wbmon.stats.distinct import (
    N_BUCKETS,
    SKETCH_SIZE,
    bucket_counts,
    frequent_share,
    merge_sketches,
    n_clusters,
    n_distinct,
    repeated_share,
    rows_of_most,
    share_below,
    shared_sample,
    sketch_distinct,
)

HASHES = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 12), max_size=40)


@pytest.fixture
def small_sketches(monkeypatch):
    """Sketches so small that a few rows fill them."""
    monkeypatch.setattr(distinct, "SKETCH_SIZE", 8)


def array(hashes):
    return np.array(hashes, dtype=np.uint64)


def plain(sketch):
    return sketch.hashes.tolist(), sketch.counts.tolist(), sketch.n_rows


@pytest.mark.usefixtures("small_sketches")
@settings(deadline=None)
@given(HASHES, st.lists(st.integers(0, 40), max_size=4), st.randoms())
def test_merging_any_parts_in_any_order_gives_the_whole(hashes, cuts, random):
    bounds = [0, *sorted(cuts), len(hashes)]
    parts = [sketch_distinct(array(hashes[a:b])) for a, b in pairwise(bounds)]
    whole = plain(sketch_distinct(array(hashes)))

    assert plain(reduce(merge_sketches, parts)) == whole
    random.shuffle(parts)
    while len(parts) > 1:
        parts.append(merge_sketches(parts.pop(0), parts.pop(0)))
    assert plain(parts[0]) == whole


@pytest.mark.usefixtures("small_sketches")
@settings(deadline=None)
@given(HASHES, st.integers(1, 400))
def test_a_sketch_has_the_lowest_hashes_with_all_their_rows(hashes, times):
    sketch = sketch_distinct(np.tile(array(hashes), times))
    lowest = sorted(set(hashes))[:8]

    assert sketch.hashes.tolist() == lowest
    assert sketch.counts.tolist() == [hashes.count(one) * times for one in lowest]
    assert sketch.is_exact == (len(set(hashes)) <= 8)


def test_few_values_are_counted_exactly():
    hashes = np.random.default_rng(1).integers(0, 2**64, SKETCH_SIZE, dtype=np.uint64)
    sketch = sketch_distinct(np.repeat(hashes, 20))
    assert n_distinct(sketch) == (SKETCH_SIZE, 0.0)
    assert repeated_share(sketch) == pytest.approx(0.95)


def test_many_values_are_estimated_without_bias_and_with_the_error_that_is_said():
    rng = np.random.default_rng(2)
    errors = []
    for _ in range(200):
        hashes = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
        estimate, relative = n_distinct(sketch_distinct(hashes))
        errors.append((estimate / 20_000 - 1) / relative)

    assert relative == pytest.approx(1 / 32, rel=0.01)
    assert abs(np.mean(errors)) < 4 / math.sqrt(200)
    # a little less, as the values are not without limit: by the root of 1 - 1024 / 20000
    assert 0.8 < np.std(errors) < 1.15


def test_frequent_low_hashes_do_not_push_others_out():
    rare = np.arange(100_000, 102_000)
    hashes = np.concatenate((np.repeat(np.arange(10), 20_000), rare))
    sketch = sketch_distinct(np.random.default_rng(3).permutation(array(hashes)))
    assert sketch.hashes.tolist() == [*range(10), *rare[: SKETCH_SIZE - 10]]
    assert sketch.counts.sum() == 200_000 + SKETCH_SIZE - 10


def test_no_rows():
    sketch = sketch_distinct(array([]))
    assert n_distinct(sketch) == (0.0, 0.0)
    assert math.isnan(repeated_share(sketch))
    assert plain(merge_sketches(sketch, sketch_distinct(array([5, 5])))) == ([5], [2], 2)


def test_all_hashes_are_below_the_largest():
    assert share_below(np.uint64(2**64 - 1)) == 1.0
    assert share_below(np.uint64(2**63 - 1)) == 0.5
    assert share_below(np.uint64(0)) == 2.0**-64


def test_the_estimate_is_that_of_the_largest_hash():
    """Four hashes in the lower half of all: two more of that density lie in the whole, less one."""
    hashes = array([2**60, 2**61, 2**62, 2**63 - 1])
    sketch = distinct.DistinctSketch(hashes, np.ones(4, dtype=np.int64), n_rows=100)

    assert n_distinct(sketch) == pytest.approx((3 / 0.5, 1 / math.sqrt(2)))
    assert repeated_share(sketch) == pytest.approx(0.94)


def rows(*counts):
    return sketch_distinct(np.repeat(np.arange(1, len(counts) + 1, dtype=np.uint64), counts))


@pytest.mark.parametrize(
    ("counts", "share"),
    [
        ((7,), 1.0),
        ((1,), 1.0),
        ((3, 3, 3), 0.0),
        ((8, 1, 1), 0.7),
        ((6, 2), 0.5),
        ((1, 1, 2), 0.25),
    ],
)
def test_the_frequent_share_is_what_the_most_frequent_value_has_beyond_the_others(counts, share):
    assert frequent_share(rows(*counts)) == pytest.approx(share)


@pytest.mark.parametrize("at", [0, 2**63])
def test_a_frequent_value_is_seen_whether_or_not_its_hash_is_in_the_sketch(at):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    even = frequent_share(sketch_distinct(hashes))
    hashes[:12_000] = at

    # 60 %, less two standard errors of 3 % of the others
    assert frequent_share(sketch_distinct(hashes)) == pytest.approx(0.6, abs=0.06)
    assert even < 0.03


@pytest.mark.parametrize(
    ("counts", "n"), [((), 0), ((1,) * 7, 7), ((5,), 1), ((3, 3, 3), 3), ((2, 1, 1), 16 / 6)]
)
def test_rows_of_one_value_are_worth_one_if_all_are_equally_frequent(counts, n):
    assert n_clusters(rows(*counts)) == pytest.approx(n)


@pytest.mark.parametrize(
    ("counts", "n"),
    [((1,) * 7, 1), ((5,), 5), ((1,) * 9 + (3,), 3), ((1,) * 90 + (10,), 1), ((8, 1, 1), 8)],
)
def test_nine_in_ten_rows_are_in_values_of_at_most_so_many(counts, n):
    assert rows_of_most(rows(*counts)) == n


def test_clusters_of_many_values_are_estimated_by_those_in_the_sketch():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        sizes = 1 + rng.poisson(3, 20_000)
        hashes = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
        found.append(n_clusters(sketch_distinct(np.repeat(hashes, sizes))))
        truth = sizes.sum() ** 2 / (sizes**2).sum()
    assert np.mean(found) == pytest.approx(truth, rel=0.02)
    assert np.std(found) < 0.06 * truth


def test_a_sample_of_two_columns_has_all_rows_of_each_value_that_is_in_it():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**64, 6_000, dtype=np.uint64)
    one, other = values[rng.integers(0, 4_000, 9_000)], values[rng.integers(2_000, 6_000, 5_000)]

    sample = shared_sample(sketch_distinct(one), sketch_distinct(other))

    lowest = np.sort(np.union1d(one, other))[: SKETCH_SIZE - 1]
    assert sample.one.tolist() == [int((one == value).sum()) for value in lowest]
    assert sample.other.tolist() == [int((other == value).sum()) for value in lowest]
    assert sample.share == pytest.approx(SKETCH_SIZE / len(np.union1d(one, other)), rel=0.15)


def test_few_values_of_two_columns_are_all_in_the_sample():
    sample = shared_sample(rows(1, 2), rows(4))

    assert (sorted(sample.one.tolist()), sample.share) == ([1, 2], 1.0)
    assert sample.other.sum() == 4


@pytest.mark.usefixtures("small_sketches")
@settings(deadline=None)
@given(HASHES, HASHES)
def test_a_shared_sample_has_the_lowest_hashes_of_both_with_their_rows_in_each(one, other):
    sample = shared_sample(sketch_distinct(array(one)), sketch_distinct(array(other)))
    lowest, share = sorted({*one, *other}), 1.0
    if max(len(set(one)), len(set(other))) > 8:
        # seven, and the eighth says how densely they lie
        share, lowest = (lowest[7] + 1) / 2**64, lowest[:7]

    assert sample.one.tolist() == [one.count(each) for each in lowest]
    assert sample.other.tolist() == [other.count(each) for each in lowest]
    assert sample.share == pytest.approx(share, rel=1e-12, abs=0)


def test_a_sample_of_two_columns_is_of_a_thousand_values():
    ours, theirs = (
        np.random.default_rng(seed).integers(0, 2**64, 4000, dtype=np.uint64) for seed in (4, 5)
    )
    sample = shared_sample(sketch_distinct(ours), sketch_distinct(theirs))

    # 8000 values, whose density 1023 of them estimate with an error of 3 %
    assert len(sample.one) == SKETCH_SIZE - 1
    assert sample.share == pytest.approx(SKETCH_SIZE / 8000, rel=0.1)
    assert set((sample.one + sample.other).tolist()) == {1}


def test_a_frequent_share_of_an_estimate_is_less_by_two_standard_errors():
    """Four hashes in the lower half: six values, with an error of one over the root of two."""
    hashes = array([2**60, 2**61, 2**62, 2**63 - 1])
    sketch = distinct.DistinctSketch(hashes, np.array([3, 1, 9, 2]), n_rows=100)

    # two rows each of all but the most frequent of the sketch
    assert frequent_share(sketch) == pytest.approx(1 - 6 * (1 + math.sqrt(2)) * 2 / 100)


def test_shares_of_an_estimate_are_not_negative():
    """Six values, as it seems, of five rows."""
    hashes = array([2**60, 2**61, 2**62, 2**63 - 1])
    sketch = distinct.DistinctSketch(hashes, np.ones(4, dtype=np.int64), n_rows=5)

    assert repeated_share(sketch) == 0.0
    assert frequent_share(sketch) == 0.0


@pytest.mark.usefixtures("small_sketches")
@pytest.mark.parametrize("n", [*range(60, 70), *range(508, 518)])
def test_rows_of_few_values_are_looked_through_to_the_last(n):
    """Eight times the size of a sketch and 64 times, from which on it looks at more of the rows."""
    hashes = [5] * (n - 12) + [*range(10, 22)]

    assert plain(sketch_distinct(array(hashes))) == ([5, *range(10, 17)], [n - 12, *[1] * 7], n)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=300), st.integers(0, 300))
def test_rows_are_counted_by_the_last_bits_of_their_hash(hashes, cut):
    rows = np.array(hashes, dtype=np.uint64)
    found = bucket_counts(rows)

    assert len(found) == N_BUCKETS
    assert found.tolist() == [sum(each % N_BUCKETS == i for each in hashes) for i in range(256)]
    assert (bucket_counts(rows[:cut]) + bucket_counts(rows[cut:])).tolist() == found.tolist()
    weighted = bucket_counts(rows, np.full(len(rows), 2.5))
    assert weighted.tolist() == (2.5 * found).tolist()
