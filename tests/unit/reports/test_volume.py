"""What is an unusual volume, against quantiles computed by numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.reports.volume import unusual_volume

past = st.lists(st.integers(0, 10**9).map(float), min_size=5, max_size=60)


@given(past, st.integers(0, 10**10).map(float))
def test_a_volume_is_unusual_beyond_half_and_double_of_the_outer_deciles(volumes, volume):
    low, high = np.quantile(volumes, [0.1, 0.9])
    usual = low / 2 <= volume <= high * 2
    # at the very border, two ways to interpolate differ by a rounding error
    if np.isclose(volume, [low / 2, high * 2], rtol=1e-9).any():
        return
    assert bool(unusual_volume(volume, volumes)) == (not usual)


@given(st.lists(st.floats(0, 1e9), max_size=4), st.floats(0, 1e9))
def test_fewer_than_five_windows_say_nothing(volumes, volume):
    assert not unusual_volume(volume, volumes)


def test_it_says_how_much_is_usual():
    assert unusual_volume(300, [2800.0, 3000.0, 3200.0, 3000.0, 3000.0]) == (
        "300 where past windows had 2,880 to 3,120 (the middle 80 % of 5, 0.1 times the median)"
    )
    assert unusual_volume(5, [0.0] * 9).endswith("had 0 to 0 (the middle 80 % of 9)")


@pytest.mark.parametrize("fault", [0.0, 30_000.0])
def test_a_window_at_fault_is_not_what_is_usual(fault):
    usual = [3000.0] * 12
    assert unusual_volume(fault, usual)
    assert unusual_volume(fault, [*usual, fault])
    assert not unusual_volume(3000, [*usual, fault])
