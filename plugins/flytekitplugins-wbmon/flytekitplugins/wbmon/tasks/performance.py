"""The node that measures the performance of a model with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed, listed_columns
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.performance.report import (
    Every,
    PerformanceReport,
    PredictionIs,
    Task,
)
from flytekitplugins.wbmon.monitor.performance.settings import (
    require_every,
    require_prediction_is,
    require_ranking,
    require_rule,
    require_task,
)
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceSettings:
    """Settings of `PerformanceCheck`, where they are described."""

    task: Task
    label: str
    prediction: str
    score: tuple[str, ...] = ()
    threshold: float = 0.5
    weight: str = ""
    cluster: str = ""
    proxy: str = ""
    positive: str = ""
    min_rows: int = 30
    segments: tuple[str, ...] = ()
    time: str = ""
    every: Every = "day"
    rank_by: str = ""
    prediction_is: PredictionIs = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_task(self.task)
        require_rule(self.threshold, self.min_rows)
        require_every(self.every)
        if self.rank_by:
            require_ranking(self.rank_by, self.task)
        require_prediction(self.prediction_is, self.score)


def require_prediction(prediction_is: str, score: tuple[str, ...]) -> None:
    """Refuse what a prediction cannot be, alone or beside a score."""
    require_prediction_is(prediction_is)
    if prediction_is == "probability" and score:
        raise ConfigError("a prediction that is a probability needs no score, got both")


class PerformanceChecked(NamedTuple):
    """A performance report, with a primitive output for a `conditional`."""

    report: PerformanceReport
    worse: bool


class PerformanceCheck(Node[PerformanceSettings]):
    """Measure the metrics of a scored window with labels, each with a confidence interval.

    Args:
        name: The task's name.
        task: `classification` or `regression`.
        label: Column of the true label; rows without one are counted and left out.
        prediction: Column of predicted classes, of the positive class's probability (binary), or
            of predicted values (regression).
        score: In addition to predicted classes, the probability column of the positive class, or
            one column per class in the sorted order of the classes.
        threshold: Probability from which a row counts as positive.
        weight: Column of row weights.
        cluster: Column that is the same for rows that belong together, such as a customer or a
            session; intervals and verdicts then take clusters as independent, not rows.
        proxy: Column that stands in for the label where there is none, such as a judge's verdict;
            the labelled rows must be a random sample of all.
        positive: The positive class of a binary task. If None, that of the baseline; else 1 of 0
            and 1, true of false and true; else the last in sorted order, which the report says.
        min_rows: Minimum number of labelled rows for a verdict.
        segments: Columns whose values divide the window into segments, reported worst first.
        time: Column of the times that divide the window into chunks, timestamps, dates or ISO
            text; empty for none.
        every: Length of a chunk: `hour`, `day`, `week` or `month`.
        rank_by: The metric by which segments are ranked.
        prediction_is: What `prediction` holds: `class`, or `probability` of the positive class. If
            empty, what it held in the baseline; else floats that are all whole numbers are classes
            where the labels are numbers too.
        classes: Classes that exist, whether they occur in a window or not, in addition to those of
            the baseline.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range, or `prediction_is`
            does not fit `score`.
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
        cluster: str = "",
        proxy: str = "",
        positive: Any = None,
        min_rows: int = 30,
        segments: tuple[str, ...] = (),
        time: str = "",
        every: Every = "day",
        rank_by: str = "",
        prediction_is: PredictionIs = "",
        classes: Sequence[Any] = (),
        **task_kwargs: Any,
    ) -> None:
        settings = PerformanceSettings(
            task=task,
            label=label,
            prediction=prediction,
            score=(score,) if isinstance(score, str) else listed_columns("score", score),
            threshold=threshold,
            weight=weight,
            cluster=cluster,
            proxy=proxy,
            positive="" if positive is None else class_name(positive),
            min_rows=min_rows,
            segments=listed_columns("segments", segments),
            time=time,
            every=every,
            rank_by=rank_by,
            prediction_is=prediction_is,
            classes=tuple(map(class_name, listed("classes", classes, "classes"))),
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
            baseline: The report of the window with which this one is compared.
            estimate: The report of `EstimatePerformance` for this window.

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
            cluster=config.cluster or None,
            proxy=config.proxy or None,
            baseline=baseline,
            positive=config.positive or None,
            min_rows=config.min_rows,
            segments=config.segments,
            time=config.time or None,
            every=config.every,
            rank_by=config.rank_by or None,
            estimate=estimate,
            prediction_is=config.prediction_is or None,
            classes=config.classes,
        )
        return PerformanceChecked(report=report, worse=report.worse)
