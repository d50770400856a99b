"""Says when a serving window ends, whatever is done to the clock of the machine."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time

# less is how far clocks are apart, or are corrected by
_STEP_S = 1.0
# of a window's length
_ROUNDING = 1e-3
# what keeps the starts of windows apart that a clock shows a second time
_APART_S = 1e-3


class WindowClock:
    """The current window: it ends at a multiple of its length since 1970.

    A clock that is put back ends the window at once, and does not hold it open until its end comes
    a second time. No two windows begin at the same time, since that tells them apart.

    Args:
        length_s: Length of a window in seconds.
        wall: Seconds since 1970.
        tick: Seconds of a clock that only goes forward.

    Attributes:
        start: When the window began; seconds since 1970.
    """

    def __init__(
        self,
        length_s: float,
        *,
        wall: Callable[[], float] = time,
        tick: Callable[[], float] = monotonic,
    ) -> None:
        self._length_s, self._wall, self._tick = length_s, wall, tick
        self._n_back = 0
        self._begin(wall(), wall())

    def is_over(self) -> bool:
        """Whether the window must end now."""
        wall = self._wall()
        # by the clock that only goes forward, also where the other one was put back a little
        return wall >= self._end or self._tick() >= self._due or self._is_back(wall)

    def turn(self) -> float:
        """Begin the next window; returns when the one before has ended, in seconds since 1970."""
        wall, start, end = self._wall(), self.start, self._end
        if self._is_back(wall):
            self._n_back += 1
            end = min(end, start + self._tick() - self._began_at)
            self._begin(wall, wall)
        elif wall < end and self._tick() < self._due:  # before its time, as the log is closed
            end = wall
            self._begin(wall, wall)
        else:
            # at the end, not now: a late thread must not leave a gap; but not long ago either
            late = wall - end >= self._length_s
            self._begin(wall // self._length_s * self._length_s if late else end, wall)
        # a clock that was put back a little may be before the start
        return max(end, start)

    def _begin(self, start: float, wall: float) -> None:
        end = (start // self._length_s + 1) * self._length_s
        # of lengths such as 0.3 the quotient may be just below the whole number that it is
        is_at_end = end - start < _ROUNDING * self._length_s
        self._end = end + self._length_s if is_at_end else end
        self.start = start + self._n_back * _APART_S
        self._began_at = self._tick()
        self._due = self._began_at + min(self._end - min(wall, start), self._length_s)

    def _is_back(self, wall: float) -> bool:
        return wall < self.start - _STEP_S
