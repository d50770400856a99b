"""The node that measures a model against its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.performance.report import Every, PerformanceReport, Task
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceSettings:
    """What `PerformanceCheck` measures, and in which columns."""

    task: Task
    label: str
    prediction: str
    score: tuple[str, ...] = ()
    threshold: float = 0.5
    weight: str = ""
    positive: str = ""
    min_rows: int = 30
    segments: tuple[str, ...] = ()
    time: str = ""
    every: Every = "day"
    rank_by: str = ""

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ConfigError(f"task must be 'classification' or 'regression', got {self.task!r}")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold must be a probability, got {self.threshold}")
        if self.every not in get_args(Every):
            raise ConfigError(
                f"every must be one of {', '.join(get_args(Every))}; got {self.every!r}"
            )


class PerformanceChecked(NamedTuple):
    """A performance report, and its gate for a `conditional`."""

    report: PerformanceReport
    worse: bool


class PerformanceCheck(Node[PerformanceSettings]):
    """Measure a scored window against its labels, each metric with its confidence interval.

    Args:
        name: The task's name.
        task: `classification` or `regression`.
        label: Column of the truth; rows without it are counted and left out.
        prediction: Column of predicted classes, of the positive class's probability (binary), or
            of predicted values (regression).
        score: Beside predicted classes: the probability column of the positive class, or one
            column a class in the sorted order of the classes.
        threshold: Probability from which a row counts as positive.
        weight: Column of row weights.
        positive: The positive class of two; the last in sorted order if empty.
        min_rows: Measured rows below which no verdict is given.
        segments: Columns by whose values the window is cut into parts, worst first.
        time: Timestamp column by which the window is cut into chunks.
        every: How long a chunk is: `hour`, `day`, `week` or `month`.
        rank_by: The metric that ranks the parts.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If the task is neither, or the threshold is no probability.
    """

    def __init__(  # noqa: PLR0913 - one keyword a column
        self,
        name: str,
        *,
        task: Task,
        label: str,
        prediction: str,
        score: str | tuple[str, ...] = (),
        threshold: float = 0.5,
        weight: str = "",
        positive: str = "",
        min_rows: int = 30,
        segments: tuple[str, ...] = (),
        time: str = "",
        every: Every = "day",
        rank_by: str = "",
        **task_kwargs: Any,
    ) -> None:
        settings = PerformanceSettings(
            task=task,
            label=label,
            prediction=prediction,
            score=(score,) if isinstance(score, str) else tuple(score),
            threshold=threshold,
            weight=weight,
            positive=positive,
            min_rows=min_rows,
            segments=tuple(segments),
            time=time,
            every=every,
            rank_by=rank_by,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(
        self,
        data: StructuredDataset,
        baseline: PerformanceReport | None = None,
        estimate: PerformanceReport | None = None,
    ) -> PerformanceChecked:
        """Measure a scored window.

        Args:
            data: Predictions and labels, as `batch_scoring` writes them.
            baseline: The report of the window that this one is held against.
            estimate: What `EstimatePerformance` had said of this window.

        Returns:
            report: Every metric with its interval and, with a baseline, its change.
            worse: Whether any metric is statistically worse than the baseline.
        """
        from flytekitplugins.wbmon.monitor.performance.check import check_performance

        config = self.config
        report = check_performance(
            open_data(data),
            task=config.task,
            label=config.label,
            prediction=config.prediction,
            score=config.score or None,
            threshold=config.threshold,
            weight=config.weight or None,
            baseline=baseline,
            positive=config.positive or None,
            min_rows=config.min_rows,
            segments=config.segments,
            time=config.time or None,
            every=config.every,
            rank_by=config.rank_by or None,
            estimate=estimate,
        )
        return PerformanceChecked(report=report, worse=report.worse)
