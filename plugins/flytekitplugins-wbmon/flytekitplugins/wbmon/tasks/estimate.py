"""The nodes that estimate the performance of a model before its labels arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed_columns
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.performance.loss_model import LossModel
from flytekitplugins.wbmon.monitor.performance.report import (
    PerformanceReport,
    PredictionIs,
    Task,
)
from flytekitplugins.wbmon.monitor.performance.settings import (
    require_min_rows,
    require_rule,
    require_task,
)
from flytekitplugins.wbmon.tasks._node import Node
from flytekitplugins.wbmon.tasks.performance import PerformanceChecked, require_prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateSettings:
    """Settings of `EstimatePerformance`, where they are described."""

    task: Task
    label: str
    prediction: str
    score: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    threshold: float = 0.5
    weight: str = ""
    positive: str = ""
    min_rows: int = 30
    prediction_is: PredictionIs = ""

    def __post_init__(self) -> None:
        require_task(self.task)
        require_rule(self.threshold, self.min_rows)
        require_prediction(self.prediction_is, self.score)


class EstimatePerformance(Node[EstimateSettings]):
    """Estimate the metrics of a model in a window without labels, each with an interval.

    The estimate cannot detect concept drift: if the relation between features and label has
    changed, only labels show it. Once they have arrived, pass the report to `PerformanceCheck` as
    `estimate` for comparison. For a regression this fits a model of the loss in every window;
    `FitLossModel` fits it once, for `EstimateLoss`.

    Args:
        name: The task's name.
        task: `classification` or `regression`.
        label: Column of the true label in the reference.
        prediction: Column of predicted classes or values, or of the positive class's probability.
        score: In addition to predicted classes, the probability column of the positive class, or
            one column per class in the sorted order of the classes.
        features: For a regression, the columns from which the error is predicted, such as the
            inputs of the model.
        threshold: Probability from which a row counts as positive.
        weight: Column of row weights, in both windows.
        positive: The positive class of a binary task. If None, 1 of 0 and 1, true of false and
            true; else the last in sorted order, which the report says.
        min_rows: Minimum number of rows for a verdict.
        prediction_is: What `prediction` holds: `class`, or `probability` of the positive class. If
            empty, as the reference tells.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range.
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
        positive: Any = None,
        min_rows: int = 30,
        prediction_is: PredictionIs = "",
        **task_kwargs: Any,
    ) -> None:
        settings = EstimateSettings(
            task=task,
            label=label,
            prediction=prediction,
            score=(score,) if isinstance(score, str) else listed_columns("score", score),
            features=listed_columns("features", features),
            threshold=threshold,
            weight=weight,
            positive="" if positive is None else class_name(positive),
            min_rows=min_rows,
            prediction_is=prediction_is,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset, reference: StructuredDataset) -> PerformanceChecked:
        """Estimate a window.

        Args:
            data: Predictions without labels, as `batch_scoring` writes them.
            reference: Predictions with labels, of rows that were not used for training.

        Returns:
            report: Every metric as estimated, compared with the reference.
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
            prediction_is=config.prediction_is or None,
        )
        return PerformanceChecked(report=report, worse=report.worse)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitLossModelSettings:
    """Settings of `FitLossModel`, where they are described."""

    label: str
    prediction: str
    features: tuple[str, ...] = ()
    weight: str = ""


class FitLossModel(Node[FitLossModelSettings]):
    """Learn from labelled rows how large the errors of a regression model will be.

    Once for a version of the monitored model, beside its reference profile; `EstimateLoss` applies
    what was learned every night.

    Args:
        name: The task's name.
        label: Column of the true value.
        prediction: Column of predicted values.
        features: The columns from which the error is predicted, such as the inputs of the model;
            numbers or text. The prediction is always used in addition.
        weight: Column of row weights, in both windows.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a setting is unknown or of the wrong type.
    """

    def __init__(
        self,
        name: str,
        *,
        label: str,
        prediction: str,
        features: tuple[str, ...] = (),
        weight: str = "",
        **task_kwargs: Any,
    ) -> None:
        settings = FitLossModelSettings(
            label=label,
            prediction=prediction,
            features=listed_columns("features", features),
            weight=weight,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, reference: StructuredDataset) -> LossModel:
        """Learn from a reference.

        Args:
            reference: Predictions with labels, of rows that were not used for training.

        Returns:
            model: What was learned.
        """
        from flytekitplugins.wbmon.monitor.performance.estimate_regression import fit_loss_model

        config = self.config
        return fit_loss_model(
            open_data(reference),
            label=config.label,
            prediction=config.prediction,
            features=config.features,
            weight=config.weight or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateLossSettings:
    """Settings of `EstimateLoss`, where they are described."""

    min_rows: int = 30

    def __post_init__(self) -> None:
        require_min_rows(self.min_rows)


class EstimateLoss(Node[EstimateLossSettings]):
    """Estimate the errors of a regression model in a window without labels, with their intervals.

    As `EstimatePerformance`, with a model of the loss that is kept; its columns are those that
    `FitLossModel` was given.

    Args:
        name: The task's name.
        min_rows: Minimum number of rows for a verdict.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range.
    """

    def __init__(self, name: str, *, min_rows: int = 30, **task_kwargs: Any) -> None:
        super().__init__(name, EstimateLossSettings(min_rows=min_rows), **task_kwargs)

    def compute(self, data: StructuredDataset, model: LossModel) -> PerformanceChecked:
        """Estimate a window.

        Args:
            data: Predictions without labels, as `batch_scoring` writes them.
            model: What `FitLossModel` learned.

        Returns:
            report: Every metric as estimated, compared with the reference.
            worse: Whether any metric is expected to be worse than in the reference.
        """
        from flytekitplugins.wbmon.monitor.performance.estimate_regression import estimate_loss

        report = estimate_loss(open_data(data), model=model, min_rows=self.config.min_rows)
        return PerformanceChecked(report=report, worse=report.worse)
