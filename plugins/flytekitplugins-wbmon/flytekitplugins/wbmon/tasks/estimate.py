"""The node that estimates a model's performance while the labels are not there yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport, Task
from flytekitplugins.wbmon.tasks._node import Node
from flytekitplugins.wbmon.tasks.performance import PerformanceChecked


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateSettings:
    """What `EstimatePerformance` estimates, and from which columns."""

    task: Task
    label: str
    prediction: str
    score: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    threshold: float = 0.5
    weight: str = ""
    positive: str = ""
    min_rows: int = 30

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ConfigError(f"task must be 'classification' or 'regression', got {self.task!r}")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold must be a probability, got {self.threshold}")


class EstimatePerformance(Node[EstimateSettings]):
    """Say how good a model probably is in a window without labels, each metric with its interval.

    Blind to concept drift: where the meaning of the features or scores has changed, only labels
    tell. Hand the report to `PerformanceCheck` as `estimate` when they have come.

    Args:
        name: The task's name.
        task: `classification` or `regression`.
        label: Column of the truth in the reference.
        prediction: Column of predicted classes or values, or of the positive class's probability.
        score: Beside predicted classes: the probability column of the positive class, or one
            column a class in the sorted order of the classes.
        features: Of a regression: the columns that tell where it errs, such as the model's inputs.
        threshold: Probability from which a row counts as positive.
        weight: Column of row weights, in both windows.
        positive: The positive class of two; the last in sorted order if empty.
        min_rows: Rows below which no verdict is given.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If the task is neither, or the threshold is no probability.
    """

    def __init__(  # noqa: PLR0913 - one keyword a column
        self,
        name: str,
        *,
        label: str,
        prediction: str,
        task: Task = "classification",
        score: str | tuple[str, ...] = (),
        features: tuple[str, ...] = (),
        threshold: float = 0.5,
        weight: str = "",
        positive: str = "",
        min_rows: int = 30,
        **task_kwargs: Any,
    ) -> None:
        settings = EstimateSettings(
            task=task,
            label=label,
            prediction=prediction,
            score=(score,) if isinstance(score, str) else tuple(score),
            features=tuple(features),
            threshold=threshold,
            weight=weight,
            positive=positive,
            min_rows=min_rows,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset, reference: StructuredDataset) -> PerformanceChecked:
        """Estimate a window.

        Args:
            data: Predictions without labels, as `batch_scoring` writes them.
            reference: Predictions with labels of rows that the model was not trained on.

        Returns:
            report: Every metric as it is expected, held against the reference.
            worse: Whether any metric is expected to be worse than in the reference.
        """
        from flytekitplugins.wbmon.monitor.performance.estimate import estimate_performance

        config = self.config
        report: PerformanceReport = estimate_performance(
            open_data(data),
            reference=open_data(reference),
            task=config.task,
            label=config.label,
            prediction=config.prediction,
            score=config.score or None,
            features=config.features,
            threshold=config.threshold,
            weight=config.weight or None,
            positive=config.positive or None,
            min_rows=config.min_rows,
        )
        return PerformanceChecked(report=report, worse=report.worse)
