"""What the scores of a rating mean, which no window of them can tell.

Five stars of five and a thumb up are both written as numbers; a day on which every answer got one
star of five looks like a day of thumbs up. So a scale is declared, and never taken from the data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingScale:
    """The scores that one kind of feedback can have.

    Attributes:
        low: The worst score.
        high: The best score.
        good_from: Minimum score of an answer that counts as liked.

    Raises:
        ConfigError: If `low < good_from <= high` does not hold, or a number is not finite.
    """

    low: float = 0.0
    high: float = 1.0
    good_from: float = 0.5

    def __post_init__(self) -> None:
        ends = (self.low, self.good_from, self.high)
        # written so that nan is refused too
        if not (self.low < self.good_from <= self.high and all(map(math.isfinite, ends))):
            raise ConfigError(
                f"a scale must hold low < good_from <= high, got {self.low}, {self.good_from} and "
                f"{self.high}"
            )

    def reads(self, score: float) -> bool:
        """Whether a score is one of the scale."""
        return self.low <= score <= self.high

    def level(self, score: float) -> float:
        """A score as a number from 0, the worst, to 1."""
        return (score - self.low) / (self.high - self.low)


_KNOWN = {"thumbs": RatingScale(low=-1.0, high=1.0, good_from=0.5)}
# with one to five, from zero to four (as Streamlit counts), to ten … : to assume one may be wrong
_OF_MANY_SCALES = frozenset({"stars", "faces", "rating", "ratings", "nps", "csat"})


def scales_of(scales: Mapping[str, RatingScale] | None, good_from: float) -> ScaleTable:
    """The scales of names of feedback.

    Args:
        scales: The declared ones; None for none.
        good_from: Minimum score that counts as liked on the scale from 0 to 1 of other names.

    Raises:
        ConfigError: If `good_from` is not on that scale, or a scale is none.
    """
    if not 0 < good_from <= 1:
        raise ConfigError(
            f"good_from must be above 0 and at most 1, got {good_from}; for other scores declare "
            'their scale: scales={"stars": RatingScale(low=1, high=5, good_from=4)}'
        )
    declared = dict(scales or {})
    for name, scale in declared.items():
        wrong: Any = scale
        if not isinstance(wrong, RatingScale):
            raise ConfigError(
                f"scales must map names of feedback to a RatingScale, got {wrong!r} for {name!r}"
            )
    return ScaleTable({**_KNOWN, **declared}, RatingScale(good_from=good_from))


@dataclass(frozen=True, slots=True)
class ScaleTable:
    """Scales by the name of the feedback, and one for names that have none of their own."""

    by_name: Mapping[str, RatingScale]
    otherwise: RatingScale

    def is_declared(self, name: str) -> bool:
        """Whether a name has a scale of its own."""
        return name in self.by_name

    def scale(self, name: str) -> RatingScale | None:
        """The scale of a name; None if there are several usual ones and none is declared."""
        if name not in self.by_name and name.casefold() in _OF_MANY_SCALES:
            return None
        return self.by_name.get(name, self.otherwise)
