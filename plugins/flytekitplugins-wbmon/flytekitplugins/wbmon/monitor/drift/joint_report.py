"""The result of a test for drift of all columns together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from flytekitplugins.wbmon.monitor.drift.report import Level
from flytekitplugins.wbmon.names import listed_names
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class JointDrift(Report):
    """Result of the test for drift in the joint distribution of all columns.

    Attributes:
        n_reference: Number of rows of the reference that were used.
        n_current: Number of rows of the current window that were used.
        auc: AUC of a classifier that predicts the window of rows it was not trained on: 0.5 if the
            windows cannot be distinguished, 1 if they are separated; `nan` with too few rows.
        low: Lower end of the 95 % interval of the AUC.
        high: Upper end of the 95 % interval of the AUC.
        p_value: One-sided p-value of the hypothesis that the AUC is 0.5; in [0, 1].
        effect_size: `2 * auc - 1`, not below 0.
        level: The result, from significance and effect size.
        contributions: Decrease of the AUC when a column is shuffled, by name, largest first.
        reason: The result, explained in one sentence.
        not_compared: Columns of the reference that the window lacks, or has in a type that cannot
            be compared; empty if the columns were named.
    """

    KIND: ClassVar[str] = "joint_drift"

    n_reference: int
    n_current: int
    auc: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    effect_size: float = math.nan
    level: Level = "none"
    contributions: Mapping[str, float] = field(default_factory=dict)
    reason: str
    not_compared: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        """Whether the windows differ enough to count as drift under the rule."""
        return self.level == "drift"

    @property
    def unmeasured(self) -> str:
        """Why there is no answer, or which columns it is not about."""
        if math.isnan(self.auc):
            return self.reason
        if not self.not_compared:
            return ""
        names = listed_names(self.not_compared)
        return f"{names} could not be compared: the window lacks them, or has another type"

    def _measured(self) -> Iterable[Measurement]:
        is_known = not math.isnan(self.auc)
        yield gate(
            "drifted",
            value=self.drifted if is_known else None,
            reason=self.reason,
            p_value=self.p_value,
            distance=self.effect_size,
        )
        yield number(
            "auc",
            value=self.auc,
            low=self.low,
            high=self.high,
            higher_is_better=False,
            prominence="news",
            reason=self.reason,
        )
        for name, better in (("effect_size", False), ("p_value", True)):
            yield number(
                name, value=getattr(self, name), higher_is_better=better, reason=self.reason
            )
        for name, lost in self.contributions.items():
            yield number("contribution", name, value=lost)
