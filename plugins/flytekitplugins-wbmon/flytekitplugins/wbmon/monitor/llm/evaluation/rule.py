"""The rule of an evaluation: how it asks, and how it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.reports.failures import FAILED_ALLOWED


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRule:
    """How an evaluation decides.

    Attributes:
        metric: Name of the scorer that decides; the first one if empty.
        alpha: Two-sided significance level, divided by the number of candidates (Bonferroni).
        min_effect: Smallest improvement of the metric that is worth a change.
        max_loss: A candidate that is significantly cheaper is shipped too if the whole confidence
            interval shows a loss of at most this; None ships no such candidate.
        repeats: Number of answers per item and variant.
        concurrency: Number of items asked at the same time.
        max_cost_usd: No further item is started once this amount is spent, or the cost of a call is
            unknown; refused where it is known before that a model has no price. None for no limit.
        max_cost_increase: Maximum relative increase of the cost with which a candidate is shipped;
            None for no limit.
        max_latency_increase: The same for the mean latency.
        max_failed_share: Maximum share of a variant's answers that may fail, and of those that came
            that the deciding scorer may fail on; in [0, 1]. With more of the baseline's nothing is
            decided, and a candidate with more is not shipped. An error is an answer that never
            came, as in an outage; where the variant itself is at fault, let `answer` return what it
            gave (an empty text), which the scorers judge.
        planned_items: `all` if the items are complete and evaluated once, as a benchmark is. If
            items are added and evaluated again: the number with which that ends, fixed before it
            begins, or None if it has no planned end.

    Raises:
        ConfigError: If a number is out of range.
    """

    metric: str = ""
    alpha: float = 0.05
    min_effect: float = 0.0
    max_loss: float | None = None
    repeats: int = 1
    concurrency: int = 8
    max_cost_usd: float | None = None
    max_cost_increase: float | None = None
    max_latency_increase: float | None = None
    max_failed_share: float = FAILED_ALLOWED
    planned_items: int | Literal["all"] | None = "all"

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.concurrency < 1:
            raise ConfigError(
                f"repeats and concurrency must be at least 1, got {self.repeats} and "
                f"{self.concurrency}"
            )
        if not 0 < self.alpha < 1 or not self.min_effect >= 0:
            raise ConfigError(
                f"must hold 0 < alpha < 1 and min_effect >= 0; got alpha={self.alpha}, "
                f"min_effect={self.min_effect}"
            )
        if not 0 <= self.max_failed_share <= 1:
            raise ConfigError(
                f"max_failed_share must be a share from 0 to 1, got {self.max_failed_share}"
            )
        if self.max_cost_usd is not None and not self.max_cost_usd > 0:
            raise ConfigError(f"max_cost_usd must be positive, got {self.max_cost_usd}")
        if isinstance(self.planned_items, int) and self.planned_items < 1:
            raise ConfigError(f"planned_items must be at least 1, got {self.planned_items}")
