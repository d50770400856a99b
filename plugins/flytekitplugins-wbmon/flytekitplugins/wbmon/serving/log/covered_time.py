"""The time that stages cover, which is less than their sum where they run side by side."""

from __future__ import annotations


class CoveredTime:
    """The time during which at least one of several stages runs.

    It holds two numbers however many stages there are. Stages of several threads that begin or end
    in the same microsecond may be counted for a moment too long.
    """

    __slots__ = ("_n_open", "_since", "_whole_s")

    def __init__(self) -> None:
        self._n_open = 0
        self._since = self._whole_s = 0.0

    def begin(self, now: float) -> None:
        """Begin a stage; seconds by any clock."""
        if not self._n_open:
            self._since = now
        self._n_open += 1

    def end(self, now: float) -> None:
        """End one of the stages that began."""
        self._n_open -= 1
        if not self._n_open:
            self._whole_s += now - self._since

    def until(self, now: float) -> float:
        """The covered seconds until now, those of stages that have not ended included."""
        return self._whole_s + (max(0.0, now - self._since) if self._n_open else 0.0)
