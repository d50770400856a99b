"""A histogram of positive numbers in logarithmic buckets, of bounded size and exactly mergeable.

The layout is that of OpenTelemetry's exponential histogram, so other tools can read it: bucket `i`
holds the values in `(base^i, base^(i + 1)]` with `base = 2^(2^-scale)`. At scale 5 a quantile is
within 1.1 % of the exact one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flytekitplugins.wbmon.errors import DataError

SCALE = 5

_LARGEST = 1e9
_SMALLEST = 1e-6
# of OpenTelemetry's layout, and of 64-bit floats
_MOST_SCALE, _MOST_EXPONENT = 20, 1024
# buckets per factor e: bucket index = log(value) * _PER_E
_PER_E = 2.0**SCALE / math.log(2.0)


class LogHistogram:
    """Counts of values in logarithmic buckets.

    Values beyond `1e9` on either side, also infinite ones, are counted as that, and values up to
    `1e-6` (also zero and negative ones) in `n_zero`, so there are at most 1600 buckets. Not
    thread-safe.
    """

    __slots__ = ("buckets", "largest", "n_zero", "scale", "smallest", "total")

    def __init__(self) -> None:
        self.scale = SCALE
        self.buckets: dict[int, int] = {}
        self.n_zero = 0
        self.total = 0.0
        self.smallest = math.inf
        self.largest = -math.inf

    @property
    def n(self) -> int:
        """Number of values counted."""
        return self.n_zero + sum(self.buckets.values())

    # math.log and math.ceil are bound as defaults: locals are faster, and each request calls this
    def add(self, value: float, _log: Any = math.log, _ceil: Any = math.ceil) -> None:
        """Count a value; `nan` is ignored."""
        if value > _SMALLEST:
            if value > _LARGEST:  # noqa: PLR1730
                value = _LARGEST  # also infinity, of which there is no sum and which no file holds
            # - 1, because a bucket includes its upper bound and not its lower one
            index = _ceil(_log(value) * _PER_E) - 1
            buckets = self.buckets
            buckets[index] = buckets.get(index, 0) + 1
        elif value <= _SMALLEST:
            self.n_zero += 1
            value = max(value, -_LARGEST)
        else:
            return
        self.total += value
        # comparisons instead of `max` and `min`, which would be two more calls per request
        if value > self.largest:  # noqa: PLR1730
            self.largest = value
        if value < self.smallest:  # noqa: PLR1730
            self.smallest = value

    def merge(self, other: LogHistogram) -> None:
        """Add the counts of another histogram; exact, at the coarser of the two scales."""
        scale = min(self.scale, other.scale)
        self._coarsen(scale)
        for index, count in other.buckets.items():
            coarse = index >> (other.scale - scale)
            self.buckets[coarse] = self.buckets.get(coarse, 0) + count
        self.n_zero += other.n_zero
        self.total += other.total
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)

    def quantile(self, share: float) -> float:
        """Approximate quantile.

        Args:
            share: The quantile level, in [0, 1].

        Returns:
            A value within `2^(2^-scale / 2) - 1` (1.1 % at scale 5) of the order statistic; `nan`
            if the histogram is empty.
        """
        n = self.n
        if n == 0:
            return math.nan
        rank = min(n, max(1, math.ceil(share * n)))
        passed = self.n_zero
        if rank <= passed:
            return max(0.0, self.smallest)
        for index in sorted(self.buckets):
            passed += self.buckets[index]
            if passed >= rank:
                # the geometric middle of the bucket makes the relative error equal on both sides
                middle: float = 2.0 ** ((index + 0.5) * 2.0**-self.scale)
                return min(self.largest, max(self.smallest, middle))
        return self.largest

    def count_above(self, limit: float) -> int:
        """Number of values above a limit, leaving out the bucket that contains the limit.

        A value at or below the limit is therefore never counted. Values up to 2.2 % above the limit
        (the width of a bucket at scale 5) can be missed.

        Args:
            limit: Non-negative.
        """
        if limit <= _SMALLEST:
            return self.n - self.n_zero
        edge = math.ceil(math.log(min(limit, _LARGEST)) * 2.0**self.scale / math.log(2.0)) - 1
        return sum(count for index, count in self.buckets.items() if index > edge)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the field names of OpenTelemetry's exponential histogram."""
        offset = min(self.buckets, default=0)
        end = max(self.buckets, default=-1) + 1
        return {
            "scale": self.scale,
            "offset": offset,
            "counts": [self.buckets.get(index, 0) for index in range(offset, end)],
            "zero_count": self.n_zero,
            "sum": self.total,
            "min": self.smallest if self.n else None,
            "max": self.largest if self.n else None,
        }

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> LogHistogram:
        """A histogram from the data that `to_dict` wrote.

        Raises:
            DataError: If a part is missing or no number, a count is negative, or a bucket is beyond
                what a float holds.
        """
        made = cls()
        try:
            made.scale = int(written["scale"])
            offset, counts = int(written["offset"]), [int(count) for count in written["counts"]]
            made.n_zero, made.total = int(written["zero_count"]), float(written["sum"])
            if written.get("min") is not None:
                made.smallest, made.largest = float(written["min"]), float(written["max"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"a histogram must have scale, offset, counts, zero_count and sum: {error!r}"
            ) from error
        made._require(offset, counts)
        made.buckets = {offset + i: count for i, count in enumerate(counts) if count}
        return made

    def _require(self, offset: int, counts: Sequence[int]) -> None:
        least = min([*counts, self.n_zero])
        if least < 0:
            raise DataError(f"counts of a histogram must be >= 0, got {least}")
        if not -_MOST_SCALE <= self.scale <= _MOST_SCALE:
            raise DataError(
                f"scale of a histogram must be in [-{_MOST_SCALE}, {_MOST_SCALE}], got {self.scale}"
            )
        edge = max(abs(offset), abs(offset + len(counts))) * 2.0**-self.scale
        if (counts and edge > _MOST_EXPONENT) or not math.isfinite(self.total):
            raise DataError(
                f"sum and buckets of a histogram must be floats, got {self.total} and buckets from "
                f"{offset} at scale {self.scale}"
            )

    @classmethod
    def of(cls, values: Iterable[float]) -> LogHistogram:
        """A histogram of some values."""
        made = cls()
        for value in values:
            made.add(value)
        return made

    def _coarsen(self, scale: int) -> None:
        if scale == self.scale:
            return
        coarse: dict[int, int] = {}
        for index, count in self.buckets.items():
            # each step down in scale joins pairs of neighbouring buckets, which is exact
            merged = index >> (self.scale - scale)
            coarse[merged] = coarse.get(merged, 0) + count
        self.buckets, self.scale = coarse, scale
