"""A histogram of positive numbers in logarithmic buckets: small, bounded, and added up exactly.

The layout is that of OpenTelemetry's exponential histogram, so other tools can read it: bucket `i`
holds the values in `(base^i, base^(i + 1)]` with `base = 2^(2^-scale)`. At scale 5 a quantile is
within 1.1 % of the true value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from flytekitplugins.wbmon.errors import DataError

SCALE = 5

_LARGEST = 1e9
_SMALLEST = 1e-6
_PER_E = 2.0**SCALE / math.log(2.0)


class LogHistogram:
    """Counts of values in logarithmic buckets.

    Values are kept between `1e-6` and `1e9`, so there are never more than 1600 buckets; zero and
    below are counted apart. Not safe for several threads at a time.
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
        """Values counted."""
        return self.n_zero + sum(self.buckets.values())

    def add(self, value: float, _log: Any = math.log, _ceil: Any = math.ceil) -> None:
        """Count a value; `nan` is left out."""
        if value > _SMALLEST:
            index = _ceil(_log(value if value < _LARGEST else _LARGEST) * _PER_E) - 1  # noqa: FURB136
            buckets = self.buckets
            buckets[index] = buckets.get(index, 0) + 1
        elif value <= _SMALLEST:
            self.n_zero += 1
        else:
            return
        self.total += value
        # `max` and `min` would be calls, and every request comes here
        if value > self.largest:  # noqa: PLR1730
            self.largest = value
        if value < self.smallest:  # noqa: PLR1730
            self.smallest = value

    def merge(self, other: LogHistogram) -> None:
        """Add another histogram's counts; exact, at the coarser of the two scales."""
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
        """The value below which that share of the values lies.

        Args:
            share: In [0, 1].

        Returns:
            Within `2^(2^-scale / 2) - 1` (1.1 % at scale 5) of the order statistic; `nan` if empty.
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
                middle: float = 2.0 ** ((index + 0.5) * 2.0**-self.scale)
                return min(self.largest, max(self.smallest, middle))
        return self.largest

    def count_above(self, limit: float) -> int:
        """Values larger than a limit; those of the bucket that holds the limit count as within.

        The bucket is 2.2 % wide at scale 5, so a value is never counted as above by rounding.
        """
        if limit <= _SMALLEST:
            return self.n - self.n_zero
        edge = math.ceil(math.log(min(limit, _LARGEST)) * 2.0**self.scale / math.log(2.0)) - 1
        return sum(count for index, count in self.buckets.items() if index > edge)

    def to_dict(self) -> dict[str, Any]:
        """Scale, offset and dense counts, as OpenTelemetry names them, and sum, min and max."""
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
        """What `to_dict` wrote.

        Raises:
            DataError: If a part is missing or a count is negative.
        """
        made = cls()
        try:
            made.scale = int(written["scale"])
            offset, counts = int(written["offset"]), list(written["counts"])
            made.n_zero, made.total = int(written["zero_count"]), float(written["sum"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"a histogram must have scale, offset, counts, zero_count and sum: {error!r}"
            ) from error
        if min(counts, default=0) < 0:
            raise DataError(f"counts of a histogram must be >= 0, got {min(counts)}")
        made.buckets = {offset + i: int(count) for i, count in enumerate(counts) if count}
        if written.get("min") is not None:
            made.smallest, made.largest = float(written["min"]), float(written["max"])
        return made

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
            # pairs of neighbouring buckets become one, which is exact
            merged = index >> (self.scale - scale)
            coarse[merged] = coarse.get(merged, 0) + count
        self.buckets, self.scale = coarse, scale
