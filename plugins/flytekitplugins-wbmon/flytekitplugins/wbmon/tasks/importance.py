"""The node that says which features a model listens to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.function_reference import load_file, load_reference, reference_of
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.tasks._node import Node

ImportanceMetric = Literal["", "roc_auc", "log_loss", "accuracy", "mae", "rmse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceSettings:
    """What `FeatureImportance` shuffles, and how it calls the model."""

    features: tuple[str, ...]
    label: str = ""
    metric: ImportanceMetric = ""
    predict: str = ""
    load: str = "joblib:load"
    n_repeats: int = 5
    seed: int = 0
    max_rows: int = 5_000

    def __post_init__(self) -> None:
        if not self.features:
            raise ConfigError("features must name the columns that the model is given, got none")
        if self.metric not in get_args(ImportanceMetric):
            raise ConfigError(
                f"metric must be one of {', '.join(get_args(ImportanceMetric)[1:])}; "
                f"got {self.metric!r}"
            )
        if self.metric and not self.label:
            raise ConfigError(f"metric {self.metric!r} needs the truth; name its column as label")


class FeatureImportance(Node[ImportanceSettings]):
    """Shuffle each feature and see what the model loses: weights for the ranking of `DriftCheck`.

    Features that say the same share their importance or hide it.

    Args:
        name: The task's name.
        features: The columns that the model is given; each is shuffled in turn.
        label: Column of the truth; without it the change of the model's own answers counts.
        metric: With a label: `roc_auc` (the default), `log_loss`, `accuracy`, `mae` or `rmse`.
        predict: A function of a module that takes a batch and the loaded model, such as the one
            that `batch_scoring` made a task of, or that task; by default the model's own
            `predict_proba` or `predict`.
        load: A function of a module that turns the local path into the model; `joblib.load` by
            default. A pickled model runs code when it is loaded: give it only files you trust.
        n_repeats: How often each column is shuffled.
        seed: Of the shuffling.
        max_rows: Rows that are used, spread evenly over the data.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there are no features, the metric is unknown or needs a label, or a function
            cannot be imported by its name.
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
        **task_kwargs: Any,
    ) -> None:
        settings = ImportanceSettings(
            features=tuple(features),
            label=label,
            metric=metric,
            predict=reference_of(predict) if predict is not None else "",
            load=reference_of(load) if load is not None else "joblib:load",
            n_repeats=n_repeats,
            seed=seed,
            max_rows=max_rows,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset, model: FlyteFile) -> dict[str, float]:
        """Rank the features of a model.

        Args:
            data: Rows like those that the model sees: Parquet or a data frame of another task.
            model: The model's file.

        Returns:
            importance: A weight in [0, 1] a feature; the most important one has 1.
        """
        from flytekitplugins.wbmon.data.batches import batch_kind
        from flytekitplugins.wbmon.monitor.performance.importance import permutation_importance

        config = self.config
        loaded = load_file(load_reference(config.load), model, "model")
        predict = _predict_function(config.predict) if config.predict else None
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
        )


def _predict_function(reference: str) -> Any:
    """The function, also where `batch_scoring` made a task of it."""
    found = load_reference(reference)
    return inspect.unwrap(getattr(found, "task_function", found))
