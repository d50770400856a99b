"""Detectors that watch a stream value by value and say when it has changed.

For live windows, where waiting for the night is too long. Both are a few additions a value,
remember a handful of numbers, and begin anew after an alarm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flytekitplugins.wbmon.errors import ConfigError


@dataclass(slots=True, kw_only=True)
class Cusum:
    """Two-sided cumulative sum of a standardised stream whose mean and spread are known.

    `high = max(0, high + z - slack)`, `low = max(0, low - z - slack)` with `z = (x - mean) / std`;
    an alarm is raised when either exceeds `threshold`. With the defaults a stream of independent
    normal values raises a false alarm once in 465 values, and a shift of one standard deviation is
    found after 10.4 values on average.

    Attributes:
        mean: Of the reference.
        std: Of the reference; `> 0`.
        slack: Half of the shift that is to be found, in standard deviations; `>= 0`.
        threshold: In standard deviations; `> 0`.
        high: Evidence of a rise so far.
        low: Evidence of a fall so far.

    Raises:
        ConfigError: If a setting is out of its range.

    References:
        Page (1954), Continuous inspection schemes. Montgomery (2013), Introduction to statistical
        quality control, section 9.1 and table 9.10 for the run lengths.

    Examples:
        >>> detector = Cusum(mean=10.0, std=1.0)
        >>> [detector.update(value) for value in (10.2, 9.9, 13.1, 13.4)]
        [False, False, False, True]
    """

    mean: float
    std: float
    slack: float = 0.5
    threshold: float = 5.0
    high: float = 0.0
    low: float = 0.0

    def __post_init__(self) -> None:
        if not (self.std > 0 and self.threshold > 0 and self.slack >= 0):
            raise ConfigError(
                "std and threshold must be positive and slack not negative, got "
                f"std={self.std}, threshold={self.threshold}, slack={self.slack}"
            )

    def update(self, value: float) -> bool:
        """Take one value; whether it raises an alarm. A value that is nan changes nothing."""
        if math.isnan(value):
            return False
        z = (value - self.mean) / self.std
        self.high = max(0.0, self.high + z - self.slack)
        self.low = max(0.0, self.low - z - self.slack)
        alarm = max(self.high, self.low) > self.threshold
        if alarm:
            self.high = self.low = 0.0
        return alarm


@dataclass(slots=True, kw_only=True)
class PageHinkley:
    """Test for a change of the mean of a stream of which nothing is known beforehand.

    Sums up how far values lie beyond their running mean plus `tolerance`; an alarm is raised when
    the sum has risen by more than `threshold` above its least value so far, or likewise fallen.

    Attributes:
        tolerance: Change that does not matter, in the unit of the values; `>= 0`.
        threshold: In the unit of the values; `> 0`. Larger means fewer false alarms, later.
        min_values: Values before the first alarm, so that the mean has settled.
        n: Values since the beginning or the last alarm.
        mean: Of those values.
        rise: Sum of what lies above the mean and tolerance.
        fall: Sum of what lies below.
        least_rise: Least value of `rise` so far.
        least_fall: Least value of `fall` so far.

    Raises:
        ConfigError: If a setting is out of its range.

    References:
        Page (1954), Continuous inspection schemes; Hinkley (1971), Inference about the change-point
        from cumulative sum tests; Gama et al. (2014), A survey on concept drift adaptation, 3.2.1.

    Examples:
        >>> detector = PageHinkley(tolerance=0.1, threshold=5.0, min_values=5)
        >>> stream = [0.0] * 20 + [2.0] * 10
        >>> [i for i, value in enumerate(stream) if detector.update(value)]
        [22]
    """

    tolerance: float
    threshold: float
    min_values: int = 30
    n: int = 0
    mean: float = 0.0
    rise: float = 0.0
    fall: float = 0.0
    least_rise: float = 0.0
    least_fall: float = 0.0

    def __post_init__(self) -> None:
        if not (self.tolerance >= 0 and self.threshold > 0 and self.min_values >= 1):
            raise ConfigError(
                "tolerance must not be negative, threshold positive and min_values at least 1, got "
                f"tolerance={self.tolerance}, threshold={self.threshold}, "
                f"min_values={self.min_values}"
            )

    def update(self, value: float) -> bool:
        """Take one value; whether it raises an alarm. A value that is nan changes nothing."""
        if math.isnan(value):
            return False
        self.n += 1
        self.mean += (value - self.mean) / self.n
        self.rise += value - self.mean - self.tolerance
        self.fall += self.mean - value - self.tolerance
        self.least_rise = min(self.least_rise, self.rise)
        self.least_fall = min(self.least_fall, self.fall)
        change = max(self.rise - self.least_rise, self.fall - self.least_fall)
        alarm = self.n >= self.min_values and change > self.threshold
        if alarm:
            self._begin_anew()
        return alarm

    def _begin_anew(self) -> None:
        self.n = 0
        self.mean = self.rise = self.fall = self.least_rise = self.least_fall = 0.0
