"""The report of an online experiment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from flytekitplugins.wbmon.reports.report import Report

ExperimentVerdict = Literal["better", "worse", "no_difference", "insufficient", "invalid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantOutcome:
    """The outcome of one variant.

    Attributes:
        variant: Name of the variant.
        n_exposed: Units exposed to it.
        n_measured: Exposed units with an outcome.
        mean: Mean outcome of the measured units, with the ends of its 95 % interval.
        difference: Mean minus that of the control, with the ends of its interval and its p-value,
            both adjusted for the number of comparisons; `nan` for the control.
        verdict: `better` or `worse` than the control if the interval of the difference excludes 0;
            `insufficient` with too few units; `invalid` if the split is not as planned.
        reason: One sentence.
    """

    variant: str
    n_exposed: int
    n_measured: int = 0
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    difference: float = math.nan
    difference_low: float = math.nan
    difference_high: float = math.nan
    p_value: float = math.nan
    verdict: ExperimentVerdict
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReport(Report):
    """The variants of an experiment, compared with the control.

    Attributes:
        experiment: Name of the experiment.
        control: The variant with which the others are compared.
        outcome: Name of the ratings used as outcome.
        split_p_value: p-value of the chi-squared test of the planned shares; below 0.001 the
            comparison is invalid. `nan` if no shares were given.
        variants: The variants, control first.
        reason: One sentence that summarises the result.
    """

    experiment: str
    control: str
    outcome: str
    split_p_value: float = math.nan
    variants: tuple[VariantOutcome, ...]
    reason: str

    @property
    def decided(self) -> bool:
        """Whether any variant is better or worse than the control."""
        return any(each.verdict in ("better", "worse") for each in self.variants)
