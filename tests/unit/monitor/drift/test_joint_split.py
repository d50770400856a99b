from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.monitor.drift.joint_split import split_by_blocks, split_by_groups


def test_every_second_block_trains_and_four_fifths_of_those_between_test():
    is_current = np.repeat([False, True], (1000, 200))

    split = split_by_blocks(is_current)

    before = [row for start in range(0, 1000, 200) for row in range(start, start + 100)]
    now = [row for start in range(1000, 1200, 40) for row in range(start, start + 20)]
    assert split.trained.tolist() == [*before, *now]
    before = [row for start in range(110, 1000, 200) for row in range(start, start + 80)]
    now = [row for start in range(1022, 1200, 40) for row in range(start, start + 16)]
    assert split.tested.tolist() == [*before, *now]
    assert np.unique(split.cluster, return_counts=True)[1].tolist() == [20] * 20 + [4] * 20
    assert split.n_clusters(is_current) == 20


@given(st.integers(20, 400), st.integers(20, 400))
def test_no_block_is_empty_and_no_cluster_is_of_both_windows(n, m):
    is_current = np.repeat([False, True], (n, m))

    split = split_by_blocks(is_current)

    assert not set(split.trained) & set(split.tested)
    now = is_current[split.tested]
    assert not set(split.cluster[now]) & set(split.cluster[~now])
    assert split.n_clusters(is_current) >= 5
    assert len(set(is_current[split.trained])) == 2


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=300))
def test_a_group_is_on_one_side_and_every_row_on_one(rows):
    groups, is_current = (np.array(each) for each in zip(*rows, strict=True))

    split = split_by_groups(groups, is_current)

    assert sorted([*split.trained, *split.tested]) == list(range(len(rows)))
    assert not set(groups[split.trained]) & set(groups[split.tested])
    np.testing.assert_array_equal(split.cluster, groups[split.tested])


@pytest.mark.parametrize("overlap", [0, 100, 200])
def test_either_side_has_about_half_of_the_rows_of_each_window(overlap):
    rng = np.random.default_rng(1)
    # few groups with many rows, many with few
    sizes = rng.zipf(2.0, 400).clip(1, 60)
    groups = np.repeat(np.arange(400), sizes)
    is_current = np.where(groups < 200, rng.random(len(groups)) < 0.5, groups >= 200 + overlap)
    is_current[groups >= 200 + overlap] = True

    split = split_by_groups(groups, is_current)

    for window in (is_current, ~is_current):
        assert 0.4 <= window[split.trained].sum() / window.sum() <= 0.6
