"""What an experiment in production showed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from flytekitplugins.wbmon.reports.report import Report

ExperimentVerdict = Literal["better", "worse", "no_difference", "insufficient", "invalid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantOutcome:
    """What one variant did to its units.

    Attributes:
        variant: Its name.
        n_exposed: Units that saw it.
        n_measured: Of them, those with an outcome.
        mean: Mean outcome of the measured units, with the ends of its 95 % interval.
        difference: Mean minus that of the control, with the ends of its interval and its p-value,
            both adjusted for the number of comparisons; `nan` for the control.
        verdict: `better` or `worse` than the control if the interval says so; `insufficient` with
            too few units; `invalid` if the split is not the planned one.
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
        experiment: Its name.
        control: The variant that the others are compared with.
        outcome: What was measured.
        split_p_value: How likely a split as uneven as this is under the planned shares; below
            0.001 the comparison is not to be trusted. `nan` where no shares were given.
        variants: The control first.
        reason: One sentence: what was found.
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
