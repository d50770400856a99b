"""The budget of false pages: which breaches may page, so that chance pages once a year at most.

Half of the budget is for changes that one window shows, half for those that only several windows
show together. A rule whose metric has no p-value, such as a plain limit, needs no budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from flytekitplugins.wbmon.monitor.alerts.conditions import Finding
from flytekitplugins.wbmon.monitor.alerts.decision import PageBudget
from flytekitplugins.wbmon.stats.evidence import accumulated_evidence, holm


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether a breach may page.

    Attributes:
        admitted: Whether it may.
        evidence: The accumulated evidence of the rule, this window included.
        why_not: What is missing, for people; empty if it may.
    """

    admitted: bool
    evidence: tuple[float, ...] = ()
    why_not: str = ""


def admissions(
    findings: Sequence[Finding], evidence: Sequence[tuple[float, ...]], budget: PageBudget | None
) -> list[Admission]:
    """Whether each rule may page in this window, in order.

    A rule may page if its p-value is small enough among those of all rules (Holm), or if the
    evidence of the windows so far is large enough.

    Args:
        findings: The results of the rules' conditions.
        evidence: The accumulated evidence of each rule before this window.
        budget: None if all may.
    """
    if budget is None:
        return [Admission(admitted=True) for _ in findings]
    # what did not breach is no discovery that could spare others a part of the correction
    adjusted = holm(
        [found.p_value if found.breached else _at_most_one(found) for found in findings]
    )
    needed = budget.evidence_needed(sum(not math.isnan(p) for p in adjusted))
    return [
        _admission(found, p, before, budget, needed)
        for found, p, before in zip(findings, adjusted, evidence, strict=True)
    ]


def _at_most_one(found: Finding) -> float:
    return math.nan if math.isnan(found.p_value) else 1.0


def _admission(
    found: Finding,
    adjusted: float,
    before: tuple[float, ...],
    budget: PageBudget,
    needed: float,
) -> Admission:
    if math.isnan(adjusted):
        return Admission(admitted=True, evidence=before)
    after = before
    if not math.isnan(found.surprise):
        after = accumulated_evidence(before, found.surprise)
    if adjusted <= budget.level or (after and fmean(after) >= needed):
        return Admission(admitted=True, evidence=after)
    return Admission(
        admitted=False,
        evidence=after,
        why_not=f"held back, as chance does this in {found.p_value:.2g} of windows and "
        f"{budget.false_pages_per_year:g} false pages a year allow "
        f"{found.p_value * budget.level / adjusted:.2g} at once; it pages if it lasts",
    )
