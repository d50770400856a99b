"""The node that compares the variants of an online experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.service.experiment_plan import ExperimentPlan
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.tasks._node import Node


class VariantsCompared(NamedTuple):
    """An experiment report, with a primitive output for a `conditional`."""

    report: ExperimentReport
    decided: bool


class CompareVariants(Node[ExperimentPlan]):
    """Compare the variants shown to users by their ratings, each with an interval.

    Args:
        name: The task's name.
        experiment: Name of the experiment.
        outcome: Name of the ratings used as outcome, such as `thumbs`.
        control: The variant with which the others are compared.
        shares: Planned share of units by variant, with sum 1; a significantly different split
            (sample ratio mismatch) makes the comparison invalid.
        min_units: Minimum number of units with an outcome in each variant for a verdict.
        planned_units: Units with an outcome, of all variants together, with which the experiment
            ends, fixed before it begins. Up to there the verdict may be looked at every night;
            later units are not counted. Without it the verdict holds at any number of looks, and
            needs about half as many units again.
        unrated: The outcome of an exposed unit without a rating, such as 0 where only successes
            are logged; None leaves such units out.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If `shares` lacks the control or do not add up to 1, `min_units` is below 2, or
            `planned_units` is too few for `min_units` in each variant.
    """

    def __init__(
        self,
        name: str,
        *,
        experiment: str,
        outcome: str,
        control: str,
        shares: Mapping[str, float] | None = None,
        min_units: int = 30,
        planned_units: int | None = None,
        unrated: float | None = None,
        **task_kwargs: Any,
    ) -> None:
        plan = ExperimentPlan(
            experiment=experiment,
            outcome=outcome,
            control=control,
            shares={} if shares is None else shares,
            min_units=min_units,
            planned_units=planned_units,
            unrated=unrated,
        )
        super().__init__(name, plan, **task_kwargs)

    def compute(self, feedback: StructuredDataset) -> VariantsCompared:
        """Compare the variants over the period of the feedback.

        Args:
            feedback: Rows of the feedback log since the experiment began, both exposures and
                ratings.

        Returns:
            report: For each variant the mean, the difference from the control and a verdict.
            decided: Whether any variant is better or worse than the control.
        """
        from flytekitplugins.wbmon.monitor.service.experiment import compare_variants

        report = compare_variants(open_data(feedback), self.config)
        return VariantsCompared(report=report, decided=report.decided)
