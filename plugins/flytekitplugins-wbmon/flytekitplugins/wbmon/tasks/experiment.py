"""The node that compares the variants of an experiment in production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSettings:
    """Which experiment `CompareVariants` judges, and by what."""

    experiment: str
    outcome: str
    control: str
    shares: Mapping[str, float] = field(default_factory=dict)
    min_units: int = 30


class VariantsCompared(NamedTuple):
    """What the experiment showed, and the gate for a `conditional`."""

    report: ExperimentReport
    decided: bool


class CompareVariants(Node[ExperimentSettings]):
    """Compare the variants that users saw by what they said, each with its interval.

    Args:
        name: The task's name.
        experiment: The experiment's name.
        outcome: Name of the ratings that count, such as `thumbs`.
        control: The variant that the others are compared with.
        shares: Planned share of units by variant; a split that is not the planned one makes the
            comparison invalid.
        min_units: Units with an outcome, of each variant, below which there is no verdict.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If the control has no share, or `min_units` is below 2.
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
        **task_kwargs: Any,
    ) -> None:
        if shares and control not in shares:
            raise ConfigError(
                f"control must be one of {', '.join(sorted(shares))}; got {control!r}"
            )
        if min_units < 2:  # noqa: PLR2004 - one unit has no spread
            raise ConfigError(f"min_units must be at least 2, got {min_units}")
        settings = ExperimentSettings(
            experiment=experiment,
            outcome=outcome,
            control=control,
            shares=dict(shares or {}),
            min_units=min_units,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, feedback: StructuredDataset) -> VariantsCompared:
        """Compare over the days of some feedback.

        Args:
            feedback: The feedback log: exposures and ratings.

        Returns:
            report: Each variant with its mean, its difference from the control, and a verdict.
            decided: Whether any variant is better or worse than the control.
        """
        from flytekitplugins.wbmon.monitor.service.experiment import compare_variants

        config = self.config
        report = compare_variants(
            open_data(feedback),
            experiment=config.experiment,
            outcome=config.outcome,
            control=config.control,
            shares=config.shares or None,
            min_units=config.min_units,
        )
        return VariantsCompared(report=report, decided=report.decided)
