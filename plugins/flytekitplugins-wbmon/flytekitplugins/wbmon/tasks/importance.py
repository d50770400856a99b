"""The node that measures the permutation importance of the features of a model."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed_columns
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import ConfigError, InsufficientDataError
from flytekitplugins.wbmon.flyte.function_reference import load_file, load_reference, reference_of
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.performance.settings import (
    require_features,
    require_shuffles,
)
from flytekitplugins.wbmon.tasks._node import Node

logger = logging.getLogger(__name__)

ImportanceMetric = Literal["", "roc_auc", "log_loss", "accuracy", "mae", "rmse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceSettings:
    """Settings of `FeatureImportance`, where they are described."""

    features: tuple[str, ...]
    label: str = ""
    metric: ImportanceMetric = ""
    predict: str = ""
    load: str = "joblib:load"
    n_repeats: int = 5
    seed: int = 0
    max_rows: int = 5_000
    positive: str = ""

    def __post_init__(self) -> None:
        require_features(self.features)
        require_shuffles(self.n_repeats, self.seed, self.max_rows)
        if self.metric not in get_args(ImportanceMetric):
            raise ConfigError(
                f"metric must be one of {', '.join(get_args(ImportanceMetric)[1:])}; "
                f"got {self.metric!r}"
            )
        if self.metric and not self.label:
            raise ConfigError(f"metric {self.metric!r} needs the truth; name its column as label")


class FeatureImportance(Node[ImportanceSettings]):
    """Measure how much a model loses when a feature is shuffled; weights for `DriftCheck`.

    Correlated features share their importance, so each of them may appear unimportant.

    Args:
        name: The task's name.
        features: The input columns of the model; each is shuffled in turn.
        label: Column of the true label; without it the change of the predictions is measured.
        metric: With a label: `roc_auc` (the default), `log_loss`, `accuracy`, `mae` or `rmse`.
        predict: A module-level function that takes a batch and the loaded model, such as the one
            decorated with `batch_scoring`, or that task; by default the model's own
            `predict_proba` or `predict`.
        load: A module-level function that loads the model from a local path; `joblib.load` by
            default. A pickled model executes code when loaded, so pass only files that you trust.
        n_repeats: How often each column is shuffled.
        seed: Seed of the shuffling.
        max_rows: Maximum number of rows to use, spread evenly over the data.
        positive: The class whose score the model gives. If None, 1 of 0 and 1, true of false and
            true; else the last in sorted order, which is logged.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there are no features, a number is out of range, the metric is unknown or
            lacks a label, or a function cannot be imported by its name.
    """

    def __init__(  # noqa: PLR0913 - one keyword a setting
        self,
        name: str,
        *,
        features: tuple[str, ...],
        label: str = "",
        metric: ImportanceMetric = "",
        predict: Callable[..., Any] | None = None,
        load: Callable[[str], Any] | None = None,
        n_repeats: int = 5,
        seed: int = 0,
        max_rows: int = 5_000,
        positive: Any = None,
        **task_kwargs: Any,
    ) -> None:
        settings = ImportanceSettings(
            features=listed_columns("features", features),
            label=label,
            metric=metric,
            predict=reference_of(predict) if predict is not None else "",
            load=reference_of(load) if load is not None else "joblib:load",
            n_repeats=n_repeats,
            seed=seed,
            max_rows=max_rows,
            positive="" if positive is None else class_name(positive),
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset, model: FlyteFile) -> dict[str, float]:
        """Rank the features of a model.

        Args:
            data: Typical input rows of the model: Parquet or a data frame of another task.
            model: The model's file.

        Returns:
            importance: A weight in [0, 1] for each feature; the most important one has 1. All
                have 1 if fewer than two rows are left, which the log says: a window without rows
                must not end the check that the weights are for.
        """
        from flytekitplugins.wbmon.data.batches import batch_kind
        from flytekitplugins.wbmon.monitor.performance.importance import permutation_importance

        config = self.config
        loaded = load_file(load_reference(config.load), model, "model")
        predict = _predict_function(config.predict) if config.predict else None
        try:
            return permutation_importance(
                loaded if predict is None else lambda batch: predict(batch, loaded),
                open_data(data),
                features=config.features,
                label=config.label or None,
                metric=config.metric or None,
                kind=None if predict is None else batch_kind(predict),
                n_repeats=config.n_repeats,
                seed=config.seed,
                max_rows=config.max_rows,
                positive=config.positive or None,
            )
        except InsufficientDataError as error:
            logger.warning("%s: all features weigh the same, as %s", self.name, error)
            return dict.fromkeys(config.features, 1.0)


def _predict_function(reference: str) -> Any:
    """The function, also where `batch_scoring` made a task of it."""
    found = load_reference(reference)
    # the task works on a data set, the function below its decorators on one batch
    return inspect.unwrap(getattr(found, "task_function", found))
