"""Sequential change detectors: they process a stream value by value and raise alarms.

They are for live data, where a nightly comparison is too late. Each needs a few additions per value
and constant memory, and restarts after an alarm.

Both take the values for independent. Values that follow each other closely, such as the latencies
of a loaded server, raise many times as many false alarms: give them means of long enough spans, or
the residuals of a forecast. `benchmarks/sequential_false_alarms.py` measures it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flytekitplugins.wbmon.errors import ConfigError


@dataclass(slots=True, kw_only=True)
class Cusum:
    """Two-sided CUSUM (cumulative sum) of a stream whose mean and standard deviation are known.

    `high = max(0, high + z - slack)`, `low = max(0, low - z - slack)` with `z = (x - mean) / std`;
    an alarm is raised when either exceeds `threshold`. With the defaults and independent normal
    values, the mean time between false alarms is 465 values, and a shift of one standard deviation
    is detected after 10.4 values on average. For independent values that are not normal it is
    shorter, 160 for lognormal ones with sigma 1 and 240 for Student's t(3), and for dependent ones
    far shorter: 50 with an autocorrelation of 0.5, 30 with one of 0.9.

    Attributes:
        mean: Mean of the reference.
        std: Standard deviation of the reference; `> 0`.
        slack: Half of the shift to be detected, in standard deviations; `>= 0`. The default is for
            shifts of one standard deviation.
        threshold: Alarm limit of `high` and `low`, in standard deviations; `> 0`.
        high: Current cumulative sum of upward deviations.
        low: Current cumulative sum of downward deviations.

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
            # `not (...)`, so that nan is refused, too
            raise ConfigError(
                "std and threshold must be positive and slack not negative, got "
                f"std={self.std}, threshold={self.threshold}, slack={self.slack}"
            )

    def update(self, value: float) -> bool:
        """Process one value and return whether it raises an alarm; nan is ignored."""
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
    """Page-Hinkley test for a change of the mean of a stream with unknown mean.

    With the running mean, `rise` is the cumulative sum of `x - mean - tolerance` and `fall` that of
    `mean - x - tolerance`. An alarm is raised when either exceeds its minimum so far by more than
    `threshold`. Values are to be independent: with a tolerance of half a standard deviation and a
    threshold of 15 there is hardly a false alarm in 5000 normal ones, and one in 120 with an
    autocorrelation of 0.9.

    Attributes:
        tolerance: Size of a change to be ignored, in the unit of the values; `>= 0`.
        threshold: Alarm limit, in the unit of the values; `> 0`. A larger limit gives fewer false
            alarms and slower detection.
        min_values: Number of values before the first possible alarm, so that the mean is stable.
        n: Number of values since the start or the last alarm.
        mean: Mean of those values.
        rise: Current cumulative sum of upward deviations.
        fall: Current cumulative sum of downward deviations.
        least_rise: Minimum of `rise` so far.
        least_fall: Minimum of `fall` so far.

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
        """Process one value and return whether it raises an alarm; nan is ignored."""
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
        # the old mean is that of before the change: with it, every further value would be an alarm
        if alarm:
            self._begin_anew()
        return alarm

    def _begin_anew(self) -> None:
        self.n = 0
        self.mean = self.rise = self.fall = self.least_rise = self.least_fall = 0.0
