"""The record of a comparison of two treatments on the same items."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.stats.repeated_looks import Looks

ComparisonVerdict = Literal["ship", "hold", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison(ByContent):
    """A candidate against a baseline on the same items.

    Attributes:
        metric: Name of the metric.
        baseline: Name of the baseline.
        candidate: Name of the candidate.
        mean_baseline: Mean of the baseline over the items for which both have a value.
        mean_candidate: Mean of the candidate over the same items.
        difference: Candidate minus baseline.
        low: Lower end of the confidence interval of the difference.
        high: Upper end of that interval.
        p_value: Two-sided p-value of the hypothesis of no difference.
        n: Number of items compared.
        n_unscored: Number of items left out because one of the two has no value.
        higher_is_better: Whether a higher value is better.
        method: `mcnemar`, `bootstrap` or `sign`.
        verdict: `ship` if the candidate is better beyond chance, `hold` if it is worse beyond
            chance or surely not better by `min_effect`, else `undecided`.
        n_to_decide: Items with which a difference as large as this one would be found four times
            in five; `nan` where nothing can be said.
        looks: For which looks the interval, the p-value and the verdict hold: this one (`once`),
            those up to `planned_items` (`planned`), or any number of them (`any`).
        planned_items: Number of items with which the comparison ends; None without such a plan.
        reason: One sentence for the person who decides.
    """

    metric: str = ""
    baseline: str = "a"
    candidate: str = "b"
    mean_baseline: float
    mean_candidate: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    n_unscored: int = 0
    higher_is_better: bool = True
    method: str
    verdict: ComparisonVerdict
    n_to_decide: float = math.nan
    looks: Looks = "once"
    planned_items: int | None = None
    reason: str
