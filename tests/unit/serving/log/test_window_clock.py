from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.serving.log.window_clock import WindowClock

BEGIN = 1_790_000_003.0


class Clocks:
    """A wall clock that anybody can set, and one that only goes forward."""

    def __init__(self) -> None:
        self.wall, self.tick = BEGIN, 77.0

    def window(self, length_s: float = 10.0) -> WindowClock:
        return WindowClock(length_s, wall=lambda: self.wall, tick=lambda: self.tick)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.tick += seconds


def test_windows_end_at_multiples_of_their_length_and_leave_no_gap() -> None:
    clocks = Clocks()
    window = clocks.window()
    ends = []
    for _ in range(200):
        clocks.wait(0.3)
        if window.is_over():
            end = window.turn()
            assert window.start == end
            ends.append(end)

    assert ends == [BEGIN + 7 + 10 * i for i in range(6)]


@pytest.mark.parametrize("length_s", [0.3, 0.9, 1.2, 7.2, 10.0, 14.4, 86.4])
def test_windows_of_any_length_are_as_long_as_they_should_be(length_s: float) -> None:
    clocks = Clocks()
    window = clocks.window(length_s)
    starts = []
    for _ in range(2000):
        clocks.wait(length_s / 7.3)
        if window.is_over():
            starts.append(window.turn())

    assert 270 <= len(starts) <= 275
    gaps = [after - before for before, after in pairwise(starts)]
    assert max(gaps) < 1.001 * length_s
    assert min(gaps) > 0.999 * length_s


def test_a_clock_that_is_put_back_ends_the_window_and_the_next_ones_are_as_long_as_ever() -> None:
    clocks = Clocks()
    window = clocks.window()
    clocks.wait(2.0)
    clocks.wall -= 3600.0

    assert window.is_over()
    # it lasted two seconds, whatever the clock says now
    assert window.turn() == BEGIN + 2.0
    clocks.wait(5.1)
    assert window.is_over()
    assert window.turn() == BEGIN - 3593.0
    clocks.wait(9.8)
    assert not window.is_over()


def test_a_clock_that_is_put_back_a_little_holds_no_window_open() -> None:
    clocks = Clocks()
    window = clocks.window()
    clocks.wait(6.0)
    clocks.wall -= 5.0
    clocks.wait(1.5)

    assert window.is_over()
    assert window.turn() == BEGIN + 7.0


def test_after_a_long_sleep_the_next_window_does_not_reach_back_to_it() -> None:
    clocks = Clocks()
    window = clocks.window()
    clocks.wait(3600.0)

    assert window.turn() == BEGIN + 7.0
    assert window.start == BEGIN + 3597.0


def test_a_window_that_ends_with_its_log_ends_now() -> None:
    clocks = Clocks()
    window = clocks.window()
    clocks.wait(1.25)

    assert window.turn() == BEGIN + 1.25


@given(
    st.lists(
        st.tuples(st.floats(0.01, 30.0), st.sampled_from([0.0, 0.0, 0.0, -0.02, -7, -3600, 90000])),
        max_size=60,
    ),
    st.sampled_from([0.3, 0.5, 0.9, 1.2, 7.2, 10.0, 14.4, 60.0]),
)
def test_no_two_windows_begin_at_the_same_time_and_none_is_held_open_whatever_the_clock_does(
    steps: list[tuple[float, float]], length_s: float
) -> None:
    clocks = Clocks()
    window = clocks.window(length_s)
    starts = [window.start]
    turned_at = clocks.tick
    for seconds, jump in steps:
        clocks.wait(seconds)
        clocks.wall += jump
        if window.is_over():
            start = window.start
            end = window.turn()
            # a beginning just before the end of a window is counted to the next one
            assert start <= end <= start + 1.002 * length_s
            starts.append(window.start)
            turned_at = clocks.tick
        else:
            assert clocks.tick - turned_at <= length_s + 1.0

    # readers tell windows apart by their starts in microseconds
    told = [f"{start:.6f}" for start in starts]
    assert len(set(told)) == len(told)
