"""An estimate without labels, held against the labels that came later."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flytekitplugins.wbmon.equality import ByContent

_ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateCheck(ByContent):
    """A metric estimated without labels, compared with its value measured later from labels.

    Attributes:
        name: Name of the metric.
        expected: The estimate.
        low: Lower end of the 95 % prediction interval for the measured value.
        high: Upper end of that interval.
        value: The measured value.
        p_value: Two-sided p-value of the distance, under the hypothesis that the estimate is right.
        higher_is_better: Whether a higher value is better.
    """

    name: str
    expected: float
    low: float
    high: float
    value: float
    p_value: float
    higher_is_better: bool

    @property
    def held(self) -> bool | None:
        """Whether the measured value lies in the estimate's interval; None if one is undefined."""
        return None if math.isnan(self.p_value) else self.p_value >= _ALPHA

    @property
    def is_overestimated(self) -> bool:
        """Whether the estimated value is better than the measured one."""
        return self.expected > self.value if self.higher_is_better else self.expected < self.value
