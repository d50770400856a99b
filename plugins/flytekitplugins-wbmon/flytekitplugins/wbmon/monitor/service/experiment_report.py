"""The report of an online experiment."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.stats.repeated_looks import Looks

_OF_VARIANT = ("worse.", "difference.", "mean.", "n_exposed.", "p_value.", "measured_share.")
# strict: a false alarm of one of these tests invalidates the whole experiment
MISMATCH = 0.001

ExperimentVerdict = Literal["better", "worse", "no_difference", "insufficient", "invalid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantOutcome(ByContent):
    """The outcome of one variant.

    Attributes:
        variant: Name of the variant.
        n_exposed: Units exposed to it.
        n_measured: Exposed units with an outcome.
        mean: Mean outcome of the measured units, with the ends of its 95 % interval at one look.
        difference: Mean minus that of the control, with the ends of its interval and its p-value,
            both adjusted for the number of comparisons and for the looks that the report names;
            `nan` for the control.
        verdict: `better` or `worse` than the control if the interval of the difference excludes 0;
            `insufficient` with too few units; `invalid` if the split is not as planned, or another
            share of the units was measured in each variant.
        method: How the difference was tested: `newcombe`, `permutation`, or `welch` in reports of
            earlier releases; empty for the control and without an interval.
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
    method: str = "welch"
    reason: str = ""

    @property
    def is_judged(self) -> bool:
        """Whether there is a verdict on it."""
        return self.verdict not in ("insufficient", "invalid")

    def measurements(self) -> Iterable[Measurement]:
        """The numbers of the variant by itself."""
        yield number("n_exposed", self.variant, value=self.n_exposed)
        yield number(
            "measured_share",
            self.variant,
            value=self.n_measured / self.n_exposed if self.n_exposed else math.nan,
            higher_is_better=True,
            reason="no unit was exposed",
        )
        yield number(
            "mean",
            self.variant,
            value=self.mean,
            low=self.low,
            high=self.high,
            reason="no unit was measured",
        )

    def comparison(self) -> Iterable[Measurement]:
        """The numbers of the variant compared with the control."""
        is_known = self.is_judged
        yield gate(
            "worse",
            self.variant,
            value=self.verdict == "worse" if is_known else None,
            reason=self.reason,
        )
        yield number(
            "difference",
            self.variant,
            value=self.difference if is_known else math.nan,
            low=self.difference_low,
            high=self.difference_high,
            reason=self.reason,
        )
        yield number(
            "p_value",
            self.variant,
            value=self.p_value if is_known else math.nan,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReport(Report):
    """The variants of an experiment, compared with the control.

    Attributes:
        experiment: Name of the experiment.
        control: The variant with which the others are compared.
        outcome: Name of the ratings used as outcome.
        split_p_value: p-value of the sequential test of the planned shares, valid at any number of
            looks; below 0.001 the comparison is invalid. `nan` if no shares were given.
        measured_p_value: p-value of the sequential test that every variant has the same share of
            measured units; below 0.001 the comparison is invalid. `nan` if all were measured, or
            none.
        variants: The variants, control first; also those that were planned and nobody saw.
        looks: For which looks the differences hold: those up to `planned_units` (`planned`), any
            number of them (`any`), or, in reports of earlier releases, one (`once`).
        planned_units: Measured units of all variants with which the experiment ends; None if it has
            no planned end.
        n_beyond_plan: Measured units that are not counted because the plan was complete.
        n_crossed: Units that were exposed to several variants; they belong to their first.
        n_unreadable: Ratings of exposed units that have no finite score; they are not counted.
        n_before: Ratings from before the exposure of their unit; they are not counted.
        min_units: Fewest measured units in each variant for a verdict; 0 in reports of earlier
            releases.
        reason: One sentence that summarises the result.
    """

    KIND: ClassVar[str] = "experiment"

    experiment: str
    control: str
    outcome: str
    split_p_value: float = math.nan
    measured_p_value: float = math.nan
    variants: tuple[VariantOutcome, ...]
    looks: Looks = "once"
    planned_units: int | None = None
    n_beyond_plan: int = 0
    n_crossed: int = 0
    n_unreadable: int = 0
    n_before: int = 0
    min_units: int = 0
    reason: str

    @property
    def decided(self) -> bool:
        """Whether any variant is better or worse than the control."""
        return any(each.verdict in ("better", "worse") for each in self.variants)

    @property
    def compared(self) -> tuple[VariantOutcome, ...]:
        """The variants other than the control."""
        return tuple(each for each in self.variants if each.variant != self.control)

    @property
    def invalid(self) -> bool | None:
        """Whether the comparison is not to be trusted; None if neither was tested."""
        tested = [p for p in (self.split_p_value, self.measured_p_value) if not math.isnan(p)]
        if any(each.verdict == "invalid" for each in self.variants):
            return True
        return min(tested) < MISMATCH if tested else None

    @property
    def unmeasured(self) -> str:
        """Why no verdict will come: no control or variant is seen, measured or valid.

        That there are not yet enough units is usual for an experiment that is young, and is none.
        """
        if any(each.is_judged for each in self.compared):
            return ""
        seen = [each for each in self.compared if each.n_exposed]
        is_measured = bool(seen) and any(each.n_measured for each in self.variants)
        if is_measured and all(self._is_coming(each) for each in (self.variants[0], *seen)):
            return ""
        why = [f"{each.variant}: {each.reason or each.verdict}" for each in self.compared]
        n = len(self.compared)
        return f"0 of {n} variants could be judged: {'; '.join(why)}" if n else self.reason

    def _is_coming(self, each: VariantOutcome) -> bool:
        """Whether a variant can be judged once it has more units."""
        is_silent = not each.n_measured and each.n_exposed >= self.min_units
        return each.verdict != "invalid" and each.n_exposed > 0 and not is_silent

    def absent(self, name: str) -> Measurement | None:
        """A number of a variant that nobody saw, where no unit was exposed at all."""
        if any(each.n_exposed for each in self.variants) or not name.startswith(_OF_VARIANT):
            return None
        return number(*name.split(".", 1), value=math.nan, reason="no unit was exposed")

    def _measured(self) -> Iterable[Measurement]:
        is_known = any(each.is_judged for each in self.compared)
        is_worse = any(each.verdict == "worse" for each in self.compared)
        yield gate("decided", value=self.decided if is_known else None, reason=self.reason)
        yield gate("worse", value=is_worse if is_known else None, reason=self.reason)
        yield gate(
            "invalid",
            value=self.invalid,
            reason="no shares were planned" if self.invalid is None else self.reason,
        )
        yield number(
            "split_p_value",
            value=self.split_p_value,
            higher_is_better=True,
            reason="no shares were planned",
        )
        yield number(
            "measured_p_value",
            value=self.measured_p_value,
            higher_is_better=True,
            reason="no unit was measured, or none was not",
        )
        yield number("n_crossed", value=self.n_crossed, higher_is_better=False)
        yield number("n_unreadable", value=self.n_unreadable, higher_is_better=False)
        for each in self.variants:
            yield from each.measurements()
        for each in self.compared:
            yield from each.comparison()
