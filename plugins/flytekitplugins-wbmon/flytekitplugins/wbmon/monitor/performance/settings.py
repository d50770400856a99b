"""What must hold of the settings of the performance functions, and of the nodes that have them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, get_args

from flytekitplugins.wbmon.arguments import is_number, require_whole
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.performance.report import Every, PredictionIs, Task
from flytekitplugins.wbmon.names import listed_names

# the values that a metric can have
_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "classification": {
        "accuracy": (0, 1),
        "precision": (0, 1),
        "recall": (0, 1),
        "f1": (0, 1),
        "roc_auc": (0, 1),
        "pr_auc": (0, 1),
        "log_loss": (0, math.inf),
        "brier": (0, 2),
    },
    "regression": {
        "mae": (0, math.inf),
        "rmse": (0, math.inf),
        "mape": (0, math.inf),
        "r2": (-math.inf, 1),
    },
}
_LARGEST_SEED = 2**32 - 1  # of numpy's generator of old


def require_task(task: Any) -> None:
    """Refuse what is no task."""
    if task not in get_args(Task):
        raise ConfigError(f"task must be 'classification' or 'regression', got {task!r}")


def require_every(every: Any) -> None:
    """Refuse what is no length of a chunk."""
    if every not in get_args(Every):
        raise ConfigError(f"every must be one of {', '.join(get_args(Every))}; got {every!r}")


def require_prediction_is(prediction_is: Any) -> None:
    """Refuse what a prediction cannot be."""
    if prediction_is not in (None, *get_args(PredictionIs)):
        raise ConfigError(f"prediction_is must be 'class' or 'probability', got {prediction_is!r}")


def require_rule(threshold: Any, min_rows: Any) -> None:
    """Refuse a threshold that is no probability, and numbers of rows that are none."""
    # a comparison with nan is false
    if not is_number(threshold) or not 0 <= threshold <= 1:
        raise ConfigError(f"threshold must be a probability in [0, 1], got {threshold!r}")
    require_min_rows(min_rows)


def require_min_rows(min_rows: Any) -> None:
    """Refuse numbers of rows that are none."""
    require_whole("min_rows", min_rows, 1)


def require_features(features: tuple[str, ...]) -> None:
    """Refuse columns of a model that are none, or repeated."""
    if not features or len(set(features)) < len(features):
        raise ConfigError(
            f"features must name the model's columns, each once; got {listed_names(features)}"
        )


def require_shuffles(n_repeats: Any, seed: Any, max_rows: Any) -> None:
    """Refuse numbers of shuffles, seeds and numbers of rows that cannot be."""
    require_whole("n_repeats", n_repeats, 1)
    require_whole("seed", seed, 0, _LARGEST_SEED)
    # one row cannot be shuffled
    require_whole("max_rows", max_rows, 2)


def require_ranking(rank_by: Any, task: Task) -> None:
    """Refuse to rank by what is no metric of the task."""
    if rank_by not in tuple(_RANGES[task]):
        raise ConfigError(
            f"rank_by must be one of {', '.join(_RANGES[task])}; got {rank_by!r}"
            f"{_meant(rank_by, task)}"
        )


def baseline_values(baseline: Any, task: Task) -> dict[str, float]:
    """The values of a baseline that is given by metric.

    Raises:
        ConfigError: If it is no mapping, a metric is none of the task, or a value cannot be one of
            the metric.
    """
    ranges = _RANGES[task]
    if not isinstance(baseline, Mapping):
        raise ConfigError(
            "baseline must be a report of check_performance, or values by metric such as "
            f"{{'accuracy': 0.9}}; got {baseline!r}"
        )
    for name, value in baseline.items():
        if name not in ranges:
            raise ConfigError(
                f"baseline of a {task} must name metrics of {', '.join(ranges)}; got {name!r}"
                f"{_meant(name, task)}"
            )
        low, high = ranges[name]
        if not is_number(value) or not low <= value <= high:
            raise ConfigError(
                f"baseline of {name} must be a finite number in [{low:g}, {high:g}], got "
                f"{value!r}; leave out what is not known"
            )
    return {name: float(value) for name, value in baseline.items()}


def _meant(name: Any, task: Task) -> str:
    close = difflib.get_close_matches(str(name), _RANGES[task], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
